//! What an operator reads of a target: one log line when its state changes, attempts at debug.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::connection::SessionEvent;
use crate::reason::Reason;
use crate::status::{Attempt, Because, Line, Moment, Purpose, State, TargetStatus, View};
use crate::supervisor::machine::Event;
use crate::target::TargetName;

/// A reason that changes within the same state is logged at the earliest after that long, and ever more rarely, unless only
/// a person can mend it: a server that fails in turns must not fill the log.
const REASON_EVERY: Duration = Duration::from_secs(60);

/// What was last logged of a target.
#[derive(Debug, Default)]
pub struct Transitions {
    logged: Option<LoggedState>,
}

#[derive(Debug, Clone, Copy)]
struct LoggedState {
    state: State,
    reason: Option<Reason>,
    /// Since when the state is what it is.
    since: Moment,
    at: Instant,
}

impl LoggedState {
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
                let (resolve, connect) = (times.resolve.as_secs_f64(), times.connect.as_secs_f64());
                debug!(%target, resolve_seconds = resolve, connect_seconds = connect, peer = times.peer.map(tracing::field::display), "TCP connect accepted");
            }
            Event::LoggedIn(login) => {
                let tls_seconds = login.tls.map(|took| took.as_secs_f64());
                let startup_seconds = login.startup.as_secs_f64();
                let (ping_seconds, server_version) = (login.ping.as_secs_f64(), &login.facts.server_version);
                debug!(%target, tls_seconds, startup_seconds, ping_seconds, server_version, "logged in");
            }
            Event::Session(SessionEvent::Pong { took, .. }) => {
                debug!(%target, took_seconds = took.as_secs_f64(), "ping answered");
            }
            Event::Session(SessionEvent::PingFailed(facts)) => {
                debug!(%target, error = %facts, "ping failed");
            }
            Event::Session(SessionEvent::Lost(facts)) => debug!(%target, error = %facts, "session lost"),
            Event::Started => debug!(%target, "supervision started"),
            Event::Closed => debug!(%target, "old session closed"),
            Event::SecretChanged => info!(%target, "the secret changed, it is tried at once"),
            Event::Tuned(_) => debug!(%target, "new settings applied"),
            Event::Wanted => debug!(%target, "a pool client needs the session"),
            Event::Prove => debug!(%target, "a proof of login was requested"),
            Event::Stop => debug!(%target, "stopping"),
        }
    }

    /// One line when the state changed, or when the same state has another reason.
    pub fn after(&mut self, status: &TargetStatus, now: Moment) {
        let view = View::new(status, now);
        let (state, reason) = (status.state(), status.reason());
        let latest = LoggedState { state, reason, since: now, at: now.mono };
        // What a task finds at its start has been logged, or is nothing to log.
        let logged = *self.logged.get_or_insert(LoggedState { since: status.since, ..latest });
        if is_passing(status) {
            return;
        }
        if state != logged.state {
            log_change(&view, &logged);
            self.logged = Some(latest);
        } else if reason != logged.reason && (needs_a_person(status) || logged.is_old(now)) {
            if let Some(reason) = reason {
                log_problem(&view, &logged, reason);
            }
            self.logged = Some(LoggedState { since: logged.since, ..latest });
        }
    }
}

/// Gaps that we make ourselves, and a close that may turn out to be sleep: what follows is logged.
fn is_passing(status: &TargetStatus) -> bool {
    let asks_whether_it_sleeps =
        matches!(status.attempt, Attempt::Connecting { purpose: Purpose::Confirm, .. });
    asks_whether_it_sleeps || matches!(status.line, Line::Closing { .. })
}

/// Whether waiting mends nothing: a person should not read of it a minute later. The slow lane limits how often.
fn needs_a_person(status: &TargetStatus) -> bool {
    matches!(status.attempt, Attempt::Waiting { because: Because::SlowLane, .. })
}

fn log_change(view: &View<'_>, logged: &LoggedState) {
    let status = view.status;
    if let Some(reason) = status.reason() {
        return log_problem(view, logged, reason);
    }
    let (from, to) = (logged.state.as_str(), status.state().as_str());
    let (target, after_seconds) = (&status.name, view.now.since(logged.since).as_secs_f64());
    match status.state() {
        State::Up => {
            let fresh = status.last_login.is_some_and(|at| at.mono == view.now.mono);
            let login_seconds =
                status.last_phases.filter(|_| fresh).map(|phases| phases.total().as_secs_f64());
            info!(%target, from, to, after_seconds, login_seconds, "{}", recovery_message(logged.state));
        }
        State::Sleeping => info!(%target, from, to, after_seconds, "the database went to sleep"),
        State::Starting | State::Degraded | State::Down => {
            info!(%target, from, to, after_seconds, "the state changed")
        }
    }
}

/// A target is down or degraded.
fn log_problem(view: &View<'_>, logged: &LoggedState, reason: Reason) {
    let status = view.status;
    let (target, from, to) = (&status.name, logged.state.as_str(), status.state().as_str());
    let after_seconds = view.now.since(logged.since).as_secs_f64();
    let (detail, remedy) = (view.detail(), view.remedy());
    let retry_in_seconds = view.next_attempt().map(|at| at.since(view.now).as_secs_f64());
    let message = failure_message(logged.state, status.state(), reason);
    warn!(%target, from, to, %reason, after_seconds, detail, retry_in_seconds, remedy, "{message}");
}

const fn recovery_message(from: State) -> &'static str {
    match from {
        State::Starting => "the database is connected",
        State::Down => "the database is back",
        State::Degraded | State::Up => "the target is up again",
        State::Sleeping => "the database is awake",
    }
}

/// A server that answers is reached, whatever it answers.
const fn failure_message(from: State, to: State, reason: Reason) -> &'static str {
    match (from, to) {
        (State::Starting | State::Sleeping, State::Down) if reason.is_rejection() => "the login was rejected",
        (State::Down, State::Down) => "the database is still down, now for another reason",
        (State::Starting, State::Down) => "the database cannot be reached",
        (State::Sleeping, State::Down) => "the sleeping database cannot be reached",
        (_, State::Down) => "the database is lost",
        (State::Degraded, _) => "the target is still degraded, now for another reason",
        (State::Down, _) => "the database is back, but the target is degraded",
        _ => "the session is alive, but the target is degraded",
    }
}
