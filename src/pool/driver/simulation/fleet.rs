//! The pools, and what is counted of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Instant;

use tokio::sync::mpsc;

use super::crowd::SimClient;
use super::hosts::Mood;
use super::{Agenda, BACK, Happening, Host, Logins, SimSession, SimTarget, Simulation, ms, s};
use crate::policy::guard::GuardLimits;
use crate::pool::core::{ClientId, CoreConfig, Health, PoolPhase, PoolRequest, SessionId};
use crate::pool::driver::{PoolDriver, Work};
use crate::status::board::PoolSlot;
use crate::status::pool::PoolStatus;
use crate::status::sample;
use crate::supervisor::machine::Event;
use crate::target::pool::{Mode, Pool};
use crate::target::{self, Endpoint, IdlePolicy, Ping, Refresh, Target, Tuning, conninfo};

const HOSTS: usize = 3;
const POOLS: usize = 4;
const CLIENTS: i32 = 8;

/// A pool, with everything around its driver.
pub struct SimPool {
    pub target: usize,
    pub driver: PoolDriver<SimSession>,
    pub status: Arc<PoolSlot>,
    pub works: mpsc::UnboundedReceiver<Work<SimSession>>,
    pub closings: mpsc::UnboundedReceiver<SessionId>,
    pub configured: Arc<Target>,
    pub spec: CoreConfig,
    /// Where sessions led when that was last found out.
    pub located: Option<Arc<Endpoint>>,
    /// Grows when sessions lead elsewhere, or are to be replaced.
    pub place: u64,
    pub told: Option<Health>,
    /// When the supervised session was lost, as the pool knows.
    pub lost_at: Option<Instant>,
    pub slots: BTreeMap<SessionId, SlotUse>,
    pub books: Books,
    /// Not begun yet.
    pub queue: Vec<Work<SimSession>>,
    pub clients: Vec<SimClient>,
    pub stage: Stage,
    pub woken: Arc<Woken>,
    pub task_at: Option<Instant>,
    pub due: Instant,
    /// Since the last look.
    pub served: u64,
    pub rejected: u64,
}

/// Who has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotUse {
    Opening,
    Driver,
    /// Work: it is tested, reset or closed.
    Between,
    Client,
}

/// How many sessions there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Books {
    pub begun: u64,
    pub opened: u64,
    pub failed: u64,
    pub crashed: u64,
    pub closed: u64,
}

/// How far the life of a pool has come, for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Open,
    Leaving,
    Gone(Instant),
    Ended,
}

/// Whether an idle session has something to say.
#[derive(Default)]
pub struct Woken(AtomicBool);

/// What happened, and how often.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
    pub quiet: u64,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Tally {
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Tally) {
        other.counts.iter().for_each(|(what, count)| *self.counts.entry(what).or_default() += count);
        self.quiet += other.quiet;
    }

    /// A simulation in which nothing happens finds nothing.
    pub fn assert_all_was_seen(&self) {
        for what in [
            "served",
            "served at once",
            "left",
            "left with a session",
            "busy",
            "down",
            "permanent",
            "paused",
            "draining",
            "opened",
            "failed",
            "crashed",
            "tested: Answered",
            "tested: Ended",
            "tested: Silent",
            "reset",
            "broken",
            "cut",
            "served anew",
            "moved",
            "opened elsewhere",
            "cancelled",
            "woken",
            "outgrown",
        ] {
            assert!(self.counts.get(what).is_some_and(|count| *count >= 5), "{what} is rare in {self:?}");
        }
        assert!(self.quiet > 5, "{self:?}");
    }
}

impl SimPool {
    pub fn new(
        target: usize,
        first_client: i32,
        configured: Arc<Target>,
        pool: Pool,
        now: Instant,
        seed: u64,
    ) -> Self {
        let spec = CoreConfig { pool: Arc::new(pool), tuning: Arc::clone(&configured.tuning) };
        let status = Arc::new(PoolSlot::new(PoolStatus::new(&spec.pool)));
        let dice = fastrand::Rng::with_seed(seed);
        let (driver, works, closings) =
            PoolDriver::new(spec.clone(), Arc::clone(&configured), Arc::clone(&status), dice);
        SimPool {
            target,
            driver,
            status,
            works,
            closings,
            configured,
            spec,
            located: None,
            place: 1,
            told: None,
            lost_at: None,
            slots: BTreeMap::new(),
            books: Books::default(),
            queue: Vec::new(),
            clients: (first_client..first_client + CLIENTS)
                .map(|number| SimClient::new(ClientId(number)))
                .collect(),
            stage: Stage::Open,
            woken: Arc::default(),
            task_at: None,
            due: now,
            served: 0,
            rejected: 0,
        }
    }

    pub fn uses(&self, what: SlotUse) -> usize {
        self.slots.values().filter(|used| **used == what).count()
    }
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let agenda = Agenda::new();
        let limits =
            GuardLimits { logins_in_flight: 16, connects_per_second: 20, connects_per_host_per_second: 10 };
        let mut simulation = Simulation {
            agenda,
            dice: fastrand::Rng::with_seed(seed),
            hosts: Vec::new(),
            logins: Logins::new(limits),
            targets: Vec::new(),
            pools: Vec::new(),
            is_troubled: true,
            tally: Tally::default(),
        };
        for _ in 0..HOSTS {
            simulation.hosts.push(Host { mood: Mood::Up, slots: 100, idle_limit: None, wires: Vec::new() });
        }
        for target in 0..POOLS {
            let tuning = Arc::new(simulation.tuning());
            let host = simulation.dice.usize(0..HOSTS);
            let now = simulation.agenda.now();
            simulation.targets.push(SimTarget::new(target, host, &tuning, now));
            simulation.tell(target, Event::Started);
            let configured = configured(target, host, 0, tuning);
            simulation.add_pool(target, configured);
        }
        simulation.agenda.put(s(1), Happening::Accident);
        simulation
    }

    pub fn add_pool(&mut self, target: usize, configured: Arc<Target>) {
        let (number, now, seed) = (self.pools.len(), self.agenda.now(), self.dice.u64(..));
        let first_client = number as i32 * CLIENTS;
        let config = self.pool_config(configured.tuning.idle_policy);
        self.pools.push(SimPool::new(target, first_client, configured, config, now, seed));
        for client in 0..self.pools[number].clients.len() {
            self.think(number, client);
        }
        self.wake_task(number, ms(0));
    }

    pub fn tuning(&mut self) -> Tuning {
        let dice = &mut self.dice;
        let sleeps = dice.u8(0..4) == 0;
        Tuning {
            idle_policy: if sleeps { IdlePolicy::LetSleep } else { IdlePolicy::KeepAwake },
            connect_timeout: s(dice.u64(1..4)),
            ping: Ping { interval: s(dice.u64(2..8)), timeout: ms(dice.u64(300..2_000)) },
            refresh: Refresh { every: Some(s(dice.u64(5..30))), jitter: 0.1, overlap: dice.bool() },
            close_idle_after: (sleeps && dice.bool()).then(|| s(dice.u64(3..10))),
            ..Tuning::default()
        }
    }

    pub fn pool_config(&mut self, idle_policy: IdlePolicy) -> Pool {
        let dice = &mut self.dice;
        let size = dice.u32(1..7);
        Pool {
            size,
            min_idle: dice.u32(0..=size) * dice.u32(0..2),
            wait_timeout: ms(dice.u64(500..8_000)),
            mode: if dice.u8(0..4) == 0 { Mode::Session } else { Mode::Transaction },
            query_stall: ms(dice.u64(500..3_000)),
            ..Pool::with_defaults(sample::pool().listen, idle_policy)
        }
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.is_troubled = false;
        for host in 0..self.hosts.len() {
            (self.hosts[host].slots, self.hosts[host].idle_limit) = (100, None);
            self.set_mood(host, Mood::Up);
        }
        for pool in 0..self.pools.len() {
            self.pools[pool].driver.request(PoolRequest::Resume);
            self.settle(pool);
        }
    }

    /// Every pool serves everybody again.
    pub async fn await_service(&mut self) {
        let until = self.agenda.now() + BACK;
        loop {
            self.pools.iter_mut().for_each(|pool| (pool.served, pool.rejected) = (0, 0));
            self.run(s(20)).await;
            let open = || self.pools.iter().filter(|pool| pool.stage == Stage::Open);
            // Who waits for one of few sessions may be late, which is no trouble.
            let serves = |pool: &SimPool| pool.served > 0 && pool.rejected == 0;
            if open().all(serves) {
                return;
            }
            let how = |pool: &SimPool| (pool.target, pool.served, pool.rejected, pool.told);
            assert!(self.agenda.now() < until, "no way back: {:?}", open().map(how).collect::<Vec<_>>());
        }
    }

    /// The end of all of them.
    pub async fn drain(&mut self) {
        self.is_troubled = false;
        (0..self.pools.len()).for_each(|pool| self.drain_pool(pool));
        self.run(s(20)).await;
        for pool in 0..self.pools.len() {
            let found = &mut self.pools[pool];
            assert_eq!((found.stage, found.driver.phase()), (Stage::Ended, PoolPhase::Ended), "pool {pool}");
            while let Ok(session) = found.closings.try_recv() {
                found.slots.remove(&session);
            }
            found.check_end();
        }
        let lines = |host: &Host| host.wires.iter().filter(|wire| wire.is_open()).count();
        let open: usize = self.hosts.iter().map(lines).sum();
        let held = self.targets.iter().filter(|target| target.holds_open()).count();
        assert_eq!(open, held, "sessions are left at the servers");
    }

    pub fn drain_pool(&mut self, pool: usize) {
        let found = &mut self.pools[pool];
        if found.stage != Stage::Open {
            return;
        }
        found.stage = Stage::Leaving;
        found.driver.drain();
        self.settle(pool);
        assert!(self.pools[pool].clients.iter().all(|client| !client.is_waiting()), "who waits is told");
        self.clients_may_be_gone(pool);
    }

    pub fn clients_may_be_gone(&mut self, pool: usize) {
        let (now, found) = (self.agenda.now(), &mut self.pools[pool]);
        let gone = found.clients.iter().all(|client| !client.has_session() && !client.is_waiting());
        if found.stage == Stage::Leaving && gone {
            found.stage = Stage::Gone(now);
            found.driver.clients_gone();
            self.settle(pool);
        }
    }
}

pub fn configured(number: usize, host: usize, version: u64, tuning: Arc<Tuning>) -> Arc<Target> {
    let service = format!("version {version}");
    Arc::new(Target { service, tuning, ..target::sample::target(&format!("t{number}"), &conninfo(host)) })
}

pub fn endpoint(host: usize) -> Arc<Endpoint> {
    Arc::new(conninfo::parse(&conninfo(host)).expect("a good string").endpoint)
}

fn conninfo(host: usize) -> String {
    format!("host=host{host} user=app password=secret dbname=db sslmode=disable")
}
