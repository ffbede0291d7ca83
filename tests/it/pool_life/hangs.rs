//! Servers that hang: what is cut, when, and what never is.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::status::pool::ServerState;

use super::{PoolUnderTest, Told};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, await_state};

const STALL: &str = "size: 2, query_stall: 2s, wait_timeout: 1s";
const PING: &str = "ping: {interval: 1s, timeout: 1s}";

#[tokio::test]
async fn a_slow_query_on_a_target_that_is_up_is_never_cut() {
    let pool = PoolUnderTest::open(STALL, &[PING]).await;
    let client = pool.client().await;
    assert_eq!(client.ask("SELECT 'slow' FROM pg_sleep(6)").await, "slow");
    assert_eq!(client.ask("BEGIN; SELECT 1 FROM pg_sleep(3); COMMIT; SELECT 3").await, "3");
}

#[tokio::test]
async fn a_query_on_a_hung_server_is_cut_once_the_target_is_down_and_not_before() {
    let pool = PoolUnderTest::open(STALL, &[PING]).await;
    let client = pool.client().await;
    client.ask("SELECT 1").await;
    let query = tokio::spawn(async move {
        let answer = client.try_ask("SELECT pg_sleep(60)").await;
        (answer.expect_err("a hung server answered"), Instant::now())
    });
    wait_until(SOON, "the query", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'app'";
        let active = pool.admin.query(sql).await;
        if active == ["1"] { Ok(()) } else { Err(format!("{active:?}")) }
    })
    .await;
    pool.cluster.pause();
    let hung = Instant::now();
    wait_until(SOON, "the target down", async || {
        let up = pool.daemon.metric("pgtether_up", &[("target", "db")]).await;
        if up == Some(1.0) {
            assert!(!query.is_finished(), "it was cut while the target was up");
            return Err("up".to_owned());
        }
        Ok(())
    })
    .await;
    let (error, cut) = query.await.unwrap();
    let told = Told::of(&error);
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "08006"), "{told:?}");
    assert!(told.message.contains("\"db\"") && !told.hint.is_empty(), "{told:?}");
    let after = cut - hung;
    assert!((1.0..8.0).contains(&after.as_secs_f64()), "cut {after:?} after the server hung");

    pool.cluster.resume();
    await_state(&pool.daemon, SOON, "up").await;
    assert_eq!(pool.client().await.ask("SELECT 'served'").await, "served");
    wait_until(SOON, "the end of what was cut", async || {
        let sql = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND usename = 'app'";
        let active = pool.admin.query(sql).await;
        if active.is_empty() { Ok(()) } else { Err(format!("{active:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_hangs_for_a_moment_loses_nothing() {
    let pool = PoolUnderTest::open("size: 2, query_stall: 10s", &[PING]).await;
    let client = pool.client().await;
    client.ask("BEGIN").await;
    let pid = client.pid().await;
    client.ask("INSERT INTO kept VALUES (1)").await;
    pool.cluster.pause();
    let query = tokio::spawn(async move {
        let answer = client.try_ask("SELECT pg_backend_pid()").await;
        (client, answer)
    });
    tokio::time::sleep(Duration::from_millis(600)).await;
    pool.cluster.resume();
    let (client, answer) = query.await.unwrap();
    assert_eq!(answer.unwrap(), pid.to_string());
    client.ask("COMMIT").await;
    assert_eq!(pool.admin.query("SELECT count(*) FROM kept").await, ["1"]);
}

#[tokio::test]
async fn sessions_that_fell_silent_together_cost_a_client_one_test_and_no_more() {
    let keys = ["ping: {interval: 30s, timeout: 2s}", "refresh: {every: off}"];
    let pool = PoolUnderTest::open("size: 8, min_idle: 6", &keys).await;
    pool.await_servers(ServerState::Idle, 6).await;
    let all = pool.pids().await;
    let (supervised, silent) = all.split_first().unwrap();
    for pid in silent {
        kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
    }
    // A supervised session that has lived for 5 s is replaced at once: nothing has time to be tested meanwhile.
    tokio::time::sleep(Duration::from_millis(5200)).await;
    // The line is in trouble for a moment: what was not heard of since is in doubt.
    pool.kill(*supervised).await;
    pool.daemon.await_metric(SOON, "pgtether_reconnects_total", DB, 1.0).await;
    let asked = Instant::now();
    let client = pool.client().await;
    let pid = client.pid().await;
    let took = asked.elapsed().as_secs_f64();
    assert!(!silent.contains(&pid));
    // A test that is slow is not waited for: half a second, and a login.
    assert!((0.4..1.9).contains(&took), "served after {took} s");
    let checkouts = pool.daemon.metric("pgtether_pool_checkouts_total", DB).await;
    assert_eq!(checkouts, Some(1.0), "what failed its test was handed to nobody");
    for pid in silent {
        kill(Pid::from_raw(*pid), Signal::SIGCONT).unwrap();
    }
}
