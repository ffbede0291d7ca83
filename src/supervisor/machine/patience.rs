//! The part of the machine that is patient: what a failure means, what it counts, and how long to wait after it.

use std::time::Duration;

use super::MachineStep;
use crate::policy::loss;
use crate::reason::{Class, Diagnosis, Facts, Reason, table};
use crate::status::{Attempt, Because, Line, Moment, Purpose};

/// How long a server may say that it is starting before that counts as a failure.
const STARTING_FOR: Duration = Duration::from_secs(60);

impl MachineStep<'_> {
    /// What a failed attempt means. A server that has been starting for too long fails like any other.
    pub(super) fn diagnose(&mut self, facts: &Facts) -> Diagnosis {
        let mut diagnosis = table::diagnose(facts);
        if diagnosis.class == Class::Starting {
            let since = *self.machine.starting_since.get_or_insert(self.now.mono);
            if self.now.mono.saturating_duration_since(since) >= STARTING_FOR {
                diagnosis.class = Class::Transient;
            }
        } else {
            self.machine.starting_since = None;
        }
        diagnosis
    }

    pub(super) fn count_failure(&mut self, diagnosis: &Diagnosis, purpose: Purpose) {
        let reason = diagnosis.reason.within(Reason::CONNECT);
        self.status.counters.failures.add(reason);
        self.status.consecutive_failures += 1;
        self.status.recent.push(false);
        self.status.tried = true;
        match &mut self.status.line {
            Line::Live(held) => {
                held.login = Err(reason);
                self.status.counters.refresh_failures += 1;
            }
            Line::Suspect { held, .. } => held.login = Err(reason),
            Line::Closing { unbroken_since } => {
                self.status.counters.refresh_failures += u64::from(unbroken_since.is_some());
                self.status.line = Line::Lost { at: self.now, reason };
            }
            Line::Never | Line::Asleep { .. } => self.status.line = Line::Lost { at: self.now, reason },
            Line::Lost { .. } => {}
        }
        let (now, limits) = (self.now.mono, self.status.tuning.breaker);
        let counts = !matches!(diagnosis.class, Class::Starting | Class::Local)
            && !matches!(purpose, Purpose::Prove | Purpose::Wake);
        self.breaker(|b| if counts { b.failed(now, &limits) } else { b.undecided() });
    }

    /// The wait that an attempt which was brought forward has cut short, where nothing else has come of it.
    pub(super) fn as_planned(&mut self, reason: Reason) -> Option<(Moment, Because)> {
        let (until, because, before) = self.machine.planned.take()?;
        (before == reason && until.mono > self.now.mono).then_some((until, because))
    }

    /// One wait: the latest of our own, the breaker's, and what the other side asked for.
    pub(super) fn wait(&mut self, diagnosis: &Diagnosis) -> (Moment, Because) {
        let (settings, dice) = (self.status.tuning.backoff, (self.dice)());
        let own = self.machine.failures.wait_after(diagnosis.class, settings, dice);
        let because = match diagnosis.class {
            Class::Starting => Because::StartingUp,
            Class::Permanent => Because::SlowLane,
            Class::Capacity => Because::Capacity,
            Class::Transient | Class::Local => Because::Backoff,
        };
        let breaker = match (diagnosis.class, self.status.breaker.opens_at()) {
            // These have a pace of their own, neither faster nor slower by the breaker.
            (Class::Starting | Class::Permanent, _) | (_, None) => Duration::ZERO,
            (_, Some(at)) => at.saturating_duration_since(self.now.mono),
        };
        let longest = own.max(breaker).max(diagnosis.at_least);
        let because = match because {
            // Whatever the pause: only another secret, setting or plan helps.
            Because::SlowLane => Because::SlowLane,
            _ if longest == own => because,
            _ if longest == breaker => Because::Breaker,
            _ => Because::Asked,
        };
        (self.now.after(longest), because)
    }

    /// The session is gone: a wait that a failed login beside it had earned is over, because a session that was lost has its
    /// own, and what is to be told is why there is none now. One attempt for each session that was lost: a server that
    /// rejects it is not asked again sooner than by the waits of its class.
    pub(super) fn replace_lost(&mut self, lived: Duration) {
        let Attempt::Waiting { until, .. } = self.status.attempt else {
            return self.reconnect(lived);
        };
        self.status.attempt = Attempt::None;
        self.reconnect(lived);
        if let Attempt::Waiting { until: at, .. } = &mut self.status.attempt
            && until.mono < at.mono
        {
            *at = until;
        }
    }

    /// The session is lost or suspect: the next attempt is due, at once or soon; one under way serves as it is.
    pub(super) fn reconnect(&mut self, lived: Duration) {
        let purpose = Purpose::Reconnect;
        match &mut self.status.attempt {
            Attempt::None => match loss::wait_after(lived, (self.dice)()) {
                Duration::ZERO => self.begin(purpose),
                wait => {
                    let (until, because) = (self.now.after(wait), Because::Backoff);
                    self.status.attempt = Attempt::Waiting { until, tcp_connect: None, purpose, because };
                }
            },
            Attempt::Waiting { purpose, .. }
            | Attempt::Connecting { purpose, .. }
            | Attempt::LoggingIn { purpose, .. } => {
                if *purpose == Purpose::Refresh {
                    *purpose = Purpose::Reconnect;
                }
            }
        }
    }
}
