//! A new configuration for a running daemon: what changes, and what does not notice.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Cluster, free_port};

use crate::process::{Daemon, wait_until};
use crate::scrape::Metrics;
use crate::servers::{Admin, postgres15};
use crate::supervise::{SERVICE, SOON, await_log, targets};

const OK: &str = "pgtether_config_last_reload_successful";
const AT: &str = "pgtether_config_last_reload_success_timestamp_seconds";

/// The ways to ask for a reload.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Hangup,
    Post,
}

async fn start(config: &str) -> Daemon {
    let daemon = Daemon::start_with(config, &["--web.enable-lifecycle"], &[]);
    await_all_up(&daemon).await;
    daemon
}

async fn await_all_up(daemon: &Daemon) {
    wait_until(SOON, "all targets up", async || {
        let metrics = daemon.metrics().await;
        let ups = metrics.all("pgtether_up", &[]);
        if ups.iter().all(|up| up.value == 1.0) { Ok(()) } else { Err(format!("{ups:?}")) }
    })
    .await;
}

/// Writes a good configuration and waits until it is taken.
async fn reload(daemon: &Daemon, way: Way, config: &str) {
    let before = daemon.metric(AT, &[]).await.unwrap();
    fs::write(daemon.config_file(), config).unwrap();
    match way {
        Way::Hangup => daemon.signal(Signal::SIGHUP),
        Way::Post => {
            let answer = daemon.post("/-/reload").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    wait_until(SOON, "the reload", async || {
        let at = daemon.metric(AT, &[]).await.unwrap();
        if at > before { Ok(()) } else { Err(format!("{at}")) }
    })
    .await;
    assert_eq!(daemon.metric(OK, &[]).await, Some(1.0));
}

fn url(cluster: &Cluster) -> String {
    format!("url: {}", cluster.superuser_url())
}

/// All series of a target, as `/metrics` names them.
fn series(metrics: &Metrics, target: &str) -> usize {
    metrics.samples().iter().filter(|s| s.labels.get("target").is_some_and(|t| t == target)).count()
}

#[tokio::test]
async fn what_is_unchanged_keeps_its_session_age_and_counters() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let (kept, other) = (url(&cluster), url(&cluster));
    for way in [Way::Hangup, Way::Post] {
        let daemon = start(&targets(&[("kept", &[&kept])])).await;
        admin.terminate(SERVICE).await;
        let name = [("target", "kept")];
        daemon.await_metric(SOON, "pgtether_reconnects_total", &name, 1.0).await;
        let before = daemon.metrics().await;
        let pids = admin.pids(SERVICE).await;

        reload(&daemon, way, &targets(&[("new", &[&other]), ("kept", &[&kept])])).await;
        await_all_up(&daemon).await;
        let after = daemon.metrics().await;
        for same in ["connections", "reconnects", "connect_attempts"] {
            let family = format!("pgtether_{same}_total");
            assert_eq!(after.get(&family, &name), before.get(&family, &name), "{way:?}: {same}");
        }
        let age = |metrics: &Metrics| metrics.get("pgtether_connection_age_seconds", &name).unwrap();
        assert!(age(&after) > age(&before), "{way:?}: the session is another");
        assert!(admin.pids(SERVICE).await.contains(&pids[0]), "{way:?}");
        assert_eq!(after.get("pgtether_targets", &[]), Some(2.0));
        assert_eq!(daemon.get("/health/new").await.status, 200);
    }
}

#[tokio::test]
async fn what_is_removed_leaves_no_series_and_no_session() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let line = url(&cluster);
    let daemon = start(&targets(&[("stays", &[&line]), ("goes", &[&line])])).await;
    assert_eq!(admin.sessions(SERVICE).await, 2);
    assert!(series(&daemon.metrics().await, "goes") > 50);

    reload(&daemon, Way::Post, &targets(&[("stays", &[&line])])).await;
    wait_until(SOON, "the end of what was removed", async || {
        let (left, sessions) = (series(&daemon.metrics().await, "goes"), admin.sessions(SERVICE).await);
        if (left, sessions) == (0, 1) { Ok(()) } else { Err(format!("{left} series, {sessions} sessions")) }
    })
    .await;
    assert_eq!(daemon.get("/health/goes").await.status, 404);
    assert_eq!(daemon.get("/probe?target=goes").await.status, 404);
    assert_eq!(daemon.get("/health").await.status, 200);
}

#[tokio::test]
async fn changed_timings_apply_to_the_session_that_is_held() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let line = url(&cluster);
    let daemon = start(&targets(&[("db", &[&line])])).await;
    let pids = admin.pids(SERVICE).await;
    let name = [("target", "db")];
    assert_eq!(daemon.metric("pgtether_ping_interval_seconds", &name).await, Some(30.0));
    let pings = daemon.metric("pgtether_pings_total", &name).await.unwrap();

    let keys =
        [line.as_str(), "ping: {interval: 1s, timeout: 1s}", "refresh: {every: off}", "required: false"];
    reload(&daemon, Way::Hangup, &targets(&[("db", &keys)])).await;
    daemon.await_metric(SOON, "pgtether_pings_total", &name, pings + 2.0).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_ping_interval_seconds", &name), Some(1.0));
    assert_eq!(metrics.get("pgtether_refresh_interval_seconds", &name), None);
    assert_eq!(metrics.all("pgtether_target_info", &[("required", "false")]).len(), 1);
    assert_eq!(admin.pids(SERVICE).await, pids, "it is the same session");
}

#[tokio::test]
async fn a_changed_endpoint_gets_a_new_session_a_fresh_breaker_and_its_counters_go_on() {
    let cluster = postgres15();
    let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let keys = [dead.as_str(), "breaker: {consecutive_failures: 1, open_for: 1m, max_open_for: 1m}"];
    let daemon = Daemon::start_with(&targets(&[("db", &keys)]), &["--web.enable-lifecycle"], &[]);
    let name = [("target", "db")];
    let open = [("target", "db"), ("state", "open")];
    daemon.await_metric(SOON, "pgtether_breaker_state", &open, 1.0).await;
    let failures = daemon.metric("pgtether_connect_attempts_total", &name).await.unwrap();

    reload(&daemon, Way::Post, &targets(&[("db", &[&url(&cluster), keys[1]])])).await;
    await_all_up(&daemon).await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_breaker_state", &open), Some(0.0));
    assert_eq!(metrics.get("pgtether_connections_total", &name), Some(1.0));
    assert_eq!(metrics.get("pgtether_connect_attempts_total", &name), Some(failures + 1.0));
    let port = cluster.port().to_string();
    assert_eq!(metrics.all("pgtether_target_info", &[("port", &port)]).len(), 1);
    assert_eq!(metrics.all("pgtether_target_info", &name).len(), 1, "the old place is gone");
}

#[tokio::test]
async fn a_changed_service_is_told_at_once() {
    let cluster = postgres15();
    let config = targets(&[("db", &[&url(&cluster)])]);
    let daemon = start(&config).await;
    reload(&daemon, Way::Post, &config.replace(SERVICE, "another")).await;
    wait_until(SOON, "the new name", async || {
        let health = daemon.get("/health").await.json();
        if health["service"] == "another" { Ok(()) } else { Err(health.to_string()) }
    })
    .await;
    let admin = Admin::of(&cluster).await;
    wait_until(SOON, "the session's new name", async || {
        let (old, new) = (admin.sessions(SERVICE).await, admin.sessions("another").await);
        if (old, new) == (0, 1) { Ok(()) } else { Err(format!("{old} old, {new} new")) }
    })
    .await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_where_it_is_wrong() {
    let cluster = postgres15();
    let line = url(&cluster);
    let good = targets(&[("db", &[&line])]);
    let daemon = start(&good).await;
    let before = daemon.metrics().await;
    let bad = targets(&[("db", &[&line, "ping: {intervall: 1s}", "connect_timeout: soon"])]);

    fs::write(daemon.config_file(), &bad).unwrap();
    let answer = daemon.post("/-/reload").await;
    assert_eq!(answer.status, 500);
    let file = daemon.config_file().display().to_string();
    for wanted in [format!("{file}:5:"), format!("{file}:6:"), "targets[0].ping.intervall".to_owned()] {
        assert!(answer.text().contains(&wanted), "no {wanted} in {}", answer.text());
    }
    fs::remove_file(daemon.config_file()).unwrap();
    daemon.signal(Signal::SIGHUP);
    let refused = async || match daemon.log().matches("the previous one stays in use").count() {
        3 => Ok(()),
        _ => Err(daemon.log()),
    };
    wait_until(SOON, "three problems in the log", refused).await;
    await_log(&daemon, &format!("{file}:5:")).await;

    let after = daemon.metrics().await;
    assert_eq!(after.get(OK, &[]), Some(0.0));
    assert_eq!(after.get(AT, &[]), before.get(AT, &[]));
    let name = [("target", "db")];
    assert_eq!(after.get("pgtether_connections_total", &name), Some(1.0));
    assert_eq!(after.get("pgtether_up", &name), Some(1.0));
    assert_eq!(after.get("pgtether_ping_interval_seconds", &name), Some(30.0));
    reload(&daemon, Way::Post, &good).await;
}

#[tokio::test]
async fn a_rename_and_back_within_a_moment_ends_with_one_session() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let line = url(&cluster);
    let (one, two) = (targets(&[("one", &[&line])]), targets(&[("two", &[&line])]));
    let daemon = start(&one).await;
    for config in [&two, &one, &two, &one] {
        fs::write(daemon.config_file(), config).unwrap();
        assert_eq!(daemon.post("/-/reload").await.status, 200);
    }
    wait_until(SOON, "one target, one session", async || {
        let metrics = daemon.metrics().await;
        let seen = (
            metrics.get("pgtether_up", &[("target", "one")]),
            series(&metrics, "two"),
            admin.sessions(SERVICE).await,
        );
        if seen == (Some(1.0), 0, 1) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(admin.sessions(SERVICE).await, 1);
}

#[tokio::test]
async fn a_configuration_that_hangs_does_not_keep_the_process_from_ending() {
    let cluster = postgres15();
    let mut daemon = start(&targets(&[("db", &[&url(&cluster)])])).await;
    fs::remove_file(daemon.config_file()).unwrap();
    // Opened for reading, a pipe waits for somebody who writes.
    nix::unistd::mkfifo(&daemon.config_file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.signal(Signal::SIGHUP);
    let pipe = daemon.config_file();
    wait_until(SOON, "the configuration is opened", async || {
        // Somebody waits at the other end.
        let open = fs::OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe);
        open.map(std::mem::forget).map_err(|error| error.to_string())
    })
    .await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.exited(Duration::from_secs(3)).await.success());
}

#[tokio::test]
async fn without_the_flag_nobody_reloads_over_http() {
    let cluster = postgres15();
    let daemon = Daemon::start(&targets(&[("db", &[&url(&cluster)])]));
    let at = daemon.metric(AT, &[]).await;
    assert_eq!(daemon.post("/-/reload").await.status, 403);
    assert_eq!(daemon.metric(AT, &[]).await, at);
}
