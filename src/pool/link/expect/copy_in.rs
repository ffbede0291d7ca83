//! What a session owes its client where the server wants COPY data.

use super::{Expect, Expected};

/// A COPY that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyIn {
    /// The client has sent the end of its data already.
    pub ended: bool,
    /// And what is answered with ReadyForQuery after it.
    pub answered: bool,
}

impl Expected {
    /// The server wants COPY data, and reads over the Syncs that were sent before it.
    pub fn copy_in(&mut self) -> CopyIn {
        let front = self.queue.iter().find(|expect| !matches!(expect, Expect::Script(_)));
        let simple = matches!(front, Some(Expect::Ready { sync: false }));
        let end = self.queue.iter().position(|expect| matches!(expect, Expect::CopyEnd));
        let mut place = 0;
        self.queue.retain(|expect| {
            let here = place;
            place += 1;
            let read_over = match expect {
                Expect::Ready { sync: true } => (here > 0 || !simple) && end.is_none_or(|end| here < end),
                Expect::CopyEnd => Some(here) == end,
                _ => false,
            };
            !read_over
        });
        self.ready = self.queue.iter().filter(|expect| matches!(expect, Expect::Ready { .. })).count();
        CopyIn { ended: end.is_some(), answered: self.ready > 0 }
    }
}
