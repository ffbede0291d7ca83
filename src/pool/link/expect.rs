//! What a session owes its client, in order: only what ends something, or is changed when it comes.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Desk, Statement};

/// An answer to come.
#[derive(Debug)]
pub enum Expect {
    /// ReadyForQuery, after a Sync or after a query that needs none.
    Ready { sync: bool },
    /// ParseComplete.
    Parse { answer: Answer, undo: Option<Box<Undo>> },
    /// CloseComplete.
    Close { answer: Answer, undo: Option<Box<Undo>> },
    /// No answer: the client has ended a COPY that the server has not begun yet.
    CopyEnd,
}

/// What the client gets of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Pass,
    /// Nothing: it did not ask.
    Swallow,
    /// A CloseComplete, as the ParseComplete that it waits for.
    AsParse,
}

/// What was noted when a message was sent, and is not so if the server skipped it after an error.
#[derive(Debug)]
pub enum Undo {
    /// The session has the statement.
    Told {
        id: u64,
    },
    /// The client has a name for it.
    Named {
        name: Box<[u8]>,
    },
    Both {
        id: u64,
        name: Box<[u8]>,
    },
    /// The session no longer has it.
    Evicted {
        id: u64,
    },
    /// The client has given up the name.
    Closed {
        name: Box<[u8]>,
        statement: Arc<Statement>,
    },
}

/// The queue.
#[derive(Debug, Default)]
pub struct Expected {
    queue: VecDeque<Expect>,
    /// How many of it are ReadyForQuery.
    ready: usize,
}

impl Expected {
    pub fn push(&mut self, expect: Expect) {
        self.ready += usize::from(matches!(expect, Expect::Ready { .. }));
        self.queue.push_back(expect);
    }

    /// So many ReadyForQuery are to come.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// ParseComplete or CloseComplete has come.
    pub fn answered(&mut self, tag: u8) -> Answer {
        match (tag, self.queue.front()) {
            (b'1', Some(Expect::Parse { answer, .. })) | (b'3', Some(Expect::Close { answer, .. })) => {
                let answer = *answer;
                self.queue.pop_front();
                answer
            }
            _ => Answer::Pass,
        }
    }

    /// ReadyForQuery has come. What should have been answered before it was skipped after an error.
    pub fn ready_for_query(&mut self, desk: &mut Desk<'_>) {
        let mut skipped = Vec::new();
        while let Some(expect) = self.queue.pop_front() {
            match expect {
                Expect::Ready { .. } => {
                    self.ready -= 1;
                    break;
                }
                Expect::CopyEnd => {}
                Expect::Parse { undo, .. } | Expect::Close { undo, .. } => skipped.extend(undo),
            }
        }
        // The last first: what was noted twice becomes what it was at the beginning.
        for undo in skipped.into_iter().rev() {
            take_back(*undo, desk);
        }
    }

    /// The server wants COPY data, and reads over the Syncs that were sent before it.
    pub fn copy_in(&mut self) -> CopyIn {
        let simple = matches!(self.queue.front(), Some(Expect::Ready { sync: false }));
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

/// A COPY that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyIn {
    /// The client has sent the end of its data already.
    pub ended: bool,
    /// And what is answered with ReadyForQuery after it.
    pub answered: bool,
}

fn take_back(undo: Undo, desk: &mut Desk<'_>) {
    match undo {
        Undo::Told { id } => desk.server.remove(id),
        Undo::Named { name } => _ = desk.client.remove(&name),
        Undo::Both { id, name } => {
            desk.server.remove(id);
            desk.client.remove(&name);
        }
        Undo::Evicted { id } => desk.server.restore(id),
        Undo::Closed { name, statement } => _ = desk.client.insert(&name, statement),
    }
}
