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
async fn await_quiet(door: &PoolUnderTest, limit: Duration) {
    wait_until(limit, "quiet sessions", async || {
        let sql =
            "SELECT state || ': ' || query FROM pg_stat_activity WHERE usename = 'app' AND state <> 'idle'";
        let busy = door.admin.query(sql).await;
        if busy.is_empty() { Ok(()) } else { Err(format!("{busy:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_transaction_whose_client_is_gone_is_rolled_back_within_a_second_and_its_session_used_again() {
    for mode in MODES {
        let door = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        door.admin.query("INSERT INTO kept VALUES (1)").await;
        let guest = door.guest().await;
        guest.ask("BEGIN").await;
        let pid = guest.pid().await;
        guest.ask("UPDATE kept SET n = 2").await;
        guest.vanish().await;
        let gone = Instant::now();
        door.admin.query("SELECT * FROM kept FOR UPDATE").await;
        assert!(gone.elapsed() < Duration::from_secs(1), "{mode}: locked for {:?}", gone.elapsed());
        assert_eq!(door.admin.query("SELECT n FROM kept").await, ["1"], "{mode}");
        assert_eq!(door.guest().await.pid().await, pid, "{mode}: the session is used again");
    }
}

#[tokio::test]
async fn a_query_whose_client_is_gone_is_cancelled_on_the_server() {
    for mode in MODES {
        let door = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        let guest = door.guest().await;
        let pid = guest.pid().await;
        let asking = tokio::spawn(async move {
            tokio::select! {
                answer = guest.try_ask("SELECT pg_sleep(60)") => panic!("answered: {answer:?}"),
                () = tokio::time::sleep(Duration::from_millis(300)) => {}
            }
            guest
        });
        let guest = asking.await.unwrap();
        door.await_servers(ServerState::Active, 1).await;
        guest.vanish().await;
        await_quiet(&door, Duration::from_secs(2)).await;
        assert!(door.cluster.log().contains("canceling statement due to user request"), "{mode}");
        let next = door.guest().await;
        assert_eq!(next.ask("SELECT 'mine'").await, "mine", "{mode}: it has its own answer");
        assert_eq!(next.pid().await, pid, "{mode}: the session is used again");
    }
}

#[tokio::test]
async fn a_copy_whose_client_is_gone_leaves_nothing_and_frees_the_place() {
    for mode in MODES {
        let door = PoolUnderTest::open(&format!("size: 1, mode: {mode}"), &[]).await;
        let guest = door.guest().await;
        let pid = guest.pid().await;
        let copy = guest.client.copy_in::<_, Bytes>("COPY kept FROM STDIN").await.unwrap();
        let mut copy = Box::pin(copy);
        copy.send(Bytes::from("1\n".repeat(10_000))).await.unwrap();
        guest.vanish().await;
        let next = door.guest().await;
        assert_ne!(next.pid().await, pid, "{mode}: a COPY that was cut off ends its session");
        assert_eq!(next.ask("SELECT count(*) FROM kept").await, "0", "{mode}");
        assert!(!door.pids().await.contains(&pid), "{mode}");
        drop(copy);
    }
}

#[tokio::test]
async fn a_result_whose_client_is_gone_in_its_middle_keeps_nobody_waiting() {
    let door = PoolUnderTest::open("size: 1", &[]).await;
    let guest = door.guest().await;
    // More than all buffers on the way hold.
    let params: [i32; 0] = [];
    let rows = guest.client.query_raw("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", params);
    let mut rows = Box::pin(rows.await.unwrap());
    futures_util::StreamExt::next(&mut rows).await.unwrap().unwrap();
    guest.vanish().await;
    drop(rows);
    let asked = Instant::now();
    assert_eq!(door.guest().await.ask("SELECT 'mine'").await, "mine");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_takes_nobodys_session() {
    let door = PoolUnderTest::open("size: 1", &[]).await;
    let holder = door.guest().await;
    holder.ask("BEGIN").await;
    let pid = holder.pid().await;
    let gone = door.guest().await;
    tokio::select! {
        answer = gone.try_ask("INSERT INTO kept VALUES (1)") => panic!("answered: {answer:?}"),
        () = door.await_clients(ClientState::Waiting, 1) => {}
    }
    gone.vanish().await;
    door.await_clients(ClientState::Waiting, 0).await;
    holder.ask("COMMIT").await;
    let next = door.guest().await;
    assert_eq!(next.pid().await, pid);
    assert_eq!(next.ask("SELECT count(*) FROM kept").await, "0", "nobody was there to hear of it");
    wait_until(SOON, "no client waits", async || match door.daemon.get("/health").await.json() {
        health if health["targets"][0]["pool"]["clients_waiting"] == 0 => Ok(()),
        health => Err(health.to_string()),
    })
    .await;
}
