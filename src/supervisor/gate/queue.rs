//! The guard's queue as futures: whoever waits is woken when it is admitted or rejected, and one task keeps the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::addresses::{Addresses, DialOutcome};
use crate::connection::ConnectPace;
use crate::policy::guard::{Guard, GuardLimits, Lane, Ticket};

/// What all clones of the gate share. The lock is held for moments and never across an await.
#[derive(Debug)]
pub(super) struct GateQueue {
    state: Mutex<GateState>,
    /// `GateState::again_at` has changed.
    again: Notify,
}

#[derive(Debug)]
pub(super) struct GateState {
    pub guard: Guard,
    pub addresses: Addresses,
    waiting: HashMap<Ticket, oneshot::Sender<Decision>>,
    /// When the guard will admit by the clock alone.
    again_at: Option<Instant>,
}

/// How a wait in the queue ends.
#[derive(Debug)]
enum Decision {
    Admitted,
    /// The address became unreachable: its failure is the result.
    Rejected,
}

impl GateQueue {
    pub fn new(limits: GuardLimits) -> Self {
        GateQueue {
            state: Mutex::new(GateState {
                guard: Guard::new(limits),
                addresses: Addresses::default(),
                waiting: HashMap::new(),
                again_at: None,
            }),
            again: Notify::new(),
        }
    }

    /// A poisoned lock is used on: counts that are off by one beat a fleet that never dials again.
    pub fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_limits(&self, limits: GuardLimits) {
        let mut state = self.state();
        state.guard.set_limits(limits);
        self.turn(&mut state);
    }

    /// Notes what a dial told about its address, and rejects those who wait for one that is unreachable now.
    pub fn dial_is_over(&self, key: &str, begun_at: Instant, outcome: DialOutcome) {
        let mut state = self.state();
        if state.addresses.end(key, begun_at, outcome, Instant::now()) {
            for ticket in state.guard.clear(key) {
                state.decide(&ticket, Decision::Rejected);
            }
        }
    }

    /// Admits all whom the guard admits now, and sets the time of the next turn.
    fn turn(&self, state: &mut GateState) {
        let turn = state.guard.turn(Instant::now().into_std());
        for ticket in &turn.admitted {
            state.decide(ticket, Decision::Admitted);
        }
        let again_at = turn.again_at.map(Instant::from_std);
        if state.again_at != again_at {
            state.again_at = again_at;
            self.again.notify_one();
        }
    }
}

impl GateState {
    /// Always received: who stops waiting leaves the map first.
    fn decide(&mut self, ticket: &Ticket, decision: Decision) {
        if let Some(waiting) = self.waiting.remove(ticket) {
            let _ = waiting.send(decision);
        }
    }
}

/// The task that takes the turns that time brings. Aborted when dropped.
#[derive(Debug)]
pub(super) struct Scheduler(AbortHandle);

impl Scheduler {
    pub fn spawn(shared: Arc<GateQueue>) -> Self {
        let scheduler = async move {
            loop {
                let again_at = shared.state().again_at;
                let due = async {
                    match again_at {
                        Some(at) => sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = due => shared.turn(&mut shared.state()),
                    () = shared.again.notified() => {}
                }
            }
        };
        Scheduler(tokio::spawn(scheduler).abort_handle())
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A position in the queue, given up when dropped.
#[derive(Debug)]
pub(super) struct QueuePosition {
    shared: Arc<GateQueue>,
    ticket: Ticket,
    decision: oneshot::Receiver<Decision>,
}

impl QueuePosition {
    pub fn new(shared: &Arc<GateQueue>, key: &str, lane: Lane) -> Self {
        let mut state = shared.state();
        let ticket = state.guard.queue(key, lane);
        let (sender, decision) = oneshot::channel();
        state.waiting.insert(ticket.clone(), sender);
        shared.turn(&mut state);
        drop(state);
        QueuePosition { shared: shared.clone(), ticket, decision }
    }

    /// The permit, or `None` if the address became unreachable meanwhile; and how long that took.
    pub async fn admitted(mut self) -> (Option<Permit>, Duration) {
        let (decision, waited) = match self.decision.try_recv() {
            Ok(decision) => (Ok(decision), Duration::ZERO),
            Err(_) => {
                let queued_at = Instant::now();
                ((&mut self.decision).await, queued_at.elapsed())
            }
        };
        let permit = match decision {
            Ok(Decision::Admitted) => {
                Some(Permit { shared: self.shared.clone(), ticket: self.ticket.clone() })
            }
            Ok(Decision::Rejected) | Err(_) => None,
        };
        (permit, waited)
    }
}

impl Drop for QueuePosition {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.waiting.remove(&self.ticket).is_some() {
            state.guard.leave(&self.ticket);
        } else if let Ok(Decision::Admitted) = self.decision.try_recv() {
            // Admitted, and dropped before it noticed.
            state.guard.release(&self.ticket);
            self.shared.turn(&mut state);
        }
    }
}

/// A login slot, free again when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<GateQueue>,
    ticket: Ticket,
}

impl Permit {
    /// The pace of further TCP connects by this permit: each counts in the guard as if it had been let in anew, but nobody
    /// gives up the slot meanwhile.
    pub fn pace(&self) -> ConnectPace {
        let (shared, ticket) = (Arc::clone(&self.shared), self.ticket.clone());
        ConnectPace::new(move || {
            let (shared, ticket) = (Arc::clone(&shared), ticket.clone());
            Box::pin(async move {
                loop {
                    let counted = shared.state().guard.connect_again(&ticket, Instant::now().into_std());
                    let Err(at) = counted else { return };
                    sleep_until(Instant::from_std(at)).await;
                }
            })
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.guard.release(&self.ticket);
        self.shared.turn(&mut state);
    }
}
