//! A session's slot at the server, held by whoever has the session.

use tokio::sync::mpsc;

use super::core::SessionId;

/// Told to the core when it is dropped, on whatever way: a session that nobody has takes no slot.
#[derive(Debug)]
pub struct SessionSlot {
    id: SessionId,
    closed: mpsc::UnboundedSender<SessionId>,
}

impl SessionSlot {
    pub fn new(id: SessionId, closed: mpsc::UnboundedSender<SessionId>) -> Self {
        SessionSlot { id, closed }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        // Nobody counts any more once the pool has ended.
        let _ = self.closed.send(self.id);
    }
}
