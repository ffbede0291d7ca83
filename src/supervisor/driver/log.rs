//! What an operator reads of a target: a log line when its state or its reason changes, attempts at debug.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::connection::SessionEvent;
use crate::policy::pace::Pace;
use crate::reason::Reason;
use crate::status::{Gap, Line, Location, Moment, State, TargetStatus, View};
use crate::supervisor::machine::Event;
use crate::target::TargetName;

/// A state that has lasted for so long is told, whatever its reasons do.
const LASTING: Duration = Duration::from_secs(60);

/// What was logged of a target, and what has happened since.
#[derive(Debug, Default)]
pub struct Transitions {
    /// What was logged last.
    logged: Option<ShownState>,
    logged_at: Option<Moment>,
    /// What was seen last, logged or not.
    seen: Option<ShownState>,
    /// Changes since the last line, which were too many to be told.
    unlogged: u64,
    /// Why it was not up, since it was.
    reasons: BTreeSet<Reason>,
    pace: Pace,
    /// `password_command` fails, and what it printed before is used.
    fails_to_renew: bool,
}

/// A state and its reason, since when the state is what it is, and how many sessions were lost while it flaps.
#[derive(Debug, Clone, Copy)]
struct ShownState {
    state: State,
    reason: Option<Reason>,
    since: Moment,
    losses: u64,
}

impl ShownState {
    fn is_as(&self, other: &ShownState) -> bool {
        (self.state, self.reason) == (other.state, other.reason)
    }
}

impl Transitions {
    /// Each attempt and ping, for those who look for it.
    pub fn event(&mut self, target: &TargetName, event: &Event) {
        match event {
            Event::Timer => {}
            Event::Failed { facts, dial, .. } => {
                let shared = dial.as_ref().is_some_and(|dial| dial.shared);
                debug!(%target, phase = facts.phase.as_str(), shared, error = %facts, "attempt failed");
            }
            Event::Connected { times, .. } => {
                let (resolve, connect) = (times.resolve.as_secs_f64(), times.connect.as_secs_f64());
                debug!(%target, resolve_seconds = resolve, connect_seconds = connect, address = times.peer.map(tracing::field::display), "TCP connect accepted");
            }
            Event::LoggedIn(login) => {
                let tls_seconds = login.tls.map(|took| took.as_secs_f64());
                let startup_seconds = login.startup.as_secs_f64();
                let (ping_seconds, server_version) = (login.ping.as_secs_f64(), &login.facts.server_version);
                debug!(%target, tls_seconds, startup_seconds, ping_seconds, server_version, "logged in");
                self.renewal(target, login.facts.failed_renewal.as_deref());
            }
            Event::Session(SessionEvent::Pong { took, .. }) => {
                debug!(%target, ping_seconds = took.as_secs_f64(), "ping answered");
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
            Event::TryNow => debug!(%target, "an operator asked for an attempt now"),
            Event::Stop => debug!(%target, "stopping"),
        }
    }

    /// A command that fails is told before its last output is of no use any more: once, and when it works again.
    fn renewal(&mut self, target: &TargetName, failed: Option<&str>) {
        match (failed, self.fails_to_renew) {
            (Some(detail), false) => {
                let (reason, remedy) = (Reason::PasswordCommand, Reason::PasswordCommand.remedy());
                warn!(%target, %reason, detail, remedy, "password_command fails; what it printed before is used for the rest of password_command_ttl");
            }
            (None, true) => info!(%target, "password_command works again"),
            (Some(_), true) | (None, false) => {}
        }
        self.fails_to_renew = failed.is_some();
    }

    /// One line when the state or the reason has changed, and fewer where that never ends.
    pub fn after(&mut self, status: &TargetStatus, now: Moment) {
        if self.is_passing(status) {
            return;
        }
        let view = View::new(status, now);
        let losses = status.flapping.as_ref().map_or(0, |flapping| flapping.losses);
        let fresh =
            ShownState { state: status.state(), reason: status.reason(), since: status.since, losses };
        // What a task finds at its start has been logged, or is nothing to log.
        let before = *self.seen.get_or_insert(fresh);
        let logged = *self.logged.get_or_insert(fresh);
        let seen =
            ShownState { since: if fresh.state == before.state { before.since } else { now }, ..fresh };
        self.seen = Some(seen);
        if !seen.is_as(&before) {
            self.unlogged += 1;
            self.pace.changed(now.mono);
            self.reasons.extend(seen.reason);
        } else if seen.losses > before.losses {
            // It goes on, and takes no room from what is new.
            self.unlogged += 1;
        }
        let is_untold = self.logged_at.is_none_or(|at| at.mono < seen.since.mono);
        let lasts = is_untold && now.since(seen.since) >= LASTING;
        let admitted = match self.unlogged {
            0 => false,
            // It went away and came back, or a session was lost once more.
            _ if seen.is_as(&logged) => self.pace.admits_again(now.mono) || lasts,
            _ => self.pace.admits(now.mono) || lasts,
        };
        if admitted {
            self.log(&view, &logged);
            self.logged = Some(seen);
            self.logged_at = Some(now);
            self.unlogged = 0;
            if seen.state == State::Up {
                self.reasons.clear();
            }
        }
    }

    /// What follows is logged, of a target that flaps from the second time on.
    fn is_passing(&self, status: &TargetStatus) -> bool {
        match status.gap() {
            Some(Gap::Flapping) => self.seen.is_some_and(|seen| seen.reason == Some(Reason::Flapping)),
            Some(Gap::Planned) => true,
            None => false,
        }
    }

    fn log(&self, view: &View<'_>, logged: &ShownState) {
        // Losses that go on are one matter.
        let is_quiet = self.pace.is_spent() || view.status.reason() == Some(Reason::Flapping);
        let throttle = Throttle {
            unlogged_changes: Some(self.unlogged.saturating_sub(1)).filter(|left_out| *left_out > 0),
            quiet_seconds: is_quiet.then(|| self.pace.pause().as_secs_f64()),
        };
        match view.status.reason() {
            Some(reason) => log_problem(view, logged, reason, throttle),
            None => log_change(view, logged, &self.reasons, throttle),
        }
    }
}

/// What a line says of those that were left out, and for how long more will be.
#[derive(Debug, Clone, Copy)]
struct Throttle {
    unlogged_changes: Option<u64>,
    quiet_seconds: Option<f64>,
}

/// How long the state before had lasted; not where others between were left out.
fn lasted(view: &View<'_>, logged: &ShownState, throttle: Throttle) -> Option<f64> {
    let known = throttle.unlogged_changes.is_none();
    known.then(|| view.now.since(logged.since).as_secs_f64())
}

/// A target is up, or sleeps.
fn log_change(view: &View<'_>, logged: &ShownState, reasons: &BTreeSet<Reason>, throttle: Throttle) {
    let status = view.status;
    let (from, to) = (logged.state.as_str(), status.state().as_str());
    let (target, lasted_seconds) = (&status.name, lasted(view, logged, throttle));
    let Throttle { unlogged_changes, quiet_seconds } = throttle;
    let LocationFields { host, port, database, user } = LocationFields::of(status);
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    let reasons = Some(reasons.join(",")).filter(|reasons| !reasons.is_empty());
    let address = status.peer.map(tracing::field::display);
    let fresh = status.last_login.is_some_and(|at| at.mono == view.now.mono);
    let login_seconds = status.last_phases.filter(|_| fresh).map(|phases| phases.total().as_secs_f64());
    let message = match (logged.state, status.state()) {
        (State::Starting, State::Up) => "the database is connected",
        (State::Down, State::Up) => "the database is back",
        (State::Sleeping, State::Up) => "the database is awake",
        (_, State::Up) => "the target is up again",
        (_, State::Sleeping) => "the database went to sleep",
        _ => "the state changed",
    };
    info!(
        %target, from, to, lasted_seconds, reasons, login_seconds, host, port, database, user, address,
        unlogged_changes, quiet_seconds, "{message}"
    );
}

/// A target is down or degraded.
fn log_problem(view: &View<'_>, logged: &ShownState, reason: Reason, throttle: Throttle) {
    let status = view.status;
    let (target, from, to) = (&status.name, logged.state.as_str(), status.state().as_str());
    let lasted_seconds = lasted(view, logged, throttle);
    let Throttle { unlogged_changes, quiet_seconds } = throttle;
    let (detail, remedy) = (view.detail(), view.remedy());
    let lost_by = lost_by(status, logged, reason).map(Reason::as_str);
    let losses = status.flapping.as_ref().map(|flapping| flapping.losses);
    let retry_in_seconds = view.next_try().map(|at| at.since(view.now).as_secs_f64());
    let longest_retry_seconds = view.longest_wait().map(|wait| wait.as_secs_f64());
    let LocationFields { host, port, database, user } = LocationFields::of(status);
    // Of the session that is held, or was.
    let address = status.peer.map(tracing::field::display);
    let message = failure_message(logged, status.state(), reason);
    warn!(
        %target, from, to, %reason, lost_by, lasted_seconds, detail, retry_in_seconds, longest_retry_seconds, remedy, losses,
        host, port, database, user, address, unlogged_changes, quiet_seconds, "{message}"
    );
}

/// Why the session was lost, where the line that tells of it has what came of the next attempt already.
fn lost_by(status: &TargetStatus, logged: &ShownState, reason: Reason) -> Option<Reason> {
    match status.line {
        Line::Lost { reason: by, .. } if logged.state != State::Down && by != reason => Some(by),
        _ => None,
    }
}

/// Where the target is, field by field.
#[derive(Debug, Default)]
struct LocationFields<'a> {
    host: Option<&'a str>,
    port: Option<u16>,
    database: Option<&'a str>,
    user: Option<&'a str>,
}

impl<'a> LocationFields<'a> {
    fn of(status: &'a TargetStatus) -> Self {
        status.location.as_ref().map_or_else(LocationFields::default, |location| {
            let Location { host, port, database, user, .. } = location;
            LocationFields { host: Some(host), port: Some(*port), database: Some(database), user: Some(user) }
        })
    }
}

/// A server that answers is reached, whatever it answers.
fn failure_message(logged: &ShownState, to: State, reason: Reason) -> &'static str {
    match (logged.state, to) {
        (State::Down, _) if reason == Reason::Flapping => {
            "the database is back, after sessions were lost again and again"
        }
        _ if reason == Reason::Flapping => "sessions are lost again and again",
        (State::Starting | State::Sleeping, State::Down) if reason.is_rejection() => "the login was rejected",
        (State::Down, State::Down) if logged.reason == Some(reason) => "the database is still down",
        (State::Down, State::Down) => "the database is still down, now for another reason",
        (State::Starting, State::Down) => "the database cannot be reached",
        (State::Sleeping, State::Down) => "the sleeping database cannot be reached",
        (_, State::Down) => "the database is lost",
        (State::Degraded, _) if logged.reason == Some(reason) => "the target is still degraded",
        (State::Degraded, _) => "the target is still degraded, now for another reason",
        (State::Down, _) => "the database is back, but the target is degraded",
        _ => "the session is alive, but the target is degraded",
    }
}
