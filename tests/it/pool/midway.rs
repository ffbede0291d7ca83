//! Clients in the middle of something that looks like its end: nobody else may have their session yet.

use pgtether::demo::postgres::{Cluster, Setup};
use pgtether::protocol::frontend::{query, terminate};

use super::wire::Raw;
use super::{await_listening, one_pool};
use crate::process::Daemon;
use crate::servers::{Version, postgres};
use crate::supervise::{DB, SOON};
use crate::wire::{kinds, message, text};

/// A pool of one session: who gets one while another is at it gets that one.
async fn one_session() -> (Cluster, Daemon, u16) {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &["auth: trust", "size: 1"]);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    (cluster, daemon, port)
}

/// Parse, Bind and Execute, and no Sync.
fn unsynced(sql: &str) -> Vec<u8> {
    let parse = message(b'P', &[&text(&["", sql])[..], &[0, 0]].concat());
    [parse, message(b'B', b"\0\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0")].concat()
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Reads on until a message of this type.
async fn until(raw: &mut Raw, kind: u8) -> String {
    let mut seen = Vec::new();
    loop {
        let next = raw.message().await.unwrap_or_else(|| panic!("closed after {}", kinds(&seen)));
        let is_it = next.0 == kind;
        seen.push(next);
        if is_it {
            return kinds(&seen);
        }
    }
}

#[tokio::test]
async fn a_copy_keeps_its_session_wherever_its_syncs_fall() {
    let (_cluster, _daemon, port) = one_session().await;
    let mut copier = Raw::login(port, "postgres", "postgres").await;
    let mut other = Raw::login(port, "postgres", "postgres").await;
    copier.send(&query("CREATE TABLE midway (v int)")).await;
    copier.until_ready().await;
    // The Sync behind the Execute comes before the server asks for data, or after; the one behind the data, with it or
    // later.
    for (before, late) in [(true, false), (true, true), (false, false), (false, true)] {
        let begin = [unsynced("COPY midway FROM STDIN"), if before { sync() } else { message(b'H', b"") }];
        copier.send(&begin.concat()).await;
        assert_eq!(until(&mut copier, b'G').await, "12G");
        if !before {
            copier.send(&sync()).await;
        }
        copier.send(&message(b'd', b"1\n")).await;
        other.send(&query("SELECT count(*) FROM midway")).await;
        assert!(other.is_silent().await, "it got the session of a COPY");
        copier.send(&message(b'c', b"")).await;
        if late {
            assert!(other.is_silent().await, "it got the session before the COPY was committed");
        }
        copier.send(&sync()).await;
        assert_eq!(kinds(&copier.until_ready().await), "CZ", "before {before}, late {late}");
        assert_eq!(kinds(&other.until_ready().await), "TDCZ");
    }
    other.send(&query("SELECT v FROM midway")).await;
    assert_eq!(kinds(&other.until_ready().await), "TDDDDCZ", "four lines, each once");
}

#[tokio::test]
async fn what_is_not_synced_keeps_its_session() {
    let (_cluster, _daemon, port) = one_session().await;
    let mut client = Raw::login(port, "postgres", "postgres").await;
    let mut other = Raw::login(port, "postgres", "postgres").await;
    client.send(&[unsynced("SELECT 1"), message(b'H', b"")].concat()).await;
    assert_eq!(until(&mut client, b'C').await, "12DC");
    other.send(&query("SELECT 2")).await;
    assert!(other.is_silent().await, "it got the session before the Sync");
    // A query ends it as well, and then the session is free without a Sync.
    client.send(&query("SELECT 3")).await;
    assert_eq!(kinds(&client.until_ready().await), "TDCZ");
    assert_eq!(kinds(&other.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn the_end_of_a_copy_that_has_failed_disturbs_nothing() {
    let (_cluster, _daemon, port) = one_session().await;
    let mut client = Raw::login(port, "postgres", "postgres").await;
    client.send(&query("BEGIN; CREATE TABLE midway (v int); SAVEPOINT s")).await;
    client.until_ready().await;
    client.send(&query("COPY midway FROM STDIN")).await;
    until(&mut client, b'G').await;
    client.send(&message(b'd', b"no number\n")).await;
    assert_eq!(kinds(&client.until_ready().await), "EZ");
    // It has not heard of that yet, and goes on.
    client.send(&[message(b'd', b"1\n"), message(b'c', b"")].concat()).await;
    for _ in 0..2 {
        client.send(&[unsynced("ROLLBACK TO s"), sync()].concat()).await;
        assert_eq!(kinds(&client.until_ready().await), "12CZ");
        let parse = message(b'P', &[&text(&["named", "SELECT 1"])[..], &[0, 0]].concat());
        let close = message(b'C', b"Snamed\0");
        client.send(&[parse, close, sync()].concat()).await;
        assert_eq!(kinds(&client.until_ready().await), "13Z");
    }
    client.send(&query("ROLLBACK")).await;
    let mut other = Raw::login(port, "postgres", "postgres").await;
    other.send(&query("SELECT 1")).await;
    assert_eq!(kinds(&other.until_ready().await), "TDCZ");
}

/// Scripts end their input behind the query; a server answers it first.
#[tokio::test]
async fn who_has_closed_one_direction_waits_on_for_its_answer_and_who_is_gone_does_not() {
    let (_cluster, daemon, port) = one_session().await;
    let login = async || Raw::login(port, "postgres", "postgres").await;
    let waiting = async |wanted: u32| {
        let labels = [DB, &[("state", "waiting")]].concat();
        daemon.await_metric(SOON, "pgtether_pool_clients", &labels, wanted.into()).await;
    };
    let mut holder = login().await;
    holder.send(&query("BEGIN; CREATE TABLE done (what text)")).await;
    holder.until_ready().await;

    let mut half = login().await;
    half.send(&query("INSERT INTO done VALUES ('half') RETURNING what")).await;
    half.finish().await;
    waiting(1).await;

    let mut gone = login().await;
    gone.send(&query("INSERT INTO done VALUES ('gone')")).await;
    waiting(2).await;
    drop(gone);
    waiting(1).await;

    let mut said_goodbye = login().await;
    said_goodbye.send(&query("INSERT INTO done VALUES ('goodbye')")).await;
    waiting(2).await;
    said_goodbye.send(&terminate()).await;
    said_goodbye.finish().await;
    waiting(1).await;

    holder.send(&query("COMMIT")).await;
    holder.until_ready().await;
    let answer = half.until_ready().await;
    let answer: Vec<_> = answer.into_iter().filter(|(kind, _)| *kind != b'S').collect();
    assert_eq!(kinds(&answer), "TDCZ");
    assert!(half.until_closed().await.is_empty());
    holder.send(&query("SELECT string_agg(what, ' ') FROM done")).await;
    let rows = holder.until_ready().await;
    let (_, row) = rows.iter().find(|(kind, _)| *kind == b'D').unwrap();
    assert!(row.ends_with(b"\0\x04half"), "{}", row.escape_ascii());
}
