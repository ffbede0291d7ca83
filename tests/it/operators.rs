//! What operators deploy beside the program: dashboards, rules and runbooks. They are held against the program's own
//! metrics, against promtool, and against a real Prometheus and Alertmanager that watch a real outage.

mod chain;
mod chart;
mod contract;
mod dashboards;
mod grafana;
mod monitoring;
mod queries;
mod rules;
mod series;

use std::path::{Path, PathBuf};

/// The labels that tell a target from all others of a Prometheus. The first two may be missing.
const IDENTITY: [&str; 4] = ["cluster", "namespace", "job", "target"];

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Where a link to one of our runbooks leads in this repository; `None` for other links.
fn runbook(url: &str) -> Option<PathBuf> {
    let (_, file) = url.split_once("/docs/runbooks/")?;
    Some(repository("docs/runbooks").join(file))
}
