//! How the target stands, and what that means for those who wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Mind;
use super::opening::Trouble;
use crate::pool::refusal::Refusal;
use crate::pool::shared::{Shared, Terms};
use crate::pool::stock::Waiter;
use crate::reason::{Class, Reason};
use crate::status::{Attempt, Because, Line, State, TargetStatus};

/// The target, as the pool sees it at one moment.
pub struct Sight {
    pub live: bool,
    pub asleep: bool,
    pub down: bool,
    pub prospect: Prospect,
    pub reason: Option<Reason>,
    pub ping_every: Option<Duration>,
    pub last_login: Option<Instant>,
}

/// When a client that waits can hope for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// As soon as one is free or opened.
    Soon,
    /// Not before then: nothing is tried until that moment.
    NotBefore(Instant),
    /// Not before somebody changes something.
    Never,
}

impl Prospect {
    pub fn of(status: &TargetStatus) -> Self {
        match (&status.line, &status.attempt) {
            (Line::Lost { .. }, Attempt::Waiting { because: Because::SlowLane, .. }) => Prospect::Never,
            // A TCP connect that is accepted brings the attempt forward.
            (Line::Lost { .. }, Attempt::Waiting { until, tcp_connect, .. }) => {
                let next = tcp_connect.map_or(until.mono, |at| at.mono.min(until.mono));
                Prospect::NotBefore(next.into())
            }
            _ => Prospect::Soon,
        }
    }
}

impl Mind {
    pub(super) fn look(&mut self, shared: &Shared) -> Sight {
        if self.target.is_none()
            && let Some(slot) = self.keeper.board.get(shared.name.as_str())
        {
            self.target = Some(slot.subscribe());
            slot.send_modify(|status| status.pool = Some(Arc::clone(&shared.status)));
            shared.set_slot(slot);
        }
        let Some(target) = &mut self.target else {
            return Sight {
                live: false,
                asleep: false,
                down: false,
                prospect: Prospect::Soon,
                reason: None,
                ping_every: None,
                last_login: None,
            };
        };
        let status = target.borrow_and_update();
        // A login that failed beside it or a ping in flight makes a line suspect, not the pool's sessions.
        Sight {
            live: matches!(status.line, Line::Live(_)),
            asleep: matches!(status.line, Line::Asleep { .. }),
            down: status.state() == State::Down
                && (status.consecutive_failures > 0 || matches!(status.line, Line::Suspect { .. })),
            prospect: Prospect::of(&status),
            reason: status.reason(),
            ping_every: status.ping_every,
            last_login: status.last_login.map(|at| at.mono.into()),
        }
    }

    /// The supervised session is the canary.
    pub(super) fn follow(&mut self, shared: &Shared, sight: &Sight, now: Instant) {
        if self.was_live && !sight.live {
            shared.in_trouble(now);
            self.ramp.failed();
        }
        let back = sight.live && !self.was_live;
        self.was_live = sight.live;
        // Somebody has just logged in: so may we.
        let proven = |trouble: &Trouble| sight.last_login.is_some_and(|login| login > trouble.since);
        if let Some(trouble) = &mut self.trouble
            && (back || (proven(trouble) && trouble.since < trouble.until))
        {
            trouble.until = now;
            trouble.since = now;
        }
    }

    pub(super) fn judge(
        &self,
        waiter: &Waiter,
        terms: &Terms,
        sight: &Sight,
        now: Instant,
    ) -> Option<Refusal> {
        let name = terms.target.name.as_str();
        let waited = now.saturating_duration_since(waiter.since);
        let trouble = self.trouble.as_ref();
        let reason = if sight.live { trouble.map(|trouble| trouble.reason) } else { sight.reason };
        if now >= waiter.deadline {
            return Some(match sight.live && trouble.is_none() {
                true => Refusal::busy(name, terms.pool.size, waited),
                false => Refusal::down(name, reason, false, waited),
            });
        }
        if !sight.live {
            return match sight.prospect {
                Prospect::Soon => None,
                Prospect::NotBefore(next) if next <= waiter.deadline => None,
                Prospect::NotBefore(_) => Some(Refusal::down(name, reason, false, waited)),
                Prospect::Never => Some(Refusal::down(name, reason, true, waited)),
            };
        }
        // A session that somebody has may come back; and once the next attempt is due, it is worth waiting for.
        let trouble =
            trouble.filter(|trouble| self.keeper.shared.sessions.held() == 0 && now < trouble.until)?;
        let for_good = trouble.class == Class::Permanent;
        (for_good || trouble.until > waiter.deadline).then(|| Refusal::down(name, reason, for_good, waited))
    }
}
