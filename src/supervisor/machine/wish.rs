//! The part of the machine that others have a say in: who needs the session, who wants proof, a secret that changed.

use std::time::{Duration, Instant};

use super::{Action, Answer, Step};
use crate::policy::breaker::State;
use crate::status::{Attempt, Because, Line, Purpose};

/// `/probe` asks a target at most that often.
const PROVE_EVERY: Duration = Duration::from_secs(1);

impl Step<'_> {
    pub(super) fn secret_changed(&mut self) {
        match self.s.attempt {
            Attempt::Waiting { purpose, .. } if purpose != Purpose::Confirm => self.begin(purpose),
            _ => self.wanted(),
        }
    }

    /// Somebody needs the session: the database is woken.
    pub(super) fn wanted(&mut self) {
        if self.is_resting() && !self.m.closing {
            self.begin(Purpose::Wake);
        }
    }

    /// Asleep, and nothing under way about it.
    pub(super) fn is_resting(&self) -> bool {
        let asleep = matches!(self.s.line, Line::Asleep { .. });
        let idle =
            matches!(self.s.attempt, Attempt::None | Attempt::Waiting { purpose: Purpose::Confirm, .. });
        asleep && idle
    }

    pub(super) fn prove(&mut self) {
        self.m.proving = true;
        let held_by = match &self.s.attempt {
            // It joins the attempt under way and is told its end.
            Attempt::Knocking { .. } | Attempt::LoggingIn { .. } => return,
            Attempt::Waiting {
                because: because @ (Because::SlowLane | Because::Capacity | Because::Asked),
                ..
            } => Some(*because),
            _ if self.s.breaker.state() != State::Closed => Some(Because::Breaker),
            Attempt::Waiting { .. } | Attempt::None => None,
        };
        let just_now =
            |(at, _): &(Instant, Answer)| self.now.mono.saturating_duration_since(*at) < PROVE_EVERY;
        match (held_by, self.m.last_end.filter(just_now)) {
            (Some(because), _) => self.answer(Answer::Refused(because)),
            (None, Some((_, last))) => self.answer(last),
            // The session that is being closed goes first.
            (None, None) if self.m.closing => {}
            (None, None) if matches!(self.s.line, Line::Asleep { .. }) => self.begin(Purpose::Wake),
            (None, None) => self.begin(Purpose::Prove),
        }
    }

    /// Nothing is in the way of a proof any more.
    pub(super) fn prove_at_last(&mut self) {
        let free = matches!(self.s.attempt, Attempt::None) && !self.m.closing;
        if self.m.proving && free && !self.m.stopping {
            self.prove();
        }
    }

    pub(super) fn ended(&mut self, answer: Answer) {
        self.m.last_end = Some((self.now.mono, answer));
        self.answer(answer);
    }

    /// Told once to all who wait for it.
    pub(super) fn answer(&mut self, answer: Answer) {
        if std::mem::take(&mut self.m.proving) {
            self.actions.push(Action::Answer(answer));
        }
    }
}
