//! What metrics, API and `/health` say of a pool is what the server and the clients themselves say.

use pgtether::status::pool::{ClientState, ServerState};

use super::{PoolUnderTest, gauge};
use crate::process::wait_until;
use crate::supervise::{SOON, value};

async fn sum(door: &PoolUnderTest, name: &str, states: [&str; 4]) -> f64 {
    let mut sum = 0.0;
    for state in states {
        sum += gauge(&door.daemon, name, state).await;
    }
    sum
}

#[tokio::test]
async fn the_numbers_are_those_that_server_and_clients_see() {
    let door = PoolUnderTest::open("size: 6", &[]).await;
    let mut guests = Vec::new();
    for _ in 0..7 {
        guests.push(door.guest().await);
    }
    let busy = guests.iter().map(|guest| guest.ask("SELECT 1 FROM pg_sleep(0.2)"));
    futures_util::future::join_all(busy).await;
    for guest in &guests[..2] {
        guest.ask("BEGIN").await;
    }
    wait_until(SOON, "the same numbers", async || {
        let states = ServerState::ALL.map(ServerState::as_str);
        let servers = sum(&door, "pgtether_pool_servers", states).await;
        let clients = sum(&door, "pgtether_pool_clients", ClientState::ALL.map(ClientState::as_str)).await;
        let seen = (
            (servers, door.servers(ServerState::Active).await),
            (clients, gauge(&door.daemon, "pgtether_pool_clients", "idle").await),
        );
        let pooled = door.pids().await.len() as f64 - 1.0;
        if seen == ((pooled, 2.0), (7.0, 5.0)) { Ok(()) } else { Err(format!("{seen:?}, {pooled}")) }
    })
    .await;

    let pool = door.daemon.get("/api/v1/targets").await.json();
    let pool = find(&pool, "pool").unwrap_or_else(|| panic!("no pool in {pool}"));
    assert_eq!((&pool["clients"]["idle"], &pool["clients"]["active"]), (&5.into(), &2.into()), "{pool}");
    assert_eq!((&pool["servers"]["active"], &pool["size"]), (&2.into(), &6.into()), "{pool}");

    drop(guests);
    door.await_clients(ClientState::Idle, 0).await;
    door.await_clients(ClientState::Active, 0).await;
    door.await_servers(ServerState::Active, 0).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in%'";
    assert_eq!(door.admin.query(sql).await, ["0"], "what they left open is rolled back");
}

#[tokio::test]
async fn checkouts_waits_and_failures_are_counted_once_each() {
    let door = PoolUnderTest::open("size: 1, wait_timeout: 500ms", &[]).await;
    let (holder, other) = (door.guest().await, door.guest().await);
    let before = value(&door.daemon, "pgtether_pool_checkouts_total").await;
    holder.ask("BEGIN").await;
    holder.ask("SELECT 1").await;
    assert!(other.try_ask("SELECT 2").await.is_err());
    holder.ask("COMMIT").await;
    other.ask("SELECT 3").await;
    let metrics = door.daemon.metrics().await;
    let db = crate::supervise::DB;
    assert_eq!(metrics.get("pgtether_pool_checkouts_total", db), Some(before + 2.0));
    assert_eq!(crate::supervise::total(&metrics, "pgtether_pool_checkout_failures_total"), 1.0);
    let failed = crate::supervise::by_reason(&metrics, "pgtether_pool_checkout_failures_total", "busy");
    assert_eq!(failed, 1.0);
    assert_eq!(metrics.get("pgtether_pool_wait_duration_seconds_count", db), Some(before + 2.0));
}

/// The first value of this name, however deep.
fn find<'a>(json: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    match json {
        serde_json::Value::Object(map) => {
            map.get(name).filter(|v| v.is_object()).or_else(|| map.values().find_map(|v| find(v, name)))
        }
        serde_json::Value::Array(all) => all.iter().find_map(|v| find(v, name)),
        _ => None,
    }
}
