//! What an operator reads of a target: one line when its state changes, attempts at debug.

use std::time::{Duration, Instant};

use tracing::{Level, debug, event, info, warn};

use crate::reason::Reason;
use crate::status::{Moment, State, TargetStatus, View};
use crate::supervisor::machine::Event;
use crate::target::TargetName;

/// A reason that changes within the same state is told at most that often.
const REASON_EVERY: Duration = Duration::from_secs(60);

/// What was last told of a target.
#[derive(Debug, Default)]
pub struct Transitions {
    told: Option<(Instant, Option<Reason>)>,
}

/// How it was before a step.
#[derive(Debug)]
pub struct Before {
    state: State,
    since: Moment,
}

impl Before {
    pub fn of(status: &TargetStatus) -> Self {
        Before { state: status.state(), since: status.since }
    }
}

impl Transitions {
    /// Each attempt and ping, for those who look for it.
    pub fn event(&self, target: &TargetName, event: &Event) {
        match event {
            Event::Timer => {}
            Event::Failed { facts, dial, .. } => {
                let shared = dial.as_ref().is_some_and(|dial| dial.shared);
                debug!(%target, phase = facts.phase.as_str(), shared, error = %facts, "attempt failed");
            }
            Event::Knocked { times, .. } => {
                debug!(%target, resolve = ?times.resolve, connect = ?times.connect, peer = ?times.peer, "let in");
            }
            Event::LoggedIn(login) => {
                let (tls, startup, ping) = (login.tls, login.startup, login.ping);
                debug!(%target, ?tls, ?startup, ?ping, server_version = login.facts.server_version, "logged in");
            }
            Event::Pong { took, .. } => debug!(%target, ?took, "ping answered"),
            Event::PingFailed(facts) => debug!(%target, error = %facts, "ping failed"),
            Event::Lost(facts) => debug!(%target, error = %facts, "session lost"),
            Event::Started => debug!(%target, "supervision started"),
            Event::Closed => debug!(%target, "old session closed"),
            Event::SecretChanged => info!(%target, "a secret file changed, trying it at once"),
            Event::Tuned(_) => debug!(%target, "new settings applied"),
            Event::Wanted | Event::Prove => debug!(%target, "asked to prove a login"),
            Event::Stop => debug!(%target, "stopping"),
        }
    }

    /// One line when the state changed, or when the same trouble has another cause.
    pub fn after(&mut self, before: &Before, status: &TargetStatus, now: Moment) {
        let view = View::new(status, now);
        let (to, reason) = (status.state(), view.reason());
        let changed = to != before.state;
        let other_cause = reason.is_some()
            && self.told.is_some_and(|(at, told)| {
                told != reason && now.mono.saturating_duration_since(at) >= REASON_EVERY
            });
        if !changed && !other_cause || matches!(status.line, crate::status::Line::Closing) {
            return;
        }
        self.told = Some((now.mono, reason));
        let after = round(now.since(before.since));
        let (target, from) = (&status.name, before.state.as_str());
        let reconnects = status.counters.reconnects;
        let Some(reason) = reason else {
            let age = status.last_phases.map(|phases| round(phases.total()));
            info!(%target, from, to = to.as_str(), ?after, login = ?age, reconnects, "{}", words(to));
            return;
        };
        let detail = status.last_failure.as_ref().map(|failure| failure.detail.as_str()).unwrap_or_default();
        let remedy = reason.remedy();
        if to.is_up() {
            event!(Level::WARN, %target, from, to = to.as_str(), %reason, ?after, detail, remedy, "{}", words(to));
        } else {
            warn!(%target, from, to = to.as_str(), %reason, ?after, detail, remedy, "{}", words(to));
        }
    }
}

const fn words(to: State) -> &'static str {
    match to {
        State::Starting => "no attempt has ended yet",
        State::Up => "the line is up",
        State::Degraded => "the line holds, but something is wrong with it",
        State::Sleeping => "the database sleeps",
        State::Down => "the line is down",
    }
}

/// To the millisecond: an operator compares, a nanosecond only distracts.
fn round(took: Duration) -> Duration {
    Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}
