//! Sessions that are ended, servers that stop or hang.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Setup, Shutdown};

use super::{
    DB, SERVICE, SOON, assert_attempts_add_up, await_down, await_log, await_state, by_reason, config, count,
    total, up, value,
};
use crate::servers::{Admin, Version, postgres, postgres15};

#[tokio::test]
async fn a_young_session_that_is_terminated_is_counted_once_and_replaced_within_two_seconds() {
    for version in Version::ALL {
        let cluster = postgres(version, Setup::default());
        let admin = Admin::of(&cluster).await;
        let daemon = up(&config(&cluster.superuser_url(), &[])).await;
        let first = admin.pids(SERVICE).await;

        assert_eq!(admin.terminate(SERVICE).await, 1);
        let ended = Instant::now();
        daemon.await_metric(SOON, "pgtether_reconnects_total", DB, 1.0).await;
        let took = ended.elapsed();

        // The wait of a session that lived for less than five seconds, and the login.
        assert!(took < Duration::from_millis(2_500), "{version:?}: back after {took:?}");
        let metrics = daemon.metrics().await;
        assert_eq!(by_reason(&metrics, "pgtether_disconnects_total", "shutdown"), 1.0);
        assert_eq!(total(&metrics, "pgtether_disconnects_total"), 1.0);
        assert_eq!(total(&metrics, "pgtether_connections_total"), 2.0);
        assert_eq!(total(&metrics, "pgtether_connect_failures_total"), 0.0);
        assert_eq!(metrics.get("pgtether_up", DB), Some(1.0));
        assert_attempts_add_up(&metrics);
        let second = admin.pids(SERVICE).await;
        assert_eq!(second.len(), 1);
        assert_ne!(first, second);
        await_log(&daemon, "from=down to=up").await;
        let log = daemon.log();
        assert_eq!((count(&log, "to=down"), count(&log, "to=up")), (1, 2), "one line a change:\n{log}");
        assert!(log.contains("reason=shutdown"), "{log}");
    }
}

#[tokio::test]
async fn a_stopped_server_gets_one_tcp_connect_a_second_and_is_back_as_soon_as_it_starts() {
    let mut cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), &[])).await;

    cluster.stop(Shutdown::Immediate).unwrap();
    await_state(&daemon, Duration::from_secs(1), "down").await;
    let health = await_down(&daemon, SOON, "refused").await;
    assert_eq!(
        (&health["status"], &health["database"]["status"]),
        (&"failing".into(), &"unreachable".into())
    );
    assert!(!health.to_string().contains("healthy"), "{health}");
    assert_eq!(daemon.get("/livez").await.status, 200, "a database is no matter of /livez");

    let before = value(&daemon, "pgtether_tcp_connects_total").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let connects = value(&daemon, "pgtether_tcp_connects_total").await - before;
    assert!((2.0..=5.0).contains(&connects), "{connects} TCP connects in 3 s");
    assert_eq!(value(&daemon, "pgtether_up").await, 0.0);
    await_log(&daemon, "from=down to=down reason=refused").await;
    let log = daemon.log();
    let told = log.lines().find(|line| line.contains("reason=refused")).unwrap();
    let place = format!(
        "host=127.0.0.1 port={0} database=postgres user=postgres address=127.0.0.1:{0}",
        cluster.port()
    );
    for text in [place.as_str(), "retry_in_seconds=", "longest_retry_seconds=1"] {
        assert!(told.contains(text), "{text} is not in {told}");
    }

    cluster.start().unwrap();
    let started = Instant::now();
    await_state(&daemon, SOON, "up").await;
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1500), "up {took:?} after the server");
    let metrics = daemon.metrics().await;
    assert_eq!(total(&metrics, "pgtether_reconnects_total"), 1.0);
    assert_eq!(total(&metrics, "pgtether_disconnects_total"), 1.0);
    assert!(by_reason(&metrics, "pgtether_connect_failures_total", "refused") >= 1.0);
    assert_attempts_add_up(&metrics);
}

/// Whatever ends each session as soon as it is there.
#[tokio::test]
async fn sessions_that_are_lost_again_and_again_are_a_few_lines_that_say_how_often_and_why() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let daemon = up(&config(&cluster.superuser_url(), &[])).await;
    for lost in 1..=8 {
        let before = value(&daemon, "pgtether_reconnects_total").await;
        while admin.terminate(SERVICE).await == 0 {}
        daemon.await_metric(SOON, "pgtether_reconnects_total", DB, before + 1.0).await;
        assert_eq!(before + 1.0, f64::from(lost));
    }
    await_log(&daemon, "reason=flapping").await;
    let log = daemon.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" target=db ")).collect();
    assert!(lines.len() <= 7, "{log}");
    let told = lines.last().unwrap();
    for text in [
        "3 sessions lost within ",
        "3 shutdown; the last at ",
        "Z by: terminating connection",
        "losses=3",
        "quiet_seconds=60",
    ] {
        assert!(told.contains(text), "{text} is not in {told}");
    }
    let health = daemon.get("/health").await.json();
    let detail = health["targets"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("8 sessions lost within "), "{detail}");
}

#[tokio::test]
async fn a_hung_server_is_down_by_its_ping_and_up_as_soon_as_it_thaws() {
    let cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), &["ping: {interval: 1s, timeout: 200ms}"])).await;

    cluster.pause();
    let hung = Instant::now();
    let health = await_down(&daemon, Duration::from_millis(2500), "timeout").await;
    let took = hung.elapsed();
    assert!(took < Duration::from_millis(1700), "noticed after {took:?}");
    assert_eq!(health["database"]["status"], "unreachable");
    let slowest = slowest_answer(&daemon, 20).await;
    assert!(slowest < Duration::from_millis(500), "an answer took {slowest:?}");
    assert_eq!(daemon.get("/livez").await.status, 200);

    cluster.resume();
    let thawed = Instant::now();
    await_state(&daemon, SOON, "up").await;
    let took = thawed.elapsed();
    assert!(took < Duration::from_secs(1), "up {took:?} after the thaw");
    let metrics = daemon.metrics().await;
    assert!(by_reason(&metrics, "pgtether_ping_failures_total", "timeout") >= 1.0);
    // Either the late answer came first, or the login that was under way: then the hung session counts as lost.
    let lost = by_reason(&metrics, "pgtether_disconnects_total", "timeout");
    assert_eq!(total(&metrics, "pgtether_reconnects_total"), lost);
    assert_attempts_add_up(&metrics);
}

#[tokio::test]
async fn a_daemon_that_was_stopped_blames_no_server_that_answered_meanwhile() {
    let cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), &["ping: {interval: 1s, timeout: 2s}"])).await;
    for _ in 0..3 {
        let asked = value(&daemon, "pgtether_pings_total").await;
        daemon.await_metric(SOON, "pgtether_ping_duration_seconds_count", DB, asked).await;
        cluster.pause();
        daemon.await_metric(SOON, "pgtether_pings_total", DB, asked + 1.0).await;
        daemon.signal(Signal::SIGSTOP);
        cluster.resume();
        // The answer is there in an instant; the daemon looks when the ping's time is long over.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        daemon.signal(Signal::SIGCONT);
        daemon.await_metric(SOON, "pgtether_up", DB, 1.0).await;
    }
    let metrics = daemon.metrics().await;
    assert_eq!(total(&metrics, "pgtether_ping_failures_total"), 0.0);
    assert_eq!(total(&metrics, "pgtether_connect_attempts_total"), 1.0);
    assert_eq!(count(&daemon.log(), "to=down"), 0, "{}", daemon.log());
}

/// How long the slowest of these many scrapes and health checks took.
async fn slowest_answer(daemon: &crate::process::Daemon, times: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        for path in ["/metrics", "/health"] {
            let asked = Instant::now();
            daemon.get(path).await;
            slowest = slowest.max(asked.elapsed());
        }
    }
    slowest
}

#[tokio::test]
async fn a_server_that_is_hung_when_we_start_is_down_and_found_when_it_thaws() {
    let cluster = postgres15();
    cluster.pause();
    let daemon =
        crate::process::Daemon::start(&config(&cluster.superuser_url(), &["connect_timeout: 500ms"]));
    await_down(&daemon, SOON, "timeout").await;
    cluster.resume();
    await_state(&daemon, SOON, "up").await;
    assert_eq!(value(&daemon, "pgtether_reconnects_total").await, 0.0, "there was nothing to lose");
}

#[tokio::test]
async fn a_crash_of_another_backend_is_told_as_a_crash_and_survived() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let daemon = up(&config(&cluster.superuser_url(), &[])).await;
    let victim = admin.query("SELECT pg_backend_pid()").await.remove(0);

    cluster.kill_backend(victim.parse().unwrap()).unwrap();
    daemon.await_metric(SOON, "pgtether_reconnects_total", DB, 1.0).await;
    let metrics = daemon.metrics().await;
    assert_eq!(by_reason(&metrics, "pgtether_disconnects_total", "crash"), 1.0);
    assert_eq!(
        metrics.get("pgtether_breaker_transitions_total", &[DB, &[("state", "open")]].concat()),
        Some(0.0)
    );
}
