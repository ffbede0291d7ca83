//! What metrics, API and `/health` say of a pool is what the server and the clients themselves say.

use pgtether::status::pool::{ClientState, ServerState};

use super::{PoolUnderTest, gauge};
use crate::process::wait_until;
use crate::supervise::{SOON, value};

async fn sum(pool: &PoolUnderTest, name: &str, states: [&str; 4]) -> f64 {
    let mut sum = 0.0;
    for state in states {
        sum += gauge(&pool.daemon, name, state).await;
    }
    sum
}

#[tokio::test]
async fn the_numbers_are_those_that_server_and_clients_see() {
    let pool = PoolUnderTest::open("size: 6", &[]).await;
    let mut clients = Vec::new();
    for _ in 0..7 {
        clients.push(pool.client().await);
    }
    let busy = clients.iter().map(|client| client.ask("SELECT 1 FROM pg_sleep(0.2)"));
    futures_util::future::join_all(busy).await;
    for client in &clients[..2] {
        client.ask("BEGIN").await;
    }
    wait_until(SOON, "the same numbers", async || {
        let states = ServerState::ALL.map(ServerState::as_str);
        let servers = sum(&pool, "pgtether_pool_servers", states).await;
        let clients = sum(&pool, "pgtether_pool_clients", ClientState::ALL.map(ClientState::as_str)).await;
        let seen = (
            (servers, pool.servers(ServerState::Active).await),
            (clients, gauge(&pool.daemon, "pgtether_pool_clients", "idle").await),
        );
        let pooled = pool.pids().await.len() as f64 - 1.0;
        if seen == ((pooled, 2.0), (7.0, 5.0)) { Ok(()) } else { Err(format!("{seen:?}, {pooled}")) }
    })
    .await;

    let targets = pool.daemon.get("/api/v1/targets").await.json();
    let shown = find(&targets, "pool").unwrap_or_else(|| panic!("no pool in {targets}"));
    assert_eq!((&shown["clients"]["idle"], &shown["clients"]["active"]), (&5.into(), &2.into()), "{shown}");
    assert_eq!((&shown["servers"]["active"], &shown["size"]), (&2.into(), &6.into()), "{shown}");

    drop(clients);
    pool.await_clients(ClientState::Idle, 0).await;
    pool.await_clients(ClientState::Active, 0).await;
    pool.await_servers(ServerState::Active, 0).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in%'";
    assert_eq!(pool.admin.query(sql).await, ["0"], "what they left open is rolled back");
}

#[tokio::test]
async fn checkouts_waits_and_failures_are_counted_once_each() {
    let pool = PoolUnderTest::open("size: 1, wait_timeout: 500ms", &[]).await;
    let (holder, other) = (pool.client().await, pool.client().await);
    let before = value(&pool.daemon, "pgtether_pool_checkouts_total").await;
    holder.ask("BEGIN").await;
    holder.ask("SELECT 1").await;
    assert!(other.try_ask("SELECT 2").await.is_err());
    holder.ask("COMMIT").await;
    other.ask("SELECT 3").await;
    let metrics = pool.daemon.metrics().await;
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
