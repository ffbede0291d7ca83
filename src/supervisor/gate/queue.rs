//! The guard's queue as futures: whoever waits is woken when it is admitted or sent away, and one task keeps the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::addresses::{Addresses, Outcome};
use crate::policy::guard::{Guard, Lane, Limits, Ticket};

/// What all clones of the gate share. The lock is held for moments and never across an await.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// `State::again_at` has changed.
    again: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub guard: Guard,
    pub addresses: Addresses,
    waiting: HashMap<Ticket, oneshot::Sender<Call>>,
    /// When the guard will admit by the clock alone.
    again_at: Option<Instant>,
}

/// How a wait in the queue ends.
#[derive(Debug)]
enum Call {
    Admitted,
    /// The address went dark: there is a failure to hear of.
    SentAway,
}

impl Shared {
    pub fn new(limits: Limits) -> Self {
        Shared {
            state: Mutex::new(State {
                guard: Guard::new(limits),
                addresses: Addresses::default(),
                waiting: HashMap::new(),
                again_at: None,
            }),
            again: Notify::new(),
        }
    }

    /// A poisoned lock is used on: counts that are off by one beat a fleet that never dials again.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.state();
        state.guard.set_limits(limits);
        self.turn(&mut state);
    }

    /// Notes what a knock told about its address, and sends those away who wait for one that is dark now.
    pub fn knock_is_over(&self, key: &str, begun_at: Instant, outcome: Outcome) {
        let mut state = self.state();
        if state.addresses.end(key, begun_at, outcome, Instant::now()) {
            for ticket in state.guard.clear(key) {
                state.call(&ticket, Call::SentAway);
            }
        }
    }

    /// Lets in all whom the guard admits now, and sets the time of the next turn.
    fn turn(&self, state: &mut State) {
        let turn = state.guard.turn(Instant::now().into_std());
        for ticket in &turn.admitted {
            state.call(ticket, Call::Admitted);
        }
        let again_at = turn.again_at.map(Instant::from_std);
        if state.again_at != again_at {
            state.again_at = again_at;
            self.again.notify_one();
        }
    }
}

impl State {
    /// Always heard: who stops waiting leaves the map first.
    fn call(&mut self, ticket: &Ticket, call: Call) {
        if let Some(waiting) = self.waiting.remove(ticket) {
            let _ = waiting.send(call);
        }
    }
}

/// The task that takes the turns that time brings. Aborted when dropped.
#[derive(Debug)]
pub(super) struct Usher(AbortHandle);

impl Usher {
    pub fn spawn(shared: Arc<Shared>) -> Self {
        let usher = async move {
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
        Usher(tokio::spawn(usher).abort_handle())
    }
}

impl Drop for Usher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub(super) struct Queued {
    shared: Arc<Shared>,
    ticket: Ticket,
    call: oneshot::Receiver<Call>,
}

impl Queued {
    pub fn new(shared: &Arc<Shared>, key: &str, lane: Lane) -> Self {
        let mut state = shared.state();
        let ticket = state.guard.queue(key, lane);
        let (sender, call) = oneshot::channel();
        state.waiting.insert(ticket.clone(), sender);
        shared.turn(&mut state);
        drop(state);
        Queued { shared: shared.clone(), ticket, call }
    }

    /// The permit, or `None` if the address went dark meanwhile; and how long that took.
    pub async fn admitted(mut self) -> (Option<Permit>, Duration) {
        let (call, waited) = match self.call.try_recv() {
            Ok(call) => (Ok(call), Duration::ZERO),
            Err(_) => {
                let queued_at = Instant::now();
                ((&mut self.call).await, queued_at.elapsed())
            }
        };
        let permit = match call {
            Ok(Call::Admitted) => Some(Permit { shared: self.shared.clone(), ticket: self.ticket.clone() }),
            Ok(Call::SentAway) | Err(_) => None,
        };
        (permit, waited)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if state.waiting.remove(&self.ticket).is_some() {
            state.guard.leave(&self.ticket);
        } else if let Ok(Call::Admitted) = self.call.try_recv() {
            // Admitted, and dropped before it heard of it.
            state.guard.release(&self.ticket);
            self.shared.turn(&mut state);
        }
    }
}

/// A login slot, free again when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    ticket: Ticket,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.guard.release(&self.ticket);
        self.shared.turn(&mut state);
    }
}
