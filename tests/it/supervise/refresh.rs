//! Refreshes: a fresh login is proven before the old session goes, and nobody sees a gap.

use std::time::{Duration, Instant};

use super::{SERVICE, config, total, up};
use crate::process::Daemon;
use crate::servers::{Admin, postgres15};

const WATCHED: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_refresh_is_seen_by_nobody_and_never_holds_more_than_two_sessions() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let daemon = up(&config(&cluster.superuser_url(), &["refresh: {every: 1s}"])).await;
    let (scrapes, most) = watch(&daemon, &admin).await;
    assert!(scrapes > 50, "only {scrapes} scrapes");
    assert!(most <= 2, "{most} sessions at once");

    let metrics = daemon.metrics().await;
    let refreshes = total(&metrics, "pgtether_refreshes_total");
    assert!((3.0..=7.0).contains(&refreshes), "{refreshes} refreshes in {WATCHED:?}");
    for never in ["reconnects", "disconnects", "connect_failures", "refresh_failures"] {
        assert_eq!(total(&metrics, &format!("pgtether_{never}_total")), 0.0, "{never}");
    }
    drop(daemon);
    assert_new_before_old(&cluster.log());
}

/// Scrapes, and looks into the server, for a while. Returns how many scrapes there were and the most sessions seen.
async fn watch(daemon: &Daemon, admin: &Admin) -> (usize, usize) {
    let began = Instant::now();
    let (mut scrapes, mut most) = (0, 0);
    while began.elapsed() < WATCHED {
        let metrics = daemon.metrics().await;
        assert_eq!(total(&metrics, "pgtether_up"), 1.0, "scrape {scrapes} after {:?}", began.elapsed());
        most = most.max(admin.sessions(SERVICE).await);
        scrapes += 1;
        tokio::time::sleep(POLL).await;
    }
    (scrapes, most)
}

/// In the server's log each session ends only when its successor was let in.
fn assert_new_before_old(log: &str) {
    let named = format!("application_name={SERVICE}");
    let ended = format!(" {SERVICE} LOG:  disconnection");
    let (mut open, mut ends) = (0, 0);
    for line in log.lines() {
        if line.contains("connection authorized") && line.contains(&named) {
            open += 1;
            assert!(open <= 2, "{open} sessions at once:\n{log}");
        } else if line.contains(&ended) {
            // The last one ends with the daemon.
            assert!(open == 2 || ends >= 3, "an old session ended before the new one was there:\n{log}");
            open -= 1;
            ends += 1;
        }
    }
    assert!(ends >= 3, "{ends} sessions ended:\n{log}");
}
