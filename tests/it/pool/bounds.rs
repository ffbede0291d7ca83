//! Clients that ask for much at once, that send long texts, and that stop: what is held for them is bounded, and they are
//! served as without a pool.

use std::time::Duration;

use futures_util::future::join;
use pgtether::demo::postgres::{Cluster, Setup};
use pgtether::protocol::frontend::query;

use tokio::io::AsyncWriteExt;

use super::drivers::peak;
use super::wire::Raw;
use super::{await_listening, one_pool};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::wire::{error_field, kinds, message, text};

async fn pool(keys: &[&str]) -> (Cluster, Daemon, u16) {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &[&["auth: trust"], keys].concat());
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    (cluster, daemon, port)
}

async fn login(port: u16) -> Raw {
    Raw::login(port, "postgres", "postgres").await
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[&text(&[name, sql])[..], &[0, 0]].concat())
}

/// Bind of a statement to one value, and Execute.
fn execute(name: &str, value: &str) -> Vec<u8> {
    let length = (value.len() as u32).to_be_bytes();
    let bind = [&text(&["", name])[..], &[0, 0, 0, 1], &length, value.as_bytes(), &[0, 0]].concat();
    [message(b'B', &bind), message(b'E', &[0; 5])].concat()
}

fn describe(name: &str) -> Vec<u8> {
    message(b'D', &text(&[&format!("S{name}")]))
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

async fn answers(raw: &mut Raw, times: usize) -> String {
    let mut seen = String::new();
    for _ in 0..times {
        seen.push_str(&kinds(&raw.until_ready().await));
    }
    seen
}

#[tokio::test]
async fn what_a_client_pipelines_takes_no_more_memory_than_it_has_sent() {
    let (_cluster, daemon, port) = pool(&["size: 2"]).await;
    let mut raw = login(port).await;
    answers_to(&mut raw, &query("SELECT 1")).await;
    let before = peak(daemon.pid());
    let sleep = query("SELECT pg_sleep(1)");
    // Thousands of small messages stand behind an unanswered Parse.
    let named =
        [&sleep[..], &parse("a", &long(999_000)), &sync(), &[describe("a"), sync()].concat().repeat(500)];
    raw.send(&named.concat()).await;
    assert!(answers(&mut raw, 502).await.ends_with("tTZ"));
    let unnamed = [parse("", &long(60_000)), sync(), [describe(""), sync()].concat().repeat(2000)];
    raw.send(&unnamed.concat()).await;
    assert!(answers(&mut raw, 2001).await.ends_with("tTZ"));
    let more = peak(daemon.pid()) - before;
    assert!(more < 30, "{more} MiB for a client of 1 MiB");
}

async fn answers_to(raw: &mut Raw, bytes: &[u8]) -> String {
    raw.send(bytes).await;
    answers(raw, 1).await
}

fn long(bytes: usize) -> String {
    format!("SELECT $1::int4 + 1 --{}", "x".repeat(bytes))
}

#[tokio::test]
async fn the_statements_of_all_clients_share_one_budget_and_go_with_them() {
    let (_cluster, daemon, port) = pool(&["size: 4"]).await;
    answers_to(&mut login(port).await, &query("SELECT 1")).await;
    let before = peak(daemon.pid());
    // Twice: what the first have left makes room for the second.
    for round in 0..2 {
        let mut clients = Vec::new();
        let mut refused = 0;
        for client in 0..3 {
            let mut raw = login(port).await;
            for batch in 0..10 {
                let all = (0..200).map(|i| {
                    let sql = format!("SELECT {round}, {client}, {} --{}", batch * 200 + i, "x".repeat(9000));
                    parse(&format!("s{batch}_{i}"), &sql)
                });
                raw.send(&[all.collect::<Vec<_>>().concat(), sync()].concat()).await;
                let seen = raw.until_ready().await;
                if kinds(&seen).contains('E') {
                    assert_eq!(error_field(&seen, b'C').as_deref(), Some("53200"));
                    refused += 1;
                }
            }
            clients.push(raw);
        }
        assert!((1..=20).contains(&refused), "{refused} of 30 batches found no room in round {round}");
        // What there was no room for has harmed nobody.
        for raw in &mut clients {
            assert_eq!(answers_to(raw, &query("SELECT 1")).await, "TDCZ");
        }
    }
    let more = peak(daemon.pid()) - before;
    assert!(more < 60, "{more} MiB for the statements of all clients");
}

#[tokio::test]
async fn statements_of_any_length_work_in_two_round_trips_on_a_session_that_others_use() {
    let (_cluster, _daemon, port) = pool(&["size: 1"]).await;
    let (mut one, mut other) = join(login(port), login(port)).await;
    for name in ["", "a"] {
        for length in [1000, 65_400, 65_600, 300_000, 3_000_000] {
            let prepare = [parse(name, &long(length)), describe(name), sync()].concat();
            assert_eq!(answers_to(&mut one, &prepare).await, "1tTZ", "{name} {length}");
            let others =
                [parse(name, "SELECT 'other'"), message(b'C', &text(&[&format!("S{name}")])), sync()];
            assert_eq!(answers_to(&mut other, &others.concat()).await, "13Z");
            for _ in 0..2 {
                let turn = [execute(name, "41"), sync()].concat();
                one.send(&turn).await;
                let seen = one.until_ready().await;
                assert_eq!(kinds(&seen), "2DCZ", "{name} {length}: {:?}", error_field(&seen, b'M'));
                assert!(seen[1].1.ends_with(b"42"));
            }
            answers_to(&mut one, &[message(b'C', &text(&[&format!("S{name}")])), sync()].concat()).await;
        }
    }
}

#[tokio::test]
async fn pipelines_of_any_length_are_answered() {
    let (_cluster, _daemon, port) = pool(&["size: 1"]).await;
    let raw = login(port).await;
    let one = [parse("", "SELECT $1::int"), execute("", "1")].concat();
    let many = [query("SELECT pg_sleep(0.5)"), one.repeat(80_000), sync()].concat();
    let (mut reader, mut writer) = raw.halves();
    let write = async { writer.write_all(&many).await.unwrap() };
    let read = async {
        answers(&mut reader, 1).await;
        answers(&mut reader, 1).await
    };
    let (seen, ()) = join(read, write).await;
    assert_eq!(seen.len(), 4 * 80_000 + 1);
}

#[tokio::test]
async fn what_was_asked_before_a_client_closed_its_direction_is_answered() {
    for mode in ["transaction", "session"] {
        let (cluster, _daemon, port) = pool(&["size: 1", &format!("mode: {mode}")]).await;
        let mut raw = login(port).await;
        answers_to(&mut raw, &query("SELECT 1")).await;
        // Longer than the pool waits before it looks whether the client is there at all.
        raw.send(&query("SELECT pg_sleep(2.5), 5")).await;
        raw.finish().await;
        let seen = kinds(&raw.until_ready().await).replace('S', "");
        assert_eq!(seen, "TDCZ", "{mode}");
        assert!(raw.message().await.is_none());
        // One that is gone altogether is noticed, and its query is ended.
        let mut gone = Some(login(port).await);
        gone.as_mut().unwrap().send(&query("SELECT pg_sleep(60)")).await;
        let admin = Admin::of(&cluster).await;
        let asleep =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'
            AND pid <> pg_backend_pid()";
        for (count, limit) in [("1", 5), ("0", 15)] {
            wait_until(Duration::from_secs(limit), "the query", async || {
                let seen = admin.query(asleep).await;
                if seen == [count] { Ok(()) } else { Err(format!("{seen:?} of {count} sleep")) }
            })
            .await;
            drop(gone.take());
        }
        admin.close().await;
    }
}

#[tokio::test]
async fn clients_that_stop_are_disconnected_after_their_limits() {
    let keys =
        ["size: 1", "idle_transaction_timeout: 500ms", "client_idle_timeout: 2s", "query_timeout: 700ms"];
    let (_cluster, _daemon, port) = pool(&keys).await;
    let mut raw = login(port).await;
    let mut other = login(port).await;
    // A query that lasts is canceled, and its client stays.
    raw.send(&query("SELECT pg_sleep(30)")).await;
    let seen = raw.until_ready().await;
    assert_eq!(error_field(&seen, b'C').as_deref(), Some("57014"));
    assert_eq!(answers_to(&mut raw, &query("BEGIN")).await, "CZ");
    // The transaction holds the only session.
    other.send(&query("SELECT 1")).await;
    let seen = raw.until_closed().await;
    assert_eq!(error_field(&seen, b'C').as_deref(), Some("25P03"));
    assert_eq!(answers(&mut other, 1).await, "TDCZ");
    let seen = other.until_closed().await;
    assert_eq!(error_field(&seen, b'C').as_deref(), Some("57P05"));
}
