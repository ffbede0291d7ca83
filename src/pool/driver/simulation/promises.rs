//! What holds after every step.

use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::oneshot::error::TryRecvError;

use super::crowd::{ClientDoes, Wait};
use super::fleet::{SimPool, SlotUse, Stage};
use super::{SimSession, Simulation, ms, s};
use crate::pool::core::{PoolPhase, Rejection};
use crate::pool::driver::{PoolSession, Work};
use crate::status::pool::ServerState;
use crate::target::IdlePolicy;

impl Simulation {
    /// After each call of a pool's driver: who was answered, what is to be done, and whether that is as promised.
    pub fn settle(&mut self, pool: usize) {
        if self.pools[pool].stage == Stage::Ended {
            return;
        }
        self.lose_one_who_waits(pool);
        self.observe(pool);
        self.take_work(pool);
        self.pools[pool].check(self.agenda.now());
        let found = &mut self.pools[pool];
        let earlier = found.driver.is_earlier().now_or_never().is_some();
        if earlier || !found.queue.is_empty() || !found.closings.is_empty() || found.woken.take() {
            let wait = self.latency();
            self.wake_task(pool, wait);
        }
    }

    /// A client may be gone just when it is given a session.
    fn lose_one_who_waits(&mut self, pool: usize) {
        if self.dice.u8(0..60) > 0 {
            return;
        }
        let clients = &mut self.pools[pool].clients;
        if let Some(client) = clients.iter().position(|client| client.is_waiting())
            && let ClientDoes::Waits(wait) = std::mem::replace(&mut clients[client].does, ClientDoes::Away)
        {
            self.stop_waiting(pool, client, wait);
        }
    }

    /// Takes the grants.
    fn observe(&mut self, pool: usize) {
        let mut waiting: Vec<_> = self.pools[pool]
            .clients
            .iter()
            .enumerate()
            .filter_map(|(client, found)| found.wait().map(|wait| (wait.since, wait.order, client)))
            .collect();
        waiting.sort_unstable();
        let mut first_left = None;
        for (_, order, client) in waiting {
            let found = &mut self.pools[pool].clients[client];
            // Whatever happened to those before may have taken it out.
            let ClientDoes::Waits(Wait { granted, since, order: now, .. }) = &mut found.does else {
                continue;
            };
            if *now != order {
                continue;
            }
            let (since, answer) = (*since, granted.try_recv());
            match answer {
                Err(TryRecvError::Empty) => first_left = first_left.or(Some(client)),
                Err(TryRecvError::Closed) => panic!("nobody answers client {client}"),
                Ok(grant) => {
                    let does = std::mem::replace(&mut found.does, ClientDoes::Away);
                    let id = found.id;
                    // As a client's end of the queue does when it is dropped.
                    if let ClientDoes::Waits(mut wait) = does {
                        self.pools[pool].driver.leave_queue(id, &mut wait.granted);
                    }
                    match grant {
                        Ok(session) => {
                            assert_eq!(first_left, None, "client {client} has overtaken one who still waits");
                            self.is_granted(pool, client, session, since);
                        }
                        Err(why) => self.is_rejected(pool, client, why),
                    }
                }
            }
        }
    }

    /// What is to be done counts from here on.
    fn take_work(&mut self, pool: usize) {
        let found = &mut self.pools[pool];
        while let Ok(work) = found.works.try_recv() {
            match &work {
                Work::Open { slot, .. } => {
                    found.books.begun += 1;
                    assert!(found.slots.insert(slot.id(), SlotUse::Opening).is_none(), "no session twice");
                    let size = found.spec.pool.size as usize;
                    assert!(found.slots.len() <= size, "{} sessions, {size} are allowed", found.slots.len());
                }
                Work::Test(session)
                | Work::Reset { server: session, .. }
                | Work::Close { server: session, .. } => {
                    let before = found.slots.insert(session.id(), SlotUse::Between);
                    assert_eq!(before, Some(SlotUse::Driver), "only what the driver has can be worked on");
                }
                Work::CutSilent(_) | Work::Wake | Work::Cancel { .. } => {}
            }
            found.queue.push(work);
        }
    }

    pub fn check_nobody_is_passed_over(&self, pool: usize, since: Instant) {
        let mut waits = self.pools[pool].clients.iter().filter_map(|client| client.wait());
        assert!(waits.all(|wait| wait.since > since), "who comes now has overtaken one who waits");
    }

    pub fn check_grant(&self, pool: usize, session: &SimSession) {
        let (now, found) = (self.agenda.now(), &self.pools[pool]);
        let phase = found.driver.phase();
        assert_eq!(phase, PoolPhase::Running, "a paused pool, or one that ends, serves nobody");
        assert_eq!(session.place, found.place, "a session of another place");
        let tested = found.lost_at.is_none_or(|lost| session.heard > lost);
        assert!(tested, "a session from before a loss, not tested since");
        let tuning = &found.spec.tuning;
        let quiet = match tuning.idle_policy {
            IdlePolicy::KeepAwake => tuning.ping.interval + s(5),
            IdlePolicy::LetSleep => s(15),
        };
        assert!(now <= session.heard + quiet, "a session that was quiet for {:?}", now - session.heard);
        assert!(!session.is_dirty, "something was left on it");
        assert!(!session.is_being_cancelled() && !session.is_retired(), "a cancel request may reach it");
        let long_ended = session.wire.ended().is_some_and(|at| now > at + ms(10));
        assert!(!long_ended, "a session whose end was seen long ago");
    }

    pub fn check_rejection(&self, pool: usize, why: Rejection) {
        let found = &self.pools[pool];
        match why {
            Rejection::Draining => assert_ne!(found.stage, Stage::Open, "nobody has drained it"),
            Rejection::Paused { .. } => assert_eq!(found.driver.phase(), PoolPhase::Paused),
            Rejection::Busy { .. } | Rejection::Down { .. } => {}
        }
    }
}

impl SimPool {
    fn check(&self, now: Instant) {
        let inner = self.driver.inner();
        let uses = [SlotUse::Opening, SlotUse::Driver, SlotUse::Between, SlotUse::Client]
            .map(|what| self.uses(what));
        assert_eq!(inner.core.counts(), uses, "opening, idle, between, held");
        assert_eq!(inner.parked.len(), uses[1], "what the driver has is idle");
        let long_ended = |at: Instant| now > at + ms(10);
        let is_seen = |session: &SimSession| !session.wire.ended().is_some_and(long_ended);
        assert!(
            inner.parked.values().all(|parked| is_seen(&parked.server)),
            "an idle session's end is not noticed"
        );
        let paused = inner.core.paused();
        self.status.change(|shown| {
            assert_eq!(ServerState::ALL.map(|state| shown.servers(state) as usize), uses, "the gauges");
            assert_eq!(shown.paused, paused.is_some(), "the page");
        });
        assert_eq!(*self.driver.paused().borrow(), paused, "what an operator waits for");
        let waiting = self.clients.iter().filter(|client| client.is_waiting()).count();
        assert_eq!(inner.granted.len(), waiting, "who waits is who can be answered");
        let late = |wait: &Wait| now > wait.deadline + ms(10);
        assert!(
            !self.clients.iter().filter_map(|client| client.wait()).any(late),
            "somebody waits for too long"
        );
        let is_running = inner.core.phase() == PoolPhase::Running;
        let beside = is_running && waiting > uses[2] && uses[1] > 0;
        assert!(!beside, "{waiting} clients wait beside {} idle sessions", uses[1]);
        self.check_books();
    }

    fn check_books(&self) {
        let (books, opening) = (self.books, self.uses(SlotUse::Opening) as u64);
        assert_eq!(books.begun, books.opened + books.failed + books.crashed + opening, "{books:?}");
        assert_eq!(books.opened, books.closed + self.slots.len() as u64 - opening, "{books:?}");
    }

    pub fn check_end(&self) {
        let inner = self.driver.inner();
        assert_eq!((inner.parked.len(), inner.granted.len()), (0, 0));
        assert!(self.slots.is_empty(), "{:?} take slots still", self.slots);
        let held = self.clients.iter().filter(|client| client.has_session() || client.is_waiting()).count();
        assert_eq!(held, 0);
    }
}
