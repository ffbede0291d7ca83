//! How values that several families share, or that take more than a line, are read off a view.

use std::time::Duration;

use super::Sink;
use crate::reason::Reason;
use crate::status::histogram::Histogram;
use crate::status::pool::PoolStatus;
use crate::status::{ByReason, Counters, Moment, View, epoch_seconds};

pub(super) fn counters<'a>(view: &View<'a>) -> &'a Counters {
    &view.status.counters
}

pub(super) fn target_info(view: &View<'_>, out: &mut dyn Sink) {
    let tuning = &view.status.tuning;
    let required = if tuning.required { "true" } else { "false" };
    let treated = [
        ("idle_policy", tuning.idle_policy.as_str()),
        ("required", required),
        ("role", tuning.role.as_str()),
    ];
    match &view.status.location {
        Some(location) => {
            let port = location.port.to_string();
            let lives = [
                ("host", location.host.as_str()),
                ("port", port.as_str()),
                ("database", location.database.as_str()),
                ("provider", location.provider.as_str()),
            ];
            out.whole(&[lives.as_slice(), &treated].concat(), 1);
        }
        None => out.whole(&treated, 1),
    }
}

pub(super) fn phases(view: &View<'_>, out: &mut dyn Sink) {
    let Some(phases) = view.status.last_phases else {
        return;
    };
    for (phase, took) in phases.named() {
        out.real(&[("phase", phase.as_str())], took.as_secs_f64());
    }
}

/// A number of the target's pool, where it has one.
pub(super) fn of_pool(view: &View<'_>, read: fn(&PoolStatus) -> u64, out: &mut dyn Sink) {
    if let Some(pool) = view.pool {
        out.whole(&[], read(pool));
    }
}

pub(super) fn by_reason(set: &[Reason], counts: &ByReason, out: &mut dyn Sink) {
    for reason in set {
        out.whole(&[("reason", reason.as_str())], counts.get(*reason));
    }
}

pub(super) fn durations<const N: usize>(bounds: &[f64; N], seen: &Histogram<N>, out: &mut dyn Sink) {
    out.histogram(bounds, &seen.buckets, seen.count, seen.sum);
}

pub(super) fn seconds(value: Option<Duration>, out: &mut dyn Sink) {
    if let Some(duration) = value {
        out.real(&[], duration.as_secs_f64());
    }
}

pub(super) fn timestamp(value: Option<Moment>, out: &mut dyn Sink) {
    if let Some(moment) = value {
        out.real(&[], epoch_seconds(moment.wall));
    }
}
