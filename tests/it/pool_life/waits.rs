//! How long clients wait for a session, what they are told meanwhile, and what is counted.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::protocol::frontend::{query, terminate};
use pgtether::status::pool::{ClientState, ServerState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::NoTls;

use super::{AppClient, PoolUnderTest, Told, USER};
use crate::process::wait_until;
use crate::supervise::{DB, SOON, value};
use crate::wire::startup;

#[tokio::test]
async fn silent_sessions_do_not_make_a_client_wait_longer_than_wait_timeout() {
    let keys = ["ping: {interval: 60s, timeout: 1500ms}", "refresh: {every: off}"];
    let door = PoolUnderTest::open("size: 4, min_idle: 4, wait_timeout: 2s", &keys).await;
    door.await_servers(ServerState::Idle, 4).await;
    let guest = door.guest().await;
    let supervised = door.pids().await[0];
    door.cluster.pause();
    kill(Pid::from_raw(supervised), Signal::SIGKILL).unwrap();
    door.daemon.await_metric(SOON, "pgtether_up", DB, 0.0).await;
    let asked = Instant::now();
    let told = Told::of(&guest.try_ask("SELECT 1").await.unwrap_err());
    let waited = asked.elapsed().as_secs_f64();
    door.cluster.resume();
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57P03"), "{told:?}");
    assert!((1.5..3.5).contains(&waited), "after {waited} s: {told:?}");
}

#[tokio::test]
async fn settings_that_the_server_refuses_are_told_at_login_and_count_as_no_checkout() {
    let door = PoolUnderTest::open("min_idle: 1", &[]).await;
    door.guest().await.ask("SELECT 1").await;
    let before = value(&door.daemon, "pgtether_pool_checkouts_total").await;
    let url = format!("{}?options=-c%20timezone%3DNowhere", door.url());
    let told = Told::of(&AppClient::at(&url).await.map(drop).unwrap_err());
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "22023"), "{told:?}");
    assert!(told.message.contains("Nowhere"), "{told:?}");
    assert_eq!(value(&door.daemon, "pgtether_pool_checkouts_total").await, before);
    assert_eq!(door.guest().await.ask("SELECT 'another'").await, "another");
}

#[tokio::test]
async fn a_query_that_is_cancelled_while_its_session_is_made_ready_never_runs() {
    let door = PoolUnderTest::open("size: 1", &["ping: {interval: 60s, timeout: 20s}"]).await;
    door.guest().await.ask("SELECT 1").await;
    let guest = AppClient::at(&format!("{}?application_name=another", door.url())).await.unwrap();
    let cancel = guest.client.cancel_token();
    door.cluster.pause();
    let asked = tokio::spawn(async move {
        let answer = guest.try_ask("INSERT INTO kept VALUES (1)").await;
        (guest, answer)
    });
    door.await_clients(ClientState::Waiting, 1).await;
    cancel.cancel_query(NoTls).await.unwrap();
    door.cluster.resume();
    let (guest, answer) = asked.await.unwrap();
    let told = Told::of(&answer.unwrap_err());
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("ERROR", "57014"), "{told:?}");
    assert_eq!(guest.ask("SELECT count(*) FROM kept").await, "0");
}

#[tokio::test]
async fn a_query_that_comes_with_the_first_clients_login_is_answered() {
    let door = PoolUnderTest::open("auth: trust, min_idle: 0", &[]).await;
    assert_eq!(door.pids().await.len(), 1, "the pool has no session yet, and knows no parameters");
    let asked = query("SELECT 'an early ' || 'bird'");
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
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
    let door = PoolUnderTest::open("auth: trust, size: 1", &[]).await;
    let asked = query("INSERT INTO kept SELECT 1 FROM pg_sleep(1)");
    let mut client = tokio::net::TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    client.write_all(&[startup(USER, "postgres"), asked, terminate()].concat()).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    wait_until(SOON, "the row", async || match door.admin.query("SELECT count(*) FROM kept").await {
        count if count == ["1"] => Ok(()),
        count => Err(format!("{count:?}")),
    })
    .await;
    assert_eq!(door.guest().await.ask("SELECT 'next'").await, "next");
}
