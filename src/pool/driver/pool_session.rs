//! What the driver needs of a session, so that it can be driven without a server, too.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::pool::core::SessionId;
use crate::pool::server::Server;

/// A server session that clients share.
pub trait PoolSession {
    fn id(&self) -> SessionId;

    /// When the server last said something.
    fn heard(&self) -> Instant;

    /// Whether it is to be closed as soon as no client has it.
    fn is_retired(&self) -> bool;

    /// Whether a cancel request is on its way to it.
    fn is_being_cancelled(&self) -> bool;

    /// Watches it while nobody has it. Ready when it can't be used any more.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl PoolSession for Server {
    fn id(&self) -> SessionId {
        self.slot.id()
    }

    fn heard(&self) -> Instant {
        self.heard.into_std()
    }

    fn is_retired(&self) -> bool {
        self.backend.is_retired()
    }

    fn is_being_cancelled(&self) -> bool {
        self.backend.is_being_cancelled()
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Server::poll_idle(self, cx)
    }
}
