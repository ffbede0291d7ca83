//! Logins that the server refuses: rejected, full, missing, limited; and what each costs the server.

use std::fs;
use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Cluster, Setup};

use super::{
    DB, SERVICE, SOON, ahead, await_down, await_log, await_state, by_reason, config, count, targets, total,
    up, value,
};
use crate::certs::{Authority, Validity, with_tls};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres, postgres15};

/// A role of the test's own, which is no superuser.
async fn role(cluster: &Cluster, attributes: &str) -> Admin {
    let admin = Admin::of(cluster).await;
    admin.query(&format!("CREATE ROLE app LOGIN PASSWORD 'sesame' {attributes}")).await;
    admin
}

#[tokio::test]
async fn a_wrong_password_costs_one_login_and_the_right_one_is_tried_at_once() {
    let cluster = postgres15();
    let _admin = role(&cluster, "").await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    fs::write(&secret, "wrong").unwrap();
    let url = format!("url: postgresql://app@127.0.0.1:{}/postgres", cluster.port());
    let file = format!("password_file: {}", secret.display());
    let daemon = Daemon::start(&targets(&[("db", &[&url, &file])]));

    let health = await_down(&daemon, SOON, "auth").await;
    assert_eq!(health["status"], "failing");
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((25.0..=33.5).contains(&next), "the next login is {next} s away");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rejected = count(&cluster.log(), "password authentication failed for user \"app\"");
    assert_eq!(rejected, 1, "{}", cluster.log());

    fs::write(&secret, "sesame\n").unwrap();
    let written = Instant::now();
    await_state(&daemon, SOON, "up").await;
    let took = written.elapsed();
    assert!(took < Duration::from_secs(2), "up {took:?} after the password was there");
    let metrics = daemon.metrics().await;
    assert_eq!(by_reason(&metrics, "pgtether_connect_failures_total", "auth"), 1.0);
    // The remedy.
    await_log(&daemon, "password_file").await;
}

/// A target whose session works, while its logins are rejected.
async fn degraded_by_a_changed_password() -> (Cluster, Admin, Daemon) {
    let cluster = postgres15();
    let admin = role(&cluster, "").await;
    let url = cluster.url("app", "sesame", "postgres");
    let daemon = up(&config(&url, &["refresh: {every: 1s}"])).await;
    admin.query("ALTER ROLE app PASSWORD 'changed'").await;
    await_state(&daemon, SOON, "degraded").await;
    (cluster, admin, daemon)
}

#[tokio::test]
async fn a_password_that_stops_working_degrades_the_line_before_it_breaks() {
    let (_cluster, _admin, daemon) = degraded_by_a_changed_password().await;
    let answer = daemon.get("/health").await;
    let health = answer.json();
    assert_eq!((answer.status.as_u16(), &health["status"]), (200, &"degraded".into()), "{health}");
    assert_eq!(health["targets"][0]["reason"], "auth");
    assert_eq!(health["database"]["status"], "connected");
    assert_eq!(value(&daemon, "pgtether_up").await, 1.0);
    assert_eq!(total(&daemon.metrics().await, "pgtether_disconnects_total"), 0.0);
}

/// The next login is 30 s away when the session is lost; what keeps the target down is told long before.
#[tokio::test]
async fn a_session_lost_after_its_password_was_changed_is_told_as_auth_by_one_attempt() {
    let (cluster, admin, daemon) = degraded_by_a_changed_password().await;
    let rejected = || count(&cluster.log(), "password authentication failed for user \"app\"");
    let before = rejected();

    assert_eq!(admin.terminate(SERVICE).await, 1);
    let health = await_down(&daemon, SOON, "auth").await;
    let told = &health["targets"][0];
    assert!(told["detail"].as_str().unwrap().contains("28P01"), "{health}");
    assert!(told["remedy"].as_str().unwrap().contains("password"), "{health}");
    assert_eq!(rejected(), before + 1);
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((45.0..=67.0).contains(&next), "the slow lane goes on: the next login is {next} s away");
    await_log(&daemon, "from=down to=down reason=auth").await;
    assert!(daemon.log().contains("to=down reason=shutdown"), "{}", daemon.log());
}

#[tokio::test]
async fn an_operator_who_mended_the_cause_need_not_wait_for_the_next_login() {
    let cluster = postgres15();
    let admin = role(&cluster, "").await;
    let url = cluster.url("app", "other", "postgres");
    let daemon = Daemon::start_with(&config(&url, &[]), &["--web.enable-lifecycle"], &[]);
    await_down(&daemon, SOON, "auth").await;
    let failed = daemon.post("/-/targets/db/reconnect").await;
    assert_eq!(failed.status, 502, "{}", failed.text());
    for text in ["auth: password authentication failed for user \"app\" (SQLSTATE 28P01)", "pg_hba.conf"] {
        assert!(failed.text().contains(text), "{}", failed.text());
    }
    admin.query("ALTER ROLE app PASSWORD 'other'").await;
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!(next > 15.0, "the next login is {next} s away");
    let connected = async || match daemon.post("/-/targets/db/reconnect").await {
        answer if answer.status == 200 => Ok(()),
        // Of the second that the attempt before is told for.
        answer => Err(answer.text()),
    };
    wait_until(SOON, "a login", connected).await;
    await_state(&daemon, SOON, "up").await;
}

#[tokio::test]
async fn a_missing_database_goes_to_the_slow_lane() {
    let cluster = postgres15();
    let url = cluster.url("postgres", cluster.password(), "nowhere");
    let daemon = Daemon::start(&config(&url, &[]));
    await_down(&daemon, SOON, "database_missing").await;
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((25.0..=33.5).contains(&next), "the next login is {next} s away");
    assert_eq!(value(&daemon, "pgtether_consecutive_failures").await, 1.0);
}

#[tokio::test]
async fn a_full_server_is_asked_rarely_and_held_as_soon_as_there_is_room() {
    // The administrator's session takes one of the three that are not reserved.
    let setup = Setup::default().set("max_connections", 7).set("superuser_reserved_connections", 4);
    let cluster = postgres(Version::V15, setup);
    let _admin = role(&cluster, "").await;
    let url = cluster.url("app", "sesame", "postgres");
    let fill = async || {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let held = [fill().await, fill().await];
    let daemon = Daemon::start(&config(&url, &[]));

    await_down(&daemon, SOON, "capacity").await;
    let asked = Instant::now();
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((4.0..=35.0).contains(&next), "the next login is {next} s away");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(value(&daemon, "pgtether_connect_attempts_total").await, 1.0);
    drop(held);
    await_state(&daemon, Duration::from_secs(15), "up").await;
    let waited = asked.elapsed();
    assert!(waited > Duration::from_secs(4), "a full server was asked again after {waited:?}");
}

#[tokio::test]
async fn a_role_limited_to_one_connection_is_refreshed_without_overlap() {
    let cluster = postgres15();
    let admin = role(&cluster, "CONNECTION LIMIT 1").await;
    let url = cluster.url("app", "sesame", "postgres");
    let daemon = up(&config(&url, &["refresh: {every: 1s, overlap: false}"])).await;
    wait_until(SOON, "three refreshes", async || {
        let sessions = admin.sessions(SERVICE).await;
        assert!(sessions <= 1, "{sessions} sessions");
        let refreshes = value(&daemon, "pgtether_refreshes_total").await;
        if refreshes >= 3.0 { Ok(()) } else { Err(format!("{refreshes}")) }
    })
    .await;
    let metrics = daemon.metrics().await;
    for never in ["refresh_failures", "reconnects", "disconnects", "connect_failures"] {
        assert_eq!(total(&metrics, &format!("pgtether_{never}_total")), 0.0, "{never}");
    }
    assert!(!cluster.log().contains("too many connections"), "{}", cluster.log());
    let log = daemon.log();
    assert_eq!((count(&log, "to=down"), count(&log, "to=up")), (0, 1), "a planned gap is no outage:\n{log}");
}

#[tokio::test]
async fn with_overlap_the_limit_of_one_degrades_and_keeps_the_session() {
    let cluster = postgres15();
    let admin = role(&cluster, "CONNECTION LIMIT 1").await;
    let url = cluster.url("app", "sesame", "postgres");
    let daemon = up(&config(&url, &["refresh: {every: 1s}"])).await;
    let first = admin.pids(SERVICE).await;
    await_state(&daemon, SOON, "degraded").await;
    let health = daemon.get("/health").await.json();
    assert_eq!(health["targets"][0]["reason"], "capacity", "{health}");
    assert_eq!(admin.pids(SERVICE).await, first);
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_refresh_failures_total", DB), Some(1.0));
}

#[tokio::test]
async fn a_standby_that_is_promoted_no_longer_is_what_the_role_asks_for() {
    let mut cluster = postgres(Version::V15, Setup::default().standby());
    let keys = ["role: standby", "ping: {interval: 1s, timeout: 1s}", "backoff: {initial: 1s, max: 1s}"];
    let daemon = up(&config(&cluster.superuser_url(), &keys)).await;
    assert_eq!(daemon.get("/health").await.status, 200);

    cluster.promote().unwrap();
    await_state(&daemon, Duration::from_secs(20), "degraded").await;
    let answer = daemon.get("/health").await;
    let health = answer.json();
    assert_eq!((answer.status.as_u16(), &health["status"]), (503, &"failing".into()), "{health}");
    assert_eq!(health["targets"][0]["reason"], "wrong_role");
    assert_eq!(value(&daemon, "pgtether_up").await, 1.0);
}

#[tokio::test]
async fn a_promotion_is_seen_without_a_question_about_the_role() {
    let mut cluster = postgres(Version::V15, Setup::default().standby());
    let daemon = up(&config(&cluster.superuser_url(), &["ping: {interval: 1s, timeout: 1s}"])).await;
    assert_eq!(value(&daemon, "pgtether_server_in_recovery").await, 1.0);
    let version = Admin::of(&cluster).await.query("SHOW server_version").await.remove(0);
    let short = version.split(' ').next().unwrap();
    let labels = [DB, &[("server_version", &version), ("short_version", short)]].concat();
    assert_eq!(daemon.metric("pgtether_session_info", &labels).await, Some(1.0));
    cluster.promote().unwrap();
    daemon.await_metric(SOON, "pgtether_server_in_recovery", DB, 0.0).await;
    let metrics = daemon.metrics().await;
    assert_eq!(total(&metrics, "pgtether_disconnects_total"), 0.0);
    assert_eq!(total(&metrics, "pgtether_refreshes_total"), 0.0);
}

#[tokio::test]
async fn when_a_certificate_ended_is_told_although_it_was_refused() {
    let authority = Authority::new("the server's authority");
    let expired = authority.server_for(&["localhost"], Validity::Expired);
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &expired));
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let url = format!(
        "postgresql://postgres:{}@localhost:{}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={}",
        cluster.password(),
        cluster.port(),
        roots.display()
    );
    let daemon = Daemon::start(&config(&url, &[]));
    await_down(&daemon, SOON, "tls").await;
    let ended = value(&daemon, "pgtether_tls_certificate_expiry_timestamp_seconds").await;
    assert!((-3700.0..=-3500.0).contains(&ahead(ended)), "{ended}");
}
