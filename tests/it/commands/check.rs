//! `check` on real servers.

use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Setup, free_port};
use serde_json::Value;

use super::{Ended, file, pgtether, within};
use crate::certs::{Authority, with_tls};
use crate::process::wait_until;
use crate::servers::{Admin, PgBouncer, PoolMode, Version, postgres, postgres15};
use crate::supervise::{SOON, config, targets};

/// Standard output as JSON.
fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
}

/// The names of a report's steps, and whether they went well.
fn steps(report: &Value) -> Vec<(&str, bool)> {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["name"].as_str().unwrap(), step["ok"].as_bool().unwrap())).collect()
}

#[tokio::test]
async fn a_healthy_server_is_ok_with_every_phase_timed() {
    for (version, major) in Version::ALL.into_iter().zip(["15", "18"]) {
        let cluster = postgres(version, Setup::default());
        let (_folder, flag) = file(&config(&cluster.superuser_url(), &[]));
        let ended = pgtether(&["check", &flag]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
        assert!(ended.out.contains(&format!("PostgreSQL {major}")), "{}", ended.out);
        let ended = pgtether(&["check", &flag, "--output=json"]);
        let report = json(&ended);
        assert_eq!(report["verdict"], "ok");
        let report = &report["targets"][0];
        let wanted = ["resolve", "connect", "startup", "ping", "ping again", "second login"];
        assert_eq!(steps(report), wanted.map(|name| (name, true)));
        for step in report["steps"].as_array().unwrap() {
            let took = step["seconds"].as_f64().unwrap();
            assert!((0.0..5.0).contains(&took), "{step}");
        }
        assert!(!report["endpoint"].to_string().contains(cluster.password()));
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_a_warning() {
    let authority = Authority::new("check");
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &authority.server()));
    let ended = pgtether(&["check", &format!("{}?sslmode=require", cluster.superuser_url())]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("TLSv1.3") && ended.out.contains("9 days"), "{}", ended.out);
}

#[tokio::test]
async fn a_failure_is_critical_with_its_reason_and_remedy() {
    let cluster = postgres15();
    let dead = format!("postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let wrong = cluster.url("postgres", "wrong", "postgres");
    let missing = cluster.url("postgres", cluster.password(), "nowhere");
    for (url, step, reason) in [
        (&dead, "connect", "refused"),
        (&wrong, "startup", "auth"),
        (&missing, "startup", "database_missing"),
    ] {
        let ended = pgtether(&["check", "--output=json", url]);
        assert_eq!(ended.code, 2, "{ended:?}");
        let report = &json(&ended)["targets"][0];
        let last = report["steps"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["name"], &last["reason"]), (&step.into(), &reason.into()), "{report}");
        let text = pgtether(&["check", url]);
        assert_eq!(text.code, 2);
        assert!(
            text.out.contains(reason) && text.out.contains(last["remedy"].as_str().unwrap()),
            "{}",
            text.out
        );
    }
}

#[tokio::test]
async fn the_worst_of_several_targets_decides_and_each_has_its_report() {
    let cluster = postgres15();
    let good = format!("url: {}", cluster.superuser_url());
    let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let (_folder, flag) = file(&targets(&[("bad", &[&dead]), ("good", &[&good])]));
    let ended = pgtether(&["check", &flag, "--output=json"]);
    assert_eq!(ended.code, 2);
    let report = json(&ended);
    let verdicts: Vec<_> = report["targets"].as_array().unwrap().iter().map(|t| &t["verdict"]).collect();
    assert_eq!(verdicts, ["critical", "ok"]);
    let one = pgtether(&["check", "good", &flag]);
    assert_eq!(one.code, 0, "{one:?}");
    assert!(!one.out.contains("bad"), "{}", one.out);
}

#[test]
fn what_cannot_be_examined_is_unknown() {
    let (_folder, flag) = file(&config("postgresql://app@nowhere.invalid/db", &[]));
    let ended = pgtether(&["check", "nobody", &flag]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    assert!(ended.err.contains("nobody") && ended.err.contains("db"), "{}", ended.err);
    let ended = pgtether(&["check", "postgresql://app@host/db?sslmode=maybe"]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:?}");
    assert!(ended.err.contains("sslmode"), "{}", ended.err);
    assert_eq!(pgtether(&["check", "--watch=soon"]).code, 3);
    let (_folder, flag) = file("targets: []\n");
    assert_eq!(pgtether(&["check", &flag]).code, 3);
}

#[tokio::test]
async fn an_idle_session_that_the_server_ends_is_caught_in_the_act() {
    let cluster = postgres(Version::V15, Setup::default().set("idle_session_timeout", "1s"));
    let began = Instant::now();
    let ended = pgtether(&["check", "--watch=20s", &cluster.superuser_url()]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "it waits no longer than it must");
    for wanted in ["idle_timeout", "was ended after 1.", "0.8"] {
        assert!(ended.out.contains(wanted), "no {wanted} in {}", ended.out);
    }
}

#[tokio::test]
async fn an_idle_session_that_survives_is_said_to() {
    let cluster = postgres15();
    let ended = pgtether(&["check", "--watch=1s", "--output=json", &cluster.superuser_url()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = json(&ended);
    let last = report["targets"][0]["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["ok"]), (&"idle".into(), &true.into()));
    assert!(last["seconds"].as_f64().unwrap() >= 1.0, "{last}");
}

#[tokio::test]
async fn a_pooler_that_stands_between_is_seen() {
    let cluster = postgres15();
    let bouncer = PgBouncer::start(&cluster, PoolMode::Transaction, &[]);
    let ended = pgtether(&["check", &bouncer.url("postgres")]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let console = pgtether(&["check", &bouncer.url("pgbouncer")]);
    assert!(console.out.to_lowercase().contains("pgbouncer"), "{}", console.out);
}

#[tokio::test]
async fn what_the_settings_override_and_what_the_url_says_is_told() {
    let cluster = postgres15();
    let url = format!("{}?connect_timeout=3&tcp_user_timeout=5000", cluster.superuser_url());
    let (_folder, flag) = file(&config(&url, &["connect_timeout: 9s"]));
    let ended = pgtether(&["check", &flag]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("connect_timeout"), "{}", ended.out);
}

#[tokio::test]
async fn a_password_in_the_url_that_a_file_beats_is_told_and_none_is_made_up() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, cluster.password()).unwrap();
    let password = format!("password_file: {}", password.display());
    let bare = format!("postgresql://postgres@127.0.0.1:{}/postgres", cluster.port());
    for (url, told) in [(bare, false), (cluster.url("postgres", "wrong", "postgres"), true)] {
        let (_folder, flag) = file(&config(&url, &[&password]));
        let ended = pgtether(&["check", &flag]);
        assert_eq!((ended.code, ended.out.contains("password_file beats")), (0, told), "{ended:?}");
    }
}

#[tokio::test]
async fn a_role_with_one_connection_fails_the_second_login_and_is_told_what_to_set() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE app LOGIN PASSWORD 'sesame' CONNECTION LIMIT 1").await;
    let ended = pgtether(&["check", &cluster.url("app", "sesame", "postgres")]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("refresh.overlap"), "{}", ended.out);
}

#[tokio::test]
async fn a_wrong_role_is_a_warning() {
    let cluster = postgres15();
    let (_folder, flag) = file(&config(&cluster.superuser_url(), &["role: standby"]));
    let ended = pgtether(&["check", &flag]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.out.contains("standby") && ended.out.contains("primary"), "{}", ended.out);
}

#[tokio::test]
async fn a_database_url_alone_is_examined() {
    let cluster = postgres15();
    let url = cluster.superuser_url();
    let folder = tempfile::tempdir().unwrap();
    let ended = within(folder.path(), &["check"], &[("DATABASE_URL", &url)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("default"), "{}", ended.out);
}

#[tokio::test]
async fn a_rejection_by_pg_hba_is_about_tls_only_where_the_server_may_have_it() {
    let mut cluster = postgres15();
    cluster.set_hba(&["local all all trust", "host all app 127.0.0.1/32 reject"]).unwrap();
    for (mode, reason, remedy) in
        [("disable", "tls", "without TLS"), ("prefer", "auth", "add a line for user")]
    {
        let url = format!("{}?sslmode={mode}", cluster.url("app", "sesame", "postgres"));
        let failure = wait_until(SOON, "a rejection by pg_hba.conf", async || {
            let report = json(&pgtether(&["check", "--output=json", &url])).to_string();
            if report.contains("pg_hba.conf") { Ok(report) } else { Err(report) }
        })
        .await;
        assert!(failure.contains(&format!("\"reason\":\"{reason}\"")), "{mode}: {failure}");
        assert!(failure.contains(remedy), "{mode}: {failure}");
    }
}
