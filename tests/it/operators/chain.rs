//! The whole chain: a real Prometheus scrapes two real pgtethers, of two namespaces, that supervise real servers through
//! faults and their cure; the right alerts fire in a real Alertmanager, of the right one, and end; every panel of the
//! dashboards has something to show, and tells the two apart.
//!
//! The rules are those that users get, sped up sixty times: five minutes in them are five seconds here.

mod crowd;
mod faults;
mod pictures;
mod second;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use super::monitoring::{Firing, Monitoring, Series};
use super::rules;
use crate::process::wait_until;
use faults::Scene;

/// How long an alert may take to fire or to end: much more than its `for`, for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(100);
/// As long as the longest `for` of what a restart might set off.
const A_WHILE: Duration = Duration::from_secs(6);

/// What fires while the faults last: alert, severity, target or file.
const FIRING: &[(&str, &str, &str)] = &[
    ("PgtetherTargetDown", "critical", "main"),
    ("PgtetherTargetDown", "warning", "optional"),
    ("PgtetherBreakerOpen", "warning", "main"),
    ("PgtetherBreakerOpen", "warning", "optional"),
    ("PgtetherDegraded", "warning", "rotated"),
    ("PgtetherCredentialsRejected", "warning", "rotated"),
    ("PgtetherRefreshStale", "warning", "rotated"),
    ("PgtetherDegraded", "warning", "full"),
    ("PgtetherCapacityExhausted", "warning", "full"),
    ("PgtetherRefreshStale", "warning", "full"),
    ("PgtetherFlapping", "warning", "flappy"),
    ("PgtetherPingSlow", "warning", "slow"),
    ("PgtetherPoolExhausted", "warning", "busy"),
    ("PgtetherPoolWaiting", "warning", "busy"),
    ("PgtetherPoolExhausted", "warning", "short"),
    ("PgtetherPoolRejecting", "critical", "short"),
    ("PgtetherCertificateExpiring", "warning", "certified"),
    ("PgtetherCertificateExpiring", "critical", "certified"),
    ("PgtetherConfigReloadFailed", "warning", "config"),
    ("PgtetherConfigReloadFailed", "warning", "web_config"),
    ("PgtetherDegraded", "warning", "staging/main"),
    ("PgtetherCredentialsRejected", "warning", "staging/main"),
    ("PgtetherRefreshStale", "warning", "staging/main"),
];
/// What fires when the pgtether of one namespace answers nobody, although that of the other one does.
const BLIND: &[(&str, &str, &str)] =
    &[("PgtetherExporterDown", "critical", ""), ("PgtetherExporterDown", "warning", "")];
/// What may fire as well: where the faults last long enough, or scrapes happen to see each of many short ones.
const LATER: &[(&str, &str, &str)] = &[
    ("PgtetherBreakerOpen", "warning", "full"),
    ("PgtetherErrorBudgetBurn", "critical", "main"),
    ("PgtetherErrorBudgetBurn", "critical", "flappy"),
    ("PgtetherErrorBudgetBurn", "warning", "main"),
    ("PgtetherErrorBudgetBurn", "warning", "optional"),
    ("PgtetherErrorBudgetBurn", "warning", "flappy"),
    ("PgtetherTargetDown", "critical", "flappy"),
    SLOW_TO_END,
];
/// The daemon calls a target flapping for five minutes of its own, which nothing speeds up here.
const SLOW_TO_END: (&str, &str, &str) = ("PgtetherDegraded", "warning", "flappy");
/// It is over when six hours know of no outage, which are six minutes here.
const LASTING: (&str, &str) = ("PgtetherErrorBudgetBurn", "warning");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_fires_on_a_real_fault_and_ends_with_it_and_every_panel_shows_it() {
    let scene = &mut Scene::set().await;
    let scraped = scene.scraped();
    let monitoring = &Monitoring::start(&scraped, &sped_up(&rules::text()), &rules::inhibitions()).await;
    let began = now();
    scene.await_calm(monitoring).await;

    scene.strike().await;
    await_all(monitoring, FIRING).await;
    assert_quiet_ones(monitoring).await;

    scene.cure().await;
    await_none(monitoring).await;

    // A restart in place is a minute or three without a scrape.
    scene.restart().await;
    assert_silent_for(monitoring, A_WHILE).await;
    scene.roll(monitoring).await;
    assert_silent_for(monitoring, A_WHILE).await;

    scene.daemon().signal(Signal::SIGSTOP);
    await_all(monitoring, BLIND).await;
    scene.daemon().signal(Signal::SIGCONT);
    await_none(monitoring).await;

    // It runs, and nobody scrapes it any more.
    monitoring.scrape(&scraped[1..]);
    await_all(monitoring, &BLIND[..1]).await;
    monitoring.scrape(&scene.scraped());
    await_none(monitoring).await;

    // An outage for the dashboards to show, besides those that are past.
    scene.wake().await;
    scene.strike_again().await;
    await_all(monitoring, &FIRING[..1]).await;
    pictures::take(monitoring, began, now()).await;
    assert_shares_are_shares(monitoring).await;
}

/// Although two copies of the rules recorded them, shares of a window are between none and all of it.
async fn assert_shares_are_shares(monitoring: &Monitoring) {
    let samples =
        monitoring.query("count_over_time(target:pgtether_up:max{target='calm'}[10s])", now()).await;
    let recorded = samples.iter().filter_map(Series::last).fold(0.0, f64::max);
    assert!(recorded > 25.0, "one copy records 20, but there are only {recorded}");
    for window in ["5m", "30m", "1h"] {
        let share = format!("max_over_time(target:pgtether_down:ratio_{window}[10m])");
        let most = monitoring.query(&share, now()).await;
        let most: Vec<_> = most.iter().filter_map(Series::last).collect();
        assert!(!most.is_empty() && most.iter().all(|most| (0.0..=1.0).contains(most)), "{window}: {most:?}");
        assert!(
            window != "5m" || most.contains(&1.0),
            "nothing was down for as long as this window: {most:?}"
        );
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn key(firing: &Firing) -> (&str, &str, &str) {
    (&firing.name, &firing.severity, firing.about.as_deref().unwrap_or_default())
}

/// Waits until each of these has fired, for the windows of some are short; nothing else may on the way.
async fn await_all(monitoring: &Monitoring, wanted: &[(&str, &str, &str)]) {
    let known = [FIRING, BLIND, LATER].concat();
    let mut missing = wanted.to_vec();
    wait_until(LIMIT, "the alerts", async || {
        let firing = monitoring.firing().await;
        let seen: BTreeSet<_> = firing.iter().map(key).collect();
        missing.retain(|wanted| !seen.contains(wanted));
        let strange: Vec<_> = seen.iter().filter(|seen| !known.contains(seen)).collect();
        assert!(strange.is_empty(), "nobody asked for {strange:?}; not yet: {missing:?}");
        if missing.is_empty() { Ok(()) } else { Err(format!("not yet: {missing:?}")) }
    })
    .await;
}

fn ends_soon(firing: &(&str, &str, &str)) -> bool {
    (firing.0, firing.1) != LASTING && *firing != SLOW_TO_END
}

/// Waits for nothing to fire any more.
async fn await_none(monitoring: &Monitoring) {
    wait_until(LIMIT, "the alerts' end", async || {
        let firing = monitoring.firing().await;
        let left: Vec<_> = firing.iter().map(key).filter(ends_soon).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// Nothing fires for so long.
async fn assert_silent_for(monitoring: &Monitoring, long: Duration) {
    let end = tokio::time::Instant::now() + long;
    while tokio::time::Instant::now() < end {
        let firing = monitoring.firing().await;
        let news: Vec<_> = firing.iter().map(key).filter(ends_soon).collect();
        assert!(news.is_empty(), "{news:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Of one fault there is one message: what the louder alert implies is kept quiet.
async fn assert_quiet_ones(monitoring: &Monitoring) {
    let quiet: &[(&str, &str, &str)] = &[
        ("PgtetherBreakerOpen", "warning", "main"),
        ("PgtetherDegraded", "warning", "staging/main"),
        ("PgtetherDegraded", "warning", "rotated"),
        ("PgtetherRefreshStale", "warning", "rotated"),
        ("PgtetherCertificateExpiring", "warning", "certified"),
        ("PgtetherPoolExhausted", "warning", "short"),
    ];
    wait_until(LIMIT, "the quiet ones", async || {
        let firing = monitoring.firing().await;
        let inhibited: BTreeSet<_> = firing.iter().filter(|firing| firing.inhibited).map(key).collect();
        let loud = firing.iter().filter(|firing| !firing.inhibited).map(key).collect::<BTreeSet<_>>();
        assert!(loud.contains(&("PgtetherTargetDown", "critical", "main")), "{loud:?}");
        // That `main` is down in one namespace keeps nothing quiet about the `main` of the other one.
        let of_the_other = ("PgtetherCredentialsRejected", "warning", "staging/main");
        assert!(!inhibited.contains(&of_the_other), "{inhibited:?}");
        if quiet.iter().all(|alert| inhibited.contains(alert)) { Ok(()) } else { Err(format!("{loud:?}")) }
    })
    .await;
}

/// The rules, sixty times faster: every window, `for` and interval.
fn sped_up(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let ends = [("for: ", "\n"), ("interval: ", "\n"), ("[", "]"), ("offset ", ")"), ("offset ", " ")];
        let mut rest = format!("{line}\n");
        let duration = |rest: &str, (start, end): (&str, &str)| {
            let from = rest.find(start)? + start.len();
            let to = from + rest[from..].find(end)?;
            Some((from, to, faster(&rest[from..to])?))
        };
        while let Some((from, to, faster)) = ends.iter().find_map(|ends| duration(&rest, *ends)) {
            text.push_str(&rest[..from]);
            text.push_str(&faster);
            rest = rest.split_off(to);
        }
        text.push_str(&rest);
    }
    text
}

/// A duration of Prometheus's, divided by sixty; `None` where it is none.
fn faster(duration: &str) -> Option<String> {
    let unit = duration.chars().next_back()?;
    let count: u64 = duration[..duration.len() - unit.len_utf8()].parse().ok()?;
    let milliseconds = match unit {
        's' => count * 1000 / 60,
        'm' => count * 1000,
        'h' => count * 60_000,
        'd' => count * 24 * 60_000,
        _ => return None,
    };
    Some(format!("{milliseconds}ms"))
}

#[test]
fn rules_are_sped_up_wherever_they_name_a_duration() {
    let slow = "interval: 30s\nexpr: rate(a[15m]) / b_5m[1h] offset 5m) c offset 1h d\nkeep_firing_for: 0s\nnot: 5m\n";
    let fast = "interval: 500ms\nexpr: rate(a[15000ms]) / b_5m[60000ms] offset 5000ms) c offset 60000ms d\n\
                keep_firing_for: 0ms\nnot: 5m\n";
    assert_eq!(sped_up(slow), fast);
    let rules = rules::text();
    let windows = |text: &str| text.matches('[').count();
    let fast = sped_up(&rules);
    assert_eq!(fast.matches("ms]").count(), windows(&rules));
    for starts in ["for: ", "offset "] {
        for rest in fast.split(starts).skip(1) {
            assert!(rest.split([')', ' ', '\n']).next().unwrap().ends_with("ms"), "{starts}{rest}");
        }
    }
}
