//! A database that is not there: who waits, who is told, and how soon everybody is served again.

use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Setup, Shutdown, free_port};
use pgtether::status::pool::ClientState;

use super::{AppClient, PASSWORD, PoolUnderTest, Told, USER, cluster_for_app, pool_config, url_at};
use crate::process::{Daemon, wait_until};
use crate::servers::Admin;
use crate::supervise::{DB, SOON, await_down, await_state, by_reason};

/// From the server's first login to the answer of who waits, on a machine that is busy with other tests.
const BACK: Duration = Duration::from_secs(3);
/// What need not be waited for.
const AT_ONCE: Duration = Duration::from_millis(200);

async fn timed(client: &AppClient, sql: &str) -> (Duration, Told) {
    let asked = Instant::now();
    let error = client.try_ask(sql).await.expect_err("it was answered");
    (asked.elapsed(), Told::of(&error))
}

// The server is started by a call that blocks, while clients wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_through_a_restart_is_served_as_soon_as_the_server_is_back() {
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        let mut pool = PoolUnderTest::open("size: 2, wait_timeout: 30s", &[]).await;
        let quiet = pool.client().await;
        quiet.ask("SELECT 1").await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(pool.client().await);
        }
        pool.cluster.stop(how).unwrap();
        await_down(&pool.daemon, SOON, "refused").await;
        let waiting = waiting.into_iter().map(|client| {
            tokio::spawn(async move { (client.try_ask("SELECT 'served'").await, Instant::now()) })
        });
        let waiting: Vec<_> = waiting.collect();
        pool.await_clients(ClientState::Waiting, 3).await;
        // Long enough for a TCP connect or two in vain.
        tokio::time::sleep(Duration::from_secs(2)).await;
        pool.cluster.start().unwrap();
        let back = Instant::now();
        for task in waiting {
            let (answer, at) = task.await.unwrap();
            assert_eq!(answer.unwrap(), "served", "{how:?}");
            let late = at.saturating_duration_since(back);
            assert!(late < BACK, "{how:?}: served {late:?} after the server was back");
        }
        assert_eq!(quiet.ask("SELECT 2").await, "2", "a quiet client has noticed nothing");
    }
}

#[tokio::test]
async fn who_has_waited_long_enough_is_told_why_and_its_next_query_works() {
    let mut pool = PoolUnderTest::open("wait_timeout: 1s", &[]).await;
    let client = pool.client().await;
    client.ask("SELECT 1").await;
    pool.cluster.stop(Shutdown::Fast).unwrap();
    await_down(&pool.daemon, SOON, "refused").await;
    let (took, told) = timed(&client, "SELECT 2").await;
    // Sooner where the next attempt lies beyond its time.
    assert!(took < Duration::from_millis(1500), "told after {took:?}");
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57P03"), "{told:?}");
    assert!(told.message.contains("\"db\"") && told.message.contains("refused"), "{told:?}");
    assert!(!told.hint.is_empty(), "{told:?}");
    let metrics = pool.daemon.metrics().await;
    assert_eq!(by_reason(&metrics, "pgtether_pool_checkout_failures_total", "down"), 1.0);

    pool.cluster.start().unwrap();
    await_state(&pool.daemon, SOON, "up").await;
    assert_eq!(client.ask("SELECT 3").await, "3");
}

#[tokio::test]
async fn a_client_that_comes_while_the_database_is_down_is_let_in_and_told_at_its_query() {
    let mut pool = PoolUnderTest::open("wait_timeout: 500ms", &[]).await;
    pool.client().await.ask("SELECT 1").await;
    pool.cluster.stop(Shutdown::Fast).unwrap();
    await_down(&pool.daemon, SOON, "refused").await;
    let client = pool.client().await;
    assert_eq!(timed(&client, "SELECT 1").await.1.sqlstate, "57P03");
}

#[tokio::test]
async fn a_password_that_is_wrong_for_good_is_told_at_once() {
    let pool = PoolUnderTest::open("size: 3, min_idle: 0", &[]).await;
    let client = pool.client().await;
    client.ask("SELECT 1").await;
    pool.admin.query(&format!("ALTER ROLE {USER} PASSWORD 'another'")).await;
    for pid in pool.pids().await {
        pool.kill(pid).await;
    }
    await_down(&pool.daemon, SOON, "auth").await;
    let (took, told) = timed(&client, "SELECT 2").await;
    assert!(took < AT_ONCE, "told after {took:?}");
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57P03"), "{told:?}");
    assert!(told.message.contains("(auth)") && !told.hint.is_empty(), "{told:?}");
    assert!(!format!("{told:?}").contains(PASSWORD));
    let new = Instant::now();
    let refused = AppClient::at(&pool.url()).await.err().expect("it was let in");
    assert!(new.elapsed() < AT_ONCE, "told after {:?}", new.elapsed());
    assert_eq!(Told::of(&refused).sqlstate, "57P03");
    let metrics = pool.daemon.metrics().await;
    assert_eq!(by_reason(&metrics, "pgtether_pool_checkout_failures_total", "permanent"), 2.0);
}

#[tokio::test]
async fn a_pool_that_cannot_log_in_beside_a_live_line_says_so_at_once_and_recovers_with_the_line() {
    let pool = PoolUnderTest::open("size: 3, min_idle: 0", &[]).await;
    let client = pool.client().await;
    let pid = client.pid().await;
    pool.admin.query(&format!("ALTER ROLE {USER} PASSWORD 'another'")).await;
    pool.kill(pid).await;
    for _ in 0..2 {
        let (took, told) = timed(&client, "SELECT 2").await;
        assert!(took < Duration::from_secs(1), "told after {took:?}");
        assert_eq!(told.sqlstate, "57P03", "{told:?}");
        assert!(told.message.contains("(auth)"), "{told:?}");
    }
    assert_eq!(pool.daemon.metric("pgtether_up", DB).await, Some(1.0), "the line itself is up");
    pool.admin.query(&format!("ALTER ROLE {USER} PASSWORD '{PASSWORD}'")).await;
    let supervised = pool.pids().await;
    assert_eq!(supervised.len(), 1);
    pool.kill(supervised[0]).await;
    pool.await_pids("the line's new session", |pids| !pids.is_empty() && !pids.contains(&supervised[0]))
        .await;
    wait_until(SOON, "a session", async || client.try_ask("SELECT 3").await.map_err(|e| e.to_string())).await;
}

#[tokio::test]
async fn a_database_that_was_dropped_is_told_at_once_and_used_as_soon_as_it_is_there_again() {
    let cluster = cluster_for_app(Setup::default()).await;
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE DATABASE doomed").await;
    let port = free_port().unwrap();
    let config = pool_config(&cluster, port, "", &[]).replace("/postgres", "/doomed");
    let daemon = Daemon::start(&config);
    await_state(&daemon, SOON, "up").await;
    let client = AppClient::at(&url_at(port).replace("/postgres", "/doomed")).await.unwrap();
    client.ask("SELECT 1").await;
    admin.query("DROP DATABASE doomed WITH (FORCE)").await;
    await_down(&daemon, SOON, "database_missing").await;
    let (took, told) = timed(&client, "SELECT 2").await;
    assert!(took < AT_ONCE, "told after {took:?}");
    assert!(told.sqlstate == "57P03" && told.message.contains("database_missing"), "{told:?}");
    admin.query("CREATE DATABASE doomed OWNER app").await;
    // The next attempt by itself comes after half a minute.
    wait_until(SOON, "a session", async || client.try_ask("SELECT 3").await.map_err(|e| e.to_string())).await;
}

#[tokio::test]
async fn a_daemon_that_starts_before_its_database_lets_clients_wait_for_it() {
    let mut cluster = cluster_for_app(Setup::default()).await;
    cluster.stop(Shutdown::Fast).unwrap();
    let port = free_port().unwrap();
    let daemon = Daemon::start(&pool_config(&cluster, port, "wait_timeout: 30s", &[]));
    await_down(&daemon, SOON, "refused").await;
    let come = tokio::spawn(async move { AppClient::at(&url_at(port)).await });
    let labels = [DB, &[("state", "waiting")]].concat();
    daemon.await_metric(SOON, "pgtether_pool_clients", &labels, 1.0).await;
    cluster.start().unwrap();
    let client = tokio::time::timeout(SOON, come).await.expect("it waits on").unwrap().unwrap();
    assert_eq!(client.ask("SELECT 1").await, "1");
}
