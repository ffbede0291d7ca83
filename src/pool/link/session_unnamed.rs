//! What is known of a session's statement without a name: a session has one at a time.

use crate::pool::statements::Described;

/// See the module.
#[derive(Debug, Default)]
pub struct SessionUnnamed {
    /// So many answers to come tell of it.
    awaited: u32,
    /// The session has its client's.
    is_there: bool,
    /// Where it is the pool that has sent it its text.
    given: Option<Box<Given>>,
}

/// A text that the pool has sent.
#[derive(Debug, Default)]
struct Given {
    /// What the session has told of it, if it was asked.
    described: Option<Described>,
}

impl SessionUnnamed {
    /// One answer more tells of it.
    pub fn awaits(&mut self) {
        self.awaited += 1;
    }

    /// One of them has come, or will not.
    pub fn is_answered(&mut self) {
        self.awaited -= 1;
    }

    pub fn is_there(&mut self, now: bool) {
        self.is_there = now;
    }

    /// Whether the session has it; `None` where an answer to come tells.
    pub fn is_known(&self) -> Option<bool> {
        (self.awaited == 0).then_some(self.is_there)
    }

    /// The client sends a text, or the pool does for it.
    pub fn is_sent(&mut self, by_pool: bool) {
        self.given = by_pool.then(Box::default);
    }

    /// The session has described it.
    pub fn is_described(&mut self, described: Described) {
        if let Some(given) = &mut self.given {
            given.described = Some(described);
        }
    }

    /// What the session has told of a text that the pool has sent it, if it was asked; `None` where the client has.
    pub fn given(&self) -> Option<Option<Described>> {
        self.given.as_ref().map(|given| given.described)
    }
}
