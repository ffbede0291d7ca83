//! The half of the machine that looks for the next session: attempts, knocks, waits, breaker.

use std::time::{Duration, Instant};

use super::{Action, Answer, Dial, Step};
use crate::connection::{KnockTimes, Login};
use crate::policy::backoff;
use crate::policy::breaker::Breaker;
use crate::reason::{Facts, Reason};
use crate::status::{Attempt, Because, Failure, Held, Line, Moment, Phases, Purpose, histogram};

/// How long after a knock that found the database asleep another one has to find it there still.
const SECOND_LOOK: Duration = Duration::from_secs(1);

impl Step<'_> {
    /// An attempt that counts.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        if purpose != Purpose::Confirm {
            self.s.counters.attempts += 1;
        }
        if !matches!(purpose, Purpose::Confirm | Purpose::Prove) {
            self.breaker(Breaker::admit);
        }
        self.s.attempt = Attempt::Knocking { since: self.now, purpose, early: None };
        self.actions.push(Action::Knock { purpose });
    }

    /// A knock ahead of the attempt's time: it costs nothing where nobody answers, and is the attempt where somebody does.
    pub(super) fn knock_early(&mut self, purpose: Purpose, until: Moment, because: Because) {
        self.s.attempt = Attempt::Knocking { since: self.now, purpose, early: Some((until, because)) };
        self.actions.push(Action::Knock { purpose });
    }

    pub(super) fn knocked(&mut self, dial: Dial, times: KnockTimes) {
        let Attempt::Knocking { since, purpose, early } = self.s.attempt else {
            return;
        };
        self.dialled(&dial);
        self.s.counters.knocks += 1;
        self.m.knock = times;
        if purpose == Purpose::Confirm {
            self.actions.push(Action::HangUp);
            return self.confirmed();
        }
        if early.is_some() {
            self.s.counters.attempts += 1;
            self.breaker(Breaker::admit);
        }
        let overlap = self.s.tuning.refresh.overlap || self.s.held().is_none();
        if overlap {
            self.s.attempt = Attempt::LoggingIn { since, purpose };
            self.actions.push(Action::Login);
        } else {
            self.s.attempt = Attempt::Knocking { since, purpose, early: None };
            self.make_room();
        }
    }

    /// A knock says that the database only sleeps. One that shuts down lets knocks in until its very end, so that it is
    /// asked a second time.
    fn confirmed(&mut self) {
        self.s.attempt = Attempt::None;
        let first_look = !matches!(self.s.line, Line::Asleep { .. });
        if first_look {
            self.slept();
        }
        // A probe that waits for this is a better look.
        if first_look && !self.m.proving {
            let until = self.now.after(SECOND_LOOK);
            let (purpose, because) = (Purpose::Confirm, Because::Backoff);
            self.s.attempt = Attempt::Waiting { until, knock: None, purpose, because };
        }
    }

    /// CONNECTION LIMIT 1: the old session must go before the new one logs in.
    fn make_room(&mut self) {
        self.m.unbroken_before_gap = match &self.s.line {
            Line::Live(held) => Some(held.unbroken_since),
            _ => {
                self.s.counters.disconnects.add(Reason::Timeout);
                None
            }
        };
        self.close();
        self.s.line = Line::Closing;
    }

    pub(super) fn logged_in(&mut self, login: Login) {
        let Attempt::LoggingIn { purpose, .. } = self.s.attempt else {
            return;
        };
        self.s.attempt = Attempt::None;
        self.count_login(&login, purpose);
        // A planned gap breaks nothing: what was healthy before it still is.
        let unbroken_since = match &self.s.line {
            Line::Live(held) => Some(held.unbroken_since),
            Line::Closing => self.m.unbroken_before_gap.take(),
            _ => None,
        };
        match self.s.line {
            Line::Live(_) => self.s.counters.refreshes += 1,
            Line::Closing if unbroken_since.is_some() => self.s.counters.refreshes += 1,
            Line::Closing => self.s.counters.reconnects += 1,
            Line::Suspect { .. } => {
                self.s.counters.disconnects.add(Reason::Timeout);
                self.s.counters.reconnects += 1;
            }
            Line::Lost { .. } if self.m.had_session => self.s.counters.reconnects += 1,
            Line::Lost { .. } | Line::Never | Line::Asleep { .. } => {}
        }
        self.m.closing |= self.s.held().is_some();
        self.actions.push(Action::Adopt);
        self.m.had_session = true;
        self.m.asked_at = None;
        let role = self.fits(login.role);
        self.m.role_n = if role.is_ok() { 0 } else { self.m.role_n.saturating_add(1) };
        self.s.session = Some(login.facts);
        self.s.line = Line::Live(Held {
            since: self.now,
            unbroken_since: unbroken_since.unwrap_or(self.now),
            heard_at: self.now,
            ping: Ok(()),
            login: Ok(()),
            role,
        });
        self.schedule();
        self.ended(Answer::Proven);
    }

    fn count_login(&mut self, login: &Login, purpose: Purpose) {
        self.breaker(Breaker::succeeded);
        (self.m.slow_n, self.m.starting_since) = (0, None);
        let (resolve, connect) = (self.m.knock.resolve, self.m.knock.connect);
        let phases = Phases { resolve, connect, tls: login.tls, startup: login.startup, ping: login.ping };
        // A login may move on to another host than the one that was knocked at.
        let peer = login.facts.peer.or(self.m.knock.peer);
        let moved = self.s.peer.zip(peer).is_some_and(|(before, here)| before.ip() != here.ip());
        let s = &mut *self.s;
        s.peer = peer;
        s.counters.address_changes += u64::from(moved);
        s.last_phases = Some(phases);
        s.counters.connections += 1;
        s.counters.connect_seconds.observe(&histogram::CONNECT, phases.total());
        if purpose == Purpose::Wake {
            s.counters.wake_seconds.observe(&histogram::WAKE, phases.total());
        }
        s.counters.pings += 1;
        s.counters.ping_seconds.observe(&histogram::PING, login.ping);
        s.last_ping = Some(login.ping);
        s.pings.push(Some(login.ping));
        s.recent.push(true);
        s.tried = true;
        s.consecutive_failures = 0;
        s.last_success = Some(self.now);
        s.last_check = Some(self.now);
        s.last_login = Some(self.now);
    }

    pub(super) fn failed(&mut self, facts: Facts, at: Instant, dial: Option<Dial>) {
        let (purpose, early) = match self.s.attempt {
            Attempt::Knocking { purpose, early, .. } => (purpose, early),
            Attempt::LoggingIn { purpose, .. } => (purpose, None),
            Attempt::None | Attempt::Waiting { .. } => return,
        };
        if let Some(dial) = &dial {
            self.dialled(dial);
            self.s.counters.knocks += u64::from(!dial.shared && facts.before_the_server());
        }
        let verdict = self.judge(&facts);
        self.note(verdict.reason, &facts);
        // A knock ahead of its time is followed by others whatever came of it: nobody has taken the socket yet.
        let free = facts.before_the_server() || early.is_some();
        let knock = free.then(|| self.next_knock(at));
        if let Some((until, because)) = early {
            self.s.attempt = Attempt::Waiting { until, knock, purpose, because };
            return self.answer(Answer::Failed(verdict.reason));
        }
        if purpose == Purpose::Confirm {
            self.not_confirmed(verdict.reason);
        } else {
            self.count_failure(&verdict, purpose);
        }
        let (until, because) = self.wait(&verdict);
        let until = knock.filter(|knock| knock.mono > until.mono).unwrap_or(until);
        let purpose = self.next_purpose();
        self.s.attempt = Attempt::Waiting { until, knock, purpose, because };
        self.ended(Answer::Failed(verdict.reason));
    }

    /// It is no sleep. At the second look the loss was counted already.
    fn not_confirmed(&mut self, reason: Reason) {
        match self.s.line {
            Line::Asleep { .. } => self.s.line = Line::Lost { at: self.now, reason },
            _ => self.s.counters.disconnects.add(self.lost_reason().within(Reason::DISCONNECT)),
        }
    }

    /// Counted from the real knock, so that targets that share it keep its pace.
    fn next_knock(&mut self, failed_at: Instant) -> Moment {
        let age = self.now.mono.saturating_duration_since(failed_at);
        self.now.after(backoff::next_knock((self.dice)()).saturating_sub(age))
    }

    fn next_purpose(&self) -> Purpose {
        match &self.s.line {
            Line::Live(_) => Purpose::Refresh,
            _ if self.m.had_session => Purpose::Reconnect,
            _ => Purpose::First,
        }
    }

    fn dialled(&mut self, dial: &Dial) {
        if !dial.waited.is_zero() {
            self.s.counters.throttled += 1;
            self.s.counters.throttle_wait += dial.waited;
        }
        if dial.place.is_some() {
            self.s.place.clone_from(&dial.place);
        }
    }

    /// Keeps what went wrong, for people.
    pub(super) fn note(&mut self, reason: Reason, facts: &Facts) {
        self.s.last_check = Some(self.now);
        self.s.last_failure = Some(Failure { at: self.now, reason, detail: facts.to_string() });
    }
}
