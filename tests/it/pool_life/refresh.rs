//! Sessions are replaced before they grow old, and no client notices.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pgtether::demo::postgres::Setup;
use pgtether::status::pool::ServerState;

use super::{PoolUnderTest, USER, cluster_for_app};
use crate::supervise::await_log;

const FOR: Duration = Duration::from_secs(6);

/// What some clients met in a while: how many transactions, on which sessions.
async fn work(pool: &PoolUnderTest, count: usize) -> (usize, BTreeSet<i32>) {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(pool.client().await);
    }
    let until = Instant::now() + FOR;
    let work = clients.iter().map(async |client| {
        let mut pids = BTreeSet::new();
        let mut done = 0;
        while Instant::now() < until {
            client.ask("BEGIN").await;
            let pid = client.pid().await;
            assert_eq!(client.pid().await, pid, "a transaction has one session");
            client.ask("COMMIT").await;
            pids.insert(pid);
            done += 1;
        }
        (done, pids)
    });
    let ended = futures_util::future::join_all(work).await;
    let pids = ended.iter().flat_map(|(_, pids)| pids).copied().collect();
    (ended.iter().map(|(done, _)| done).sum(), pids)
}

#[tokio::test]
async fn busy_sessions_are_replaced_without_a_failed_query_and_never_beyond_size() {
    for (size, clients) in [(4, 6), (1, 2)] {
        let cluster = cluster_for_app(Setup::default()).await;
        let pool = PoolUnderTest::to(cluster, &format!("size: {size}"), &["refresh: {every: 2s}"]).await;
        // The pool's, the supervised one, and the one that replaces it. Whatever is beyond is refused, and told.
        pool.admin.query(&format!("ALTER ROLE {USER} CONNECTION LIMIT {}", size + 2)).await;
        let (done, pids) = work(&pool, clients).await;
        assert!(done > 100, "{done} transactions");
        assert!(pids.len() >= 2 * size, "{size} were to be replaced twice; seen were {pids:?}");
        let metrics = pool.daemon.metrics().await;
        assert_eq!(crate::supervise::total(&metrics, "pgtether_pool_checkout_failures_total"), 0.0);
        let log = pool.daemon.log();
        assert!(!log.contains("cannot open a session"), "{log}");
        assert!(!pool.cluster.log().contains("too many connections"), "{}", pool.cluster.log());
    }
}

#[tokio::test]
async fn idle_sessions_are_replaced_too() {
    let pool = PoolUnderTest::open("size: 2, min_idle: 2", &["refresh: {every: 1s}"]).await;
    let first = pool.await_pids("two and the supervised one", |pids| pids.len() >= 3).await;
    pool.await_pids("others", |pids| pids.len() >= 3 && !pids.iter().any(|pid| first.contains(pid))).await;
}

#[tokio::test]
async fn a_replacement_that_failed_is_tried_again_although_nobody_waits() {
    let pool = PoolUnderTest::open("size: 2, min_idle: 1", &["refresh: {every: 1s}"]).await;
    pool.await_servers(ServerState::Idle, 1).await;
    pool.admin.query(&format!("ALTER ROLE {USER} CONNECTION LIMIT 0")).await;
    await_log(&pool.daemon, "the pool cannot open a session").await;
    let old = pool.pids().await;
    assert_eq!(old.len(), 2, "what cannot be replaced is kept");
    pool.admin.query(&format!("ALTER ROLE {USER} CONNECTION LIMIT -1")).await;
    pool.await_pids("others", |pids| pids.len() >= 2 && !pids.iter().any(|pid| old.contains(pid))).await;
}

#[tokio::test]
async fn what_kept_sessions_from_being_opened_is_over_with_the_next_login_although_no_client_comes() {
    let keys = ["refresh: {every: 1s}"];
    let pool = PoolUnderTest::open("size: 1, min_idle: 0, wait_timeout: 1s", &keys).await;
    let client = pool.client().await;
    let pid = client.pid().await;
    pool.admin.query(&format!("ALTER ROLE {USER} NOLOGIN")).await;
    pool.kill(pid).await;
    client.try_ask("SELECT 1").await.expect_err("there is no session");
    await_log(&pool.daemon, "the pool cannot open a session").await;
    pool.admin.query(&format!("ALTER ROLE {USER} LOGIN")).await;
    let answer = pool.daemon.post("/-/targets/db/reconnect").await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    await_log(&pool.daemon, "the pool can open sessions again: a login has succeeded").await;
}
