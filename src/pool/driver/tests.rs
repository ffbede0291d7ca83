//! What the driver sees of sessions before its task does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use super::*;
use crate::pool::core::{Availability, Health};
use crate::status::pool::PoolStatus;
use crate::status::sample;
use crate::target::{self, pool::Pool};

/// A session of which nothing is known but whether it has ended.
#[derive(Debug)]
struct Idle {
    slot: SessionSlot,
    has_ended: Arc<AtomicBool>,
}

impl PoolSession for Idle {
    fn id(&self) -> SessionId {
        self.slot.id()
    }

    fn heard(&self) -> Instant {
        now()
    }

    fn is_retired(&self) -> bool {
        false
    }

    fn is_being_cancelled(&self) -> bool {
        false
    }

    fn poll_idle(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.has_ended.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A pool of one session, which client 1 has.
struct Rig {
    driver: PoolDriver<Idle>,
    works: mpsc::UnboundedReceiver<Work<Idle>>,
    has_ended: Arc<AtomicBool>,
}

fn held() -> (Rig, Box<Idle>) {
    let target = Arc::new(target::sample::target("db", "host=db user=app password=secret dbname=db"));
    let pool = Arc::new(Pool { size: 1, min_idle: 0, ..sample::pool() });
    let status = Arc::new(PoolSlot::new(PoolStatus::new(&pool)));
    let spec = CoreConfig { pool, tuning: Arc::clone(&target.tuning) };
    let (driver, mut works, _) = PoolDriver::new(spec, target, status, fastrand::Rng::with_seed(1));
    driver.tell(PoolEvent::Target(Health { availability: Availability::Live, ..Health::UNKNOWN }));
    let Acquired::Later(mut granted) = driver.acquire(ClientId(1), None) else { panic!("none is open yet") };
    let Ok(Work::Open { slot, .. }) = works.try_recv() else { panic!("one is to be opened") };
    let has_ended = Arc::new(AtomicBool::new(false));
    let session = Box::new(Idle { slot, has_ended: Arc::clone(&has_ended) });
    driver.opened(session, driver.generation(), None);
    let session = granted.try_recv().unwrap().unwrap();
    (Rig { driver, works, has_ended }, session)
}

impl Rig {
    fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.works.try_recv(), Ok(Work::Close { .. }))
    }
}

#[test]
fn a_session_that_has_ended_just_before_a_client_comes_is_not_handed_out() {
    let (mut rig, session) = held();
    rig.driver.give_back(session);
    rig.end();
    assert!(matches!(rig.driver.acquire(ClientId(2), None), Acquired::Later(_)));
    assert!(rig.is_closed());
}

#[test]
fn one_that_has_ended_under_its_client_is_not_given_to_the_next() {
    let (mut rig, session) = held();
    let Acquired::Later(mut granted) = rig.driver.acquire(ClientId(2), None) else { panic!("it is in use") };
    rig.end();
    rig.driver.give_back(session);
    assert!(granted.try_recv().is_err());
    assert!(rig.is_closed());
}

#[test]
fn a_session_that_a_client_has_not_taken_goes_to_the_next() {
    let (rig, session) = held();
    let Acquired::Later(mut gone) = rig.driver.acquire(ClientId(2), None) else { panic!("it is in use") };
    let Acquired::Later(mut granted) = rig.driver.acquire(ClientId(3), None) else { panic!("it is in use") };
    rig.driver.give_back(session);
    rig.driver.leave_queue(ClientId(2), &mut gone);
    assert!(granted.try_recv().unwrap().is_ok());
}
