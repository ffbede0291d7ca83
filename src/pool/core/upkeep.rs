//! Sessions are opened when they are needed, replaced before they grow old, and closed when nobody needs them.

use std::time::{Duration, Instant};

use super::event::{Availability, PoolAction, SessionId};
use super::session_table::{Renewal, SessionRecord};
use super::{Core, grants};
use crate::target::IdlePolicy;

/// A session beyond `min_idle` that no client has used for that long is closed. PgBouncer's `server_idle_timeout`.
const UNUSED: Duration = Duration::from_secs(600);

impl Core {
    /// A session for each client that waits, and `min_idle` beside.
    pub(super) fn open(&mut self, now: Instant) {
        if !self.may_open(now) {
            return;
        }
        let tested = match self.sessions.testing() {
            0 => 0,
            _ => self.sessions.tested_for_less_than(grants::SLOW_TEST, now),
        };
        let waiting = self.queue.len().saturating_sub(tested);
        let idle = self.sessions.idle().len() + self.sessions.between();
        let spare = (self.spec.pool.min_idle as usize).saturating_sub(idle);
        let (opening, replacing) = self.sessions.opening();
        let needed = waiting.max(spare).saturating_sub(opening - replacing);
        let at_once = self.openings.width().saturating_sub(opening);
        for _ in 0..needed.min(self.capacity()).min(at_once) {
            self.begin_to_open(waiting > 0, false, now);
        }
    }

    /// The same where nobody waits.
    pub(super) fn open_spare(&mut self, now: Instant) {
        if self.sessions.idle().len() < self.spec.pool.min_idle as usize {
            self.open(now);
        }
    }

    fn may_open(&self, now: Instant) -> bool {
        let waits = !self.queue.is_empty();
        self.phase == super::PoolPhase::Running
            && self.health.availability == Availability::Live
            && self.openings.next(waits).is_none_or(|next| now >= next)
    }

    fn capacity(&self) -> usize {
        (self.spec.pool.size as usize).saturating_sub(self.sessions.len())
    }

    fn begin_to_open(&mut self, urgent: bool, replaces: bool, now: Instant) {
        let session = self.sessions.open(replaces, self.generation, now);
        self.actions.push_back(PoolAction::Open { session, urgent });
    }

    /// Replaces one session that has grown old: by a new one where there is room for it, else it makes room first.
    pub(super) fn replace(&mut self, now: Instant) {
        let old = self.sessions.iter().any(|(_, session)| session.is_old(now) && is_in_use(session));
        if !old || self.sessions.opening().0 > 0 || !self.may_open(now) {
            return;
        }
        if self.capacity() == 0 {
            self.retire_oldest(now);
        } else if self.queue.is_empty() {
            self.begin_to_open(false, true, now);
        }
    }

    /// Closes one old session, or has it closed when it comes free.
    pub(super) fn retire_oldest(&mut self, now: Instant) {
        let old = |id: &SessionId| self.sessions.get(*id).is_some_and(|session| session.is_old(now));
        if let Some(idle) = self.sessions.idle().iter().copied().find(old) {
            return self.close(idle);
        }
        let other = self.sessions.iter().find(|(_, session)| is_in_use(session) && session.is_old(now));
        if let Some(other) = other.map(|(id, _)| id) {
            self.retire(other);
        }
    }

    fn retire(&mut self, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.due = Renewal::WhenFree;
        }
    }

    /// After a reload there may be more sessions than `size`: those too many are closed, the idle ones first, the others
    /// when their clients have done with them.
    pub(super) fn shrink(&mut self) {
        let allowed = self.spec.pool.size as usize + self.sessions.closing();
        let too_many = self.sessions.len().saturating_sub(allowed);
        if too_many == 0 {
            return;
        }
        let leaves = |session: &SessionRecord| session.is_held() && self.leaves(session);
        let leaving = self.sessions.iter().filter(|(_, session)| leaves(session)).count();
        let too_many = too_many.saturating_sub(leaving);
        let idle: Vec<_> = self.sessions.idle().iter().copied().take(too_many).collect();
        let rest = too_many - idle.len();
        idle.into_iter().for_each(|session| self.close(session));
        let stays = |session: &SessionRecord| session.is_held() && !self.leaves(session);
        let held = self.sessions.iter().filter(|(_, session)| stays(session)).map(|(id, _)| id);
        let held: Vec<_> = held.take(rest).collect();
        held.into_iter().for_each(|session| self.retire(session));
    }

    /// Whether it is closed as soon as no client has it.
    fn leaves(&self, session: &SessionRecord) -> bool {
        session.due == Renewal::WhenFree || session.generation != self.generation
    }

    /// Tests the idle sessions that were quiet for as long as the supervised one may be.
    pub(super) fn test_quiet(&mut self, now: Instant) {
        let tuning = &self.spec.tuning;
        let live = self.health.availability == Availability::Live;
        if tuning.idle_policy == IdlePolicy::LetSleep || !live {
            return;
        }
        let every = self.health.ping_every.unwrap_or(tuning.ping.interval);
        let quiet = |session: &SessionRecord| now.saturating_duration_since(session.heard) >= every;
        self.each_idle(quiet, usize::MAX, |core, session| core.test(session, now));
    }

    /// Idle sessions beyond `min_idle` that nobody has used for long. Under `let_sleep` all of them, after the target's
    /// own time where it has one: a socket that is held keeps some databases awake.
    pub(super) fn close_unused(&mut self, now: Instant) {
        let tuning = &self.spec.tuning;
        let limit = match (tuning.idle_policy, tuning.close_idle_after) {
            (IdlePolicy::LetSleep, Some(after)) => after.min(UNUSED),
            _ => UNUSED,
        };
        let spare = self.sessions.idle().len().saturating_sub(self.spec.pool.min_idle as usize);
        let unused = |session: &SessionRecord| now.saturating_duration_since(session.used) >= limit;
        self.each_idle(unused, spare, |core, session| core.close(session));
    }

    /// For so many of the idle sessions that fit, those first that were used longest ago.
    fn each_idle(
        &mut self,
        fits: impl Fn(&SessionRecord) -> bool,
        at_most: usize,
        mut act: impl FnMut(&mut Self, SessionId),
    ) {
        let idle = self.sessions.idle().iter().copied();
        let fitting = idle.filter(|id| self.sessions.get(*id).is_some_and(&fits));
        let fitting: Vec<_> = fitting.take(at_most).collect();
        fitting.into_iter().for_each(|session| act(self, session));
    }
}

/// Closing and opening ones are not replaced.
fn is_in_use(session: &SessionRecord) -> bool {
    !matches!(session.state, super::SessionState::Closing | super::SessionState::Opening { .. })
}
