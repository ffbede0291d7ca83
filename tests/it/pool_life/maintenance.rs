//! What an operator does to a pool that is in use: pauses it, resumes it, has its sessions replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtether::demo::postgres::free_port;
use pgtether::status::pool::{ClientState, ServerState};
use tokio::task::JoinHandle;

use super::{AppClient, PoolUnderTest, Told, pool_config, url_at};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, await_log};

const CLIENTS: usize = 6;

/// Clients that run one transaction after the other, none of which may fail.
struct Load {
    ends: Arc<AtomicBool>,
    committed: Arc<AtomicU32>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    async fn on(pool: &PoolUnderTest) -> Load {
        let (ends, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let (client, ends, committed) = (pool.client().await, Arc::clone(&ends), Arc::clone(&committed));
            clients.push(tokio::spawn(async move {
                while !ends.load(SeqCst) {
                    client.ask("BEGIN").await;
                    // Prepared by name, as drivers do: a new session does not have it.
                    client.inner.execute("INSERT INTO kept VALUES ($1)", &[&1]).await.unwrap();
                    client.ask("SELECT pg_sleep(0.002)").await;
                    client.ask("COMMIT").await;
                    committed.fetch_add(1, SeqCst);
                }
            }));
        }
        let load = Load { ends, committed, clients };
        load.goes_on().await;
        load
    }

    /// Waits until each client could have had some more transactions.
    async fn goes_on(&self) {
        let before = self.committed.load(SeqCst);
        wait_until(SOON, "more transactions", async || match self.committed.load(SeqCst) - before {
            more if more > 5 * CLIENTS as u32 => Ok(()),
            more => Err(format!("{more}")),
        })
        .await;
    }

    async fn end(self, pool: &PoolUnderTest) {
        self.ends.store(true, SeqCst);
        for client in self.clients {
            client.await.expect("a transaction failed");
        }
        let kept = pool.admin.query("SELECT count(*) FROM kept").await;
        assert_eq!(kept, [self.committed.load(SeqCst).to_string()], "what was committed is there, once");
    }
}

impl PoolUnderTest {
    /// What the pool answers.
    async fn operate(&self, action: &str) -> (u16, String) {
        let answer = self.daemon.post(&format!("/-/pools/db/{action}")).await;
        (answer.status.as_u16(), answer.text())
    }

    async fn pause(&self) {
        assert_eq!(
            self.operate("pause").await,
            (200, "the pool of db is paused, and has no session\n".into())
        );
    }

    async fn resume(&self) {
        assert_eq!(self.operate("resume").await, (200, "the pool of db is resumed\n".into()));
    }
}

#[tokio::test]
async fn a_reconnect_replaces_every_session_and_breaks_no_transaction() {
    let pool = PoolUnderTest::open("size: 3, min_idle: 2", &[]).await;
    // The supervised one stays.
    let supervised =
        pool.await_pids("the supervised session and the idle ones", |pids| pids.len() == 3).await[0];
    let load = Load::on(&pool).await;
    for _ in 0..3 {
        let before = pool.pids().await;
        let (status, text) = pool.operate("reconnect").await;
        assert_eq!(status, 200, "{text}");
        let replaced = |pids: &[i32]| before.iter().all(|pid| *pid == supervised || !pids.contains(pid));
        let after = pool.await_pids("other sessions", replaced).await;
        assert!(after.contains(&supervised), "{after:?}");
        load.goes_on().await;
    }
    load.end(&pool).await;
    await_log(&pool.daemon, "request=\"POST /-/pools/db/reconnect\" client=127.0.0.1 code=200").await;
    let log = pool.daemon.log();
    assert!(!log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn a_reconnect_in_session_mode_waits_for_the_client_to_leave() {
    let pool = PoolUnderTest::open("size: 3, mode: session", &[]).await;
    let (stays, leaves) = (pool.client().await, pool.client().await);
    let (kept, idle) = (stays.pid().await, leaves.pid().await);
    drop(leaves);
    // There may be a spare one beside the one that was given back.
    pool.await_servers(ServerState::Active, 1).await;
    let (status, text) = pool.operate("reconnect").await;
    assert!(status == 200 && text.contains("1 in use follow"), "{status} {text}");
    pool.await_pids("the idle one closed", |pids| !pids.contains(&idle)).await;
    assert_eq!(stays.pid().await, kept, "a client keeps its session");
    drop(stays);
    pool.await_pids("the other one closed", |pids| !pids.contains(&kept)).await;
}

#[tokio::test]
async fn a_pause_lets_transactions_end_and_after_it_all_go_on() {
    let pool = PoolUnderTest::open("size: 3, min_idle: 0, wait_timeout: 60s", &[]).await;
    let supervised = pool.await_pids("the supervised session", |pids| pids.len() == 1).await[0];
    let load = Load::on(&pool).await;
    for _ in 0..2 {
        pool.pause().await;
        pool.await_pids("the supervised session alone", |pids| pids == [supervised]).await;
        pool.await_clients(ClientState::Waiting, CLIENTS as u32).await;
        let before = load.committed.load(SeqCst);
        let metrics = pool.daemon.metrics().await;
        assert_eq!(metrics.get("pgtether_pool_paused", DB), Some(1.0));
        assert_eq!(metrics.get("pgtether_up", DB), Some(1.0), "the target is as it was");
        assert_eq!(load.committed.load(SeqCst), before, "nobody is served");
        pool.resume().await;
        load.goes_on().await;
        assert_eq!(pool.daemon.metric("pgtether_pool_paused", DB).await, Some(0.0));
    }
    load.end(&pool).await;
    await_log(&pool.daemon, "answer=\"the pool of db is resumed\"").await;
}

#[tokio::test]
async fn a_pause_that_a_transaction_holds_up_says_so_and_is_in_force_all_the_same() {
    let pool = PoolUnderTest::open("size: 3, wait_timeout: 60s", &[]).await;
    let (holder, other) = (pool.client().await, pool.client().await);
    holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
    let began = Instant::now();
    let (status, text) = pool.operate("pause").await;
    assert!(
        status == 504 && text.contains("but 1 of its sessions did not come free within 10 s"),
        "{status} {text}"
    );
    assert!(began.elapsed() >= Duration::from_secs(10));
    let waits = tokio::spawn(async move { other.ask("SELECT 'served'").await });
    pool.await_clients(ClientState::Waiting, 1).await;
    tokio::join!(pool.pause(), async {
        holder.ask("INSERT INTO kept VALUES (2); COMMIT").await;
    });
    pool.await_clients(ClientState::Waiting, 1).await;
    pool.resume().await;
    assert_eq!(waits.await.unwrap(), "served");
    assert_eq!(holder.ask("SELECT count(*) FROM kept").await, "2");
}

#[tokio::test]
async fn clients_of_a_paused_pool_are_let_in_and_wait_no_longer_than_they_may() {
    let pool = PoolUnderTest::open("wait_timeout: 500ms", &[]).await;
    pool.client().await.ask("SELECT 1").await;
    pool.pause().await;
    let client = pool.client().await;
    let told = Told::of(&client.try_ask("SELECT 1").await.unwrap_err());
    assert!(told.sqlstate == "57P03" && told.message.contains("its pool is paused"), "{told:?}");
    pool.resume().await;
    assert_eq!(client.ask("SELECT 'stayed'").await, "stayed");
}

#[tokio::test]
async fn a_pause_outlasts_every_reload_and_not_the_process() {
    let mut pool = PoolUnderTest::open("wait_timeout: 60s", &[]).await;
    pool.pause().await;
    pool.reload_to(&pool_config(&pool.cluster, pool.port, "size: 7, wait_timeout: 60s", &[])).await;
    let metrics = pool.daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_pool_size", DB), Some(7.0));
    assert_eq!(metrics.get("pgtether_pool_paused", DB), Some(1.0), "other numbers, the same pool");

    let port = free_port().unwrap();
    pool.reload_to(&pool_config(&pool.cluster, port, "size: 7, wait_timeout: 60s", &[])).await;
    pool.daemon.await_metric(SOON, "pgtether_pool_paused", DB, 1.0).await;
    // This pool has not seen a session yet, so it does not know what to tell a client of the server's settings.
    let waits = tokio::spawn(async move { Told::of(&AppClient::at(&url_at(port)).await.err().unwrap()) });
    pool.await_clients(ClientState::Waiting, 1).await;
    assert!(pool.daemon.get("/api/v1/targets").await.text().contains("\"paused\":true"));

    pool.daemon.signal(Signal::SIGTERM);
    assert_eq!(waits.await.unwrap().sqlstate, "57P01", "who waits is told");
    assert_eq!(pool.daemon.exited(Duration::from_secs(5)).await.code(), Some(0), "{}", pool.daemon.log());
}

#[tokio::test]
async fn only_pools_that_exist_can_be_asked() {
    let pool = PoolUnderTest::open("", &[]).await;
    let answer = pool.daemon.post("/-/pools/nobody/pause").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.text(), "no target of that name has a pool; these have: db\n");
}

#[tokio::test]
async fn requests_that_come_at_once_are_all_carried_out_in_their_order() {
    let pool = PoolUnderTest::open("size: 2", &[]).await;
    let (at_once, load) = (60, Load::on(&pool).await);
    let reconnects = futures_util::future::join_all((0..at_once).map(|_| pool.operate("reconnect"))).await;
    for (status, text) in reconnects {
        assert_eq!(status, 200, "{text}");
    }
    let reloads = futures_util::future::join_all((0..at_once).map(|_| pool.daemon.post("/-/reload"))).await;
    for answer in reloads {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // Those that come while a reload is under way wait for it.
    let mixed = (0..at_once).map(async |n: usize| match n % 3 {
        0 => pool.daemon.post("/-/reload").await.status.as_u16(),
        _ => pool.operate("reconnect").await.0,
    });
    assert_eq!(futures_util::future::join_all(mixed).await, vec![200; at_once]);
    // Whether a pause was done or undone before its sessions were free, each is carried out.
    let pauses = futures_util::future::join_all((0..at_once).map(|_| pool.operate("pause")));
    let resumed = async {
        pool.daemon.await_metric(SOON, "pgtether_pool_paused", DB, 1.0).await;
        wait_until(SOON, "the pool to be resumed for good", async || {
            pool.resume().await;
            match pool.daemon.metric("pgtether_pool_paused", DB).await {
                Some(0.0) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
    };
    let (pauses, ()) = tokio::join!(pauses, resumed);
    for (status, text) in pauses {
        let undone = status == 409 && text.contains("not paused any more");
        assert!(status == 200 || undone, "{status} {text}");
    }
    pool.resume().await;
    load.goes_on().await;
    load.end(&pool).await;
}
