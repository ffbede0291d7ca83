//! Slots of clients: counted, and shown by what they do, while they are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::status::board::PoolSlot;
use crate::status::pool::{ClientState, PoolStatus};

/// How many are held.
#[derive(Debug, Default)]
pub struct ClientSlots(AtomicUsize);

/// A client's slot, for as long as it is connected.
#[derive(Debug)]
pub struct ClientSlot {
    slots: Arc<ClientSlots>,
    status: Arc<PoolSlot>,
    state: ClientState,
}

impl ClientSlots {
    pub fn held(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl ClientSlot {
    /// A client that has just connected.
    pub fn take(slots: &Arc<ClientSlots>, status: &Arc<PoolSlot>) -> Self {
        slots.0.fetch_add(1, Ordering::AcqRel);
        status.change(|pool| pool.client_moved(None, Some(ClientState::Login)));
        ClientSlot { slots: Arc::clone(slots), status: Arc::clone(status), state: ClientState::Login }
    }

    pub fn is_now(&mut self, state: ClientState) {
        if state != self.state {
            self.moves(state, |_| {});
        }
    }

    /// The same, with what is noted beside it.
    pub fn moves(&mut self, to: ClientState, also: impl FnOnce(&mut PoolStatus)) {
        let from = std::mem::replace(&mut self.state, to);
        self.status.change(|pool| {
            pool.client_moved(Some(from), Some(to));
            also(pool);
        });
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.status.change(|pool| pool.client_moved(Some(self.state), None));
        self.slots.0.fetch_sub(1, Ordering::AcqRel);
    }
}
