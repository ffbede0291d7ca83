//! What the driver sees of sessions before its task does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::pool::core::{Availability, Health};
use crate::status::pool::PoolStatus;
use crate::status::sample;
use crate::target::{self, pool::Pool};

/// A session of which nothing is known but whether it has ended.
#[derive(Debug)]
struct Idle {
    slot: SessionSlot,
    far: Arc<FarEnd>,
}

/// The far end of it.
#[derive(Debug, Default)]
struct FarEnd {
    has_ended: AtomicBool,
    asked: AtomicUsize,
    waker: Mutex<Option<Waker>>,
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

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.far.asked.fetch_add(1, Ordering::Relaxed);
        if self.far.has_ended.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        *self.far.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A pool of one session, which client 1 has.
struct Rig {
    driver: PoolDriver<Idle>,
    works: mpsc::UnboundedReceiver<Work<Idle>>,
    far: Arc<FarEnd>,
}

fn held() -> (Rig, Box<Idle>) {
    let (rig, slot, mut granted) = opening();
    rig.open(slot);
    let session = granted.try_recv().unwrap().unwrap();
    (rig, session)
}

/// It is being opened for client 1.
fn opening() -> (Rig, SessionSlot, oneshot::Receiver<Grant<Idle>>) {
    let target = Arc::new(target::sample::target("db", "host=db user=app password=secret dbname=db"));
    let pool = Arc::new(Pool { size: 1, min_idle: 0, ..sample::pool() });
    let status = Arc::new(PoolSlot::new(PoolStatus::new(&pool)));
    let spec = CoreConfig { pool, tuning: Arc::clone(&target.tuning) };
    let (driver, mut works, _) = PoolDriver::new(spec, target, status, fastrand::Rng::with_seed(1));
    driver.tell(PoolEvent::Target(Health { availability: Availability::Live, ..Health::UNKNOWN }));
    let Acquired::Later(granted) = driver.acquire(ClientId(1), None) else { panic!("none is open yet") };
    let Ok(Work::Open { slot, .. }) = works.try_recv() else { panic!("one is to be opened") };
    (Rig { driver, works, far: Arc::default() }, slot, granted)
}

impl Rig {
    fn open(&self, slot: SessionSlot) {
        let session = Box::new(Idle { slot, far: Arc::clone(&self.far) });
        self.driver.opened(session, self.driver.generation(), None);
    }

    /// Its task looks at all sessions.
    fn look(&self) {
        assert!(self.driver.poll_ended(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn asked(&self) -> usize {
        self.far.asked.swap(0, Ordering::Relaxed)
    }

    /// As a socket does it.
    fn end(&self) {
        self.far.has_ended.store(true, Ordering::Relaxed);
        self.far.waker.lock().unwrap().take().into_iter().for_each(Waker::wake);
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.works.try_recv(), Ok(Work::Close { .. }))
    }
}

#[test]
fn a_session_that_has_ended_just_before_a_client_comes_is_not_handed_out() {
    let (mut rig, session) = held();
    rig.look();
    rig.driver.give_back(session);
    rig.end();
    assert!(matches!(rig.driver.acquire(ClientId(2), None), Acquired::Later(_)));
    assert!(rig.is_closed());
}

#[test]
fn one_that_has_ended_before_anybody_had_it_is_not_handed_out() {
    let (mut rig, slot, mut gone) = opening();
    rig.driver.leave_queue(ClientId(1), &mut gone);
    rig.look();
    rig.end();
    rig.open(slot);
    assert!(matches!(rig.driver.acquire(ClientId(2), None), Acquired::Later(_)));
    assert!(rig.is_closed());
}

#[test]
fn a_session_that_says_nothing_is_asked_once_for_each_client() {
    let (rig, mut session) = held();
    rig.look();
    rig.asked();
    for client in 2..5 {
        rig.driver.give_back(session);
        let Acquired::Now(granted) = rig.driver.acquire(ClientId(client), None) else { panic!("it is idle") };
        session = granted.unwrap();
        assert_eq!(rig.asked(), 1);
    }
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
