//! The decisions of one pool: who gets which session, when sessions are opened, tested, replaced and closed, and who
//! waits in vain. Pure: time and dice are arguments; no clock, no socket, no lock. The driver reports what happens as
//! [`PoolEvent`]s and carries out the [`PoolAction`]s; [`Core::on`] is the only way in.
//!
//! ```text
//!              Open             Opened                    HandOver
//!   (nothing) ------> Opening ----------> Idle | waiting ----------> Held
//!                        | Failed        ^   | Test                    | Returned
//!                        v               |   v                         |   Clean: Idle, or the next client's
//!                    (nothing)           +- Testing                    |   NeedsReset: Resetting, then as Clean
//!                        ^                   | no answer               |   Broken
//!                        +---- Closed ---- Closing <-------------------+
//! ```
//!
//! What holds in every state, and is walked and simulated:
//! - First come, first served: a session goes to the client that has waited longest.
//! - `size` is never exceeded by what is opened: sessions that are being opened or closed take a slot, too.
//! - A session of an earlier generation (another endpoint, or before a reconnect) is never handed out. Changing the
//!   generation is all that a reload to another place does; each session carries its own.
//! - A session that was last heard before the supervised one was lost, or long ago, is tested first.
//! - Nobody waits for ever: each wait has a deadline, and ends sooner where it is known to be in vain.

mod event;
mod grants;
mod openings;
mod queue;
mod session_table;
#[cfg(test)]
mod tests;
mod upkeep;
#[cfg(test)]
mod walk;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use self::event::{
    Availability, ClientId, Condition, CoreConfig, Health, PoolAction, PoolEvent, PoolRequest, Rejection,
    SessionId, TestOutcome,
};
use self::openings::Openings;
use self::queue::Queue;
use self::session_table::{Renewal, SessionState, Sessions};
use crate::reason::{Class, Diagnosis, Reason};
use crate::status::pool::ServerState;

/// The driver reports the time at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long sessions may take to be closed once the last client has left.
const CLOSING: Duration = Duration::from_millis(1500);

/// One pool.
#[derive(Debug, Clone)]
pub struct Core {
    spec: CoreConfig,
    phase: PoolPhase,
    health: Health,
    /// Sessions of an earlier one are closed as they come free.
    generation: u64,
    /// When the supervised session was lost: what was not heard of since may be lost, too.
    lost_at: Option<Instant>,
    sessions: Sessions,
    queue: Queue,
    openings: Openings,
    actions: VecDeque<PoolAction>,
}

/// How far the life of the pool has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolPhase {
    Running,
    /// By an operator: clients wait, and each session is closed as soon as nobody has it.
    Paused,
    /// Clients leave at the end of their transactions.
    Draining,
    /// All have left; sessions are closed until then.
    Closing(Instant),
    Ended,
}

impl Health {
    /// Of a target that nothing is known of yet.
    pub const UNKNOWN: Health = Health {
        availability: Availability::Trying,
        down: false,
        reason: None,
        remedy: None,
        failed_at: None,
        last_login: None,
        ping_every: None,
    };
}

impl Core {
    pub fn new(spec: CoreConfig) -> Self {
        Core {
            spec,
            phase: PoolPhase::Running,
            health: Health::UNKNOWN,
            generation: 1,
            lost_at: None,
            sessions: Sessions::default(),
            queue: Queue::default(),
            openings: Openings::default(),
            actions: VecDeque::new(),
        }
    }

    /// One step. What is to be done then is had from [`Core::next_action`]. `dice` is in 0..1.
    pub fn on(&mut self, event: PoolEvent, now: Instant, dice: f64) {
        match event {
            // Those of each transaction: nothing is looked at that they do not touch.
            PoolEvent::Waits { client, since } => return self.waits(client, since, now),
            PoolEvent::Leaves(client) => return self.queue.remove(client),
            PoolEvent::Returned { session, heard, condition } => {
                return self.returned(session, heard, condition, now);
            }
            PoolEvent::Opened { session, generation, due } => self.opened(session, generation, due, now),
            PoolEvent::Failed { session, generation, diagnosis } => {
                self.failed(session, generation, diagnosis, now, dice);
            }
            PoolEvent::Tested { session, outcome } => self.tested(session, outcome, now),
            PoolEvent::Ended(session) => self.ended(session),
            PoolEvent::Closed(session) => self.closed(session, now, dice),
            PoolEvent::Target(health) => self.target(health, now),
            PoolEvent::Configured(spec) => {
                self.spec = spec;
                // What has failed by the old one is tried by the new one.
                self.openings.forget_failure();
            }
            PoolEvent::Moved => self.outdate(),
            PoolEvent::Requested(request) => self.requested(request),
            PoolEvent::Drain => self.drain(),
            PoolEvent::ClientsGone => self.phase = PoolPhase::Closing(now + CLOSING),
            PoolEvent::Timer => {}
        }
        self.settle(now);
    }

    pub fn next_action(&mut self) -> Option<PoolAction> {
        self.actions.pop_front()
    }

    /// When it wants to be told the time, at the latest.
    pub fn due(&self, now: Instant) -> Instant {
        let waits = !self.queue.is_empty();
        let tests = self.sessions.testing() > 0 && waits;
        let closing = match self.phase {
            PoolPhase::Closing(until) => Some(until),
            _ => None,
        };
        [
            Some(now + HEARTBEAT),
            self.queue.deadline(),
            self.openings.next(waits).filter(|at| *at > now),
            tests.then(|| now + grants::SLOW_TEST),
            closing,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now)
    }

    /// What sessions that are begun now belong to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn ping_every(&self) -> Option<Duration> {
        self.health.ping_every
    }

    pub fn phase(&self) -> PoolPhase {
        self.phase
    }

    pub fn counts(&self) -> [usize; ServerState::ALL.len()] {
        self.sessions.counts()
    }

    pub fn idle(&self) -> &[SessionId] {
        self.sessions.idle()
    }

    /// While it is paused, the sessions that are not closed yet.
    pub fn paused(&self) -> Option<usize> {
        (self.phase == PoolPhase::Paused).then_some(self.sessions.len())
    }

    /// Why no session can be opened, as far as is known.
    pub fn open_failure(&self) -> Option<Reason> {
        self.openings.failure().filter(|failure| !failure.is_past).map(|failure| failure.reason)
    }

    /// Everything that may follow from what has changed.
    fn settle(&mut self, now: Instant) {
        if let PoolPhase::Closing(until) = self.phase
            && (self.sessions.len() == 0 || now >= until)
        {
            self.phase = PoolPhase::Ended;
        }
        self.serve(now);
        self.reject_vain(now);
        self.call_target();
        if self.phase == PoolPhase::Running {
            self.shrink();
            self.replace(now);
            self.open(now);
            self.test_quiet(now);
            self.close_unused(now);
        }
        if self.health.down {
            self.actions.push_back(PoolAction::CutSilent(self.spec.pool.query_stall));
        }
    }

    /// The supervised session tells early how the others are.
    fn target(&mut self, health: Health, now: Instant) {
        let (was, is) = (self.health.availability, health.availability);
        let (was_live, is_live) = (was == Availability::Live, is == Availability::Live);
        self.health = health;
        if was_live && !is_live {
            self.lost_at = Some(now);
            self.openings.slow_down();
        }
        let failed_at = self.openings.failure().map(|failure| failure.at);
        let logged_in = failed_at.zip(health.last_login).is_some_and(|(failed_at, login)| login > failed_at);
        let waits = self.openings.next(false) > failed_at;
        if logged_in {
            self.openings.pass();
        }
        if (is_live && !was_live) || (logged_in && waits) {
            self.openings.proven(now);
        }
    }

    fn requested(&mut self, request: PoolRequest) {
        match (request, self.phase) {
            (PoolRequest::Pause, PoolPhase::Running) => {
                self.phase = PoolPhase::Paused;
                self.close_idle();
            }
            (PoolRequest::Resume, PoolPhase::Paused) => self.phase = PoolPhase::Running,
            (PoolRequest::Reconnect, PoolPhase::Running | PoolPhase::Paused) => {
                self.outdate();
                self.openings.forget_failure();
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        if !matches!(self.phase, PoolPhase::Running | PoolPhase::Paused) {
            return;
        }
        self.phase = PoolPhase::Draining;
        let actions = &mut self.actions;
        let reject = |client| PoolAction::Reject { client, why: Rejection::Draining };
        self.queue.take_where(|_, _| true, |waiting| actions.push_back(reject(waiting.client)));
        self.close_idle();
    }

    fn opened(&mut self, session: SessionId, generation: u64, due: Option<Instant>, now: Instant) {
        let Some(found) = self.sessions.get_mut(session) else {
            return;
        };
        let SessionState::Opening { replaces } = found.state else {
            return;
        };
        (found.generation, found.heard, found.used) = (generation, now, now);
        found.due = due.map_or(Renewal::Never, Renewal::At);
        self.openings.opened();
        self.free(session);
        if replaces {
            self.retire_oldest(now);
        }
    }

    fn failed(&mut self, session: SessionId, generation: u64, diagnosis: Diagnosis, now: Instant, dice: f64) {
        // What failed where sessions do not lead any more says nothing of where they lead now.
        if self.sessions.remove(session).is_some() && generation == self.generation {
            self.openings.failed(diagnosis, self.spec.tuning.backoff, now, dice);
        }
    }

    fn closed(&mut self, session: SessionId, now: Instant, dice: f64) {
        let gone = self.sessions.remove(session);
        if gone.is_some_and(|session| matches!(session.state, SessionState::Opening { .. })) {
            // Its task has crashed: it may crash at once again.
            let (reason, class) = (Reason::Internal, Class::Local);
            let diagnosis = Diagnosis { reason, class, at_least: Duration::ZERO };
            self.openings.failed(diagnosis, self.spec.tuning.backoff, now, dice);
        }
    }

    /// Several end at once, and what follows from the first may have put another to use already. Who uses it tells its
    /// end, and closes it.
    fn ended(&mut self, session: SessionId) {
        if self.sessions.get(session).is_some_and(|found| found.state == SessionState::Idle) {
            self.close(session);
        }
    }

    fn close(&mut self, session: SessionId) {
        if self.sessions.get(session).is_some_and(|found| found.state != SessionState::Closing) {
            self.sessions.set(session, SessionState::Closing);
            self.actions.push_back(PoolAction::Close(session));
        }
    }

    fn close_idle(&mut self) {
        while let Some(idle) = self.sessions.idle().last() {
            self.close(*idle);
        }
    }

    /// No session that is there now is handed out any more.
    fn outdate(&mut self) {
        self.generation += 1;
        self.close_idle();
    }
}
