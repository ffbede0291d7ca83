//! Supervision: one task a target, decided by a pure machine, acted out by a driver.
//!
//! [`Supervisor`] starts the tasks, applies a new list of targets, restarts a task that ended by itself, and drains.
//! Knows nothing of HTTP, metrics or files.

pub mod driver;
pub mod gate;
mod hints;
pub mod machine;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tracing::{debug, error};

use crate::connection::Connector;
use crate::reason::{Cause, Facts, Phase, Reason};
use crate::status::board::{Board, Slot};
use crate::status::{Attempt, Failure, Line, Moment, Place, TargetStatus};
use crate::target::{Source, Target, TargetName};
pub use driver::Command;
use driver::Driver;
use gate::Gate;
pub use hints::{Hints, Proof};
pub use machine::Answer;

/// A task that ended by itself is started again after that long.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Commands that wait for a target's task; more are refused, never queued without end.
const COMMANDS: usize = 16;

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
    target: Arc<Target>,
    slot: Slot,
    commands: mpsc::Sender<Command>,
    then: Then,
}

/// What follows when the task ends.
enum Then {
    /// It should not have: restart it.
    Restart,
    /// The same name at another endpoint.
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
        for (name, running) in &mut self.running {
            if !targets.iter().any(|target| target.name == *name) {
                running.then = Then::Forget;
                running.ask(Command::Stop);
            }
        }
        for target in targets {
            match self.running.get_mut(&target.name) {
                Some(running) => running.change(target),
                None => self.start(target.clone(), None, Duration::ZERO),
            }
        }
        self.publish();
    }

    /// Waits for a task to end, and does what follows. Never returns while none ends; cancel-safe.
    pub async fn tend(&mut self) {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, panicked) = match &ended {
            Ok((id, ())) => (*id, None),
            Err(failure) => (failure.id(), Some(failure)),
        };
        let Some(name) = self.names.remove(&id) else {
            return;
        };
        let Some(running) = self.running.remove(&name) else {
            return;
        };
        match running.then {
            Then::Restart => {
                error!(target = %name, cause = ?panicked, "the target's task ended by itself; restarting it");
                fell(&running.slot);
                self.start(running.target, Some(running.slot), RESTART_AFTER);
            }
            Then::Replace(target) => {
                renew(&running.slot, &target);
                self.start(target, Some(running.slot), Duration::ZERO);
            }
            Then::Forget => debug!(target = %name, "supervision ended"),
        }
        self.publish();
    }

    /// Stops all tasks and waits for them; names those that did not end in time.
    pub async fn drain(mut self, within: Duration) -> Vec<TargetName> {
        // A task that nobody can command any more stops.
        self.running.clear();
        self.hints.replace(HashMap::new());
        let ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let id = ended.map_or_else(|failure| failure.id(), |(id, ())| id);
                self.names.remove(&id);
            }
        };
        let in_time = tokio::time::timeout(within, ended).await;
        let mut stuck: Vec<_> = if in_time.is_ok() { Vec::new() } else { self.names.into_values().collect() };
        stuck.sort();
        stuck
    }

    fn start(&mut self, target: Arc<Target>, slot: Option<Slot>, after: Duration) {
        let slot = slot.unwrap_or_else(|| {
            let status =
                TargetStatus::new(target.name.clone(), target.tuning.clone(), place(&target), Moment::now());
            Arc::new(watch::Sender::new(status))
        });
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let driver = Driver::new(
            self.connector.clone(),
            self.gate.clone(),
            target.clone(),
            slot.clone(),
            inbox,
            self.dice.fork(),
        );
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            driver.run().await;
        });
        self.names.insert(task.id(), target.name.clone());
        let name = target.name.clone();
        self.running.insert(name, Running { target, slot, commands, then: Then::Restart });
    }

    /// Shows the present list on the board, and to those who give hints.
    fn publish(&self) {
        let shown = || self.running.iter().filter(|(_, running)| !matches!(running.then, Then::Forget));
        self.board.replace(shown().map(|(_, running)| running.slot.clone()).collect());
        self.hints.replace(shown().map(|(name, running)| (name.clone(), running.commands.clone())).collect());
    }
}

impl Running {
    fn change(&mut self, target: &Arc<Target>) {
        if !same_endpoint(&self.target, target) {
            self.then = Then::Replace(target.clone());
            self.ask(Command::Stop);
        } else if matches!(self.then, Then::Restart) {
            if self.target != *target {
                self.ask(Command::Tune(target.clone()));
            }
        } else {
            // It was on its way out and comes back: a new task, when the old one has ended.
            self.then = Then::Replace(target.clone());
        }
        self.target = target.clone();
    }

    fn ask(&self, command: Command) {
        if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
            // The task is behind; the command waits beside the queue and is delivered in order of arrival there.
            let commands = self.commands.clone();
            tokio::spawn(async move { commands.send(command).await.ok() });
        }
    }
}

/// Whether both name the same place and the same user.
fn same_endpoint(a: &Target, b: &Target) -> bool {
    a.source == b.source && a.password_file == b.password_file && a.service == b.service
}

fn place(target: &Target) -> Option<Place> {
    match &target.source {
        Source::Inline(endpoint) => Some(Place::of(endpoint)),
        Source::File(_) => None,
    }
}

/// The task is gone and took the session with it.
fn fell(slot: &Slot) {
    slot.send_modify(|status| {
        let now = Moment::now();
        let facts = Facts::new(Phase::Idle, Cause::Internal);
        if status.held().is_some() {
            status.counters.disconnects.add(Reason::Internal);
        } else if matches!(status.attempt, Attempt::Knocking { early: None, .. } | Attempt::LoggingIn { .. })
        {
            status.counters.failures.add(Reason::Internal);
        }
        status.last_failure = Some(Failure { at: now, reason: Reason::Internal, detail: facts.to_string() });
        status.counters.restarts += 1;
        status.line = Line::Lost { at: now, reason: Reason::Internal };
        status.attempt = Attempt::None;
        status.session = None;
        status.since = now;
        status.due = now.mono + RESTART_AFTER;
    });
}

/// The same name, another endpoint: a new session and a fresh breaker, the counters go on.
fn renew(slot: &Slot, target: &Target) {
    slot.send_modify(|status| {
        let fresh =
            TargetStatus::new(target.name.clone(), target.tuning.clone(), place(target), Moment::now());
        let counters = std::mem::take(&mut status.counters);
        *status = TargetStatus { counters, ..fresh };
    });
}
