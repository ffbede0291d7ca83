//! Databases that sleep: the pool keeps none awake, and whoever comes wakes it.

use std::time::Duration;

use pgtether::demo::postgres::Setup;
use pgtether::status::pool::ServerState;

use super::{AppClient, PoolUnderTest};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, await_state};

const LET_SLEEP: &str = "idle_policy: let_sleep";

async fn await_no_session(pool: &PoolUnderTest) {
    wait_until(SOON, "no session", async || {
        let states = ServerState::ALL;
        let held = futures_util::future::join_all(states.map(|state| pool.servers(state))).await;
        if held == [0.0; 4] { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_wakes_what_sleeps_and_lets_it_sleep_again() {
    let pool = PoolUnderTest::of(Setup::default().set("idle_session_timeout", "2s"), "", &[LET_SLEEP]).await;
    await_state(&pool.daemon, SOON, "sleeping").await;
    assert_eq!(pool.servers(ServerState::Idle).await, 0.0, "nobody has come yet");
    let client = pool.client().await;
    assert_eq!(client.ask("SELECT 1").await, "1");
    assert_eq!(pool.daemon.metric("pgtether_wake_duration_seconds_count", DB).await, Some(1.0));

    await_state(&pool.daemon, SOON, "sleeping").await;
    await_no_session(&pool).await;
    assert_eq!(client.ask("SELECT 2").await, "2", "a client that stays wakes it, too");
    assert_eq!(pool.daemon.metric("pgtether_wake_duration_seconds_count", DB).await, Some(2.0));
    await_state(&pool.daemon, SOON, "sleeping").await;
}

#[tokio::test]
async fn many_who_come_to_a_sleeper_at_once_are_all_served_by_one_wake() {
    let pool = PoolUnderTest::of(Setup::default().set("idle_session_timeout", "2s"), "", &[LET_SLEEP]).await;
    await_state(&pool.daemon, SOON, "sleeping").await;
    let url = pool.url();
    let come = (0..12).map(async |n: i32| {
        let client = AppClient::at(&url).await.unwrap();
        assert_eq!(client.ask(&format!("SELECT {n}")).await, n.to_string());
    });
    futures_util::future::join_all(come).await;
    assert_eq!(pool.daemon.metric("pgtether_wake_duration_seconds_count", DB).await, Some(1.0));
}

#[tokio::test]
async fn sessions_that_would_keep_it_awake_are_closed_when_they_are_unused() {
    let pool = PoolUnderTest::open("", &[LET_SLEEP, "close_idle_after: 1s"]).await;
    let client = pool.client().await;
    client.ask("SELECT 1").await;
    await_no_session(&pool).await;
    pool.await_pids("no session of anybody", <[i32]>::is_empty).await;
    await_state(&pool.daemon, SOON, "sleeping").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(pool.pids().await.is_empty(), "nothing woke it");
    assert_eq!(client.ask("SELECT 2").await, "2");
}
