//! One scenario per rule: what happens to a pool, and what it makes of it.

mod openings;
mod outside;
mod queue;
mod upkeep;

use std::sync::Arc;

use super::*;
use crate::status::sample;
use crate::target::pool::Pool;
use crate::target::{IdlePolicy, Tuning};

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn spec(change: impl FnOnce(&mut Pool, &mut Tuning)) -> CoreConfig {
    let (mut pool, mut tuning) = (sample::pool(), Tuning::default());
    (pool.size, pool.min_idle, pool.wait_timeout) = (2, 0, s(15));
    change(&mut pool, &mut tuning);
    CoreConfig { pool: Arc::new(pool), tuning: Arc::new(tuning) }
}

pub fn live() -> Health {
    Health { availability: Availability::Live, ..Health::UNKNOWN }
}

pub fn lost(availability: Availability, reason: Reason) -> Health {
    Health { availability, down: true, reason: Some(reason), ..Health::UNKNOWN }
}

pub fn client(number: i32) -> ClientId {
    ClientId(number)
}

/// A pool, a clock that is moved by hand, and dice that always show the middle.
pub struct Rig {
    pub core: Core,
    pub now: Instant,
}

impl Rig {
    /// Of a target that is up.
    pub fn new(change: impl FnOnce(&mut Pool, &mut Tuning)) -> Self {
        let now = Instant::now() + s(1_000);
        let mut rig = Rig { core: Core::new(spec(change)), now };
        rig.on(PoolEvent::Target(live()));
        rig
    }

    pub fn on(&mut self, event: PoolEvent) -> Vec<PoolAction> {
        self.core.on(event, self.now, 0.5);
        std::iter::from_fn(|| self.core.next_action()).collect()
    }

    pub fn after(&mut self, time: Duration) -> Vec<PoolAction> {
        self.now += time;
        self.on(PoolEvent::Timer)
    }

    pub fn waits(&mut self, number: i32) -> Vec<PoolAction> {
        self.on(PoolEvent::Waits { client: client(number), since: self.now })
    }

    pub fn returns(&mut self, session: SessionId, condition: Condition) -> Vec<PoolAction> {
        self.on(PoolEvent::Returned { session, heard: self.now, condition })
    }

    pub fn opens(&mut self, session: SessionId) -> Vec<PoolAction> {
        let generation = self.core.generation();
        self.on(PoolEvent::Opened { session, generation, due: None })
    }

    pub fn fails(&mut self, session: SessionId, reason: Reason, class: Class) -> Vec<PoolAction> {
        let diagnosis = Diagnosis { reason, class, at_least: Duration::ZERO };
        self.on(PoolEvent::Failed { session, generation: self.core.generation(), diagnosis })
    }

    /// So many sessions that clients have, numbered from 101.
    pub fn held(&mut self, count: i32) -> Vec<SessionId> {
        let mut held = Vec::new();
        for number in 101..101 + count {
            let actions = self.waits(number);
            let session = opened(&actions);
            let actions = self.opens(session);
            assert_eq!(actions, [PoolAction::HandOver { client: client(number), session }]);
            held.push(session);
        }
        held
    }

    /// So many sessions that nobody has.
    pub fn idle(&mut self, count: i32) -> Vec<SessionId> {
        let held = self.held(count);
        for session in &held {
            assert_eq!(self.returns(*session, Condition::Clean), []);
        }
        held
    }
}

/// The one session that is to be opened.
pub fn opened(actions: &[PoolAction]) -> SessionId {
    let mut opened = all_opened(actions);
    let first = opened.pop();
    assert!(opened.is_empty(), "{actions:?}");
    first.unwrap_or_else(|| panic!("nothing is opened: {actions:?}"))
}

pub fn all_opened(actions: &[PoolAction]) -> Vec<SessionId> {
    let opened = |action: &PoolAction| match action {
        PoolAction::Open { session, .. } => Some(*session),
        _ => None,
    };
    actions.iter().filter_map(opened).collect()
}

pub fn hands(number: i32, session: SessionId) -> PoolAction {
    PoolAction::HandOver { client: client(number), session }
}

/// Who is rejected, and why.
pub fn rejected(actions: &[PoolAction]) -> Vec<(i32, Rejection)> {
    let rejected = |action: &PoolAction| match action {
        PoolAction::Reject { client, why } => Some((client.0, *why)),
        _ => None,
    };
    actions.iter().filter_map(rejected).collect()
}
