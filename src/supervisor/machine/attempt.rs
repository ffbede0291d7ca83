//! The half of the machine that looks for the next session: attempts, knocks, waits, breaker.

use std::time::{Duration, Instant};

use super::{Action, Answer, CALM, Dial, Step};
use crate::connection::{KnockTimes, Login};
use crate::policy::backoff;
use crate::policy::breaker::{Breaker, State};
use crate::reason::{Class, Facts, Reason, Verdict, table};
use crate::status::{Attempt, Because, Failure, Held, Line, Moment, Phases, Purpose, histogram};

/// How long a server may say that it is starting before that counts as a failure.
const STARTING_FOR: Duration = Duration::from_secs(60);
/// A full server is never asked again sooner than this.
const CAPACITY_FLOOR: Duration = Duration::from_secs(5);
/// `/probe` asks a target at most that often.
const PROVE_EVERY: Duration = Duration::from_secs(1);

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
        if let (Some(before), Some(here)) = (self.s.peer, times.peer)
            && before.ip() != here.ip()
        {
            self.s.counters.address_changes += 1;
        }
        self.s.peer = times.peer;
        self.s.last_phases =
            Some(Phases { resolve: times.resolve, connect: times.connect, ..Phases::default() });
        if purpose == Purpose::Confirm {
            self.s.attempt = Attempt::None;
            self.actions.push(Action::HangUp);
            return self.slept();
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
            // CONNECTION LIMIT 1: the old session must go before the new one logs in.
            self.s.attempt = Attempt::Knocking { since, purpose, early: None };
            self.close();
            self.s.line = Line::Closing;
        }
    }

    pub(super) fn logged_in(&mut self, login: Login) {
        let Attempt::LoggingIn { purpose, .. } = self.s.attempt else {
            return;
        };
        self.s.attempt = Attempt::None;
        self.count_login(&login, purpose);
        let unbroken_since = match &self.s.line {
            Line::Live(held) => held.unbroken_since,
            // A planned gap: what was healthy before it still is.
            Line::Closing => self.m.unbroken_since.unwrap_or(self.now),
            _ => self.now,
        };
        match self.s.line {
            Line::Live(_) | Line::Closing => self.s.counters.refreshes += 1,
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
            unbroken_since,
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
        let knock = self.s.last_phases.unwrap_or_default();
        let phases = Phases { tls: login.tls, startup: login.startup, ping: login.ping, ..knock };
        let s = &mut *self.s;
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
        let verdict = table::judge(&facts);
        self.note(verdict.reason, &facts);
        // The next knock is counted from the real one, so that targets that share it keep its pace.
        let age = self.now.mono.saturating_duration_since(at);
        let next_knock = backoff::next_knock((self.dice)()).saturating_sub(age);
        let knock = facts.before_the_server().then(|| self.now.after(next_knock));
        if let Some((until, because)) = early {
            self.s.attempt = Attempt::Waiting { until, knock, purpose, because };
            return self.answer(Answer::Failed(verdict.reason));
        }
        if purpose == Purpose::Confirm {
            self.s.counters.disconnects.add(self.lost_reason().within(Reason::DISCONNECT));
        } else {
            self.count_failure(&verdict, purpose);
        }
        let (until, because) = self.wait(&verdict);
        let purpose = self.next_purpose();
        self.s.attempt = Attempt::Waiting { until, knock, purpose, because };
        self.ended(Answer::Failed(verdict.reason));
    }

    fn count_failure(&mut self, verdict: &Verdict, purpose: Purpose) {
        let reason = verdict.reason.within(Reason::CONNECT);
        self.s.counters.failures.add(reason);
        self.s.consecutive_failures += 1;
        self.s.recent.push(false);
        self.s.tried = true;
        match &mut self.s.line {
            Line::Live(held) => {
                if held.login.is_ok() && self.now.since(held.unbroken_since) >= CALM {
                    self.m.n = 0;
                }
                held.login = Err(reason);
                self.s.counters.refresh_failures += 1;
            }
            Line::Suspect { held, .. } => held.login = Err(reason),
            Line::Closing => {
                self.s.counters.refresh_failures += 1;
                self.s.line = Line::Lost { at: self.now, reason };
            }
            Line::Never | Line::Asleep { .. } => self.s.line = Line::Lost { at: self.now, reason },
            Line::Lost { .. } => {}
        }
        let (now, limits) = (self.now.mono, self.s.tuning.breaker);
        let starting = verdict.class == Class::Starting && self.starting_for(now) < STARTING_FOR;
        let counts =
            !starting && verdict.class != Class::Local && !matches!(purpose, Purpose::Prove | Purpose::Wake);
        self.breaker(|b| if counts { b.failed(now, &limits) } else { b.undecided() });
    }

    /// Since how long the server says that it is starting; begins to count with the first call.
    fn starting_for(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.m.starting_since.get_or_insert(now))
    }

    /// One wait, the later of backoff and breaker.
    fn wait(&mut self, verdict: &Verdict) -> (Moment, Because) {
        let settings = self.s.tuning.backoff;
        let now = self.now.mono;
        let starting = verdict.class == Class::Starting && self.starting_for(now) < STARTING_FOR;
        if verdict.class != Class::Starting {
            self.m.starting_since = None;
        }
        if starting && verdict.at_least.is_zero() {
            return (self.now.after(backoff::next_knock((self.dice)())), Because::StartingUp);
        }
        let dice = (self.dice)();
        let (own, because) = match verdict.class {
            Class::Permanent => (backoff::slow_lane(self.m.slow_n, dice), Because::SlowLane),
            Class::Capacity => {
                (backoff::full_jitter(CAPACITY_FLOOR, settings.max, self.m.n, dice), Because::Capacity)
            }
            Class::Transient | Class::Starting | Class::Local => {
                (backoff::full_jitter(settings.initial, settings.max, self.m.n, dice), Because::Backoff)
            }
        };
        match verdict.class {
            Class::Permanent => self.m.slow_n = self.m.slow_n.saturating_add(1),
            _ => (self.m.n, self.m.slow_n) = (self.m.n.saturating_add(1), 0),
        }
        let breaker =
            self.s.breaker.opens_at().map(|at| (at.saturating_duration_since(now), Because::Breaker));
        let asked = (verdict.at_least, Because::Asked);
        let mut longest = (own, because);
        for other in [Some(asked), breaker.filter(|_| because != Because::SlowLane)].into_iter().flatten() {
            if other.0 > longest.0 {
                longest = other;
            }
        }
        (self.now.after(longest.0), longest.1)
    }

    /// The wait after a loss that leaves no attempt under way.
    pub(super) fn reconnect(&mut self, calm: bool) {
        if calm {
            self.m.n = 0;
        }
        match &mut self.s.attempt {
            Attempt::None if calm && self.s.breaker.state() == State::Closed => {
                self.begin(Purpose::Reconnect)
            }
            Attempt::None => {
                let verdict =
                    Verdict { reason: Reason::Other, class: Class::Transient, at_least: Duration::ZERO };
                let (until, because) = self.wait(&verdict);
                self.s.attempt =
                    Attempt::Waiting { until, knock: None, purpose: Purpose::Reconnect, because };
            }
            Attempt::Waiting { purpose, .. }
            | Attempt::Knocking { purpose, .. }
            | Attempt::LoggingIn { purpose, .. } => {
                if *purpose == Purpose::Refresh {
                    *purpose = Purpose::Reconnect;
                }
            }
        }
    }

    pub(super) fn secret_changed(&mut self) {
        if let Attempt::Waiting { purpose, .. } = self.s.attempt {
            self.begin(purpose);
        }
    }

    pub(super) fn prove(&mut self) {
        self.m.proving = true;
        let purpose = if matches!(self.s.line, Line::Asleep { .. }) { Purpose::Wake } else { Purpose::Prove };
        match (&self.s.attempt, self.m.last_end) {
            (Attempt::Knocking { .. } | Attempt::LoggingIn { .. }, _) => {}
            (Attempt::Waiting { because: Because::SlowLane, .. }, _) => {
                self.answer(Answer::Refused(Because::SlowLane));
            }
            _ if self.s.breaker.state() != State::Closed => self.answer(Answer::Refused(Because::Breaker)),
            (_, Some((at, last))) if self.now.mono.saturating_duration_since(at) < PROVE_EVERY => {
                self.answer(last);
            }
            _ if self.m.closing => self.answer(Answer::Proven),
            _ => self.begin(purpose),
        }
    }

    fn ended(&mut self, answer: Answer) {
        self.m.last_end = Some((self.now.mono, answer));
        self.answer(answer);
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
