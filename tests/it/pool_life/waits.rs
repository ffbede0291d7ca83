//! How long clients wait for a session, what they are told meanwhile, and what is counted.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::protocol::frontend::{query, terminate};
use pgtether::status::pool::{ClientState, ServerState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::NoTls;

use super::{AppClient, PASSWORD, PoolUnderTest, Told, USER};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, value};
use crate::wire::startup;

#[tokio::test]
async fn silent_sessions_do_not_make_a_client_wait_longer_than_wait_timeout() {
    let keys = ["ping: {interval: 60s, timeout: 1500ms}", "refresh: {every: off}"];
    let pool = PoolUnderTest::open("size: 4, min_idle: 4, wait_timeout: 2s", &keys).await;
    pool.await_servers(ServerState::Idle, 4).await;
    let client = pool.client().await;
    let supervised = pool.pids().await[0];
    pool.cluster.pause();
    kill(Pid::from_raw(supervised), Signal::SIGKILL).unwrap();
    pool.daemon.await_metric(SOON, "pgtether_up", DB, 0.0).await;
    let asked = Instant::now();
    let told = Told::of(&client.try_ask("SELECT 1").await.unwrap_err());
    let waited = asked.elapsed().as_secs_f64();
    pool.cluster.resume();
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57P03"), "{told:?}");
    assert!((1.5..3.5).contains(&waited), "after {waited} s: {told:?}");
}

#[tokio::test]
async fn settings_that_the_server_refuses_are_told_at_login_and_count_as_no_checkout() {
    let pool = PoolUnderTest::open("min_idle: 1", &[]).await;
    pool.client().await.ask("SELECT 1").await;
    let before = value(&pool.daemon, "pgtether_pool_checkouts_total").await;
    let url = format!("{}?options=-c%20timezone%3DNowhere", pool.url());
    let told = Told::of(&AppClient::at(&url).await.map(drop).unwrap_err());
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "22023"), "{told:?}");
    assert!(told.message.contains("Nowhere"), "{told:?}");
    assert_eq!(value(&pool.daemon, "pgtether_pool_checkouts_total").await, before);
    assert_eq!(pool.client().await.ask("SELECT 'another'").await, "another");
}

#[tokio::test]
async fn a_query_that_is_cancelled_while_its_session_is_made_ready_never_runs() {
    let pool = PoolUnderTest::open("size: 1", &["ping: {interval: 60s, timeout: 20s}"]).await;
    pool.client().await.ask("SELECT 1").await;
    let client = AppClient::at(&format!("{}?application_name=another", pool.url())).await.unwrap();
    let cancel = client.inner.cancel_token();
    pool.cluster.pause();
    let asked = tokio::spawn(async move {
        let answer = client.try_ask("INSERT INTO kept VALUES (1)").await;
        (client, answer)
    });
    pool.await_clients(ClientState::Waiting, 1).await;
    cancel.cancel_query(NoTls).await.unwrap();
    pool.cluster.resume();
    let (client, answer) = asked.await.unwrap();
    let told = Told::of(&answer.unwrap_err());
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57014"), "{told:?}");
    assert_eq!(client.ask("SELECT count(*) FROM kept").await, "0");
}

#[tokio::test]
async fn a_query_that_comes_with_the_first_clients_login_is_answered() {
    let pool = PoolUnderTest::open("auth: trust, min_idle: 0", &[]).await;
    assert_eq!(pool.pids().await.len(), 1, "the pool has no session yet, and knows no parameters");
    let asked = query("SELECT 'an early ' || 'bird'");
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", pool.port)).await.unwrap();
    client.write_all(&[startup(USER, "postgres"), asked].concat()).await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("an early bird") {
        let more = tokio::time::timeout(Duration::from_secs(10), client.read_buf(&mut heard)).await;
        let more = more.unwrap_or_else(|_| panic!("no answer behind {}", heard.escape_ascii())).unwrap();
        assert!(more > 0, "hung up on after {}", heard.escape_ascii());
    }
}

#[tokio::test]
async fn what_was_asked_before_a_goodbye_is_done() {
    let pool = PoolUnderTest::open("auth: trust, size: 1", &[]).await;
    let asked = query("INSERT INTO kept SELECT 1 FROM pg_sleep(1)");
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", pool.port)).await.unwrap();
    client.write_all(&[startup(USER, "postgres"), asked, terminate()].concat()).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    wait_until(SOON, "the row", async || match pool.admin.query("SELECT count(*) FROM kept").await {
        count if count == ["1"] => Ok(()),
        count => Err(format!("{count:?}")),
    })
    .await;
    assert_eq!(pool.client().await.ask("SELECT 'next'").await, "next");
}

#[tokio::test]
async fn clients_log_in_by_the_password_that_was_read_last_and_the_log_says_so_once() {
    const GONE: &str = "clients log in with the password that was read last";
    const BACK: &str = "can be read again";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let pool = PoolUnderTest::open("size: 2", &[&format!("password_file: {}", file.display())]).await;
    pool.client().await.ask("SELECT 1").await;
    // What was read counts for a second: others come until the file is looked for again.
    let comes_until = async |text: &str| {
        wait_until(SOON, text, async || {
            pool.client().await.ask("SELECT 1").await;
            match pool.daemon.log() {
                log if log.contains(text) => Ok(()),
                log => Err(log),
            }
        })
        .await;
    };
    std::fs::remove_file(&file).unwrap();
    comes_until(GONE).await;
    for _ in 0..3 {
        pool.client().await.ask("SELECT 1").await;
    }
    let log = pool.daemon.log();
    assert!(log.matches(GONE).count() == 1 && log.contains("cannot read password_file"), "{log}");
    std::fs::write(&file, PASSWORD).unwrap();
    comes_until(BACK).await;
}
