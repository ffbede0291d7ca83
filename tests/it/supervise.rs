//! The daemon against real servers: what breaks, what people are told, what comes back and how soon.

mod locations;
mod logins;
mod losses;
mod password_command;
mod poolers;
mod refresh;
mod sleep;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::process::{Daemon, wait_until};
use crate::scrape::Metrics;

/// The name of the sessions under test in `pg_stat_activity` and in the server's log.
pub const SERVICE: &str = "tether";
/// The labels of the one target of most tests.
pub const DB: &[(&str, &str)] = &[("target", "db")];
/// Much longer than what is waited for takes: a machine that is busy may be slow.
pub const SOON: Duration = Duration::from_secs(10);

/// A configuration of one target named `db`, with more keys as lines of YAML.
pub fn config(url: &str, keys: &[&str]) -> String {
    let url = serde_json::to_string(url).unwrap();
    targets(&[("db", &[&[format!("url: {url}").as_str()], keys].concat())])
}

/// A configuration of these targets, their keys as lines of YAML.
pub fn targets(targets: &[(&str, &[&str])]) -> String {
    let mut text = format!("service: {SERVICE}\ntargets:\n");
    for (name, keys) in targets {
        text.push_str(&format!("  - name: {name}\n"));
        for key in *keys {
            text.push_str(&format!("    {key}\n"));
        }
    }
    text
}

/// A daemon whose one target is up.
pub async fn up(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    await_state(&daemon, SOON, "up").await;
    daemon
}

/// Waits for the target `db` to be in this state.
pub async fn await_state(daemon: &Daemon, limit: Duration, state: &str) {
    let labels = [DB, &[("state", state)]].concat();
    daemon.await_metric(limit, "pgtether_target_state", &labels, 1.0).await;
}

/// A metric of the target `db`; fails where there is none.
pub async fn value(daemon: &Daemon, name: &str) -> f64 {
    daemon.metric(name, DB).await.unwrap_or_else(|| panic!("no {name}"))
}

/// Waits for the target `db` to be down for this reason, wherever it is told; returns `/health`.
pub async fn await_down(daemon: &Daemon, limit: Duration, reason: &str) -> serde_json::Value {
    wait_until(limit, &format!("down by {reason}"), async || {
        let answer = daemon.get("/health").await;
        let health = answer.json();
        let target = &health["targets"][0];
        if target["state"] == "down" && target["reason"] == reason && answer.status == 503 {
            return Ok(health);
        }
        Err(answer.text())
    })
    .await
}

/// Waits for the log to hold this: it comes by a pipe, and may be behind what HTTP tells.
pub async fn await_log(daemon: &Daemon, wanted: &str) {
    let told = async || match daemon.log() {
        log if log.contains(wanted) => Ok(()),
        log => Err(log),
    };
    wait_until(SOON, wanted, told).await;
}

/// The sum over a family's labels, of the target `db`.
pub fn total(metrics: &Metrics, name: &str) -> f64 {
    metrics.all(name, DB).iter().map(|sample| sample.value).sum()
}

/// One reason's counter of the target `db`.
pub fn by_reason(metrics: &Metrics, name: &str, reason: &str) -> f64 {
    let labels = [DB, &[("reason", reason)]].concat();
    metrics.get(name, &labels).unwrap_or_else(|| panic!("no {name} for {reason}"))
}

/// attempts = connections + failures + those in flight, of which a target has one at the most.
pub fn assert_attempts_add_up(metrics: &Metrics) {
    let attempts = total(metrics, "pgtether_connect_attempts_total");
    let ended =
        total(metrics, "pgtether_connections_total") + total(metrics, "pgtether_connect_failures_total");
    assert!((0.0..=1.0).contains(&(attempts - ended)), "{attempts} attempts, {ended} ended");
}

/// How far a timestamp of `/metrics` lies ahead.
pub fn ahead(timestamp: f64) -> f64 {
    timestamp - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// How often a text occurs.
pub fn count(text: &str, wanted: &str) -> usize {
    text.matches(wanted).count()
}
