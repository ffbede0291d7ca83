//! Supervision: one task a target, decided by a pure machine, acted out by a driver.
//!
//! [`Supervisor`] starts the tasks, applies a new list of targets, restarts a task that ended by itself, and drains.
//! Knows nothing of HTTP, metrics or files.

pub mod driver;
pub mod gate;
mod hints;
pub mod machine;
#[cfg(test)]
mod simulation;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, error};

use crate::connection::Connector;
use crate::reason::{Cause, Facts, Phase, Reason};
use crate::status::board::{Board, Slot};
use crate::status::{Attempt, Because, Failure, Line, Moment, Place, Purpose, TargetStatus};
use crate::target::{Source, Target, TargetName};
use driver::{Driver, Wish};
use gate::Gate;
pub use hints::{Hints, Proof};
pub use machine::Answer;

/// A task that ended by itself is started again after that long; twice as long if it falls again soon.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// The longest of these pauses, and how long a task must run for them to begin anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Wishes that wait for a target's task; whoever has more waits beside the queue.
const WISHES: usize = 16;

/// All targets' tasks.
pub struct Supervisor<C: Connector> {
    connector: C,
    gate: Gate,
    board: Board,
    hints: Hints,
    dice: fastrand::Rng,
    tasks: JoinSet<()>,
    running: HashMap<TargetName, Running>,
    names: HashMap<Id, TargetName>,
}

/// One target's task, as the supervisor knows it.
struct Running {
    slot: Slot,
    wishes: mpsc::Sender<Wish>,
    then: Then,
    /// The end of its pause.
    begins: Instant,
    /// How often in a row it ended by itself soon after its start.
    falls: u32,
}

/// What follows when the task ends. Only the first holds the task's orders: to leave it is to tell the task to stop.
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
    pub fn new(connector: C, gate: Gate, board: Board, dice: fastrand::Rng) -> Self {
        Supervisor {
            connector,
            gate,
            board,
            hints: Hints::default(),
            dice,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            names: HashMap::new(),
        }
    }

    /// The way for others to ask something of a target.
    pub fn hints(&self) -> Hints {
        self.hints.clone()
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
                    self.start(target.clone(), slot, 0);
                }
            }
        }
        self.publish();
    }

    /// Waits for a task to end, and does what follows. Never returns while none ends; cancel-safe.
    pub async fn tend(&mut self) {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, failure) = match ended {
            Ok((id, ())) => (id, None),
            Err(failure) => (failure.id(), Some(failure)),
        };
        let Some((name, running)) = self.names.remove(&id).and_then(|name| self.running.remove_entry(&name))
        else {
            return;
        };
        match running.then {
            Then::Restart { orders } => {
                let soon = running.begins.elapsed() < LONGEST_PAUSE;
                let falls = if soon { running.falls.saturating_add(1) } else { 1 };
                tell_fall(&name, failure.as_ref(), pause(falls));
                fell(&running.slot, pause(falls));
                let target = orders.borrow().clone();
                self.start(target, running.slot, falls);
            }
            Then::Replace(target) => {
                renew(&running.slot, &target);
                self.start(target, running.slot, 0);
            }
            Then::Forget => debug!(target = %name, "supervision ended"),
        }
        self.publish();
    }

    /// Stops all tasks and waits for them; names those that did not end in time.
    pub async fn drain(mut self, within: Duration) -> Vec<TargetName> {
        // To drop a task's orders is to tell it to stop.
        self.running.clear();
        self.hints.replace(HashMap::new());
        let ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let id = ended.map_or_else(|failure| failure.id(), |(id, ())| id);
                self.names.remove(&id);
            }
        };
        // In time or not, what is left tells.
        let _ = tokio::time::timeout(within, ended).await;
        let mut stuck: Vec<_> = self.names.into_values().collect();
        stuck.sort();
        stuck
    }

    /// Starts the target's task, after a pause where it fell before.
    fn start(&mut self, target: Arc<Target>, slot: Slot, falls: u32) {
        let (orders, told) = watch::channel(target.clone());
        let (wishes, heard) = mpsc::channel(WISHES);
        let (connector, gate) = (self.connector.clone(), self.gate.clone());
        let driver = Driver::new(connector, gate, slot.clone(), told, heard, self.dice.fork());
        let task = self.tasks.spawn(driver.run(pause(falls)));
        self.names.insert(task.id(), target.name.clone());
        let then = Then::Restart { orders };
        let begins = Instant::now() + pause(falls);
        let running = Running { slot, wishes, then, begins, falls };
        self.running.insert(target.name.clone(), running);
    }

    /// Shows the present list on the board, and to those who give hints.
    fn publish(&self) {
        let shown = || self.running.iter().filter(|(_, running)| !matches!(running.then, Then::Forget));
        self.board.replace(shown().map(|(_, running)| running.slot.clone()).collect());
        self.hints.replace(shown().map(|(name, running)| (name.clone(), running.wishes.clone())).collect());
    }
}

impl Running {
    fn change(&mut self, target: &Arc<Target>) {
        if let Then::Restart { orders } = &self.then {
            let same_place = same_endpoint(&orders.borrow(), target);
            if same_place {
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

/// How long a task that fell so many times in a row pauses before it begins.
fn pause(falls: u32) -> Duration {
    match falls.checked_sub(1) {
        None => Duration::ZERO,
        Some(before) => RESTART_AFTER.saturating_mul(2u32.saturating_pow(before)).min(LONGEST_PAUSE),
    }
}

/// Whether both name the same place and the same user.
fn same_endpoint(a: &Target, b: &Target) -> bool {
    a.source == b.source && a.password_file == b.password_file && a.service == b.service
}

/// A target that nothing has happened to.
fn fresh(target: &Target) -> TargetStatus {
    let place = match &target.source {
        Source::Inline(endpoint) => Some(Place::of(endpoint)),
        Source::File(_) => None,
    };
    TargetStatus::new(target.name.clone(), target.tuning.clone(), place, Moment::now())
}

fn tell_fall(target: &TargetName, failure: Option<&JoinError>, restart_in: Duration) {
    let cause = failure.map_or_else(|| "it returned".to_owned(), JoinError::to_string);
    let remedy = Reason::Internal.remedy();
    error!(%target, cause, ?restart_in, remedy, "the target's task ended by itself, its session is lost");
}

/// The task is gone and took session and attempt with it.
fn fell(slot: &Slot, pause: Duration) {
    slot.send_modify(|status| {
        let now = Moment::now();
        if status.held().is_some() {
            status.counters.disconnects.add(Reason::Internal);
        }
        match status.attempt {
            Attempt::Knocking { early: Some(_), .. }
            | Attempt::Knocking { purpose: Purpose::Confirm, .. }
            | Attempt::Waiting { .. }
            | Attempt::None => {}
            Attempt::Knocking { early: None, .. } | Attempt::LoggingIn { .. } => {
                status.counters.failures.add(Reason::Internal);
                status.consecutive_failures += 1;
                status.recent.push(false);
                status.tried = true;
            }
        }
        let detail = Facts::new(Phase::Idle, Cause::Internal).to_string();
        status.last_failure = Some(Failure { at: now, reason: Reason::Internal, detail });
        status.counters.restarts += 1;
        if status.state().is_up() {
            status.since = now;
        }
        status.line = Line::Lost { at: now, reason: Reason::Internal };
        let until = now.after(pause);
        let (purpose, because) = (Purpose::Reconnect, Because::Backoff);
        status.attempt = Attempt::Waiting { until, knock: None, purpose, because };
        status.session = None;
        status.due = until.mono;
    });
}

/// The same name, another endpoint: a new session and a fresh breaker, the counters go on.
fn renew(slot: &Slot, target: &Target) {
    slot.send_modify(|status| {
        let counters = std::mem::take(&mut status.counters);
        *status = TargetStatus { counters, ..fresh(target) };
    });
}
