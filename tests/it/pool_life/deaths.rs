//! Sessions that die: between two clients nobody notices, in a client's hands it is told.

use std::time::{Duration, Instant};

use pgtether::status::pool::ServerState;

use super::{AppClient, PoolUnderTest, Told};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, value};

#[tokio::test]
async fn a_session_that_dies_between_two_queries_is_never_seen_by_its_client() {
    let pool = PoolUnderTest::open("size: 2, min_idle: 1", &[]).await;
    let client = pool.client().await;
    let mut had = Vec::new();
    for round in 0..100 {
        let pid = client.pid().await;
        assert!(!had.contains(&pid), "round {round}: session {pid} was killed before");
        had.push(pid);
        pool.kill(pid).await;
        if round % 2 == 1 {
            pool.await_servers(ServerState::Idle, 1).await;
        }
    }
}

#[tokio::test]
async fn all_sessions_die_at_once_beside_clients_that_are_asking_and_the_quiet_ones_never_notice() {
    let pool = PoolUnderTest::open("size: 4", &[]).await;
    // Named, so that the supervised session, which follows its own rules, is left alone.
    let url = format!("{}?application_name=quiet", pool.url());
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(AppClient::at(&url).await.unwrap());
    }
    for round in 0..20 {
        let answers =
            futures_util::future::join_all(clients.iter().map(|client| client.try_ask("SELECT 1"))).await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
        let sql =
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'quiet'";
        assert!(!pool.admin.query(sql).await.is_empty(), "round {round}: nobody had a session");
    }
}

#[tokio::test]
async fn a_session_that_dies_in_a_transaction_is_told_at_once_with_its_sqlstate() {
    let pool = PoolUnderTest::open("size: 1", &[]).await;
    let client = pool.client().await;
    client.ask("BEGIN").await;
    let pid = client.pid().await;
    let killed = Instant::now();
    pool.kill(pid).await;
    let told = client.farewell(Duration::from_secs(1)).await;
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "57P01"), "{told:?}");

    let next = pool.client().await;
    assert_ne!(next.pid().await, pid);
}

#[tokio::test]
async fn a_session_that_dies_under_a_query_is_told_in_its_place() {
    for mode in ["transaction", "session"] {
        let pool = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        let client = pool.client().await;
        let pid = client.pid().await;
        let (answer, ()) = tokio::join!(client.try_ask("SELECT pg_sleep(60)"), async {
            wait_until(SOON, "the query", async || {
                let sql = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()";
                let running = pool.admin.query(sql).await;
                if running == [pid.to_string()] { Ok(()) } else { Err(format!("{running:?}")) }
            })
            .await;
            pool.kill(pid).await;
        });
        let told = Told::of(&answer.unwrap_err());
        assert_eq!(told.sqlstate, "57P01", "{mode}: {told:?}");
        assert_eq!(pool.client().await.ask("SELECT 7").await, "7", "{mode}");
    }
}

#[tokio::test]
async fn in_session_mode_the_end_of_a_held_session_is_told_at_once() {
    let pool = PoolUnderTest::open("size: 1, mode: session", &[]).await;
    let client = pool.client().await;
    let pid = client.pid().await;
    pool.kill(pid).await;
    let told = client.farewell(Duration::from_secs(1)).await;
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "57P01"), "{told:?}");
    assert_ne!(pool.client().await.pid().await, pid);
}

#[tokio::test]
async fn min_idle_sessions_are_there_from_the_start_and_come_back_after_they_die() {
    let pool = PoolUnderTest::open("size: 5, min_idle: 3", &[]).await;
    pool.await_servers(ServerState::Idle, 3).await;
    let first = pool.await_pids("three and the supervised one", |pids| pids.len() == 4).await;
    for pid in &first {
        pool.kill(*pid).await;
    }
    pool.await_pids("as many others", |pids| pids.len() == 4 && !pids.iter().any(|p| first.contains(p)))
        .await;
    pool.await_servers(ServerState::Idle, 3).await;
    assert_eq!(pool.servers(ServerState::Login).await, 0.0);
}

#[tokio::test]
async fn min_idle_sessions_that_are_pinged_bring_no_more_of_them() {
    let pool = PoolUnderTest::open("size: 10, min_idle: 3", &["ping: {interval: 1s, timeout: 1s}"]).await;
    pool.await_servers(ServerState::Idle, 3).await;
    let first = pool.await_pids("three and the supervised one", |pids| pids.len() == 4).await;
    let pings = value(&pool.daemon, "pgtether_pings_total").await;
    pool.daemon.await_metric(SOON, "pgtether_pings_total", DB, pings + 4.0).await;
    assert_eq!(pool.pids().await, first);
}
