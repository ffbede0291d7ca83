//! The end of a run: not ready first, sessions closed, in time, whatever the servers do.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtether::demo::postgres::free_port;

use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, postgres15};
use crate::supervise::{SERVICE, await_log, config, up};

const LIMIT: Duration = Duration::from_secs(3);

/// Tells it to end, and demands that it drains within the limit.
async fn ends_in_time(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGTERM);
    let told = Instant::now();
    let ended = daemon.exited(LIMIT).await;
    assert!(told.elapsed() < LIMIT, "{:?}", told.elapsed());
    assert_eq!(ended.code(), Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn a_drained_daemon_was_not_ready_first_exits_0_and_leaves_no_session() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = up(&config(&cluster.superuser_url(), &["refresh: {every: 1s}"])).await;
        assert_eq!(daemon.get("/readyz").await.status, 200);
        assert_eq!(admin.sessions(SERVICE).await, 1);

        daemon.signal(signal);
        let told = Instant::now();
        let ready = async || match daemon.get("/readyz").await {
            answer if answer.status == 500 => Ok(answer.text()),
            answer => Err(answer.text()),
        };
        let said = wait_until(LIMIT, "not ready", ready).await;
        assert!(said.contains("shutdown"), "the probe says why: {said}");
        assert_eq!(daemon.get("/livez").await.status, 200, "what drains is alive");
        let ended = daemon.exited(LIMIT).await;
        let took = told.elapsed();

        assert_eq!(ended.code(), Some(0), "{signal}: {ended:?}");
        assert!(took < LIMIT, "{signal}: {took:?}");
        // The server's process may outlive its socket by a moment.
        let gone = async || match admin.sessions(SERVICE).await {
            0 => Ok(()),
            some => Err(format!("{some} sessions")),
        };
        wait_until(Duration::from_millis(500), "no session", gone).await;
        assert!(!cluster.log().contains("unexpected EOF"), "we say goodbye:\n{}", cluster.log());
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let cluster = postgres15();
    let mut daemon = up(&config(&cluster.superuser_url(), &[])).await;
    // The server that hangs holds the drain up for as long as that may take.
    cluster.pause();
    daemon.signal(Signal::SIGTERM);
    await_log(&daemon, "draining").await;
    daemon.signal(Signal::SIGTERM);
    let again = Instant::now();
    let ended = daemon.exited(LIMIT).await;
    let took = again.elapsed();
    assert!(took < Duration::from_millis(250), "ended {took:?} after the second signal");
    assert_eq!(ended.code().or(ended.signal().map(|s| 128 + s)), Some(143), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hold_the_end_up() {
    let cluster = postgres15();
    let mut daemon = up(&config(&cluster.superuser_url(), &["ping: {interval: 1s, timeout: 200ms}"])).await;
    cluster.pause();
    tokio::time::sleep(Duration::from_millis(500)).await;
    ends_in_time(&mut daemon).await;
}

#[tokio::test]
async fn it_ends_in_time_while_it_is_starting_or_its_databases_are_gone() {
    let cluster = postgres15();
    cluster.pause();
    let hung = cluster.superuser_url();
    let dead = format!("postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let dns = "postgresql://app@nowhere.invalid/db".to_owned();
    for url in [hung, dead, dns] {
        let mut daemon = Daemon::start(&config(&url, &[]));
        ends_in_time(&mut daemon).await;
    }
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_open_does_not_hold_the_end_up() {
    let cluster = postgres15();
    let mut daemon = up(&config(&cluster.superuser_url(), &[])).await;
    let idle = tokio::net::TcpStream::connect(daemon.address()).await.unwrap();
    let mut half = tokio::net::TcpStream::connect(daemon.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET /metrics HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    ends_in_time(&mut daemon).await;
    drop((idle, half));
}
