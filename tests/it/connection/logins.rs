//! Logging in: what is asked, what is told, what goes wrong and how that reads.

use std::path::Path;
use std::time::Duration;

use pgtether::connection::{Connector, Postgres};
use pgtether::demo::postgres::{Setup, free_port};
use pgtether::reason::table::diagnose;
use pgtether::reason::{Cause, Phase, Reason, remedy};
use pgtether::target::{PasswordSource, Role, SecretFile, Source};

use super::{
    LIMIT, SERVICE, enter, is_config, lost, of, open, pong, refused, session, sqlstate, target, with_role,
};
use crate::servers::{Admin, PgBouncer, PoolMode, Version, postgres, postgres15};

#[tokio::test]
async fn a_login_tells_what_it_found() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let (mut session, login) = open(&cluster.superuser_url()).await.unwrap();
    let facts = &login.facts;
    assert!(facts.server_version.starts_with("15."), "{facts:?}");
    assert_eq!((facts.tls_version.as_deref(), login.tls, facts.pooler), (None, None, None));
    assert_eq!(facts.peer.unwrap().port(), cluster.port());
    assert_eq!(admin.pids(SERVICE).await, [facts.backend_pid.unwrap()]);
    assert!(login.startup > Duration::ZERO && login.ping > Duration::ZERO);
    assert_eq!(login.facts.role, Role::Primary, "it was not asked for: the server reported it");
    assert_eq!(pong(&mut session).await, Role::Primary);
}

#[tokio::test]
async fn every_major_is_understood() {
    for version in Version::ALL {
        let cluster = postgres(version, Setup::default());
        let mut session = session(&cluster.superuser_url()).await;
        pong(&mut session).await;
    }
}

#[tokio::test]
async fn the_connection_strings_application_name_and_options_reach_the_server() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let url = format!(
        "{}?application_name=mine&options=-c%20search_path%3Delsewhere%20-c%20lock_timeout%3D4321",
        cluster.superuser_url()
    );
    let held = session(&url).await;
    assert_eq!(admin.sessions("mine").await, 1);
    assert_eq!(super::sessions::ask(held.detach().unwrap(), "SHOW lock_timeout").await, "4321ms");
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_and_never_repeated_in_the_text() {
    let cluster = postgres15();
    let password = "hunter2-p@ss/word";
    let facts = refused(&cluster.url("postgres", "hunter2-p%40ss%2Fword", "postgres")).await;
    assert_eq!((sqlstate(&facts), facts.phase), ("28P01", Phase::Startup));
    assert!(!format!("{facts:?} {facts}").contains(password));

    let facts = refused(&cluster.url("postgres", cluster.password(), "nowhere")).await;
    assert_eq!(sqlstate(&facts), "3D000");
    let facts = refused(&cluster.url("nobody", "x", "postgres")).await;
    assert_eq!(sqlstate(&facts), "28P01");
    let facts = refused(&format!("postgresql://postgres@127.0.0.1:{}/postgres", cluster.port())).await;
    assert!(is_config(&facts, "asks for a password"), "{facts:?}");
}

#[tokio::test]
async fn a_password_that_the_server_repeats_is_taken_out() {
    let cluster = postgres15();
    let password = cluster.password();
    let url = cluster.url("postgres", password, "postgres");
    let facts = refused(&format!("{url}?options=-c%20{password}%3D1")).await;
    let shown = format!("{facts:?} {facts}");
    assert!(shown.contains("<redacted>") && !shown.contains(password), "{shown}");
}

#[tokio::test]
async fn a_password_that_is_the_databases_name_is_not_since_the_gaps_would_tell_it() {
    let cluster = postgres15();
    let facts = refused(&cluster.url("postgres", cluster.password(), cluster.password())).await;
    assert_eq!(sqlstate(&facts), "3D000");
    assert!(!format!("{facts}").contains("<redacted>"), "{facts}");
}

#[tokio::test]
async fn every_password_method_lets_us_in() {
    for (method, encryption) in
        [("password", "scram-sha-256"), ("md5", "md5"), ("scram-sha-256", "scram-sha-256")]
    {
        let setup = Setup::default().hba(&format!("host all all 127.0.0.1/32 {method}"));
        let cluster = postgres(Version::V15, setup);
        let admin = Admin::of(&cluster).await;
        admin
            .query(&format!(
                "SET password_encryption='{encryption}'; CREATE ROLE app LOGIN PASSWORD 'sesame'"
            ))
            .await;
        session(&cluster.url("app", "sesame", "postgres")).await;
        let facts = refused(&cluster.url("app", "wrong", "postgres")).await;
        assert_eq!(sqlstate(&facts), "28P01", "{method}");
    }
}

#[tokio::test]
async fn a_full_server_says_so() {
    let setup = Setup::default().set("max_connections", 4).set("superuser_reserved_connections", 3);
    let cluster = postgres(Version::V15, setup.set("max_wal_senders", 0));
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE app LOGIN PASSWORD 'sesame'").await;
    let facts = refused(&cluster.url("app", "sesame", "postgres")).await;
    assert_eq!(sqlstate(&facts), "53300");
}

#[tokio::test]
async fn a_unix_socket_and_ipv6_lead_in() {
    let cluster = postgres(Version::V15, Setup::default().set("listen_addresses", "::1"));
    let (mut session, login) = open(&cluster.admin_conninfo()).await.unwrap();
    assert_eq!(login.facts.peer, None);
    pong(&mut session).await;

    let url = format!("postgresql://postgres:{}@[::1]:{}/postgres", cluster.password(), cluster.port());
    let (mut session, login) = open(&url).await.unwrap();
    assert!(login.facts.peer.unwrap().is_ipv6());
    pong(&mut session).await;
}

#[tokio::test]
async fn nobody_there_is_told_by_the_phase_that_failed() {
    let port = free_port().unwrap();
    let facts = refused(&format!("postgresql://u@127.0.0.1:{port}/d")).await;
    assert_eq!(facts.phase, Phase::Connect);
    assert!(
        matches!(facts.cause, Cause::Io { kind: std::io::ErrorKind::ConnectionRefused, .. }),
        "{facts:?}"
    );

    let facts = refused("postgresql://u@no-such-host.invalid/d").await;
    assert_eq!(facts.phase, Phase::Resolve);
    assert!(matches!(facts.cause, Cause::Dns { .. }), "{facts:?}");

    let facts = refused("host=/nonexistent user=u dbname=d").await;
    assert_eq!(facts.phase, Phase::Connect);
    assert!(matches!(facts.cause, Cause::Io { kind: std::io::ErrorKind::NotFound, .. }), "{facts:?}");
}

#[tokio::test]
async fn a_hung_server_fails_in_the_phase_where_it_hangs() {
    let cluster = postgres15();
    cluster.pause();
    for (mode, phase) in [("disable", Phase::Startup), ("require", Phase::Tls)] {
        let url = format!("{}?sslmode={mode}", cluster.superuser_url());
        let facts = enter(&Postgres::new(), target(&url), Duration::from_millis(300)).await.unwrap_err();
        assert_eq!((facts.phase, &facts.cause), (phase, &Cause::Timeout));
    }
}

#[tokio::test]
async fn a_role_that_is_asked_for_is_told() {
    let primary = postgres15();
    let standby = postgres(Version::V15, Setup::default().standby());
    for (cluster, role) in [(&primary, Role::Primary), (&standby, Role::Standby)] {
        let asking = with_role(target(&cluster.superuser_url()), Role::Primary);
        let (_, login) = enter(&Postgres::new(), asking, LIMIT).await.unwrap();
        assert_eq!(login.facts.role, role);
    }
}

#[tokio::test]
async fn it_works_through_pgbouncer_in_transaction_mode() {
    let cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &[]);
    let asking = with_role(target(&bouncer.url("postgres")), Role::Primary);
    let (mut session, login) = enter(&Postgres::new(), asking, LIMIT).await.unwrap();
    assert_eq!(login.facts.role, Role::Primary);
    // Its process ids are made up by chance; one in a thousand could be a real one.
    let mut seen = login.facts.pooler;
    for _ in 0..3 {
        seen = seen.or(open(&bouncer.url("postgres")).await.unwrap().1.facts.pooler);
    }
    assert_eq!(seen, Some("unknown"));
    for _ in 0..3 {
        pong(&mut session).await;
    }
    drop(bouncer);
    let facts = lost(&mut session).await;
    assert_eq!(facts.phase, Phase::Idle);
}

#[tokio::test]
async fn pgbouncers_console_is_known_by_its_version() {
    let cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &[]);
    // The console knows no SELECT: what it says instead is a ping's error, not a crash.
    let facts = refused(&bouncer.url("pgbouncer")).await;
    assert_eq!(facts.phase, Phase::Ping, "{facts:?}");
    assert_eq!(diagnose(&facts).reason, Reason::Config);
    assert!(remedy(Reason::Config, &facts).contains("administration console"));
}

fn secret(path: &Path) -> SecretFile {
    path.to_str().unwrap().into()
}

#[tokio::test]
async fn files_are_read_anew_at_every_attempt() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let (url_file, password_file) = (folder.path().join("url"), folder.path().join("password"));
    let url = format!("postgresql://postgres:stale@127.0.0.1:{}/postgres\n", cluster.port());
    std::fs::write(&url_file, url).unwrap();
    std::fs::write(&password_file, "wrong\n").unwrap();
    let mut target = of(Source::File(secret(&url_file)));
    target.password = PasswordSource::File(secret(&password_file));
    let postgres = Postgres::new();

    let facts = enter(&postgres, target.clone(), LIMIT).await.unwrap_err();
    assert_eq!(sqlstate(&facts), "28P01");
    let stale = postgres.prepare(target.clone().into()).await.unwrap().fingerprint;
    assert_eq!(postgres.fingerprint(target.clone().into()).await, stale);

    std::fs::write(&password_file, format!("{}\n", cluster.password())).unwrap();
    assert_ne!(postgres.fingerprint(target.clone().into()).await, stale);
    enter(&postgres, target.clone(), LIMIT).await.unwrap();

    std::fs::write(&url_file, "postgresql://nobody@127.0.0.1:1/x").unwrap();
    let facts = enter(&postgres, target, LIMIT).await.unwrap_err();
    assert_eq!(facts.phase, Phase::Connect, "{facts:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_without_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty"), "\n").unwrap();
    std::fs::write(at("nul"), b"sesame\0open").unwrap();
    std::fs::write(at("large"), "sesame".repeat(20_000)).unwrap();
    std::fs::write(at("garbage"), "sesame open\n").unwrap();
    std::fs::write(at("binary"), b"\xff\xfesesame").unwrap();
    let inline = target("postgresql://u@127.0.0.1:1/d");
    let passwords = [
        ("missing", "No such file"),
        ("empty", "is empty"),
        ("nul", "NUL"),
        ("large", "larger than 64 KiB"),
        (".", "not a regular file"),
    ];
    for (name, why) in passwords {
        let mut target = inline.clone();
        target.password = PasswordSource::File(secret(&at(name)));
        let facts = Postgres::new().prepare(target.into()).await.unwrap_err();
        assert_eq!(facts.phase, Phase::Prepare);
        assert!(is_config(&facts, why) && is_config(&facts, "password_file"), "{name}: {facts:?}");
        assert!(!format!("{facts:?}").contains("sesame"), "{facts:?}");
    }
    for (name, why) in
        [("missing", "No such file"), ("empty", "is empty"), ("garbage", ""), ("binary", "UTF-8")]
    {
        let facts = Postgres::new().prepare(of(Source::File(secret(&at(name)))).into()).await.unwrap_err();
        assert!(is_config(&facts, why) && is_config(&facts, "url_file"), "{name}: {facts:?}");
        assert!(!format!("{facts:?}").contains("sesame"), "{facts:?}");
    }
}
