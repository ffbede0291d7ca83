//! Who gets which session, and who waits in vain.

use std::time::{Duration, Instant};

use super::event::{Availability, ClientId, Condition, PoolAction, Rejection, SessionId, TestOutcome};
use super::queue::WaitingClient;
use super::session_table::{Renewal, SessionRecord, SessionState};
use super::{Core, PoolPhase};
use crate::policy::ASKED_APART;
use crate::reason::{Class, Reason};
use crate::target::IdlePolicy;

/// A session that was quiet for longer is tested before it is used, where no ping tests it meanwhile.
const QUIET: Duration = Duration::from_secs(15);
/// How late a ping may be before its session counts as quiet for long.
const LATE: Duration = Duration::from_secs(5);
/// A test that takes longer is not relied on: a session is opened beside it.
pub const SLOW_TEST: Duration = Duration::from_millis(500);

impl Core {
    /// Why a client that logs in now cannot be served, where that is known beforehand.
    pub fn rejects_all(&self, now: Instant) -> Option<Rejection> {
        match (self.phase, self.health.availability) {
            (PoolPhase::Draining | PoolPhase::Closing(_) | PoolPhase::Ended, _) => Some(Rejection::Draining),
            (_, Availability::Permanent(next)) if !self.is_hurried() => {
                Some(self.down(true, Duration::ZERO, Some(next), now))
            }
            _ => None,
        }
    }

    /// Whether a client that logs in now is served only once a session was had: what failed last time is tried anew for
    /// it.
    pub fn is_unproven(&self) -> bool {
        matches!(self.health.availability, Availability::Permanent(_))
    }

    /// Why a client whose time is over got no session.
    pub fn too_late(&self, waited: Duration, now: Instant) -> Rejection {
        let live = self.health.availability == Availability::Live;
        let next = match self.health.availability {
            Availability::Live => self.openings.next(true),
            Availability::NotBefore(next) | Availability::Permanent(next) => Some(next),
            Availability::Asleep | Availability::Trying => None,
        };
        match self.phase {
            PoolPhase::Paused => Rejection::Paused { waited },
            PoolPhase::Running if live && self.openings.failure().is_none() => Rejection::Busy { waited },
            PoolPhase::Running => self.down(false, waited, next, now),
            PoolPhase::Draining | PoolPhase::Closing(_) | PoolPhase::Ended => Rejection::Draining,
        }
    }

    /// As most do, it gets a session at once.
    pub(super) fn waits(&mut self, client: ClientId, since: Instant, now: Instant) {
        if self.phase == PoolPhase::Running && self.queue.is_empty() {
            let ready = self.sessions.idle().last().copied().filter(|last| self.is_ready(*last, now));
            if let Some(session) = ready {
                self.hand_over(client, session);
                return self.open_spare(now);
            }
        } else if !matches!(self.phase, PoolPhase::Running | PoolPhase::Paused) {
            return self.actions.push_back(PoolAction::Reject { client, why: Rejection::Draining });
        }
        self.queue.insert(WaitingClient { client, since, deadline: since + self.spec.pool.wait_timeout });
        self.serve(now);
        self.call_target();
        if let Some((at, waiting)) = self.queue.find(client)
            && let Some(why) = self.in_vain(at, &waiting, now)
        {
            self.queue.remove(client);
            self.actions.push_back(PoolAction::Reject { client, why });
        }
        self.open(now);
    }

    pub(super) fn returned(
        &mut self,
        session: SessionId,
        heard: Instant,
        condition: Condition,
        now: Instant,
    ) {
        let Some(found) = self.sessions.get_mut(session) else {
            return;
        };
        if !matches!(found.state, SessionState::Held(_) | SessionState::Resetting) {
            return;
        }
        found.heard = heard;
        if found.is_held() {
            found.used = heard;
        }
        match condition {
            Condition::Clean => {
                self.free(session);
                self.serve(now);
            }
            Condition::NeedsReset => {
                self.sessions.set(session, SessionState::Resetting);
                self.actions.push_back(PoolAction::Reset(session));
            }
            Condition::Broken => self.close(session),
        }
    }

    pub(super) fn tested(&mut self, session: SessionId, outcome: TestOutcome, now: Instant) {
        if !self
            .sessions
            .get(session)
            .is_some_and(|found| matches!(found.state, SessionState::Testing { .. }))
        {
            return;
        }
        match outcome {
            TestOutcome::Answered => {
                if let Some(found) = self.sessions.get_mut(session) {
                    found.heard = now;
                }
                self.free(session);
            }
            TestOutcome::Ended => self.close(session),
            TestOutcome::Silent => {
                self.close(session);
                // One that is silent is not alone, and a new session is had sooner than each of them is asked.
                let suspects = self.sessions.idle().iter().copied();
                let suspects: Vec<_> = suspects.filter(|idle| !self.is_ready(*idle, now)).collect();
                suspects.into_iter().for_each(|suspect| self.close(suspect));
            }
        }
    }

    /// Nobody has it any more: it waits for a client, or is closed where none may have it.
    pub(super) fn free(&mut self, session: SessionId) {
        let Some(found) = self.sessions.get(session) else {
            return;
        };
        let current = found.generation == self.generation && found.due != Renewal::WhenFree;
        if current && self.phase == PoolPhase::Running {
            self.sessions.set(session, SessionState::Idle);
        } else {
            self.close(session);
        }
    }

    /// Hands out what is there, and tests the rest: one session for each client that waits.
    pub(super) fn serve(&mut self, now: Instant) {
        if self.phase != PoolPhase::Running {
            return;
        }
        while !self.queue.is_empty() {
            let idle = self.sessions.idle().iter().rev().copied();
            let Some(session) = idle.into_iter().find(|idle| self.is_ready(*idle, now)) else {
                break;
            };
            if let Some(client) = self.queue.pop() {
                self.hand_over(client, session);
            }
        }
        for _ in self.sessions.testing()..self.queue.len() {
            let Some(suspect) = self.sessions.idle().last().copied() else {
                break;
            };
            self.test(suspect, now);
        }
    }

    pub(super) fn test(&mut self, session: SessionId, now: Instant) {
        self.sessions.set(session, SessionState::Testing { since: now });
        self.actions.push_back(PoolAction::Test(session));
    }

    fn hand_over(&mut self, client: ClientId, session: SessionId) {
        self.sessions.set(session, SessionState::Held(client));
        self.actions.push_back(PoolAction::HandOver { client, session });
    }

    /// Whether it needs no test.
    fn is_ready(&self, session: SessionId, now: Instant) -> bool {
        self.sessions.get(session).is_some_and(|found| self.is_fresh(found, now))
    }

    fn is_fresh(&self, session: &SessionRecord, now: Instant) -> bool {
        let tuning = &self.spec.tuning;
        let quiet = match tuning.idle_policy {
            IdlePolicy::KeepAwake => tuning.ping.interval.saturating_add(LATE),
            IdlePolicy::LetSleep => QUIET,
        };
        let since_loss = self.lost_at.is_none_or(|lost| session.heard > lost);
        since_loss && now.saturating_duration_since(session.heard) <= quiet
    }

    pub(super) fn reject_vain(&mut self, now: Instant) {
        if self.queue.is_empty() {
            return;
        }
        let mut queue = std::mem::take(&mut self.queue);
        let mut vain = Vec::new();
        queue.take_where(
            |at, waiting| {
                self.in_vain(at, waiting, now).map(|why| vain.push((waiting.client, why))).is_some()
            },
            |_| {},
        );
        self.queue = queue;
        self.actions.extend(vain.into_iter().map(|(client, why)| PoolAction::Reject { client, why }));
    }

    /// Whether waiting on is in vain, and why.
    fn in_vain(&self, at: usize, waiting: &WaitingClient, now: Instant) -> Option<Rejection> {
        let waited = now.saturating_duration_since(waiting.since);
        if now >= waiting.deadline {
            return Some(self.too_late(waited, now));
        }
        // A session is being tested for it; or it is an operator who lets it wait.
        if at < self.sessions.testing() || self.phase == PoolPhase::Paused {
            return None;
        }
        match self.health.availability {
            Availability::Live => {
                // A session that somebody has may come back; and what is tried next is worth waiting for.
                let (failure, next) = (self.openings.failure()?, self.openings.next(true)?);
                let none = self.sessions.len() == self.sessions.closing();
                let permanent = failure.class == Class::Permanent;
                let hopeless = permanent || next > waiting.deadline;
                (none && now < next && hopeless).then(|| self.down(permanent, waited, Some(next), now))
            }
            Availability::NotBefore(next) => {
                (next > waiting.deadline).then(|| self.down(false, waited, Some(next), now))
            }
            Availability::Permanent(next) => {
                // What failed just now is told at once; what failed before that is tried anew for who waits.
                let tried = |failed: Instant| now.saturating_duration_since(failed) < ASKED_APART;
                let hurried = self.is_hurried();
                let anew = hurried && !self.health.failed_at.is_some_and(tried);
                let soonest = self.health.failed_at.filter(|_| hurried).map(|failed| failed + ASKED_APART);
                let next = soonest.map_or(next, |soonest| next.min(soonest));
                (!anew).then(|| self.down(true, waited, Some(next), now))
            }
            Availability::Asleep | Availability::Trying => None,
        }
    }

    /// Whether who waits may bring an attempt forward.
    fn is_hurried(&self) -> bool {
        self.cause().0.is_some_and(Reason::is_safe_to_hurry)
    }

    /// Asks for an attempt that waits for somebody to need it.
    pub(super) fn call_target(&mut self) {
        let waits = !self.queue.is_empty() && self.phase == PoolPhase::Running;
        let called = match self.health.availability {
            Availability::Asleep => true,
            Availability::Permanent(_) => self.is_hurried(),
            Availability::Live | Availability::Trying | Availability::NotBefore(_) => false,
        };
        if waits && called {
            self.actions.push_back(PoolAction::Wake);
        }
    }

    /// What is the matter, and what mends it.
    fn cause(&self) -> (Option<Reason>, Option<&'static str>) {
        match self.health.availability {
            Availability::Live => (self.open_failure(), None),
            _ => (self.health.reason, self.health.remedy),
        }
    }

    fn down(&self, permanent: bool, waited: Duration, next: Option<Instant>, now: Instant) -> Rejection {
        let next = next.map(|next| next.saturating_duration_since(now));
        let (reason, remedy) = self.cause();
        let remedy = remedy.or(reason.map(Reason::remedy));
        Rejection::Down { reason, remedy, permanent, waited, next }
    }
}
