//! What clients of a transaction pool leave on its sessions: nobody else meets it, and what can follow them does.

use pgtether::demo::postgres::{Cluster, Setup};
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use super::rust::connect;
use super::{SOON, await_listening, one_pool, through};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};

/// A pool of so many sessions in transaction mode, for a user who is no superuser.
async fn pool(size: u32) -> (Cluster, Admin, Daemon, String) {
    let cluster = postgres(Version::V15, Setup::default());
    let admin = Admin::of(&cluster).await;
    for sql in [
        "CREATE ROLE app LOGIN PASSWORD 'secret'",
        "CREATE ROLE tenant",
        "GRANT tenant TO app",
        "CREATE DATABASE app OWNER app",
    ] {
        admin.query(sql).await;
    }
    let direct = cluster.url("app", "secret", "app");
    let (config, port) = one_pool(&direct, &[], &[&format!("size: {size}")]);
    let daemon = Daemon::start(&config);
    await_listening(port).await;
    let url = through(&direct, &cluster, port);
    (cluster, admin, daemon, url)
}

/// The first value of the last row.
async fn value(client: &Client, sql: &str) -> Option<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
        _ => None,
    });
    row.flatten()
}

async fn is(client: &Client, sql: &str, wanted: &str) {
    assert_eq!(value(client, sql).await.as_deref(), Some(wanted), "{sql}");
}

async fn resets(daemon: &Daemon) -> f64 {
    daemon.metric("pgtether_pool_resets_total", &[("target", "db")]).await.unwrap()
}

const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const CHANNELS: &str = "SELECT count(*) FROM pg_listening_channels()";
const TABLES: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()";
const CURSORS: &str = "SELECT count(*) FROM pg_cursors WHERE is_holdable";
const STATEMENTS: &str = "SELECT count(*) FROM pg_prepared_statements WHERE from_sql";

/// What is left, how another client would see it, and what it must see.
const LEFT: [(&str, &str, &str); 16] = [
    ("SET statement_timeout = '1ms'", "SHOW statement_timeout", "0"),
    ("SET search_path = ''", "SHOW search_path", "\"$user\", public"),
    ("SELECT set_config('search_path', 'x', false)", "SHOW search_path", "\"$user\", public"),
    (
        "SELECT set_config('x.y', '', false), \"set_config\"('search_path', 'x', false)",
        "SHOW search_path",
        "\"$user\", public",
    ),
    ("UPDATE pg_settings SET setting = '7MB' WHERE name = 'work_mem'", "SHOW work_mem", "4MB"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "off"),
    ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "UTC"),
    ("SET ROLE tenant", "SELECT current_user", "app"),
    ("SET app.tenant = '7'", "SELECT coalesce(current_setting('app.tenant', true), '')", ""),
    (
        "DO $$ BEGIN PERFORM set_config('app.user', '7', false); END $$",
        "SELECT coalesce(current_setting('app.user', true), '')",
        "",
    ),
    ("SELECT pg_advisory_lock(42)", LOCKS, "0"),
    ("LISTEN jobs", CHANNELS, "0"),
    ("CREATE TEMP TABLE tmp AS SELECT 1", TABLES, "0"),
    ("SELECT 1 AS a INTO TEMPORARY tmp2", TABLES, "0"),
    ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", CURSORS, "0"),
    ("PREPARE p AS SELECT 1", STATEMENTS, "0"),
];

#[tokio::test]
async fn what_one_client_leaves_no_other_meets() {
    let (_cluster, _admin, daemon, url) = pool(1).await;
    let (other, _) = connect(&url).await;
    // It has a statement of its own on the session, which stays there.
    let kept = other.prepare("SELECT $1::int4").await.unwrap();
    let mut before = resets(&daemon).await;
    assert_eq!(before, 0.0);
    for (leave, look, wanted) in LEFT {
        let (leaver, _) = connect(&url).await;
        leaver.batch_execute(leave).await.unwrap_or_else(|e| panic!("{leave}: {e:?}"));
        assert_eq!(value(&other, look).await.as_deref(), Some(wanted), "after {leave}");
        // What follows its client needs no cleaning.
        let after = resets(&daemon).await;
        let follows =
            ["SET ", "SELECT set_config", "UPDATE pg_settings"].iter().any(|set| leave.starts_with(set));
        assert_eq!(after > before, !follows, "{leave}");
        before = after;
    }
    // It goes away inside of the transaction in which it has left it, or right behind it.
    for (leave, look, wanted) in LEFT {
        let (leaver, _) = connect(&url).await;
        let begin = if leave.starts_with("BEGIN") { "SELECT 1" } else { "BEGIN" };
        leaver.batch_execute(begin).await.unwrap();
        leaver.batch_execute(leave).await.unwrap();
        drop(leaver);
        assert_eq!(value(&other, look).await.as_deref(), Some(wanted), "after {leave} and its end");
    }
    assert_eq!(other.query_one(&kept, &[&7]).await.unwrap().get::<_, i32>(0), 7);
}

#[tokio::test]
async fn what_a_client_sets_follows_it_to_every_session() {
    let (_cluster, _admin, _daemon, url) = pool(2).await;
    let (one, _) = connect(&url).await;
    let (other, _) = connect(&url).await;
    for (set, look, wanted) in [
        ("SET statement_timeout = '7s'", "SHOW statement_timeout", "7s"),
        ("SET search_path = ''", "SHOW search_path", "\"\""),
        ("SET app.tenant = '7'", "SELECT coalesce(current_setting('app.tenant', true), '')", "7"),
        ("SET ROLE tenant", "SELECT current_user", "tenant"),
        ("SELECT set_config('work_mem', '7MB', false)", "SHOW work_mem", "7MB"),
        ("UPDATE pg_settings SET setting = '9MB' WHERE name = 'work_mem'", "SHOW work_mem", "9MB"),
        ("BEGIN; SET lock_timeout = '7s'; COMMIT", "SHOW lock_timeout", "7s"),
        ("BEGIN; SET lock_timeout = '8s'; ROLLBACK", "SHOW lock_timeout", "7s"),
        ("BEGIN; SET LOCAL lock_timeout = '8s'; COMMIT", "SHOW lock_timeout", "7s"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "on"),
        ("RESET ROLE", "SELECT current_user", "app"),
        ("RESET ALL", "SHOW statement_timeout", "0"),
    ] {
        one.batch_execute(set).await.unwrap_or_else(|e| panic!("{set}: {e:?}"));
        let before = value(&other, look).await;
        // The other takes the session that was used last, and keeps it: the client gets the other one.
        other.batch_execute("BEGIN; SELECT 1").await.unwrap();
        is(&one, look, wanted).await;
        other.batch_execute("COMMIT").await.unwrap();
        is(&one, look, wanted).await;
        assert_eq!(value(&other, look).await, before, "{set}");
    }
    is(&one, "SELECT current_setting('app.tenant', true)", "").await;
}

#[tokio::test]
async fn what_is_reset_is_what_the_client_asked_for() {
    let (_cluster, _admin, _daemon, url) = pool(1).await;
    let asked = "options=-c%20timezone%3DEurope/Paris%20-c%20statement_timeout%3D1234%20-c%20app.tenant%3D7";
    let (one, _) = connect(&format!("{url}?{asked}")).await;
    let (other, _) = connect(&url).await;
    for (back, look, wanted) in [
        ("SET timezone = 'Asia/Tokyo'|RESET timezone", "SHOW timezone", "Europe/Paris"),
        ("SET timezone = 'Asia/Tokyo'|RESET ALL", "SHOW timezone", "Europe/Paris"),
        ("SET timezone = 'Asia/Tokyo'|DISCARD ALL", "SHOW timezone", "Europe/Paris"),
        ("SET timezone = 'Asia/Tokyo'|SET timezone TO DEFAULT", "SHOW timezone", "Europe/Paris"),
        ("SET app.tenant = '8'|RESET app.tenant", "SHOW app.tenant", "7"),
        ("BEGIN|SET timezone = 'Asia/Tokyo'|RESET timezone", "SHOW timezone", "Europe/Paris"),
        (
            "BEGIN|SET statement_timeout = 5|SET statement_timeout TO DEFAULT",
            "SHOW statement_timeout",
            "1234ms",
        ),
        ("BEGIN|SET statement_timeout = 5|RESET ALL", "SHOW statement_timeout", "1234ms"),
    ] {
        for sql in back.split('|') {
            one.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            if !back.starts_with("BEGIN") {
                is(&other, "SHOW statement_timeout", "0").await;
            }
        }
        assert_eq!(value(&one, look).await.as_deref(), Some(wanted), "after {back}");
        one.batch_execute("COMMIT").await.unwrap();
        assert_eq!(value(&one, look).await.as_deref(), Some(wanted), "after {back} and its end");
    }
}

#[tokio::test]
async fn a_client_is_told_once_what_it_cannot_keep() {
    let (_cluster, _admin, _daemon, url) = pool(1).await;
    let (one, mut hears) = connect(&url).await;
    for sql in [
        "SET search_path = x",
        "SELECT set_config('a.b', 'c', false)",
        "BEGIN; SET LOCAL ROLE tenant; COMMIT",
    ] {
        one.batch_execute(sql).await.unwrap();
    }
    one.batch_execute("BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; COMMIT").await.unwrap();
    one.batch_execute("LISTEN jobs").await.unwrap();
    one.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    one.batch_execute("SELECT 1").await.unwrap();
    let mut told = Vec::new();
    while let Ok(message) = hears.try_recv() {
        if let AsyncMessage::Notice(notice) = message {
            told.push((
                notice.severity().to_owned(),
                notice.message().to_owned(),
                notice.hint().map(str::to_owned),
            ));
        }
    }
    let [(severity, message, hint)] = told.as_slice() else {
        panic!("not once: {told:?}");
    };
    assert!(severity == "WARNING" && message.contains("LISTEN \"jobs\""), "{told:?}");
    assert!(hint.as_ref().is_some_and(|hint| hint.contains("session mode")), "{told:?}");
}

#[tokio::test]
async fn settings_are_told_as_the_server_spells_them_and_refused_at_login() {
    let (_cluster, _admin, _daemon, url) = pool(1).await;
    for (name, asked, wanted) in [
        ("standard_conforming_strings", "true", "on"),
        ("DateStyle", "iso", "ISO, MDY"),
        ("client_encoding", "utf-8", "UTF8"),
        ("TimeZone", "europe/paris", "Europe/Paris"),
    ] {
        for turn in ["the server is asked", "it is known"] {
            let url = format!("{url}?options=-c%20{name}%3D{asked}");
            let (config, mut stream) = (url.parse::<tokio_postgres::Config>().unwrap(), None);
            let (one, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            let told = connection.parameter(name).map(str::to_owned);
            stream.replace(tokio::spawn(connection));
            assert_eq!(told.as_deref(), Some(wanted), "{name}={asked}: {turn}");
            is(&one, &format!("SHOW {name}"), wanted).await;
        }
    }
    for (asked, sqlstate) in [("statement_timeout%3D5sec", "22023"), ("no_such_setting%3D1", "42704")] {
        let refused =
            tokio_postgres::connect(&format!("{url}?options=-c%20{asked}"), tokio_postgres::NoTls).await;
        let error = refused.map(drop).expect_err("it was let in");
        assert_eq!(error.code().map(|code| code.code()), Some(sqlstate), "{error:?}");
    }
    let (next, _) = connect(&url).await;
    is(&next, "SHOW DateStyle", "ISO, MDY").await;
}

#[tokio::test]
async fn a_reload_of_the_servers_settings_reaches_who_never_made_them() {
    let (_cluster, admin, _daemon, url) = pool(1).await;
    let (one, _) = connect(&url).await;
    let (other, _) = connect(&url).await;
    let (set, _) = connect(&url).await;
    set.batch_execute("SET timezone = 'Europe/Paris'").await.unwrap();
    let first = value(&one, "SHOW timezone").await.unwrap();
    for (change, wanted) in
        [("ALTER SYSTEM SET timezone = 'Asia/Tokyo'", "Asia/Tokyo"), ("ALTER SYSTEM RESET timezone", &first)]
    {
        admin.query(change).await;
        admin.query("SELECT pg_reload_conf()").await;
        wait_until(SOON, "the reload", async || match value(&one, "SHOW timezone").await {
            Some(zone) if zone == wanted => Ok(()),
            zone => Err(format!("{zone:?}")),
        })
        .await;
        is(&other, "SHOW timezone", wanted).await;
        is(&one, "SHOW timezone", wanted).await;
        is(&set, "SHOW timezone", "Europe/Paris").await;
    }
}

#[tokio::test]
async fn in_session_mode_too_what_is_reset_is_what_the_client_asked_for() {
    let cluster = postgres(Version::V15, Setup::default());
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &["mode: session", "size: 2"]);
    let _daemon = Daemon::start(&config);
    await_listening(port).await;
    let url = through(&cluster.superuser_url(), &cluster, port);
    let (one, _) = connect(&format!("{url}?options=-c%20timezone%3DEurope/Paris")).await;
    for back in ["RESET timezone", "RESET ALL", "DISCARD ALL", "SET timezone TO DEFAULT"] {
        one.batch_execute("SET timezone = 'Asia/Tokyo'").await.unwrap();
        is(&one, "SHOW timezone", "Asia/Tokyo").await;
        one.batch_execute(back).await.unwrap();
        is(&one, "SHOW timezone", "Europe/Paris").await;
    }
    one.batch_execute("BEGIN; SET LOCAL timezone = 'Asia/Tokyo'").await.unwrap();
    is(&one, "SHOW timezone", "Asia/Tokyo").await;
    one.batch_execute("ROLLBACK").await.unwrap();
    is(&one, "SHOW timezone", "Europe/Paris").await;
}

#[tokio::test]
async fn a_session_that_its_client_leaves_idle_is_kept_and_nothing_of_that_is_seen() {
    let cluster = postgres(Version::V15, Setup::default().set("idle_session_timeout", "2500ms"));
    let (config, port) = one_pool(
        &cluster.superuser_url(),
        &["ping: {interval: 1s, timeout: 900ms}"],
        &["mode: session", "size: 2"],
    );
    let _daemon = Daemon::start(&config);
    await_listening(port).await;
    let url = through(&cluster.superuser_url(), &cluster, port);
    let (one, mut hears) = connect(&url).await;
    let (other, _) = connect(&url).await;
    let prepared = one.prepare("SELECT $1::int4").await.unwrap();
    one.batch_execute("LISTEN jobs; CREATE TEMP TABLE kept AS SELECT 1 AS a").await.unwrap();
    let pid = value(&one, "SELECT pg_backend_pid()").await;
    for turn in 0..4 {
        // Not a wait for something: the client is idle, longer than the server allows.
        tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
        other.batch_execute(&format!("NOTIFY jobs, '{turn}'")).await.unwrap();
    }
    assert_eq!(value(&one, "SELECT pg_backend_pid() FROM kept").await, pid);
    assert_eq!(one.query_one(&prepared, &[&7]).await.unwrap().get::<_, i32>(0), 7);
    let mut heard = Vec::new();
    while let Ok(message) = hears.try_recv() {
        match message {
            AsyncMessage::Notification(notification) => heard.push(notification.payload().to_owned()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, ["0", "1", "2", "3"]);
}
