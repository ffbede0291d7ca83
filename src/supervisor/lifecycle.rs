//! A target's task from the outside: what the supervisor writes in the snapshot before its first step and after a
//! crash.

use std::time::Duration;

use tracing::error;

use crate::reason::{Cause, Facts, Phase, Reason};
use crate::status::board::Slot;
use crate::status::{Attempt, Because, Failure, Line, Location, Moment, Purpose, TargetStatus};
use crate::target::{Source, Target, TargetName};

/// A target that nothing has happened to.
pub(super) fn fresh(target: &Target) -> TargetStatus {
    let location = match &target.source {
        Source::Inline(endpoint) => Some(Location::of(endpoint)),
        Source::File(_) => None,
    };
    TargetStatus::new(target.name.clone(), target.tuning.clone(), location, Moment::now())
}

/// A bug of ours, and so an error.
pub(super) fn log_crash(target: &TargetName, cause: &str, restart_in: Duration) {
    let remedy = Reason::Internal.remedy();
    let restart_in_seconds = restart_in.as_secs_f64();
    error!(%target, cause, restart_in_seconds, remedy, "the target's task ended by itself, its session is lost");
}

/// The task is gone and took session and attempt with it.
pub(super) fn crashed(slot: &Slot, pause: Duration) {
    slot.send_modify(|status| {
        let now = Moment::now();
        if status.held().is_some() {
            status.counters.disconnects.add(Reason::Internal);
        }
        match status.attempt {
            Attempt::Connecting { early: Some(_), .. }
            | Attempt::Connecting { purpose: Purpose::Confirm, .. }
            | Attempt::Waiting { .. }
            | Attempt::None => {}
            Attempt::Connecting { early: None, .. } | Attempt::LoggingIn { .. } => {
                status.counters.failures.add(Reason::Internal);
                status.consecutive_failures += 1;
                status.recent.push(false);
                status.tried = true;
            }
        }
        let facts = Facts::new(Phase::Idle, Cause::Internal);
        status.last_failure = Some(Failure::of(now, Reason::Internal, &facts));
        status.counters.restarts += 1;
        if status.state().is_up() {
            status.since = now;
        }
        status.line = Line::Lost { at: now, reason: Reason::Internal };
        let until = now.after(pause);
        let (purpose, because) = (Purpose::Reconnect, Because::Backoff);
        status.attempt = Attempt::Waiting { until, tcp_connect: None, purpose, because };
        status.session = None;
        status.due = until.mono;
    });
}

/// The same name, another endpoint: a new session and a fresh breaker, the counters go on.
pub(super) fn renew(slot: &Slot, target: &Target) {
    slot.send_modify(|status| {
        let counters = std::mem::take(&mut status.counters);
        *status = TargetStatus { counters, ..fresh(target) };
    });
}
