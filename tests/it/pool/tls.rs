//! TLS towards clients, by hand.

use std::time::Duration;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::Setup;
use pgtether::protocol::frontend::{CANCEL_REQUEST, packet, query, terminate};

use super::wire::Raw;
use super::{await_listening, one_pool};
use crate::process::Daemon;
use crate::servers::{Version, postgres};
use crate::wire::{message, startup};

/// libpq takes a connection that breaks off for an attack: since 17, it tells of a cancel request that way.
#[tokio::test]
async fn tls_ends_by_its_own_message_however_a_client_comes_to_its_end() {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &["auth: trust"]);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    let login = async || {
        let mut client = Raw::tls(port).await;
        client.send(&startup("postgres", "postgres")).await;
        let messages = client.until_ready().await;
        let key = messages.into_iter().find(|(kind, _)| *kind == b'K').expect("no key").1;
        (client, key)
    };

    let (mut asleep, key) = login().await;
    asleep.send(&query("SELECT pg_sleep(60)")).await;
    let wrong = [&key[..4], &[0; 4]].concat();
    for (what, key) in [("of nobody", wrong), ("of a query", key.clone()), ("of an idle client", key)] {
        let mut cancel = Raw::tls(port).await;
        cancel.send(&packet(CANCEL_REQUEST, &key)).await;
        assert_eq!(cancel.closed_properly().await, b"", "a cancel request {what}");
        if what == "of a query" {
            asleep.until_ready().await;
        }
    }
    asleep.send(&terminate()).await;
    assert_eq!(asleep.closed_properly().await, b"", "Terminate");

    let mut mallory = Raw::tls(port).await;
    mallory.send(&startup("mallory", "postgres")).await;
    assert!(mallory.closed_properly().await.starts_with(b"E"), "another user");

    let mut gone = Raw::tls(port).await;
    gone.finish().await;
    assert_eq!(gone.closed_properly().await, b"", "the client has closed its own half");

    let (mut violent, _) = login().await;
    violent.send(&message(b'z', b"")).await;
    assert!(violent.closed_properly().await.starts_with(b"E"), "a message that no client sends");

    let (mut idle, _) = login().await;
    let (mut busy, _) = login().await;
    busy.send(&query("BEGIN")).await;
    busy.until_ready().await;
    daemon.signal(Signal::SIGTERM);
    assert!(idle.closed_properly().await.starts_with(b"E"), "the end of the pool");
    busy.send(&query("COMMIT")).await;
    busy.until_ready().await;
    assert!(busy.closed_properly().await.starts_with(b"E"), "the end of the pool after a transaction");
}

#[tokio::test]
async fn tls_ends_by_its_own_message_where_a_client_has_taken_too_long() {
    let cluster = postgres(Version::V15, Setup::default());
    let keys =
        ["auth: trust", "login_timeout: 2s", "client_idle_timeout: 1s", "idle_transaction_timeout: 300ms"];
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &keys);
    let _daemon = Daemon::start(&config);
    await_listening(port).await;
    for (what, sent, sqlstate) in [
        ("idle", None, "57P05"),
        ("idle in a transaction", Some("BEGIN"), "25P03"),
        ("no login", None, "57014"),
    ] {
        let mut raw = Raw::tls(port).await;
        if what != "no login" {
            raw.send(&startup("postgres", "postgres")).await;
            raw.until_ready().await;
        }
        if let Some(sql) = sent {
            raw.send(&query(sql)).await;
            raw.until_ready().await;
        }
        let last = raw.closed_properly().await.escape_ascii().to_string();
        assert!(last.contains(&format!("C{sqlstate}")), "{what}: {last}");
    }
}

#[tokio::test]
async fn tls_ends_by_its_own_message_where_a_client_is_cut_off_at_the_end_of_a_drain() {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &["auth: trust"]);
    let mut daemon = Daemon::start(&config);
    await_listening(port).await;
    let mut stuck = Vec::new();
    for sql in ["BEGIN", "SELECT pg_sleep(60)"] {
        let mut client = Raw::tls(port).await;
        client.send(&startup("postgres", "postgres")).await;
        client.until_ready().await;
        client.send(&query(sql)).await;
        stuck.push((sql, client));
    }
    stuck[0].1.until_ready().await;
    daemon.signal(Signal::SIGTERM);
    daemon.exited(Duration::from_secs(16)).await;
    for (sql, mut client) in stuck {
        assert!(client.closed_properly().await.starts_with(b"E"), "{sql}");
    }
}
