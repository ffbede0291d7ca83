//! Supervision: one task a target, decided by a pure machine, acted out by a driver.
//!
//! [`Supervisor`] starts the tasks, applies a new list of targets, restarts a task that ended by itself, and drains.
//! Knows nothing of HTTP, metrics or files.

pub mod dial;
pub mod driver;
pub mod gate;
mod lifecycle;
pub mod machine;
mod requests;
#[cfg(test)]
mod simulation;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::debug;

use crate::connection::Connector;
use crate::status::Moment;
use crate::status::board::{Board, Slot};
use crate::target::{Target, TargetName};
use crate::tasks::{Crashes, NamedTasks, TaskEnd};
use driver::{Driver, Recorder, Request};
use gate::Gate;
use lifecycle::{crashed, fresh, log_crash, renew};
pub use machine::ProofResult;
pub use requests::{ProofReply, Requests};

/// Requests that wait for a target's task; whoever has more waits beside the queue.
const REQUESTS: usize = 16;

/// All targets' tasks.
pub struct Supervisor<C: Connector> {
    connector: C,
    gate: Gate,
    board: Board,
    requests: Requests,
    dice: fastrand::Rng,
    tasks: NamedTasks<TargetName, ()>,
    running: HashMap<TargetName, RunningTarget>,
}

/// One target's task, as the supervisor knows it.
struct RunningTarget {
    slot: Slot,
    requests: mpsc::Sender<Request>,
    then: Then,
}

/// What follows when the task ends. Only the first holds the task's orders: to leave it is the order to stop.
enum Then {
    /// It should not have ended: it is restarted.
    Restart {
        orders: watch::Sender<Arc<Target>>,
    },
    /// The same name, at another endpoint or added again.
    Replace(Arc<Target>),
    Forget,
}

impl<C: Connector> std::fmt::Debug for Supervisor<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

impl<C: Connector> Supervisor<C> {
    /// With no targets yet; `dice` is the randomness of all their waits.
    pub fn new(connector: C, gate: Gate, board: Board, dice: fastrand::Rng) -> Self {
        Supervisor {
            connector,
            gate,
            board,
            requests: Requests::default(),
            dice,
            tasks: NamedTasks::default(),
            running: HashMap::new(),
        }
    }

    /// The way for others to ask something of a target.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Makes `targets` the list: unchanged ones keep session and counters, changed timings apply live, a changed
    /// endpoint gets a new session, removed ones are closed and leave the board.
    pub fn apply(&mut self, targets: &[Arc<Target>]) {
        let wanted: HashSet<_> = targets.iter().map(|target| &target.name).collect();
        for (name, running) in &mut self.running {
            if !wanted.contains(name) {
                running.then = Then::Forget;
            }
        }
        for target in targets {
            match self.running.get_mut(&target.name) {
                Some(running) => running.change(target),
                None => {
                    let slot = Arc::new(watch::Sender::new(fresh(target)));
                    self.start(target.clone(), slot, Crashes::default());
                }
            }
        }
        self.connector.keep(targets);
        self.board.history().keep(|name| wanted.contains(name), Moment::now());
        self.publish();
    }

    /// Waits for a task to end, and does what follows. Never returns while none ends; cancel-safe.
    pub async fn tend(&mut self) {
        let Some(end) = self.tasks.next_end().await else {
            return std::future::pending().await;
        };
        let Some(running) = self.running.remove(&end.name) else {
            return;
        };
        match running.then {
            Then::Restart { orders } => {
                let TaskEnd { name, crashes, .. } = &end;
                log_crash(name, &end.cause(), crashes.pause());
                crashed(&running.slot, crashes.pause());
                let target = orders.borrow().clone();
                self.start(target, running.slot, *crashes);
            }
            Then::Replace(target) => {
                renew(&running.slot, &target);
                self.start(target, running.slot, Crashes::default());
            }
            Then::Forget => debug!(target = %end.name, "supervision ended"),
        }
        self.publish();
    }

    /// Stops all tasks and waits for them; names those that did not end in time.
    pub async fn drain(mut self, within: Duration) -> Vec<TargetName> {
        // Dropping a task's orders stops it.
        self.running.clear();
        self.requests.replace(HashMap::new());
        self.tasks.drain(within, |_| {}).await.into_iter().cloned().collect()
    }

    /// Starts the target's task, after a pause where it crashed before.
    fn start(&mut self, target: Arc<Target>, slot: Slot, crashes: Crashes) {
        let (orders, receiver) = watch::channel(target.clone());
        let (requests, queue) = mpsc::channel(REQUESTS);
        let (connector, gate) = (self.connector.clone(), self.gate.clone());
        let (slot_of_task, recorder) = (slot.clone(), Recorder::new(self.board.clone()));
        let driver = Driver::new(connector, gate, slot_of_task, recorder, receiver, queue, self.dice.fork());
        self.tasks.start(target.name.clone(), crashes, |pause| driver.run(pause));
        let running = RunningTarget { slot, requests, then: Then::Restart { orders } };
        self.running.insert(target.name.clone(), running);
    }

    /// Shows the present list on the board, and to those who send requests.
    fn publish(&self) {
        let shown = || self.running.iter().filter(|(_, running)| !matches!(running.then, Then::Forget));
        self.board.replace(shown().map(|(_, running)| running.slot.clone()).collect());
        self.requests
            .replace(shown().map(|(name, running)| (name.clone(), running.requests.clone())).collect());
    }
}

impl RunningTarget {
    fn change(&mut self, target: &Arc<Target>) {
        if let Then::Restart { orders } = &self.then {
            let same_location = orders.borrow().is_same_location(target);
            if same_location {
                orders.send_if_modified(|known| {
                    let changed = known != target;
                    known.clone_from(target);
                    changed
                });
                return;
            }
        }
        self.then = Then::Replace(target.clone());
    }
}
