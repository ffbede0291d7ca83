//! Databases that go idle: let sleep, woken, or kept awake by what was learned.

use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Setup, Shutdown};

use super::{DB, SERVICE, SOON, await_down, await_state, by_reason, config, count, total, up, value};
use crate::process::Daemon;
use crate::servers::{Admin, Version, postgres, postgres15};

const LET_SLEEP: &str = "idle_policy: let_sleep";

/// A server that ends idle sessions and logs every statement.
fn sleepy(idle: &str) -> Cluster {
    let setup = Setup::default().set("idle_session_timeout", idle).set("log_statement", "all");
    postgres(Version::V15, setup)
}

fn logins(cluster: &Cluster) -> usize {
    count(&cluster.log(), &format!("application_name={SERVICE}"))
}

fn statements(cluster: &Cluster) -> usize {
    count(&cluster.log(), &format!(" {SERVICE} LOG:  statement:"))
}

#[tokio::test]
async fn a_database_that_is_let_sleep_hears_nothing_after_the_first_ping_and_is_healthy_asleep() {
    for version in Version::ALL {
        let setup = Setup::default().set("idle_session_timeout", "2s").set("log_statement", "all");
        let cluster = postgres(version, setup);
        let keys = [LET_SLEEP, "ping: {interval: 1s, timeout: 1s}", "refresh: {every: 1s}"];
        let daemon = up(&config(&cluster.superuser_url(), &keys)).await;
        let first = statements(&cluster);
        assert_eq!(first, 1, "the first ping is one statement:\n{}", cluster.log());

        await_state(&daemon, SOON, "sleeping").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((logins(&cluster), statements(&cluster)), (1, first), "{}", cluster.log());
        let answer = daemon.get("/health").await;
        let health = answer.json();
        assert_eq!((answer.status.as_u16(), &health["status"]), (200, &"healthy".into()), "{health}");
        assert_eq!(health["database"]["status"], "sleeping");
        assert_eq!(value(&daemon, "pgtether_up").await, 1.0);
        let observed = value(&daemon, "pgtether_observed_idle_timeout_seconds").await;
        assert!((1.8..=2.2).contains(&observed), "learned {observed} s");
        let metrics = daemon.metrics().await;
        assert_eq!(by_reason(&metrics, "pgtether_disconnects_total", "idle_timeout"), 1.0);
        assert_eq!(total(&metrics, "pgtether_connect_failures_total"), 0.0);
    }
}

#[tokio::test]
async fn a_probe_wakes_what_sleeps() {
    // Longer than the second in which a probe is told how the last attempt ended.
    let cluster = sleepy("2s");
    let daemon = up(&config(&cluster.superuser_url(), &[LET_SLEEP])).await;
    await_state(&daemon, SOON, "sleeping").await;
    let probed = daemon.get("/probe?target=db").await.text();
    assert!(probed.contains("\nprobe_success 1\n"), "{probed}");
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_wake_duration_seconds_count", DB), Some(1.0));
    assert_eq!(total(&metrics, "pgtether_reconnects_total"), 0.0, "a wake replaces nothing that was lost");
    await_state(&daemon, SOON, "sleeping").await;
}

#[tokio::test]
async fn a_sleeper_is_woken_as_often_as_told() {
    let cluster = sleepy("1s");
    let daemon = up(&config(&cluster.superuser_url(), &[LET_SLEEP, "wake_every: 2s"])).await;
    daemon.await_metric(SOON, "pgtether_wake_duration_seconds_count", DB, 2.0).await;
    assert_eq!(logins(&cluster), 3, "{}", cluster.log());
}

#[tokio::test]
async fn an_idle_session_that_an_administrator_ends_is_sleep_where_the_server_still_accepts() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let daemon = up(&config(&cluster.superuser_url(), &[LET_SLEEP])).await;
    admin.terminate(SERVICE).await;
    await_state(&daemon, SOON, "sleeping").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(logins(&cluster), 1, "one TCP connect, and no login followed:\n{}", cluster.log());
}

#[tokio::test]
async fn a_server_that_stops_is_down_and_not_asleep() {
    let mut cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), &[LET_SLEEP])).await;
    cluster.stop(Shutdown::Fast).unwrap();
    await_down(&daemon, Duration::from_secs(4), "refused").await;
    cluster.start().unwrap();
    await_state(&daemon, Duration::from_secs(3), "up").await;
}

#[tokio::test]
async fn a_socket_that_keeps_the_database_awake_is_closed_by_us() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let daemon = up(&config(&cluster.superuser_url(), &[LET_SLEEP, "close_idle_after: 1s"])).await;
    assert_eq!(admin.sessions(SERVICE).await, 1);
    await_state(&daemon, SOON, "sleeping").await;
    let nobody = async || match admin.sessions(SERVICE).await {
        0 => Ok(()),
        some => Err(format!("{some} sessions")),
    };
    crate::process::wait_until(SOON, "the session's end", nobody).await;
    assert_eq!(total(&daemon.metrics().await, "pgtether_disconnects_total"), 0.0, "it was no loss");
}

#[tokio::test]
async fn a_database_that_is_kept_awake_is_pinged_more_often_once_its_idle_limit_is_known() {
    let cluster = sleepy("2s");
    let daemon = Daemon::start(&config(&cluster.superuser_url(), &[]));
    daemon.await_metric(SOON, "pgtether_reconnects_total", DB, 1.0).await;
    let every = value(&daemon, "pgtether_ping_interval_seconds").await;
    assert!(every < 1.7, "pings every {every} s under a limit of 2 s");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let metrics = daemon.metrics().await;
    assert_eq!(by_reason(&metrics, "pgtether_disconnects_total", "idle_timeout"), 1.0);
    assert_eq!(total(&metrics, "pgtether_disconnects_total"), 1.0);
    assert_eq!(metrics.get("pgtether_up", DB), Some(1.0));
}
