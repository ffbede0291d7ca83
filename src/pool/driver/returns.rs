//! Sessions that come back from their clients: what is known of them, and what is to be done with them.

use super::{Inner, PoolDriver, PoolSession, now};
use crate::pool::core::{Condition, PoolEvent};
use crate::pool::link::Left;

/// What is to be done with a session that comes back, beside closing it or handing it out.
#[derive(Debug, Clone, Copy)]
pub enum Leftover {
    Nothing,
    /// What the client was doing, whether all is to be reset, and whether what it has asked is to be done.
    Unfinished {
        left: Left,
        reset: bool,
        patient: bool,
    },
    /// The server hangs: it hears that nobody waits for its answer when it goes on.
    Hangs,
}

/// A session that no client and no work has.
pub(super) struct Parked<S> {
    pub(super) server: Box<S>,
    pub(super) leftover: Leftover,
}

impl<S: PoolSession> PoolDriver<S> {
    /// A session that is ready for the next client.
    pub fn give_back(&self, mut server: Box<S>) {
        let mut inner = self.inner();
        let condition = match () {
            () if server.is_retired() || inner.watch.has_ended(&mut *server) => Condition::Broken,
            // It waits for the end of the request, which must hit no other client.
            () if server.is_being_cancelled() => Condition::NeedsReset,
            () => Condition::Clean,
        };
        let leftover = match condition {
            Condition::NeedsReset => Leftover::Unfinished { left: Left::Clean, reset: false, patient: false },
            Condition::Clean | Condition::Broken => Leftover::Nothing,
        };
        self.returned(&mut inner, server, condition, leftover);
    }

    /// A session that is not.
    pub fn clean_up(&self, server: Box<S>, left: Left, reset: bool, patient: bool) {
        let leftover = Leftover::Unfinished { left, reset, patient };
        self.returned(&mut self.inner(), server, Condition::NeedsReset, leftover);
    }

    /// A session that nobody may have any more.
    pub fn close(&self, server: Box<S>) {
        self.returned(&mut self.inner(), server, Condition::Broken, Leftover::Nothing);
    }

    /// The same of one that hangs.
    pub fn give_up(&self, server: Box<S>) {
        self.returned(&mut self.inner(), server, Condition::Broken, Leftover::Hangs);
    }

    fn returned(&self, inner: &mut Inner<S>, server: Box<S>, condition: Condition, leftover: Leftover) {
        let (session, heard) = (server.id(), server.heard());
        inner.park(server, leftover);
        self.happen(inner, PoolEvent::Returned { session, heard, condition }, now());
    }
}

impl<S: PoolSession> Inner<S> {
    pub(super) fn park(&mut self, server: Box<S>, leftover: Leftover) {
        self.parked.insert(server.id(), Parked { server, leftover });
    }
}
