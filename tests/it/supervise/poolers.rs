//! PgBouncer between us and the server.

use std::time::Duration;

use pgtether::demo::postgres::Shutdown;

use super::{DB, SOON, ahead, await_down, await_log, await_state, config, total, up, value};
use crate::process::{Daemon, wait_until};
use crate::servers::{PgBouncer, PoolMode, postgres15};

#[tokio::test]
async fn the_line_is_held_pinged_and_refreshed_through_pgbouncer_in_both_modes() {
    let cluster = postgres15();
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let bouncer = PgBouncer::start(&cluster, mode, &[]);
        let keys = ["ping: {interval: 1s, timeout: 1s}", "refresh: {every: 2s}", "role: primary"];
        let daemon = up(&config(&bouncer.url("postgres"), &keys)).await;
        daemon.await_metric(SOON, "pgtether_refreshes_total", DB, 2.0).await;
        let metrics = daemon.metrics().await;
        for never in ["disconnects", "connect_failures", "ping_failures"] {
            let name = format!("pgtether_{never}_total");
            assert_eq!(total(&metrics, &name), 0.0, "{mode:?}: {never}\n{}", bouncer.log());
        }
        assert!(total(&metrics, "pgtether_pings_total") >= 3.0);
        assert_eq!(metrics.get("pgtether_up", DB), Some(1.0));
    }
}

#[tokio::test]
async fn a_pooler_that_gives_up_on_its_dead_server_is_named_as_the_cause() {
    let mut cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &["client_login_timeout = 1"]);
    cluster.stop(Shutdown::Immediate).unwrap();
    let daemon = Daemon::start(&config(&bouncer.url("postgres"), &[]));
    await_down(&daemon, SOON, "pooler").await;
    await_log(&daemon, "server down").await;
}

#[tokio::test]
async fn a_pooler_whose_logins_have_been_failing_is_asked_again_only_when_it_would_try_itself() {
    let mut cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &[]);
    let (client, connection) =
        tokio_postgres::connect(&bouncer.url("postgres"), tokio_postgres::NoTls).await.unwrap();
    let _connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await.unwrap();
    cluster.stop(Shutdown::Immediate).unwrap();
    // A query makes PgBouncer notice; it waits there for the server.
    let _query = tokio::spawn(async move { client.simple_query("SELECT 1").await });
    let noticed = async || match bouncer.log() {
        log if log.contains("connect failed") => Ok(()),
        log => Err(log),
    };
    wait_until(SOON, "PgBouncer's failed connect", noticed).await;

    let daemon = Daemon::start(&config(&bouncer.url("postgres"), &[]));
    await_down(&daemon, SOON, "pooler").await;
    await_log(&daemon, "server login has been failing").await;
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((12.0..=31.0).contains(&next), "the next login is {next} s away\n{}", bouncer.log());
    assert_eq!(total(&daemon.metrics().await, "pgtether_tcp_connects_total"), 1.0, "{}", bouncer.log());
}

#[tokio::test]
async fn a_server_lost_behind_pgbouncer_is_told_by_the_next_ping_and_found_again() {
    let mut cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &["server_login_retry = 1"]);
    let keys = ["ping: {interval: 1s, timeout: 500ms}", "backoff: {initial: 200ms, max: 1s}"];
    let daemon = up(&config(&bouncer.url("postgres"), &keys)).await;
    cluster.stop(Shutdown::Fast).unwrap();
    daemon.await_metric(SOON, "pgtether_up", DB, 0.0).await;
    cluster.start().unwrap();
    await_state(&daemon, Duration::from_secs(30), "up").await;
}
