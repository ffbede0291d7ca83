//! Places that are counted while they are held: a server session's and a client's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::status::pool::{ClientState, PoolStatus, ServerState};

/// How many places are held, and who is told when one is given back; by default, nobody.
#[derive(Debug, Default)]
pub struct Places {
    held: AtomicUsize,
    freed: Arc<Notify>,
}

/// A server session's place, from before it is dialled until after it is closed.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    status: Arc<PoolStatus>,
    state: ServerState,
}

/// A client's place, for as long as it is connected.
#[derive(Debug)]
pub struct Seat {
    places: Arc<Places>,
    status: Arc<PoolStatus>,
    state: ClientState,
}

impl Places {
    /// `freed` is notified each time that a place is given back.
    pub fn new(freed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Places { held: AtomicUsize::new(0), freed })
    }

    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn take(&self) {
        self.held.fetch_add(1, Ordering::AcqRel);
    }

    fn give_back(&self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_one();
    }
}

impl Place {
    /// A session that is being opened.
    pub fn take(places: &Arc<Places>, status: &Arc<PoolStatus>) -> Self {
        places.take();
        status.server_moved(None, Some(ServerState::Login));
        Place { places: Arc::clone(places), status: Arc::clone(status), state: ServerState::Login }
    }

    pub fn is_now(&mut self, state: ServerState) {
        if state != self.state {
            self.status.server_moved(Some(self.state), Some(state));
            self.state = state;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.status.server_moved(Some(self.state), None);
        self.places.give_back();
    }
}

impl Seat {
    /// A client that has just connected.
    pub fn take(places: &Arc<Places>, status: &Arc<PoolStatus>) -> Self {
        places.take();
        status.client_moved(None, Some(ClientState::Login));
        Seat { places: Arc::clone(places), status: Arc::clone(status), state: ClientState::Login }
    }

    pub fn is_now(&mut self, state: ClientState) {
        if state != self.state {
            self.status.client_moved(Some(self.state), Some(state));
            self.state = state;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.status.client_moved(Some(self.state), None);
        self.places.give_back();
    }
}
