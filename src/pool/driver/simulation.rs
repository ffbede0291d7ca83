//! Pools simulated: the real driver and its core, the supervisor's machine and the guard, against servers and
//! clients in memory, on a clock that is moved by hand. One thread, one agenda: the same seed gives the same run.
//!
//! `SIMULATE_SEEDS=10000` tries so many, `SIMULATE_SEED=7` one, which is told where it fails.

mod accidents;
mod agenda;
mod crowd;
mod dials;
mod fleet;
mod hosts;
mod promises;
mod supervised;
mod task_model;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;

use self::agenda::{Agenda, Happening};
use self::dials::Logins;
use self::fleet::{SimPool, Tally};
use self::hosts::{Host, SimSession, Wire};
use self::supervised::SimTarget;

/// How many seeds the unit tests try.
const SEEDS: u64 = 50;
/// For how long something goes wrong.
const TROUBLE: Duration = Duration::from_secs(40);
/// After so long without trouble every pool serves everybody: the longest wait of the supervisor is 5 minutes and a
/// tenth.
const BACK: Duration = Duration::from_secs(400);

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Everything there is.
struct Simulation {
    agenda: Agenda,
    dice: fastrand::Rng,
    hosts: Vec<Host>,
    logins: Logins,
    targets: Vec<SimTarget>,
    pools: Vec<SimPool>,
    /// Whether accidents happen still.
    is_troubled: bool,
    tally: Tally,
}

impl Simulation {
    /// Lets time pass.
    async fn run(&mut self, time: Duration) {
        let until = self.agenda.now() + time;
        while let Some(happening) = self.agenda.next(until).await {
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Accident => self.accident(),
            Happening::HostIs(host, mood) => self.set_mood(host, mood),
            Happening::Turn => self.take_turn(),
            Happening::Dial(login) => self.dialled(login),
            Happening::Login(login) => self.logged_in(login),
            Happening::Supervised { target, version } => self.timer(target, version),
            Happening::Pong { target, asked } => self.pong(target, asked),
            Happening::LineEnds { target, wire } => self.line_ends(target, &wire),
            Happening::LineClosed(target) => self.line_closed(target),
            Happening::Task(pool) => self.run_task(pool),
            Happening::Prepared { pool, slot, urgent, configured } => {
                self.prepared(pool, slot, urgent, &configured)
            }
            Happening::Answer { pool, question } => self.answer(pool, question),
            Happening::Client { pool, client, visit } => self.client_goes_on(pool, client, visit),
            Happening::Cancelled { backend, reached } => backend.cancel_ends(reached),
            Happening::QuietEnds(wire) => self.quiet_ends(wire),
        }
    }
}

/// One run: trouble, then none, then the end.
async fn simulate(seed: u64) -> Tally {
    let mut simulation = Simulation::new(seed);
    simulation.run(TROUBLE).await;
    // Half of them end in the middle of it.
    if seed.is_multiple_of(2) {
        simulation.heal();
        simulation.await_service().await;
    }
    simulation.drain().await;
    simulation.tally
}

fn on_paused_clock(seed: u64) -> Tally {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let run = catch_unwind(AssertUnwindSafe(|| runtime.block_on(simulate(seed))));
    run.unwrap_or_else(|panic| {
        eprintln!("SIMULATE_SEED={seed} shows it again");
        resume_unwind(panic)
    })
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

#[test]
fn pools_keep_their_promises_through_everything_that_goes_wrong_around_them() {
    let seeds = match variable("SIMULATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..variable("SIMULATE_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let next = AtomicU64::new(seeds.start);
    let total = std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let mut total = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return total;
                }
                total.add(&on_paused_clock(seed));
            }
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|worker| worker.join());
        let ended: Result<Vec<_>, _> = ended.collect();
        ended.unwrap_or_else(|panic| resume_unwind(panic)).into_iter().fold(
            Tally::default(),
            |mut all, one| {
                all.add(&one);
                all
            },
        )
    });
    println!("seeds {seeds:?}: {total:?}");
    if seeds.end - seeds.start >= SEEDS {
        total.assert_all_was_seen();
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let tallies = [on_another_thread(3), on_another_thread(3)];
    assert_eq!(tallies[0], tallies[1]);
}

fn on_another_thread(seed: u64) -> Tally {
    std::thread::spawn(move || on_paused_clock(seed)).join().expect("it ends well")
}
