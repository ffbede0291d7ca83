//! The pool's logins under the guard.

use std::collections::BTreeSet;

use pgtether::demo::postgres::Setup;
use pgtether::status::pool::ServerState;

use super::{AppClient, PoolUnderTest, cluster_for_app, pool_config};
use crate::process::Daemon;
use crate::servers::Admin;
use crate::supervise::{SOON, await_state};

/// A connection that the server has taken or let in.
#[derive(Debug, PartialEq)]
enum Seen {
    Received,
    LetIn,
}

/// What the server's log tells of connections by TCP: when, of which process, and what.
fn connections(log: &str) -> Vec<(jiff::Timestamp, String, Seen)> {
    let mut by_tcp = BTreeSet::new();
    let mut seen = Vec::new();
    for line in log.lines() {
        let Some((pid, _)) = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')) else {
            continue;
        };
        let what = if line.contains("connection received: host=127.0.0.1") {
            by_tcp.insert(pid.to_owned());
            Seen::Received
        } else if line.contains("connection authorized:") && by_tcp.contains(pid) {
            Seen::LetIn
        } else {
            continue;
        };
        let at = line[..23].replacen(' ', "T", 1) + "Z";
        seen.push((at.parse().unwrap_or_else(|e| panic!("{e}: {line}")), pid.to_owned(), what));
    }
    seen
}

#[tokio::test]
async fn fifty_waiting_clients_bring_no_storm_of_logins() {
    const SIZE: usize = 50;
    const EACH_SECOND: usize = 20;
    let cluster = cluster_for_app(Setup::default()).await;
    let fleet = format!("fleet: {{logins_in_flight: 64, connects_per_host_per_second: {EACH_SECOND}}}\n");
    let port = pgtether::demo::postgres::free_port().unwrap();
    let pool = format!("size: {SIZE}, min_idle: 0, wait_timeout: 30s");
    let daemon = Daemon::start(&(fleet + &pool_config(&cluster, port, &pool, &[])));
    await_state(&daemon, SOON, "up").await;
    let admin = Admin::of(&cluster).await;
    let pool = PoolUnderTest { daemon, cluster, admin, port };
    let url = pool.url();
    let began = jiff::Timestamp::now();
    let come = (0..SIZE).map(async |_| {
        let client = AppClient::at(&url).await.unwrap();
        client.ask("BEGIN").await;
        client
    });
    let clients = futures_util::future::join_all(come).await;
    assert_eq!(pool.servers(ServerState::Active).await, SIZE as f64);
    drop(clients);

    let log = pool.cluster.log();
    let all = connections(&log);
    let received: Vec<_> =
        all.iter().filter(|(_, _, seen)| *seen == Seen::Received).map(|(at, ..)| *at).collect();
    // The readiness checks of the test's own server may be among them.
    assert!((SIZE + 1..SIZE + 20).contains(&received.len()), "{} connections:\n{log}", received.len());
    // Whatever delays them on their way, so many cannot have come sooner.
    for (n, at) in received[received.len() - SIZE..].iter().enumerate() {
        let soonest = (n / EACH_SECOND) as f64;
        let after = at.duration_since(began).as_secs_f64();
        assert!(after > soonest - 0.01, "connection {n} came after {after} s:\n{log}");
    }
    assert_ramp(&all[all.len() - 2 * SIZE..]);
}

/// One login at a time, then twice as many with each that succeeds, eight at the most.
fn assert_ramp(pool: &[(jiff::Timestamp, String, Seen)]) {
    let (mut in_flight, mut let_in, mut most) = (0_u32, 0_u32, 0);
    for (at, pid, seen) in pool {
        match seen {
            Seen::Received => {
                in_flight += 1;
                most = most.max(in_flight);
                let allowed = 2_u32.saturating_pow(let_in).min(8);
                assert!(
                    in_flight <= allowed,
                    "{in_flight} logins under way at {at}, after {let_in}: {pool:?}"
                );
            }
            Seen::LetIn => {
                assert!(in_flight > 0, "{pid} was let in unasked");
                (in_flight, let_in) = (in_flight - 1, let_in + 1);
            }
        }
    }
    assert!(most > 1, "they came one by one");
}

#[tokio::test]
async fn after_an_outage_the_pool_begins_with_one_login() {
    let mut pool =
        PoolUnderTest::open("size: 12, min_idle: 12, wait_timeout: 30s", &["refresh: {every: off}"]).await;
    pool.await_servers(ServerState::Idle, 12).await;
    pool.cluster.stop(pgtether::demo::postgres::Shutdown::Fast).unwrap();
    let before = pool.cluster.log().len();
    pool.cluster.start().unwrap();
    pool.await_servers(ServerState::Idle, 12).await;
    let log = pool.cluster.log();
    let all = connections(&log[before..]);
    assert_ramp(&all[all.len() - 2 * 12..]);
}
