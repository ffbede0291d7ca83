//! What the experiments have in common: configurations, and waiting for a state.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::Cluster;

use crate::journal::{Transition, transitions};
use crate::process::{Daemon, wait_until};

/// How long anything may take that has no bound of its own.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `t0`, `t1` and so on.
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n}")).collect()
}

/// A configuration of targets, each a name and more keys, in YAML's flow style.
pub fn config<N: Display>(targets: impl IntoIterator<Item = (N, String)>) -> String {
    let entry = |(name, keys): (N, String)| format!("  - {{name: {name}, {keys}}}\n");
    let targets: String = targets.into_iter().map(entry).collect();
    format!("service: figures\ntargets:\n{targets}")
}

/// A `url` for the superuser under an `application_name` of its own.
pub fn url(cluster: &Cluster, name: &str) -> String {
    format!("url: \"{}?application_name={name}\"", cluster.superuser_url())
}

/// Waits until that many targets are up.
pub async fn all_up(daemon: &Daemon, count: usize, limit: Duration) {
    wait_until(limit, &format!("{count} targets to be up"), async || {
        let metrics = daemon.metrics().await;
        let up = metrics.all("pgtether_up", &[]).iter().filter(|sample| sample.value == 1.0).count();
        if up == count { Ok(()) } else { Err(format!("{up} are")) }
    })
    .await;
}

/// Waits for the first change of `target` to the state `to` at or after `from`, as its log tells.
pub async fn changed(
    daemon: &Daemon,
    target: &str,
    to: &str,
    from: SystemTime,
    limit: Duration,
) -> Transition {
    wait_until(limit, &format!("{target} to be {to}"), async || {
        let all = transitions(&daemon.log());
        let mut own = all.into_iter().filter(|seen| seen.target == target && seen.at >= from);
        let found = own.find(|seen| seen.to == to);
        found.ok_or_else(|| "no such change in its log".to_owned())
    })
    .await
}

/// One counter of one target; its series is there from the start.
pub async fn counter(daemon: &Daemon, name: &str, target: &str) -> u64 {
    let value = daemon.metric(name, &[("target", target)]).await;
    value.unwrap_or_else(|| panic!("{name} of {target} is missing")) as u64
}

/// From `earlier` to `later`; zero where the clocks' last digits disagree.
pub fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}
