//! A fleet simulated: the real supervisor, driver and gate against servers in memory, on a clock that only moves when
//! nothing is left to do.

mod accidents;
mod log;
mod messages;
mod reload;
mod storms;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use self::log::Log;
use self::world::{Mood, Note, Saw, World};
use super::gate::{Gate, GuardLimits};
use super::{Supervisor, requests};
use crate::reason::Reason;
use crate::status::board::Board;
use crate::status::{Counters, Moment, State, TargetStatus, View};
use crate::target::{PasswordSource, Refresh, Target, TargetName, Tuning, sample};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn target(name: &str, host: &str, tuning: Tuning) -> Arc<Target> {
    let string = format!("host={host} user=app password=secret dbname=db sslmode=disable");
    Arc::new(Target { tuning: Arc::new(tuning), ..sample::target(name, &string) })
}

fn targets(prefix: &str, host: &str, count: usize) -> Vec<Arc<Target>> {
    (0..count).map(|i| target(&format!("{prefix}{i:03}"), host, Tuning::default())).collect()
}

/// The process without its edges.
struct Sim {
    world: World,
    board: Board,
    gate: Gate,
    supervisor: Supervisor<World>,
    log: Log,
}

impl Sim {
    fn new(hosts: &[(&str, Mood)]) -> Self {
        let world = World::default();
        for (host, mood) in hosts {
            world.set(host, *mood);
        }
        let (board, gate) = (Board::default(), Gate::new(GuardLimits::default()));
        let dice = fastrand::Rng::with_seed(7);
        let supervisor = Supervisor::new(world.clone(), gate.clone(), board.clone(), dice);
        Sim { world, board, gate, supervisor, log: Log::start() }
    }

    /// One target, up.
    async fn one(tuning: Tuning) -> Self {
        let mut sim = Sim::new(&[("db", Mood::Up)]);
        sim.supervisor.apply(&[target("one", "db", tuning)]);
        sim.run(s(1)).await;
        assert_eq!(sim.state("one"), State::Up);
        sim
    }

    /// Lets time pass.
    async fn run(&mut self, time: Duration) {
        let _ = timeout(time, async {
            loop {
                self.supervisor.tend().await;
            }
        })
        .await;
    }

    fn status(&self, name: &str) -> TargetStatus {
        self.board.subscribe(name).expect("it is on the board").borrow().clone()
    }

    fn state(&self, name: &str) -> State {
        View::new(&self.status(name), Moment::now()).state()
    }

    fn shows(&self, name: &str) -> (State, Option<Reason>) {
        let status = self.status(name);
        let view = View::new(&status, Moment::now());
        (view.state(), view.reason())
    }

    /// How many targets with that prefix are in that state.
    fn count(&self, prefix: &str, state: State) -> usize {
        let fits = |view: &&View<'_>| view.status.name.as_str().starts_with(prefix) && view.state() == state;
        self.board.look(Moment::now(), |views| views.iter().filter(fits).count())
    }

    /// The sum of a counter over all targets.
    fn sum(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.board.look(Moment::now(), |views| views.iter().map(|view| counter(&view.status.counters)).sum())
    }
}

fn tcp_connects(notes: &[Note]) -> Vec<Instant> {
    notes.iter().filter(|note| note.saw == Saw::TcpConnect).map(|note| note.at).collect()
}
