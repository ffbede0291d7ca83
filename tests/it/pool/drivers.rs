//! The drivers' scripts of `tests/drivers`: psycopg 3, asyncpg, node-postgres, Postgres.js, pgjdbc and pgx.

use std::fs;

use futures_util::future::join_all;
use pgtether::demo::postgres::Setup;

use super::{TwoPools, Way, java, node, passes, pgx, python};
use crate::certs::{Authority, with_tls};
use crate::servers::{Admin, Version, postgres};

/// As many sessions as clients, where each keeps its own; few for many otherwise.
const SIZES: [u32; 2] = [24, 3];

/// A server that takes every way to connect that its clients know.
fn setup() -> Setup {
    let authority = Authority::new("test authority");
    with_tls(Setup::default(), &authority, &authority.server())
}

/// The most memory that a process has held so far, in MiB.
pub fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn psycopg_does_through_the_pool_what_it_does_without() {
    let cluster = postgres(Version::V18, setup());
    let pools = TwoPools::open(&cluster, SIZES, &[]).await;
    let before = peak(pools.daemon.pid());
    join_all(Way::ALL.map(async |way| {
        for script in ["psycopg_uses.py", "psycopg_sessions.py"] {
            passes(&mut python(script, pools.url(way), &[way.word()])).await;
        }
    }))
    .await;
    // Values of 64 MiB went both ways in both modes.
    let more = peak(pools.daemon.pid()) - before;
    assert!(more < 32, "{more} MiB of memory were taken for what only passes through");
}

#[tokio::test]
async fn clients_on_one_session_keep_their_settings_and_statements_apart() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [1, 1], &[]).await;
    let url = pools.url(Way::Transaction);
    let statements = [
        "transaction",
        "prepared_statements_of_two_clients_do_not_meet",
        "more_prepared_statements_than_are_kept_still_work",
    ];
    passes(&mut python("psycopg_uses.py", url, &statements)).await;
    let sessions = [
        "transaction",
        "the_server_is_told_as_it_is",
        "notices_arrive_at_their_client",
        "settings_of_two_clients_do_not_mix",
        "settings_of_the_startup_hold",
        "a_setting_of_a_transaction_ends_with_it",
        "a_client_that_dies_in_a_transaction_leaves_nothing",
        "many_async_connections_share_the_pool",
    ];
    passes(&mut python("psycopg_sessions.py", url, &sessions)).await;
}

#[tokio::test]
async fn drivers_do_the_same_where_statements_without_a_name_are_kept_prepared() {
    let cluster = postgres(Version::V15, Setup::default().set("max_connections", 120));
    let pools = TwoPools::open(&cluster, [24, 4], &["prepare_unnamed: true"]).await;
    let url = pools.url(Way::Transaction);
    for script in ["psycopg_uses.py", "psycopg_sessions.py", "asyncpg_uses.py"] {
        passes(&mut python(script, url, &["transaction"])).await;
    }
    passes(&mut node("node_uses.mjs", url, &["transaction"])).await;
}

#[tokio::test]
async fn asyncpg_does_through_the_pool_what_it_does_without() {
    // Fifty connections at once come directly, too.
    let cluster = postgres(Version::V15, Setup::default().set("max_connections", 120));
    let pools = TwoPools::open(&cluster, [24, 4], &[]).await;
    join_all(Way::ALL.map(async |way| {
        passes(&mut python("asyncpg_uses.py", pools.url(way), &[way.word()])).await;
    }))
    .await;
}

#[tokio::test]
async fn node_does_through_the_pool_what_it_does_without() {
    let cluster = postgres(Version::V18, setup());
    let pools = TwoPools::open(&cluster, SIZES, &[]).await;
    join_all(Way::ALL.map(async |way| {
        passes(&mut node("node_uses.mjs", pools.url(way), &[way.word()])).await;
    }))
    .await;
}

#[tokio::test]
async fn pgjdbc_and_pgx_do_through_the_pool_what_they_do_without() {
    let cluster = postgres(Version::V18, setup());
    let pools = TwoPools::open(&cluster, SIZES, &[]).await;
    join_all(Way::ALL.map(async |way| {
        // Tables are altered over a connection that no pool sees.
        let direct = cluster.url("postgres", cluster.password(), way.word());
        passes(java(pools.url(way), &[way.word()]).env("DIRECT_URL", direct)).await;
        passes(&mut pgx(pools.url(way), &[way.word()])).await;
    }))
    .await;
}

#[tokio::test]
async fn clients_whose_last_thing_is_a_pipeline_hold_no_session_and_outlive_its_idle_limit() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [1, 1], &[]).await;
    let admin = Admin::of(&cluster).await;
    // A session that a client held would be closed meanwhile, with its client.
    admin.query("ALTER DATABASE transaction SET idle_session_timeout = '1s'").await;
    admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'transaction'").await;
    let url = pools.url(Way::Transaction);
    let last = ["transaction", "the_last_thing_is_a_pipeline_behind_which_others_come"];
    let clients = [
        python("psycopg_uses.py", url, &last),
        python("asyncpg_uses.py", url, &["transaction", "many_rows_at_once_come_last_and_hold_nothing"]),
        node("node_uses.mjs", url, &["transaction", "the last thing is a pipeline behind which others come"]),
        java(url, &last),
        pgx(url, &last),
    ];
    join_all(clients.map(async |mut client| passes(client.env("PAUSE", "3")).await)).await;
    admin.close().await;
}
