//! Clients that do not log in, and those beside them that do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pgtether::demo::postgres::{Cluster, Setup};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

use super::rust::connect;
use super::wire::Raw;
use super::{SOON, await_listening, one_pool, through};
use crate::process::Daemon;
use crate::servers::{Version, postgres};
use crate::supervise::await_state;
use crate::wire::{error_field, startup};

/// A pool that asks for the password of the superuser, and its URL.
async fn pool(keys: &[&str]) -> (Cluster, Daemon, String, u16) {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], keys);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    await_state(&daemon, SOON, "up").await;
    let url = through(&cluster.superuser_url(), &cluster, port);
    (cluster, daemon, url, port)
}

fn warnings(daemon: &Daemon) -> usize {
    daemon.log().lines().filter(|line| line.contains("clients could not log in")).count()
}

#[tokio::test]
async fn silent_sockets_keep_nobody_out_who_has_the_password() {
    let (_cluster, daemon, url, port) = pool(&["max_clients: 4"]).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Less than a whole packet.
        socket.write_all(b"\0\0\0").await.unwrap();
        silent.push(socket);
    }
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (client, _) = connect(&url).await;
        client.simple_query("SELECT 1").await.unwrap();
        clients.push(client);
    }
    assert!(began.elapsed() < SOON, "let in after {:?}", began.elapsed());
    let displaced = [("target", "db"), ("reason", "displaced")];
    let count = daemon.metric("pgtether_pool_login_failures_total", &displaced).await.unwrap();
    // 512 have room. One more goes for the first client, whose slot is then free for the next ones.
    assert!((88.0..=92.0).contains(&count), "{count} were displaced");
    assert_eq!(warnings(&daemon), 1, "{}", daemon.log());
    // The slots of those that are let in are all taken, whoever else is silent.
    let error = tokio_postgres::connect(&url, NoTls).await.map(drop).expect_err("one too many");
    assert_eq!(error.code().map(|code| code.code()), Some("53300"), "{error:?}");
}

#[tokio::test]
async fn wrong_passwords_are_slow_and_keep_no_right_one_waiting() {
    let (cluster, daemon, url, _port) = pool(&[]).await;
    let wrong = url.replace(cluster.password(), "guess");
    assert_ne!(wrong, url);
    let began = Instant::now();
    let guesses = async {
        let guess = async || tokio_postgres::connect(&wrong, NoTls).await.map(drop).expect_err("let in");
        let errors = join_all((0..40).map(|_| guess())).await;
        (errors.iter().filter(|error| error.code().is_some()).count(), began.elapsed())
    };
    let right = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        let (client, _) = connect(&url).await;
        client.simple_query("SELECT 1").await.unwrap();
        began.elapsed()
    };
    let ((told, took), right) = tokio::join!(guesses, right);
    // One is answered and 16 wait, and where the 40 come slowly a few more.
    assert!((10..=24).contains(&told), "{told} were told, the others hung up on");
    assert!(took >= Duration::from_millis(300) * told as u32, "{told} guesses took {took:?}");
    assert!(right < took / 2, "the right password waited for {right:?}, the wrong ones for {took:?}");
    let password = [("target", "db"), ("reason", "password")];
    daemon.await_metric(SOON, "pgtether_pool_login_failures_total", &password, 40.0).await;
    assert_eq!(warnings(&daemon), 1, "{}", daemon.log());
}

#[tokio::test]
async fn each_reason_is_counted_apart() {
    let (_cluster, daemon, url, port) = pool(&["max_clients: 1"]).await;
    let elsewhere = format!("{}/template1", url.rsplit_once('/').unwrap().0);
    tokio_postgres::connect(&elsewhere, NoTls).await.map(drop).expect_err("let in");
    let mut web = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (_client, _) = connect(&url).await;
    tokio_postgres::connect(&url, NoTls).await.map(drop).expect_err("let in");
    for (reason, count) in
        [("database", 1.0), ("protocol", 1.0), ("max_clients", 1.0), ("password", 0.0), ("displaced", 0.0)]
    {
        let labels = [("target", "db"), ("reason", reason)];
        daemon.await_metric(SOON, "pgtether_pool_login_failures_total", &labels, count).await;
    }
    // A port check is no failure.
    drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_ended_wherever_it_has_come_to() {
    let (_cluster, daemon, _url, port) = pool(&["login_timeout: 1s"]).await;
    let whole = startup("postgres", "postgres");
    for (number, sent) in [&b""[..], &whole[..6], &whole].into_iter().enumerate() {
        let mut raw = Raw::connect(port).await;
        raw.send(sent).await;
        let said = raw.until_closed().await;
        if sent.len() == whole.len() {
            assert_eq!(error_field(&said, b'C').as_deref(), Some("57014"), "{said:?}");
        }
        let labels = [("target", "db"), ("reason", "timeout")];
        let count = if number == 0 { 0.0 } else { number as f64 };
        daemon.await_metric(SOON, "pgtether_pool_login_failures_total", &labels, count).await;
    }
}
