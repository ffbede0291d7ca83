//! `pg_dump` and `pg_restore` through the pool: the same comes out as without, and nobody meets the settings that they
//! make.

use std::path::Path;

use futures_util::future::join_all;
use pgtether::demo::postgres::Setup;
use pgtether::demo::scratch::Scratch;
use tokio_postgres::Client;

use super::rust::connect;
use super::{TwoPools, Way, client, passes};
use crate::servers::{Version, postgres};

/// They have a leader beside them: together they take all sessions that clients share.
const WORKERS: &str = "2";
const SESSIONS: u32 = 3;

/// Some of each kind that a dump treats in its own way.
const MADE: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE SCHEMA \"Odd schema\";
    CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, m mood DEFAULT 'ok');
    CREATE TABLE \"Odd schema\".calls (person int REFERENCES people, said text, at timestamptz, cost float8);
    CREATE INDEX ON \"Odd schema\".calls (at);
    CREATE VIEW sad AS SELECT * FROM people WHERE m = 'sad';
    CREATE FUNCTION double(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
    ALTER TABLE people ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON people USING (name = current_user);
    INSERT INTO people (name, m) SELECT 'żółć ' || g, CASE g % 2 WHEN 0 THEN 'sad' ELSE 'ok' END::mood
        FROM generate_series(1, 5000) g;
    INSERT INTO \"Odd schema\".calls SELECT g, E'tab\\t\\\\ line\\n' || g, '2026-01-01'::timestamptz + g * '1 h'::interval,
        g / 3.0 FROM generate_series(1, 5000) g;
    SELECT lo_from_bytea(4711, '\\x00ff5c');
";

/// What both programs set for themselves.
const SETTINGS: [&str; 8] = [
    "search_path",
    "row_security",
    "statement_timeout",
    "lock_timeout",
    "DateStyle",
    "IntervalStyle",
    "extra_float_digits",
    "default_transaction_isolation",
];

async fn settings(client: &Client) -> Vec<String> {
    let mut seen = Vec::new();
    for name in SETTINGS {
        let row = client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap();
        seen.push(format!("{name}={}", row.get::<_, String>(0)));
    }
    seen
}

/// What clients see on all sessions of the pool, each of which one of them holds meanwhile; the first has a search path
/// of its own.
async fn all_see(clients: &[Client], wanted: &[String], after: &str) {
    for client in clients {
        client.batch_execute("BEGIN").await.unwrap();
    }
    for (i, client) in clients.iter().enumerate() {
        let mut wanted = wanted.to_vec();
        if i == 0 {
            wanted[0] = "search_path=pg_temp".to_owned();
        }
        assert_eq!(settings(client).await, wanted, "client {i} after {after}");
    }
    for client in clients {
        client.batch_execute("COMMIT").await.unwrap();
    }
}

/// A dump as SQL. Each has a word of its own against what is in it.
async fn dump(url: &str) -> String {
    without_its_word(&passes(client("pg_dump").args(["-d", url])).await)
}

/// The same from a folder that several workers have written at the same time.
async fn dump_in_parallel(url: &str, folder: &Path) -> String {
    passes(client("pg_dump").args(["-d", url, "-Fd", "-j", WORKERS, "-f"]).arg(folder)).await;
    let sql = passes(client("pg_restore").args(["-f", "-"]).arg(folder)).await;
    without_its_word(&sql)
}

fn without_its_word(sql: &str) -> String {
    sql.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn pg_dump_and_pg_restore_do_the_same_through_the_pool_and_leave_nothing() {
    let cluster = postgres(Version::V15, Setup::default());
    let pools = TwoPools::open(&cluster, [2 * SESSIONS, SESSIONS], &[]).await;
    join_all(Way::POOLED.map(async |way| {
        let scratch = Scratch::new().unwrap();
        let direct = cluster.url("postgres", cluster.password(), way.word());
        let (maker, _) = connect(&direct).await;
        maker.batch_execute(MADE).await.unwrap();
        let url = pools.url(way);
        let mut clients = Vec::new();
        for _ in 0..SESSIONS {
            clients.push(connect(url).await.0);
        }
        let wanted = settings(&clients[0]).await;
        clients[0].batch_execute("SET search_path = pg_temp").await.unwrap();

        let before = dump(&direct).await;
        assert!(before.contains("żółć 5000") && before.contains("4711"), "{before}");
        assert_eq!(dump(url).await, before, "{way:?}");
        all_see(&clients, &wanted, "pg_dump").await;
        let folder = scratch.path().join("pooled");
        let in_parallel = dump_in_parallel(&direct, &scratch.path().join("direct")).await;
        assert_eq!(dump_in_parallel(url, &folder).await, in_parallel, "{way:?}");
        all_see(&clients, &wanted, "a parallel pg_dump").await;

        maker.batch_execute("TRUNCATE people CASCADE; SELECT lo_unlink(4711)").await.unwrap();
        for more in [&["-j", WORKERS][..], &["--single-transaction"]] {
            let mut restore = client("pg_restore");
            passes(restore.args(["-d", url, "--clean", "--if-exists"]).args(more).arg(&folder)).await;
            all_see(&clients, &wanted, "pg_restore").await;
            assert_eq!(dump(&direct).await, before, "{way:?}, after pg_restore {more:?}");
        }
        // psql reads the dump as SQL.
        let sql = scratch.path().join("dump.sql");
        let plain = passes(client("pg_dump").args(["-d", url, "--clean", "--if-exists"])).await;
        std::fs::write(&sql, plain).unwrap();
        passes(client("psql").args(["-d", url, "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&sql)).await;
        all_see(&clients, &wanted, "psql read a dump").await;
        assert_eq!(dump(&direct).await, before, "{way:?}, after psql");
    }))
    .await;
}
