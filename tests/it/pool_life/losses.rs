//! Clients that go without a goodbye: what they left is undone, and the next one finds nothing of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use pgtether::status::pool::{ClientState, ServerState};

use super::PoolUnderTest;
use crate::process::wait_until;
use crate::supervise::SOON;

const MODES: [&str; 2] = ["transaction", "session"];

/// Waits until no query of the pool's runs or holds a transaction open.
async fn await_quiet(pool: &PoolUnderTest, limit: Duration) {
    wait_until(limit, "quiet sessions", async || {
        let sql =
            "SELECT state || ': ' || query FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
        let busy = pool.admin.query(sql).await;
        if busy.is_empty() { Ok(()) } else { Err(format!("{busy:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_whose_client_is_gone_is_rolled_back_within_a_second_and_its_session_used_again() {
    for mode in MODES {
        let pool = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        pool.admin.query("INSERT INTO kept VALUES (1)").await;
        let client = pool.client().await;
        client.ask("BEGIN").await;
        let pid = client.pid().await;
        client.ask("UPDATE kept SET n = 2").await;
        client.vanish().await;
        let gone = Instant::now();
        pool.admin.query("SELECT * FROM kept FOR UPDATE").await;
        assert!(gone.elapsed() < Duration::from_secs(1), "{mode}: locked for {:?}", gone.elapsed());
        assert_eq!(pool.admin.query("SELECT n FROM kept").await, ["1"], "{mode}");
        assert_eq!(pool.client().await.pid().await, pid, "{mode}: the session is used again");
    }
}

#[tokio::test]
async fn a_query_whose_client_is_gone_is_cancelled_on_the_server() {
    for mode in MODES {
        let pool = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        let client = pool.client().await;
        let pid = client.pid().await;
        let asking = tokio::spawn(async move {
            tokio::select! {
                answer = client.try_ask("SELECT pg_sleep(60)") => panic!("answered: {answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            client
        });
        let client = asking.await.unwrap();
        pool.await_servers(ServerState::Active, 1).await;
        client.vanish().await;
        await_quiet(&pool, Duration::from_secs(2)).await;
        assert!(pool.cluster.log().contains("canceling statement due to user request"), "{mode}");
        let next = pool.client().await;
        assert_eq!(next.ask("SELECT 'mine'").await, "mine", "{mode}: it has its own answer");
        assert_eq!(next.pid().await, pid, "{mode}: the session is used again");
    }
}

#[tokio::test]
async fn a_copy_whose_client_is_gone_leaves_nothing_and_frees_the_place() {
    for mode in MODES {
        let pool = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        let client = pool.client().await;
        let pid = client.pid().await;
        let copy = client.inner.copy_in::<_, Bytes>("COPY kept FROM STDIN").await.unwrap();
        let mut copy = Box::pin(copy);
        copy.send(Bytes::from("1\n".repeat(10_000))).await.unwrap();
        client.vanish().await;
        let next = pool.client().await;
        assert_ne!(next.pid().await, pid, "{mode}: a COPY that was cut off ends its session");
        assert_eq!(next.ask("SELECT count(*) FROM kept").await, "0", "{mode}");
        assert!(!pool.pids().await.contains(&pid), "{mode}");
        drop(copy);
    }
}

#[tokio::test]
async fn a_result_whose_client_is_gone_in_its_middle_keeps_nobody_waiting() {
    let pool = PoolUnderTest::open("size: 1", &[]).await;
    let client = pool.client().await;
    // More than all buffers on the way hold.
    let params: [i32; 0] = [];
    let rows = client.inner.query_raw("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", params);
    let mut rows = Box::pin(rows.await.unwrap());
    futures_util::StreamExt::next(&mut rows).await.unwrap().unwrap();
    client.vanish().await;
    drop(rows);
    let asked = Instant::now();
    assert_eq!(pool.client().await.ask("SELECT 'mine'").await, "mine");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_takes_nobodys_session() {
    let pool = PoolUnderTest::open("size: 1", &[]).await;
    let holder = pool.client().await;
    holder.ask("BEGIN").await;
    let pid = holder.pid().await;
    let gone = pool.client().await;
    tokio::select! {
        answer = gone.try_ask("INSERT INTO kept VALUES (1)") => panic!("answered: {answer:?}"),
        () = pool.await_clients(ClientState::Waiting, 1) => {}
    }
    gone.vanish().await;
    pool.await_clients(ClientState::Waiting, 0).await;
    holder.ask("COMMIT").await;
    let next = pool.client().await;
    assert_eq!(next.pid().await, pid);
    assert_eq!(next.ask("SELECT count(*) FROM kept").await, "0", "nobody was there to hear of it");
    wait_until(SOON, "no client waits", async || match pool.daemon.get("/health").await.json() {
        health if health["targets"][0]["pool"]["clients_waiting"] == 0 => Ok(()),
        health => Err(health.to_string()),
    })
    .await;
}
