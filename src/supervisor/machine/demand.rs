//! The part of the machine that others have a say in: who needs the session, who wants proof, who has mended the cause, a
//! secret that changed.

use std::time::Instant;

use super::{Action, MachineMode, MachineStep, ProofResult};
use crate::policy::ASKED_APART;
use crate::policy::breaker::BreakerState;
use crate::status::{Attempt, Because, Line, Purpose};

impl MachineStep<'_> {
    pub(super) fn secret_changed(&mut self) {
        match self.status.attempt {
            Attempt::Waiting { purpose, .. } => self.begin(purpose),
            _ => self.wanted(),
        }
    }

    /// Somebody needs the session: the database is woken, and what was missing is looked for again.
    pub(super) fn wanted(&mut self) {
        let failure = self.status.last_failure.as_ref();
        let hurried = failure.filter(|failure| failure.reason.is_safe_to_hurry());
        let soonest = hurried.map(|failure| failure.at.after(ASKED_APART));
        if soonest.is_some() {
            self.keep_plan();
        }
        match (&self.status.line, &mut self.status.attempt) {
            (Line::Asleep { .. }, Attempt::None) if !self.machine.closing => self.begin(Purpose::Wake),
            (Line::Lost { .. }, Attempt::Waiting { until, because: Because::SlowLane, purpose, .. }) => {
                let purpose = *purpose;
                match soonest {
                    Some(soonest) if soonest.mono > self.now.mono => {
                        *until = if soonest.mono < until.mono { soonest } else { *until };
                    }
                    Some(_) => self.begin(purpose),
                    None => {}
                }
            }
            _ => {}
        }
    }

    pub(super) fn prove(&mut self) {
        if !self.machine.is_proving() {
            self.machine.mode = MachineMode::Proving;
        }
        self.begin_proof();
    }

    /// Somebody who may have mended the cause asks: no wait after a failure holds, only the guard does.
    pub(super) fn try_now(&mut self) {
        self.machine.mode = MachineMode::ProvingNow;
        self.begin_proof();
    }

    /// Whoever brings an attempt forward lengthens no wait: if it fails like the one before, the next is made when this one
    /// would have been.
    fn keep_plan(&mut self) {
        if let (Attempt::Waiting { until, because, .. }, Some(failure)) =
            (&self.status.attempt, &self.status.last_failure)
        {
            self.machine.planned.get_or_insert((*until, *because, failure.reason));
        }
    }

    fn begin_proof(&mut self) {
        let held_by = match &self.status.attempt {
            // It joins the attempt under way and gets its result.
            Attempt::Connecting { .. } | Attempt::LoggingIn { .. } => return,
            _ if self.machine.mode == MachineMode::ProvingNow => None,
            Attempt::Waiting {
                because: because @ (Because::SlowLane | Because::Capacity | Because::Asked),
                ..
            } => Some(*because),
            _ if self.status.breaker.state() != BreakerState::Closed => Some(Because::Breaker),
            Attempt::Waiting { .. } | Attempt::None => None,
        };
        let just_now =
            |(at, _): &(Instant, ProofResult)| self.now.mono.saturating_duration_since(*at) < ASKED_APART;
        match (held_by, self.machine.last_end.filter(just_now)) {
            (Some(because), _) => self.answer(ProofResult::Refused(because)),
            // What ended before the cause was mended says nothing: the next attempt is waited for.
            (None, Some(_)) if self.machine.mode == MachineMode::ProvingNow => {}
            (None, Some((_, last))) => self.answer(last),
            // The session that is being closed goes first.
            (None, None) if self.machine.closing => {}
            (None, None) if matches!(self.status.line, Line::Asleep { .. }) => self.begin(Purpose::Wake),
            (None, None) => {
                self.keep_plan();
                self.begin(Purpose::Prove);
            }
        }
    }

    /// Nothing is in the way of a proof any more.
    pub(super) fn prove_at_last(&mut self) {
        let free = match self.status.attempt {
            Attempt::None => true,
            Attempt::Waiting { .. } => self.machine.mode == MachineMode::ProvingNow,
            Attempt::Connecting { .. } | Attempt::LoggingIn { .. } => false,
        };
        if self.machine.is_proving() && free && !self.machine.closing {
            self.begin_proof();
        }
    }

    pub(super) fn ended(&mut self, answer: ProofResult) {
        self.machine.last_end = Some((self.now.mono, answer));
        self.answer(answer);
    }

    /// Told once to all who wait for it.
    pub(super) fn answer(&mut self, answer: ProofResult) {
        if self.machine.is_proving() {
            self.machine.mode = MachineMode::Running;
            self.actions.push(Action::Answer(answer));
        }
    }
}
