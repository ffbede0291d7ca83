//! The clients: they come, wait, use what they get, leave something on it, give it back, or are gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::fleet::{SlotUse, Stage};
use super::{Happening, SimSession, Simulation, ms, s};
use crate::pool::core::{ClientId, Rejection};
use crate::pool::driver::{Acquired, Grant};
use crate::pool::link::Left;
use crate::target::pool::Mode;

/// A client of one pool.
pub struct SimClient {
    pub id: ClientId,
    /// Grows with all that it does: what was to happen to it before is void.
    visit: u64,
    pub does: ClientDoes,
}

pub enum ClientDoes {
    Away,
    Waits(Wait),
    Uses { session: Box<SimSession>, since: Instant, rounds: u32, asked: Option<Instant> },
}

/// A client in the queue.
pub struct Wait {
    pub since: Instant,
    /// Tells apart those who came at the same time.
    pub order: u64,
    pub deadline: Instant,
    pub granted: oneshot::Receiver<Grant<SimSession>>,
}

impl SimClient {
    pub fn new(id: ClientId) -> Self {
        SimClient { id, visit: 0, does: ClientDoes::Away }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self.does, ClientDoes::Waits(_))
    }

    pub fn has_session(&self) -> bool {
        matches!(self.does, ClientDoes::Uses { .. })
    }

    pub fn wait(&self) -> Option<&Wait> {
        match &self.does {
            ClientDoes::Waits(wait) => Some(wait),
            _ => None,
        }
    }
}

impl Simulation {
    fn next_step(&mut self, pool: usize, client: usize, wait: Duration) {
        let found = &mut self.pools[pool].clients[client];
        found.visit += 1;
        let visit = found.visit;
        self.agenda.put(wait, Happening::Client { pool, client, visit });
    }

    /// It is away for a while.
    pub fn think(&mut self, pool: usize, client: usize) {
        self.pools[pool].clients[client].does = ClientDoes::Away;
        let wait = if self.is_troubled { self.dice.u64(1..1_500) } else { self.dice.u64(1_000..9_000) };
        self.next_step(pool, client, ms(wait));
        self.clients_may_be_gone(pool);
    }

    pub fn client_goes_on(&mut self, pool: usize, client: usize, visit: u64) {
        let now = self.agenda.now();
        let found = &mut self.pools[pool];
        if found.clients[client].visit != visit {
            return;
        }
        match std::mem::replace(&mut found.clients[client].does, ClientDoes::Away) {
            ClientDoes::Away if found.stage != Stage::Open => {}
            ClientDoes::Away => self.arrive(pool, client, now),
            ClientDoes::Waits(wait) => self.stop_waiting(pool, client, wait),
            ClientDoes::Uses { session, since, rounds, asked } => {
                self.use_session(pool, client, session, since, rounds, asked);
            }
        }
    }

    /// It needs a session, and has done so since then.
    fn arrive(&mut self, pool: usize, client: usize, since: Instant) {
        let now = self.agenda.now();
        let deadline = since + self.pools[pool].spec.pool.wait_timeout;
        let anew = since < now;
        if anew && now >= deadline {
            return self.think(pool, client);
        }
        let found = &mut self.pools[pool];
        let id = found.clients[client].id;
        match found.driver.acquire(id, anew.then_some(since)) {
            Acquired::Now(Ok(session)) => {
                self.check_nobody_is_passed_over(pool, since);
                self.tally.count(if anew { "served anew" } else { "served at once" });
                self.is_granted(pool, client, session, since);
            }
            Acquired::Now(Err(why)) => self.is_rejected(pool, client, why),
            Acquired::Later(granted) => {
                let order = self.agenda.next_number();
                let wait = Wait { since, order, deadline, granted };
                self.pools[pool].clients[client].does = ClientDoes::Waits(wait);
                // Some lose their patience, or their network.
                let patience = if self.dice.u8(0..6) == 0 { self.dice.u64(1..6_000) } else { 100_000 };
                self.next_step(pool, client, ms(patience));
            }
        }
        self.settle(pool);
    }

    pub fn stop_waiting(&mut self, pool: usize, client: usize, mut wait: Wait) {
        let found = &mut self.pools[pool];
        let before = found.driver.inner().core.counts();
        found.driver.leave_queue(found.clients[client].id, &mut wait.granted);
        let after = found.driver.inner().core.counts();
        self.tally.count(if before == after { "left" } else { "left with a session" });
        self.think(pool, client);
    }

    pub fn is_granted(&mut self, pool: usize, client: usize, session: Box<SimSession>, since: Instant) {
        self.check_grant(pool, &session);
        self.tally.count("served");
        let rounds = match self.pools[pool].spec.pool.mode {
            Mode::Transaction => self.dice.u32(0..4),
            Mode::Session => self.dice.u32(0..30),
        };
        if self.is_troubled && self.dice.u8(0..100) == 0 {
            session.wire.end(self.agenda.now());
        }
        let found = &mut self.pools[pool];
        found.served += 1;
        found.slots.insert(session.slot.id(), SlotUse::Client);
        found.clients[client].does = ClientDoes::Uses { session, since, rounds, asked: None };
        let wait = self.trip();
        self.next_step(pool, client, wait);
    }

    pub fn is_rejected(&mut self, pool: usize, client: usize, why: Rejection) {
        self.tally.count(match why {
            Rejection::Busy { .. } => "busy",
            Rejection::Down { permanent: true, .. } => "permanent",
            Rejection::Down { .. } => "down",
            Rejection::Paused { .. } => "paused",
            Rejection::Draining => "draining",
        });
        self.check_rejection(pool, why);
        self.pools[pool].rejected += u64::from(!matches!(why, Rejection::Busy { .. }));
        self.think(pool, client);
    }

    /// The server is to have answered by now.
    fn use_session(
        &mut self,
        pool: usize,
        client: usize,
        mut session: Box<SimSession>,
        since: Instant,
        rounds: u32,
        asked: Option<Instant>,
    ) {
        let now = self.agenda.now();
        let leaves = self.pools[pool].stage != Stage::Open;
        if session.wire.ended().is_some() {
            // One that had ended before it was used is not the client's: it goes back to where it was.
            let anew = session.heard <= since && asked.is_none() && !leaves;
            self.part(pool, session, |driver, session| driver.close(session));
            return if anew { self.arrive(pool, client, since) } else { self.think(pool, client) };
        }
        if !self.hosts[session.wire.host].mood.answers() {
            let asked = asked.unwrap_or(now);
            if leaves && now > asked + s(5) {
                self.part(pool, session, |driver, session| driver.give_up(session));
                return self.think(pool, client);
            }
            if self.dice.u8(0..40) == 0 {
                session.is_dirty = true;
                let left = Left::Busy { ready: 1, synced: true };
                self.part(pool, session, |driver, session| driver.clean_up(session, left, false, false));
                return self.think(pool, client);
            }
            self.pools[pool].clients[client].does =
                ClientDoes::Uses { session, since, rounds, asked: Some(asked) };
            return self.next_step(pool, client, ms(100));
        }
        session.heard = now;
        session.wire.is_used(now);
        if rounds > 0 && !leaves {
            let rounds = rounds - 1;
            self.pools[pool].clients[client].does = ClientDoes::Uses { session, since, rounds, asked: None };
            let wait = ms(self.dice.u64(1..150));
            return self.next_step(pool, client, wait);
        }
        self.finish(pool, session);
        self.think(pool, client);
    }

    /// It has done with its session, and leaves it as it pleases.
    fn finish(&mut self, pool: usize, mut session: Box<SimSession>) {
        if self.dice.u8(0..12) == 0 {
            // A cancel request is on its way, and may never arrive.
            self.tally.count("cancelled");
            session.backend.cancel_begins();
            let (backend, reached) = (Arc::clone(&session.backend), self.dice.u8(0..4) > 0);
            let wait = ms(self.dice.u64(0..200));
            self.agenda.put(wait, Happening::Cancelled { backend, reached });
        }
        let for_good = self.pools[pool].spec.pool.mode == Mode::Session;
        let left = match self.dice.u8(0..10) {
            0 => Left::InTransaction,
            1 => Left::Busy { ready: 1, synced: self.dice.bool() },
            2 => {
                self.tally.count("broken");
                return self.part(pool, session, |driver, session| driver.close(session));
            }
            _ if for_good => Left::Clean,
            _ => return self.part(pool, session, |driver, session| driver.give_back(session)),
        };
        session.is_dirty = true;
        let patient = self.dice.bool();
        self.part(pool, session, |driver, session| driver.clean_up(session, left, for_good, patient));
    }

    /// The driver gets the session back.
    fn part(
        &mut self,
        pool: usize,
        session: Box<SimSession>,
        how: impl FnOnce(&crate::pool::driver::PoolDriver<SimSession>, Box<SimSession>),
    ) {
        let found = &mut self.pools[pool];
        found.slots.insert(session.slot.id(), SlotUse::Driver);
        how(&found.driver, session);
        self.settle(pool);
    }

    /// Those whose servers have been silent for so long give up.
    pub fn cut_silent(&mut self, pool: usize, limit: Duration) {
        let now = self.agenda.now();
        for client in 0..self.pools[pool].clients.len() {
            let does = &mut self.pools[pool].clients[client].does;
            if matches!(does, ClientDoes::Uses { asked: Some(at), .. } if now > *at + limit)
                && let ClientDoes::Uses { session, .. } = std::mem::replace(does, ClientDoes::Away)
            {
                self.tally.count("cut");
                self.part(pool, session, |driver, session| driver.give_up(session));
                self.think(pool, client);
            }
        }
    }
}
