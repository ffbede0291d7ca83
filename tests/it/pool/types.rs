//! Tables that change: who prepares a text after that gets what the server has now, whoever prepared the same text before.

use pgtether::demo::postgres::Setup;
use pgtether::protocol::frontend::query;

use super::wire::Raw;
use super::{TwoPools, Way};
use crate::servers::{Version, postgres};
use crate::wire::{Message, error_field, kinds, message, text};

/// The types of a statement's parameters, as ParameterDescription has them, and of its columns.
const INT4: u32 = 23;
const INT8: u32 = 20;

fn prepare(name: &str, sql: &str) -> Vec<u8> {
    let parse = message(b'P', &[&text(&[name, sql])[..], &[0, 0]].concat());
    let describe = message(b'D', &text(&[&format!("S{name}")]));
    [parse, describe, message(b'S', b"")].concat()
}

/// Binds one value as text, or none, and executes.
fn run(name: &str, values: &[&str]) -> Vec<u8> {
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let mut bind = [&text(&["", name])[..], &[0, 0], &count].concat();
    for value in values {
        bind.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        bind.extend(value.as_bytes());
    }
    bind.extend([0, 0]);
    [message(b'B', &bind), message(b'E', &[0; 5]), message(b'S', b"")].concat()
}

/// Parameters' types as they are described.
fn parameters(answers: &[Message]) -> Vec<u32> {
    let (_, body) = answers.iter().find(|(kind, _)| *kind == b't').expect("no ParameterDescription");
    body[2..].chunks_exact(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap())).collect()
}

fn columns(answers: &[Message]) -> usize {
    let (_, body) = answers.iter().find(|(kind, _)| *kind == b'T').expect("no RowDescription");
    usize::from(u16::from_be_bytes([body[0], body[1]]))
}

/// Prepares, describes and runs it; what was described, and what was answered to the execution.
async fn use_once(raw: &mut Raw, name: &str, sql: &str, values: &[&str]) -> (Vec<u32>, usize, String) {
    raw.send(&prepare(name, sql)).await;
    let described = raw.until_ready().await;
    raw.send(&run(name, values)).await;
    (parameters(&described), columns(&described), kinds(&raw.until_ready().await))
}

async fn open(keys: &[&str]) -> (pgtether::demo::postgres::Cluster, TwoPools) {
    let cluster = postgres(Version::V15, Setup::default().hba("host all all 127.0.0.1/32 trust"));
    let pools = TwoPools::open(&cluster, [4, 4], &[&["auth: trust"], keys].concat()).await;
    (cluster, pools)
}

#[tokio::test]
async fn who_prepares_after_a_table_has_changed_gets_its_types_and_columns_of_now() {
    const ASKED: [&[(&str, &str)]; 2] = [&[], &[("TimeZone", "Asia/Tokyo")]];
    for keys in [&[][..], &["prepare_unnamed: true"]] {
        let (_cluster, pools) = open(keys).await;
        for way in Way::POOLED {
            let log_in = async |asked: &[(&str, &str)]| {
                let who = [("user", "postgres"), ("database", way.word())];
                Raw::login_asking(pools.port(way), &[&who[..], asked].concat()).await
            };
            let mut owner = log_in(&[]).await;
            owner.send(&query("CREATE TABLE t (id int, n int); INSERT INTO t VALUES (5, 1)")).await;
            owner.until_ready().await;
            for name in ["s", ""] {
                for (change, types, count, id) in [
                    ("SELECT 1", INT4, 2, "5"),
                    (
                        "ALTER TABLE t ALTER id TYPE bigint; UPDATE t SET id = 5000000000",
                        INT8,
                        2,
                        "5000000000",
                    ),
                    ("ALTER TABLE t ADD COLUMN more int", INT8, 3, "5000000000"),
                    (
                        "BEGIN; ALTER TABLE t DROP COLUMN more; ALTER TABLE t ALTER id TYPE int USING 5; COMMIT",
                        INT4,
                        2,
                        "5",
                    ),
                ] {
                    owner.send(&query(change)).await;
                    owner.until_ready().await;
                    for asked in ASKED.repeat(3) {
                        let mut raw = log_in(asked).await;
                        let seen = use_once(&mut raw, name, "SELECT * FROM t WHERE id = $1", &[id]).await;
                        assert_eq!(
                            seen,
                            (vec![types], count, "2DCZ".to_owned()),
                            "{way:?} {name:?} {change}"
                        );
                    }
                }
            }
        }
    }
}

/// Asks on a session of its own; the answer's only value.
async fn value(raw: &mut Raw, sql: &str) -> String {
    raw.send(&query(sql)).await;
    let answers = raw.until_ready().await;
    let (_, row) = answers.iter().rfind(|(kind, _)| *kind == b'D').expect("no row");
    String::from_utf8_lossy(&row[6..]).into_owned()
}

#[tokio::test]
async fn who_was_told_other_types_than_another_session_has_gets_postgresqls_own_error() {
    const MOST: usize = 4;
    let (cluster, pools) = open(&[]).await;
    for way in [Way::Direct, Way::Transaction] {
        let port = if way == Way::Direct { cluster.port() } else { pools.port(way) };
        let log_in = async || Raw::login(port, "postgres", way.word()).await;
        let mut owner = Raw::login(cluster.port(), "postgres", way.word()).await;
        for (change, fails, columns_then) in [
            ("ALTER TABLE t ALTER id TYPE bigint", true, 2),
            ("ALTER TABLE t ADD COLUMN more int", true, 3),
            ("ALTER TABLE t RENAME n TO m", true, 2),
            ("DROP TABLE t; CREATE TABLE t (id int, n int); INSERT INTO t VALUES (5, 1)", false, 2),
        ] {
            let anew = "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, n int); INSERT INTO t VALUES (5, 1)";
            owner.send(&query(anew)).await;
            owner.until_ready().await;
            // Each its own: what sessions have of an earlier one is as old as that.
            let sql = format!("SELECT * FROM t WHERE id = $1 /* {change} */");
            let mut raw = log_in().await;
            raw.send(&query("BEGIN")).await;
            raw.until_ready().await;
            assert_eq!(use_once(&mut raw, "s", &sql, &["5"]).await, (vec![INT4], 2, "2DCZ".to_owned()));
            let session = value(&mut raw, "SELECT pg_backend_pid()").await;
            raw.send(&query("COMMIT")).await;
            raw.until_ready().await;
            // Others hold the session meanwhile.
            let mut busy = Vec::new();
            while way == Way::Transaction && busy.len() < MOST - 1 {
                let mut other = log_in().await;
                let held = value(&mut other, "BEGIN; SELECT pg_backend_pid()").await;
                busy.push(other);
                if held == session {
                    break;
                }
            }
            owner.send(&query(change)).await;
            owner.until_ready().await;

            raw.send(&run("s", &["5"])).await;
            let answers = raw.until_ready().await;
            let told = [b'C', b'M', b'R'].map(|field| error_field(&answers, field));
            let outdated = ["0A000", "cached plan must not change result type", "RevalidateCachedQuery"];
            let expected =
                if fails { outdated.map(|text| Some(text.to_owned())) } else { [None, None, None] };
            assert_eq!(told, expected, "{way:?} {change}");
            assert_eq!(kinds(&answers), if fails { "EZ" } else { "2DCZ" }, "{way:?} {change}");
            // As drivers do it: the statement is prepared again.
            raw.send(&message(b'C', &text(&["Ss"]))).await;
            let seen = use_once(&mut raw, "s", &sql, &["5"]).await;
            assert_eq!((seen.1, seen.2), (columns_then, "2DCZ".to_owned()), "{way:?} {change}");
        }
    }
    // What a server logs is what has failed there.
    assert!(!cluster.log().contains("pgtether_0"), "{}", cluster.log());
}
