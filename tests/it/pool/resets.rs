//! What a client resets is what it asked for when it connected, whatever else stands around that: as on PostgreSQL itself,
//! in both modes.

use pgtether::demo::postgres::Setup;
use pgtether::protocol::frontend::query;

use super::wire::Raw;
use super::{TwoPools, Way};
use crate::servers::{Version, postgres};
use crate::wire::{Message, message, text};

const ASKED: [(&str, &str); 3] = [
    ("TimeZone", "Europe/Paris"),
    ("search_path", "tenant1, \"$user\""),
    ("options", "-c statement_timeout=1234 -c app.tenant=7 -c work_mem=7MB"),
];
const LOOK: &str = "SELECT current_setting(n) FROM unnest('{timezone,search_path,statement_timeout,app.tenant,work_mem}'::text[]) n";

/// What is sent, each after the answer to the one before; what all settings are after it is looked at as well.
const TALKS: [&[&str]; 26] = [
    &["SET timezone = 'Etc/UTC'", "RESET timezone"],
    &["SET timezone = 'Etc/UTC'", "/* a; b */ reset -- timezone;\n \"TimeZone\" ;"],
    &["SET timezone = 'Etc/UTC'", "RESET ALL"],
    &["SET timezone = 'Etc/UTC'", "DISCARD ALL"],
    &["SET TIME ZONE 'Asia/Tokyo'", "SET TIME ZONE LOCAL"],
    &["SET timezone = 'Asia/Tokyo'; RESET timezone; SHOW timezone"],
    &[
        "SET timezone = 'Asia/Tokyo'; SET timezone TO DEFAULT; SHOW timezone; SELECT 1; RESET ALL; SHOW timezone",
    ],
    &["SET search_path = other; RESET search_path; SHOW search_path"],
    &["SET work_mem = '9MB'", r#"RESET U&"work\005fmem""#, "SHOW work_mem"],
    &[
        r#"SET U&"app\002etenant" = '8'"#,
        "SELECT current_setting('app.tenant')",
        "SET U&\"app!002etenant\" UESCAPE '!' TO DEFAULT; SELECT current_setting('app.tenant')",
    ],
    &["SET search_path = other; RESET ALL; SHOW search_path; SHOW app.tenant; SELECT 1 / 0; SHOW app.tenant"],
    &["SET app.tenant = '8'; RESET app.tenant; SELECT current_setting('app.tenant')"],
    &[
        "SET app.tenant = '8'",
        "RESET app.tenant",
        "SET lock_timeout = 5; RESET lock_timeout; SHOW lock_timeout",
    ],
    &["BEGIN", "SET timezone = 'Asia/Tokyo'", "RESET timezone", "SHOW timezone", "COMMIT"],
    &["SET timezone = 'Asia/Tokyo'", "BEGIN", "RESET timezone", "SHOW timezone", "ROLLBACK", "SHOW timezone"],
    &[
        "SET timezone = 'Asia/Tokyo'; BEGIN; RESET ALL; SHOW timezone; ROLLBACK; SHOW timezone; RESET timezone",
    ],
    &["BEGIN; SET LOCAL timezone = 'Asia/Tokyo'; SET LOCAL timezone TO DEFAULT; SHOW timezone; COMMIT"],
    &[
        "SET timezone = 'Asia/Tokyo'",
        "BEGIN",
        "SET LOCAL timezone TO DEFAULT",
        "SHOW timezone",
        "COMMIT",
        "SHOW timezone",
    ],
    &[
        "BEGIN",
        "RESET timezone",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "COMMIT",
    ],
    &[
        "BEGIN",
        "RESET ALL",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "COMMIT",
    ],
    &["BEGIN", "SELECT 1 / 0", "RESET timezone", "RESET ALL; SHOW timezone", "ROLLBACK"],
    &["SET statement_timeout = 5000; SET statement_timeout = DEFAULT; SHOW statement_timeout"],
    &["SET timezone = 'Asia/Tokyo'; SAVEPOINT a", "RESET nothing_such", "RESET", "RESET ALL timezone"],
    &["BEGIN; SAVEPOINT a; RESET work_mem; SET work_mem = '9MB'; ROLLBACK TO a; SHOW work_mem; COMMIT"],
    &[
        "SELECT 'RESET timezone; SHOW timezone', E'\\'; RESET ALL;' ; SET timezone = 'Asia/Tokyo'; SHOW timezone",
    ],
    &["SET timezone = 'Asia/Tokyo'; SELECT '\u{e9}', $$; RESET timezone; $$; RESET timezone; SHOW timezone"],
];

/// As a driver sends it, in one piece up to the Sync.
fn extended(name: &str, statements: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, sql) in statements.iter().enumerate() {
        let name = if name.is_empty() { String::new() } else { format!("{name}{number}") };
        bytes.extend(message(b'P', &[&text(&[&name, sql])[..], &[0, 0]].concat()));
        bytes.extend(message(b'B', &[&text(&["", &name])[..], &[0; 6]].concat()));
        bytes.extend(message(b'E', &[0; 5]));
    }
    bytes.extend(message(b'S', b""));
    bytes
}

/// Rows, tags, and the SQLSTATE of errors.
fn words(messages: &[Message], with_tags: bool) -> Vec<String> {
    let kept =
        messages.iter().filter(|(kind, _)| b"DEZ".contains(kind) || with_tags && b"CTI".contains(kind));
    let words = kept.map(|(kind, body)| match kind {
        b'E' => pgtether::protocol::error_field(body, b'C').unwrap_or_default().escape_ascii().to_string(),
        kind => format!("{} {}", char::from(*kind), body.escape_ascii()),
    });
    words.collect()
}

async fn log_in(port: u16, word: &str) -> Raw {
    Raw::login_asking(port, &[&[("user", "postgres"), ("database", word)][..], &ASKED].concat()).await
}

async fn open() -> (pgtether::demo::postgres::Cluster, TwoPools) {
    let cluster = postgres(Version::V15, Setup::default().hba("host all all 127.0.0.1/32 trust"));
    let pools = TwoPools::open(&cluster, [2, 1], &["auth: trust"]).await;
    (cluster, pools)
}

#[tokio::test]
async fn what_is_reset_by_queries_is_what_was_asked_for() {
    let (cluster, pools) = open().await;
    for talk in TALKS {
        let mut wanted = None;
        for way in Way::ALL {
            let port = if way == Way::Direct { cluster.port() } else { pools.port(way) };
            let mut raw = log_in(port, way.word()).await;
            let mut seen = Vec::new();
            for sql in talk.iter().chain([&LOOK]) {
                raw.send(&query(sql)).await;
                seen.extend(words(&raw.until_ready().await, true));
            }
            assert_eq!(wanted.get_or_insert_with(|| seen.clone()), &seen, "{way:?}: {talk:?}");
        }
    }
}

#[tokio::test]
async fn what_is_reset_in_pipelines_is_what_was_asked_for() {
    let (cluster, pools) = open().await;
    for talk in [
        &["SET timezone = 'Asia/Tokyo'", "RESET timezone", "SHOW timezone"][..],
        &["SET timezone = 'Asia/Tokyo'", "SET timezone TO DEFAULT", "SHOW timezone"],
        &[
            "BEGIN",
            "SET LOCAL timezone = 'Asia/Tokyo'",
            "SET LOCAL timezone = DEFAULT",
            "SHOW timezone",
            "ROLLBACK",
        ],
        &["SET search_path = other", "BEGIN", "reset /* now */ search_path", "SHOW search_path", "COMMIT"],
        &["SET app.tenant = '8'", "RESET app.tenant", "SHOW app.tenant", "SELECT 1 / 0", "SHOW app.tenant"],
    ] {
        for name in ["", "s"] {
            let mut wanted = None;
            for way in Way::ALL {
                let port = if way == Way::Direct { cluster.port() } else { pools.port(way) };
                let mut raw = log_in(port, way.word()).await;
                raw.send(&[extended(name, talk), query("ROLLBACK"), query(LOOK)].concat()).await;
                let mut seen = Vec::new();
                for _ in 0..3 {
                    seen.extend(words(&raw.until_ready().await, false));
                }
                assert_eq!(wanted.get_or_insert_with(|| seen.clone()), &seen, "{way:?}, {name:?}: {talk:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_put_right_before_is_put_right_when_its_answer_has_arrived() {
    let (_cluster, pools) = open().await;
    for way in Way::POOLED {
        for back in [
            query("DISCARD ALL"),
            extended("", &["RESET ALL"]),
            extended("", &["DISCARD ALL"]),
            query(&format!("SELECT '{}'; SET timezone TO DEFAULT", "x".repeat(1 << 16))),
            query(r"SELECT '\'; RESET timezone"),
        ] {
            let mut raw = log_in(pools.port(way), way.word()).await;
            raw.send(&query("SET timezone = 'Asia/Tokyo'; SET standard_conforming_strings = on")).await;
            raw.until_ready().await;
            raw.send(&back).await;
            let told = raw.until_ready().await;
            // A driver reads the next answer, and writes the next query, by what it was told. Of a SET that was not read it
            // is not known in time whether it is one back.
            if !words(&told, true).contains(&"C SET\\x00".to_owned()) {
                let told = told.iter().filter(|(kind, _)| *kind == b'S').map(|(_, body)| body.escape_ascii());
                let zone = told.map(|body| body.to_string()).rfind(|body| body.starts_with("TimeZone"));
                assert_eq!(
                    zone.as_deref(),
                    Some("TimeZone\\x00Europe/Paris\\x00"),
                    "{way:?}: {:.60}",
                    back.escape_ascii()
                );
            }
            raw.send(&query("SHOW timezone")).await;
            let seen = words(&raw.until_ready().await, false);
            assert!(seen[0].ends_with("Europe/Paris"), "{way:?}: {seen:?} after {:.60}", back.escape_ascii());
        }
    }
}
