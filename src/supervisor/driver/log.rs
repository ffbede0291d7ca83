//! What an operator reads of a target: one line when its state changes, attempts at debug.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::reason::Reason;
use crate::status::{Attempt, Because, Line, Moment, Purpose, State, TargetStatus, View};
use crate::supervisor::machine::Event;
use crate::target::TargetName;

/// A reason that changes within the same state is told at the earliest after that long, and ever more rarely, unless only
/// a person can mend it: a server that fails in turns must not fill the log.
const REASON_EVERY: Duration = Duration::from_secs(60);

/// What was last told of a target.
#[derive(Debug, Default)]
pub struct Transitions {
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    state: State,
    reason: Option<Reason>,
    /// Since when the state is what it is.
    since: Moment,
    at: Instant,
}

impl Told {
    fn is_old(&self, now: Moment) -> bool {
        let wait = self.at.saturating_duration_since(self.since.mono).max(REASON_EVERY);
        now.mono.saturating_duration_since(self.at) >= wait
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
            Event::Connected { times, .. } => {
                debug!(%target, resolve = ?times.resolve, connect = ?times.connect, peer = ?times.peer, "TCP connect accepted");
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
            Event::SecretChanged => info!(%target, "a secret file changed, it is tried at once"),
            Event::Tuned(_) => debug!(%target, "new settings applied"),
            Event::Wanted => debug!(%target, "somebody needs the session"),
            Event::Prove => debug!(%target, "asked to prove a login"),
            Event::Stop => debug!(%target, "stopping"),
        }
    }

    /// One line when the state changed, or when the same trouble has another cause.
    pub fn after(&mut self, status: &TargetStatus, now: Moment) {
        let view = View::new(status, now);
        let (state, reason) = (status.state(), status.reason());
        let latest = Told { state, reason, since: now, at: now.mono };
        // What a task finds at its start has been told, or is nothing to tell.
        let told = *self.told.get_or_insert(Told { since: status.since, ..latest });
        if is_passing(status) {
            return;
        }
        if state != told.state {
            tell_change(&view, &told);
            self.told = Some(latest);
        } else if reason != told.reason && (needs_a_person(status) || told.is_old(now)) {
            if let Some(reason) = reason {
                tell_trouble(&view, &told, reason);
            }
            self.told = Some(Told { since: told.since, ..latest });
        }
    }
}

/// Gaps that we make ourselves, and a close that may turn out to be sleep: what follows is told.
fn is_passing(status: &TargetStatus) -> bool {
    let asks_whether_it_sleeps =
        matches!(status.attempt, Attempt::Connecting { purpose: Purpose::Confirm, .. });
    asks_whether_it_sleeps || matches!(status.line, Line::Closing)
}

/// Whether waiting mends nothing: a person should not read of it a minute later. The slow lane limits how often.
fn needs_a_person(status: &TargetStatus) -> bool {
    matches!(status.attempt, Attempt::Waiting { because: Because::SlowLane, .. })
}

fn tell_change(view: &View<'_>, told: &Told) {
    let status = view.status;
    if let Some(reason) = status.reason() {
        return tell_trouble(view, told, reason);
    }
    let (from, to) = (told.state.as_str(), status.state().as_str());
    let (target, after) = (&status.name, human(view.now.since(told.since)));
    match status.state() {
        State::Up => {
            let fresh = status.last_login.is_some_and(|at| at.mono == view.now.mono);
            let login = status.last_phases.filter(|_| fresh).map(|phases| human(phases.total()));
            info!(%target, from, to, after, login, "{}", good_news(told.state));
        }
        State::Sleeping => info!(%target, from, to, after, "the database went to sleep"),
        State::Starting | State::Degraded | State::Down => {
            info!(%target, from, to, after, "the state changed")
        }
    }
}

/// A database is lost, or something is wrong with the line to it.
fn tell_trouble(view: &View<'_>, told: &Told, reason: Reason) {
    let status = view.status;
    let (target, from, to) = (&status.name, told.state.as_str(), status.state().as_str());
    let after = human(view.now.since(told.since));
    let detail = status.last_failure.as_ref().filter(|failure| failure.reason == reason);
    let detail = detail.map(|failure| failure.detail.as_str());
    let retry_in = view.next_attempt().map(|at| human(at.since(view.now)));
    let words = bad_news(told.state, status.state());
    warn!(%target, from, to, %reason, after, detail, retry_in, remedy = reason.remedy(), "{words}");
}

const fn good_news(from: State) -> &'static str {
    match from {
        State::Starting => "the database is connected",
        State::Down => "the database is back",
        State::Degraded | State::Up => "the line is whole again",
        State::Sleeping => "the database is awake",
    }
}

const fn bad_news(from: State, to: State) -> &'static str {
    match (from, to) {
        (State::Down, State::Down) => "the database is still down, now for another reason",
        (State::Starting, State::Down) => "the database cannot be reached",
        (State::Sleeping, State::Down) => "the sleeping database cannot be reached",
        (_, State::Down) => "the database is lost",
        (State::Degraded, _) => "the line is still degraded, now for another reason",
        (State::Down, _) => "the database is back, but something is wrong with the line",
        _ => "the session holds, but something is wrong with the line",
    }
}

/// As a person would say it: milliseconds matter below a minute, seconds above.
fn human(took: Duration) -> String {
    let exact = if took < Duration::from_secs(60) {
        Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(took.as_secs())
    };
    jiff::SignedDuration::try_from(exact).map_or_else(|_| format!("{exact:?}"), |took| format!("{took:#}"))
}
