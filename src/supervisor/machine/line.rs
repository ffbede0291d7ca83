//! The half of the machine that looks after the session in hand: pings, losses, sleep, rhythm.

use std::time::Duration;

use super::{Action, MachineStep, PingState};
use crate::policy::{FOREVER, backoff, later};
use crate::reason::{Cause, Facts, Phase, Reason, table};
use crate::status::{Attempt, Failure, Flapping, Held, Line, Moment, Purpose, histogram};
use crate::target::{Provider, Role};

/// Neon suspends after 300 s by default; a close by an administrator after that much silence is the suspend.
const NEON_SUSPENDS_AFTER: Duration = Duration::from_secs(240);
/// The longest wait between two TCP connects that confirm sleep: with those before it, a shutdown has a minute to end.
const CONFIRM_UP_TO: Duration = Duration::from_secs(32);
/// How near an idle close comes to the learned limit to be explained by it.
const NEAR_LIMIT: f64 = 0.8;

impl MachineStep<'_> {
    /// Asks whether the session lives.
    pub(super) fn ask(&mut self) {
        self.machine.ping = PingState::Asked(self.now);
        self.status.counters.pings += 1;
        self.actions.push(Action::Ping);
    }

    pub(super) fn pong(&mut self, took: Duration, role: Role) {
        if let Some(session) = self.status.session.as_mut().filter(|_| role != Role::Any) {
            session.role = role;
        }
        let role = self.fits(role);
        let Some(held) = self.answered() else { return };
        held.ping = Ok(());
        let turned = held.role.is_ok() && role.is_err();
        held.role = role;
        self.status.counters.ping_seconds.observe(&histogram::PING, took);
        self.status.last_ping = Some(took);
        self.status.pings.push(Some(took));
        self.status.last_success = Some(self.now);
        if turned {
            self.note_wrong_role();
            // A failover: another login may find the right server.
            self.machine.refresh_at = Some(self.now.mono);
        }
    }

    pub(super) fn ping_failed(&mut self, facts: Facts) {
        let reason = table::diagnose(&facts).reason.within(Reason::PING);
        let Some(held) = self.answered() else { return };
        held.ping = Err(reason);
        self.status.counters.ping_failures.add(reason);
        self.status.pings.push(None);
        self.note(reason, &facts);
    }

    /// The server answered, late or in time: the session is live.
    fn answered(&mut self) -> Option<&mut Held> {
        let asked_at = match self.machine.ping {
            PingState::Asked(at) => at,
            PingState::Due(_) | PingState::None => self.now,
        };
        self.status.last_check = Some(self.now);
        let held = self.status.held()?.clone();
        if matches!(self.status.line, Line::Suspect { .. }) {
            self.thawed(&held);
        }
        self.status.line = Line::Live(Held { answered_at: self.now, ..held });
        self.machine.ping = self.ping_after(asked_at);
        self.machine.close_idle_at = self.close_idle_at();
        match &mut self.status.line {
            Line::Live(held) => Some(held),
            _ => None,
        }
    }

    /// The late answer came first: what was to replace the session now refreshes it.
    fn thawed(&mut self, held: &Held) {
        match &mut self.status.attempt {
            Attempt::Waiting { .. } if held.login.is_ok() => self.status.attempt = Attempt::None,
            Attempt::Waiting { purpose, .. }
            | Attempt::Connecting { purpose, .. }
            | Attempt::LoggingIn { purpose, .. } => {
                if *purpose == Purpose::Reconnect {
                    *purpose = Purpose::Refresh;
                }
            }
            Attempt::None => {}
        }
    }

    /// The ping went unanswered: the session is kept while another login is tried.
    pub(super) fn suspect(&mut self, asked_at: Moment) {
        let Line::Live(held) = self.status.line.clone() else {
            return;
        };
        let lived = self.now.since(held.unbroken_since);
        self.status.line = Line::Suspect { held, asked_at };
        self.status.counters.ping_failures.add(Reason::Timeout);
        self.status.pings.push(None);
        self.status.last_check = Some(self.now);
        let waited = self.status.tuning.ping.timeout;
        let detail = format!("the ping was not answered within {waited:?}");
        let facts = Facts::new(Phase::Ping, Cause::Timeout);
        let failure = Failure::of(self.now, Reason::Timeout, &facts);
        self.status.last_failure = Some(Failure { detail, ..failure });
        self.reconnect(lived);
    }

    pub(super) fn lost(&mut self, facts: Facts) {
        let Some(held) = self.status.held().cloned() else {
            return;
        };
        let idle_for = (!self.machine.is_pinging()).then(|| self.now.since(held.answered_at));
        let reason = self.lost_by(&facts, idle_for).within(Reason::DISCONNECT);
        self.note(reason, &facts);
        self.machine.ping = PingState::None;
        (self.machine.refresh_at, self.machine.close_idle_at) = (None, None);
        self.status.session = None;
        self.status.line = Line::Lost { at: self.now, reason };
        let lived = self.now.since(held.unbroken_since);
        let idle_free = idle_for.is_some() && matches!(self.status.attempt, Attempt::None);
        if self.lets_sleep() && idle_free {
            if facts.sqlstate() == Some("57P05") {
                return self.slept();
            }
            if matches!(reason, Reason::Shutdown | Reason::Closed | Reason::Reset | Reason::IdleTimeout) {
                return self.begin(Purpose::Confirm);
            }
        }
        self.count_loss(reason);
        self.replace_lost(lived);
    }

    /// A session was lost, by no plan of ours and not to sleep.
    pub(super) fn count_loss(&mut self, reason: Reason) {
        let reason = reason.within(Reason::DISCONNECT);
        self.status.counters.disconnects.add(reason);
        self.machine.losses.add(self.now.mono, (self.now, reason));
        let failure = self.status.last_failure.as_ref().filter(|failure| failure.reason == reason);
        let last = failure.map_or(reason.meaning(), |failure| &failure.detail);
        match &mut self.status.flapping {
            Some(flapping) => flapping.lost(self.now, reason, last),
            None if self.machine.losses.flapping_until(self.now.mono).is_some() => {
                self.status.flapping = Flapping::begun(self.machine.losses.iter(), last);
            }
            None => {}
        }
    }

    /// What a loss means: idle time and what was learned are context that the facts lack. Teaches the learner.
    fn lost_by(&mut self, facts: &Facts, idle_for: Option<Duration>) -> Reason {
        let reason = table::diagnose(facts).reason;
        let Some(idle) = idle_for else { return reason };
        self.machine.idle_for = idle;
        let now = self.now.mono;
        let near = self.machine.learner.limit(now).is_some_and(|limit| idle >= limit.mul_f64(NEAR_LIMIT));
        let neon = self.status.location.as_ref().is_some_and(|location| location.provider == Provider::Neon);
        match (facts.sqlstate(), &facts.cause) {
            (Some("57P05"), _) => {
                self.machine.learner.reported(idle, now);
                Reason::IdleTimeout
            }
            (Some("57P01"), _) | (None, Cause::Closed | Cause::Io { .. }) => {
                self.machine.learner.observed(idle, now);
                let suspended = neon && idle >= NEON_SUSPENDS_AFTER;
                if near || suspended { Reason::IdleTimeout } else { reason }
            }
            _ => reason,
        }
    }

    /// Put to sleep: not a failure.
    pub(super) fn slept(&mut self) {
        self.status.counters.disconnects.add(Reason::IdleTimeout);
        self.status.line = Line::Asleep { since: self.now, idle_for: self.machine.idle_for };
        self.schedule();
    }

    /// The TCP connect was accepted: it sleeps, or is shutting down. Asked again, ever more rarely, until a shutdown is over.
    pub(super) fn confirmed(&mut self) {
        let wait = match self.machine.confirm_at {
            Some((_, waited)) => waited * 2,
            None => {
                self.slept();
                backoff::next_tcp_connect((self.dice)())
            }
        };
        self.machine.confirm_at = (wait <= CONFIRM_UP_TO).then(|| (self.now.after(wait).mono, wait));
    }

    /// The TCP connect failed: it does not sleep, it is gone. A loss that counted as sleep is not counted again.
    pub(super) fn refuted(&mut self, reason: Reason) {
        self.machine.confirm_at = None;
        match self.status.line {
            Line::Lost { reason: lost_by, .. } => {
                self.count_loss(lost_by);
            }
            _ => self.status.line = Line::Lost { at: self.now, reason },
        }
    }

    /// Holding the socket keeps this database awake: we close it ourselves.
    pub(super) fn close_to_sleep(&mut self) {
        let Some(held) = self.status.held().cloned() else { return };
        let idle_for = self.now.since(held.answered_at);
        self.close();
        self.status.line = Line::Asleep { since: self.now, idle_for };
        self.schedule();
    }

    /// Whether a server of this role is what the target asks for.
    pub(super) fn fits(&self, found: Role) -> Result<(), Reason> {
        let wanted = self.status.tuning.role;
        let fits = wanted == Role::Any || found == Role::Any || found == wanted;
        if fits { Ok(()) } else { Err(Reason::WrongRole) }
    }

    /// What is seen of a role that does not fit.
    pub(super) fn note_wrong_role(&mut self) {
        let wanted = self.status.tuning.role.as_str().to_owned();
        self.note(Reason::WrongRole, &Facts::new(Phase::Ping, Cause::WrongRole { wanted }));
    }

    /// Another role is asked for: only the server can tell whether it has it.
    pub(super) fn judge_role_anew(&mut self) {
        self.machine.wrong_roles = 0;
        match &mut self.status.line {
            Line::Live(held) | Line::Suspect { held, .. } if self.status.tuning.role == Role::Any => {
                held.role = Ok(());
            }
            Line::Live(_) if !self.machine.is_pinging() => self.ask(),
            _ => {}
        }
    }

    /// How often to ping and refresh: what is configured, kept below the other side's idle limit.
    pub(super) fn rhythm(&mut self) {
        let (awake, now) = (!self.lets_sleep(), self.now.mono);
        let below = |wanted: Duration| self.machine.learner.keep_below(wanted, now);
        self.status.ping_every = awake.then(|| below(self.status.tuning.ping.interval));
        self.status.refresh_every = self.status.tuning.refresh.every.filter(|_| awake).map(below);
    }

    /// Sets the timers of the line that we now have.
    pub(super) fn schedule(&mut self) {
        self.rhythm();
        let now = self.now.mono;
        let answered_at = self.status.held().map(|held| held.answered_at);
        let jitter = 1.0 - self.status.tuning.refresh.jitter * (self.dice)();
        let proof_every = match self.status.refresh_every {
            Some(every) => Some(every.min(FOREVER).mul_f64(jitter)),
            None if self.lets_sleep() => self.status.tuning.wake_every,
            None => None,
        };
        self.machine.refresh_at =
            proof_every.zip(self.status.last_login).map(|(every, login)| later(login.mono, every).max(now));
        if matches!(&self.status.line, Line::Live(held) if held.role.is_err()) {
            let settings = self.status.tuning.backoff;
            let wait =
                backoff::full_jitter(settings.initial, settings.max, self.machine.wrong_roles, (self.dice)());
            let soon = later(now, wait);
            self.machine.refresh_at = Some(self.machine.refresh_at.map_or(soon, |at| at.min(soon)));
        }
        if !self.machine.is_pinging() {
            self.machine.ping = answered_at.map_or(PingState::None, |answered| self.ping_after(answered));
        }
        self.machine.close_idle_at = self.close_idle_at();
    }

    /// The ping that follows one of then.
    fn ping_after(&self, last: Moment) -> PingState {
        let next = |every| PingState::Due(later(last.mono, every).max(self.now.mono));
        self.status.ping_every.map_or(PingState::None, next)
    }

    fn close_idle_at(&self) -> Option<std::time::Instant> {
        let after = self.status.tuning.close_idle_after.filter(|_| self.lets_sleep())?;
        self.status.held().map(|held| later(held.answered_at.mono, after))
    }
}
