//! The end of the process, as the pool's clients see it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtether::status::pool::{ClientState, ServerState};

use super::{AppClient, PoolUnderTest, Told};
use crate::process::wait_until;

const MOMENT: Duration = Duration::from_secs(1);

async fn await_closed(pool: &PoolUnderTest) {
    wait_until(MOMENT, "the pool's port closed", async || {
        match tokio::net::TcpStream::connect(("127.0.0.1", pool.port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_finished_idle_clients_are_told_and_the_process_ends_with_the_last_client() {
    for mode in ["transaction", "session"] {
        let mut pool = PoolUnderTest::open(&format!("mode: {mode}, size: 3"), &[]).await;
        let (idle, holder, asking) = (pool.client().await, pool.client().await, pool.client().await);
        idle.ask("SELECT 1").await;
        holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
        let slow = tokio::spawn(async move {
            let answer = asking.try_ask("SELECT 'slow' FROM pg_sleep(1)").await;
            (asking, answer)
        });
        pool.await_servers(ServerState::Active, if mode == "session" { 3 } else { 2 }).await;

        pool.daemon.signal(Signal::SIGTERM);
        let told = idle.farewell(MOMENT).await;
        assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "57P01"), "{mode}: {told:?}");
        await_closed(&pool).await;
        assert!(AppClient::at(&pool.url()).await.is_err(), "{mode}: nobody new is let in");
        let (asking, answer) = slow.await.unwrap();
        assert_eq!(answer.unwrap(), "slow", "{mode}: what runs is finished");
        assert_eq!(asking.farewell(MOMENT).await.sqlstate, "57P01", "{mode}");
        holder.ask("INSERT INTO kept VALUES (2)").await;
        holder.ask("COMMIT").await;
        let committed = Instant::now();
        assert_eq!(holder.farewell(MOMENT).await.sqlstate, "57P01", "{mode}");
        let ended = pool.daemon.exited(Duration::from_secs(3)).await;
        assert_eq!(ended.code(), Some(0), "{mode}: {}", pool.daemon.log());
        assert!(committed.elapsed() < Duration::from_secs(2), "{mode}: {:?}", committed.elapsed());
        assert_eq!(pool.admin.query("SELECT count(*) FROM kept").await, ["2"], "{mode}");
        assert!(!pool.daemon.log().contains("cut off"), "{mode}: {}", pool.daemon.log());
        wait_until(MOMENT, "no session", async || match pool.pids().await {
            pids if pids.is_empty() => Ok(()),
            pids => Err(format!("{pids:?}")),
        })
        .await;
        let log = pool.cluster.log();
        assert!(!log.contains("unexpected EOF"), "{mode}: the server is told goodbye:\n{log}");
    }
}

#[tokio::test]
async fn who_waits_is_told_at_once_and_who_never_logs_in_holds_nothing_up() {
    let mut pool = PoolUnderTest::open("size: 1, wait_timeout: 30s", &[]).await;
    let (holder, waiter) = (pool.client().await, pool.client().await);
    holder.ask("BEGIN").await;
    // A port check: connected, and silent.
    let silent = tokio::net::TcpStream::connect(("127.0.0.1", pool.port)).await.unwrap();
    pool.await_clients(ClientState::Login, 1).await;
    let waiting = tokio::spawn(async move {
        let answer = waiter.try_ask("INSERT INTO kept VALUES (1)").await;
        (waiter, Told::of(&answer.expect_err("it got a session")))
    });
    pool.await_clients(ClientState::Waiting, 1).await;
    pool.daemon.signal(Signal::SIGTERM);
    let (waiter, told) = tokio::time::timeout(MOMENT, waiting).await.expect("it waits on").unwrap();
    assert_eq!(told.sqlstate, "57P01", "{told:?}");
    drop(waiter);
    holder.ask("COMMIT").await;
    let left = Instant::now();
    let ended = pool.daemon.exited(Duration::from_secs(3)).await;
    assert_eq!(ended.code(), Some(0), "{}", pool.daemon.log());
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    assert!(!pool.daemon.log().contains("cut off"), "{}", pool.daemon.log());
    drop(silent);
}

#[tokio::test]
async fn a_client_that_sits_in_its_transaction_is_cut_off_after_ten_seconds_and_counted() {
    let mut pool = PoolUnderTest::open("", &[]).await;
    let holder = pool.client().await;
    holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
    pool.daemon.signal(Signal::SIGTERM);
    let told = Instant::now();
    assert_eq!(holder.farewell(Duration::from_secs(16)).await.sqlstate, "57P01", "it is told");
    let ended = pool.daemon.exited(Duration::from_secs(3)).await;
    let took = told.elapsed().as_secs_f64();
    assert!((9.5..14.0).contains(&took), "it ended after {took} s");
    assert_eq!(ended.code(), Some(0), "{}", pool.daemon.log());
    let log = pool.daemon.log();
    assert!(log.contains("cut off") && log.contains("clients=1"), "{log}");
    assert_eq!(pool.admin.query("SELECT count(*) FROM kept").await, ["0"], "it was rolled back");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_the_end_up_once_the_clients_have_gone() {
    let mut pool = PoolUnderTest::open("size: 2, min_idle: 2", &[]).await;
    pool.await_servers(ServerState::Idle, 2).await;
    let client = pool.client().await;
    client.ask("BEGIN").await;
    pool.cluster.pause();
    // It would be rolled back now, if the server heard of it.
    client.vanish().await;
    pool.await_servers(ServerState::Testing, 1).await;
    pool.daemon.signal(Signal::SIGTERM);
    let told = Instant::now();
    let ended = pool.daemon.exited(Duration::from_secs(6)).await;
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    assert!(!pool.daemon.log().contains("cut off"), "{}", pool.daemon.log());
    assert!(ended.code().is_some(), "{ended:?}");
}
