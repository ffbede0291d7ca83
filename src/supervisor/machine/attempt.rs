//! The half of the machine that looks for the next session: attempts, TCP connects, waits, breaker.

use std::time::Instant;

use super::{Action, Dial, MachineStep, PingState, ProofResult};
use crate::connection::{ConnectTimes, Login};
use crate::policy::backoff;
use crate::policy::breaker::Breaker;
use crate::reason::{Cause, Facts, Reason};
use crate::status::{Attempt, Because, Failure, Held, Line, Moment, Phases, Purpose, histogram};

impl MachineStep<'_> {
    /// An attempt that counts.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        if purpose != Purpose::Confirm {
            self.status.counters.attempts += 1;
        }
        if !matches!(purpose, Purpose::Confirm | Purpose::Prove) {
            self.breaker(Breaker::admit);
        }
        if purpose != Purpose::Confirm {
            self.machine.confirm_at = None;
        }
        self.status.attempt = Attempt::Connecting { since: self.now, purpose, early: None };
        self.actions.push(Action::TcpConnect { purpose });
    }

    /// A TCP connect ahead of the attempt's time: it costs nothing where nobody answers, and is the attempt where somebody does.
    pub(super) fn connect_early(&mut self, purpose: Purpose, until: Moment, because: Because) {
        self.status.attempt = Attempt::Connecting { since: self.now, purpose, early: Some((until, because)) };
        self.actions.push(Action::TcpConnect { purpose });
    }

    pub(super) fn connected(&mut self, dial: Dial, times: ConnectTimes) {
        let Attempt::Connecting { since, purpose, early } = self.status.attempt else {
            return;
        };
        self.dialled(&dial);
        self.machine.connect_times = times;
        if purpose == Purpose::Confirm {
            self.status.attempt = Attempt::None;
            self.actions.push(Action::HangUp);
            return self.confirmed();
        }
        if early.is_some() {
            self.status.counters.attempts += 1;
            self.breaker(Breaker::admit);
        }
        let overlap = self.status.tuning.refresh.overlap || self.status.held().is_none();
        if overlap {
            self.status.attempt = Attempt::LoggingIn { since, purpose };
            self.actions.push(Action::Login);
        } else {
            self.status.attempt = Attempt::Connecting { since, purpose, early: None };
            self.make_room();
        }
    }

    /// CONNECTION LIMIT 1: the old session must go before the new one logs in.
    fn make_room(&mut self) {
        let unbroken_since = match &self.status.line {
            Line::Live(held) => Some(held.unbroken_since),
            _ => {
                self.count_loss(Reason::Timeout);
                None
            }
        };
        self.close();
        self.status.line = Line::Closing { unbroken_since };
    }

    pub(super) fn logged_in(&mut self, login: Login) {
        let Attempt::LoggingIn { purpose, .. } = self.status.attempt else {
            return;
        };
        self.status.attempt = Attempt::None;
        let had_session = self.had_session();
        self.count_login(&login, purpose);
        // A planned gap breaks nothing: what was healthy before it still is.
        let unbroken_since = match &self.status.line {
            Line::Live(held) => Some(held.unbroken_since),
            Line::Closing { unbroken_since } => *unbroken_since,
            _ => None,
        };
        match self.status.line {
            Line::Live(_) => self.status.counters.refreshes += 1,
            Line::Closing { unbroken_since: Some(_) } => self.status.counters.refreshes += 1,
            Line::Closing { unbroken_since: None } => self.status.counters.reconnects += 1,
            Line::Suspect { .. } => {
                self.count_loss(Reason::Timeout);
                self.status.counters.reconnects += 1;
            }
            Line::Lost { .. } if had_session => self.status.counters.reconnects += 1,
            Line::Lost { .. } | Line::Never | Line::Asleep { .. } => {}
        }
        self.machine.closing |= self.status.held().is_some();
        self.actions.push(Action::Adopt);
        self.machine.ping = PingState::None;
        let role = self.fits(login.facts.role);
        self.machine.wrong_roles = if role.is_ok() { 0 } else { self.machine.wrong_roles.saturating_add(1) };
        if role.is_err() {
            self.note_wrong_role();
        }
        self.status.session = Some(login.facts);
        self.status.line = Line::Live(Held {
            since: self.now,
            unbroken_since: unbroken_since.unwrap_or(self.now),
            answered_at: self.now,
            ping: Ok(()),
            login: Ok(()),
            role,
        });
        self.schedule();
        self.ended(ProofResult::Proven);
    }

    fn count_login(&mut self, login: &Login, purpose: Purpose) {
        self.breaker(Breaker::succeeded);
        self.machine.failures.end();
        self.machine.planned = None;
        self.machine.starting_since = None;
        let resolve = self.machine.connect_times.resolve;
        let connect = self.machine.connect_times.connect + login.detour;
        let phases = Phases { resolve, connect, tls: login.tls, startup: login.startup, ping: login.ping };
        // A login may move on to another host than the one that accepted the TCP connect.
        let peer = login.facts.peer.or(self.machine.connect_times.peer);
        let moved = self.status.peer.zip(peer).is_some_and(|(before, here)| before.ip() != here.ip());
        let status = &mut *self.status;
        status.peer = peer;
        status.counters.address_changes += u64::from(moved);
        status.last_phases = Some(phases);
        status.counters.connections += 1;
        status.counters.connect_seconds.observe(&histogram::CONNECT, phases.total());
        if purpose == Purpose::Wake {
            status.counters.wake_seconds.observe(&histogram::WAKE, phases.total());
        }
        status.counters.pings += 1;
        status.counters.ping_seconds.observe(&histogram::PING, login.ping);
        status.last_ping = Some(login.ping);
        status.pings.push(Some(login.ping));
        status.recent.push(true);
        status.tried = true;
        status.consecutive_failures = 0;
        status.last_success = Some(self.now);
        status.last_check = Some(self.now);
        status.last_login = Some(self.now);
        status.refused_certificate_expiry = None;
    }

    pub(super) fn failed(&mut self, facts: Facts, at: Instant, dial: Option<Dial>) {
        let (purpose, early) = match self.status.attempt {
            Attempt::Connecting { purpose, early, .. } => (purpose, early),
            Attempt::LoggingIn { purpose, .. } => (purpose, None),
            Attempt::None | Attempt::Waiting { .. } => return,
        };
        if let Some(dial) = &dial {
            self.dialled(dial);
        }
        let diagnosis = self.diagnose(&facts);
        self.note(diagnosis.reason, &facts);
        // A TCP connect ahead of its time is followed by others whatever came of it: nobody has taken the socket yet.
        let free = facts.before_the_server() || early.is_some();
        let tcp_connect = free.then(|| self.next_tcp_connect(at));
        if let Some((until, because)) = early {
            self.status.attempt = Attempt::Waiting { until, tcp_connect, purpose, because };
            return self.answer(ProofResult::Failed(diagnosis.reason));
        }
        if purpose == Purpose::Confirm {
            self.refuted(diagnosis.reason);
        } else {
            self.count_failure(&diagnosis, purpose);
        }
        let (until, because) = self.as_planned(diagnosis.reason).unwrap_or_else(|| self.wait(&diagnosis));
        let until = tcp_connect.filter(|at| at.mono > until.mono).unwrap_or(until);
        let purpose = self.next_purpose();
        self.status.attempt = Attempt::Waiting { until, tcp_connect, purpose, because };
        self.ended(ProofResult::Failed(diagnosis.reason));
    }

    /// Counted from the real TCP connect, so that targets that share it keep its pace.
    fn next_tcp_connect(&mut self, failed_at: Instant) -> Moment {
        let age = self.now.mono.saturating_duration_since(failed_at);
        self.now.after(backoff::next_tcp_connect((self.dice)()).saturating_sub(age))
    }

    fn next_purpose(&self) -> Purpose {
        match &self.status.line {
            Line::Live(_) => Purpose::Refresh,
            _ if self.had_session() => Purpose::Reconnect,
            _ => Purpose::First,
        }
    }

    fn dialled(&mut self, dial: &Dial) {
        if !dial.waited.is_zero() {
            self.status.counters.throttled += 1;
            self.status.counters.throttle_wait += dial.waited;
        }
        if dial.location.is_some() {
            self.status.location.clone_from(&dial.location);
        }
    }

    /// Keeps what went wrong, for people.
    pub(super) fn note(&mut self, reason: Reason, facts: &Facts) {
        self.status.last_check = Some(self.now);
        self.status.last_failure = Some(Failure::of(self.now, reason, facts));
        if let Cause::Tls { certificate_expiry: Some(at), .. } = facts.cause {
            self.status.refused_certificate_expiry = Some(at);
        }
    }
}
