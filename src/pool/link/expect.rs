//! What a session owes its client, in order: only what ends something, or is changed when it comes.

use std::collections::{HashMap, VecDeque};

use super::{Desk, Violation};
use crate::pool::statements::Named;

/// A client that asks on and on without a Sync, of a server that reads over it after an error, is stopped here.
const MOST: usize = 1 << 16;

/// An answer to come.
#[derive(Debug)]
pub enum Expect {
    /// ReadyForQuery, after a Sync or after a query that needs none.
    Ready { sync: bool },
    /// ParseComplete; then the session has the statement of the catalog, if it is one.
    Parse { answer: Answer, id: Option<u64>, undo: Option<Box<Undo>> },
    /// CloseComplete; then the session has it no more.
    Close { answer: Answer, id: Option<u64>, undo: Option<Box<Undo>> },
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

/// What was noted of the client's names when a message was sent, and is not so if the server skipped it after an error.
#[derive(Debug)]
pub enum Undo {
    Named { name: Box<[u8]>, stamp: u64 },
    Closed { name: Box<[u8]>, named: Named },
}

/// The queue.
#[derive(Debug, Default)]
pub struct Expected {
    queue: VecDeque<Expect>,
    /// How many of it are ReadyForQuery.
    ready: usize,
    /// The statements that it will tell something of, and how often.
    concerned: HashMap<u64, usize>,
}

impl Expect {
    fn id(&self) -> Option<u64> {
        match self {
            Expect::Parse { id, .. } | Expect::Close { id, .. } => *id,
            Expect::Ready { .. } | Expect::CopyEnd => None,
        }
    }
}

impl Expected {
    pub fn push(&mut self, expect: Expect) -> Result<(), Violation> {
        if self.queue.len() >= MOST {
            let message = "too much was asked without waiting for an answer".into();
            return Err(Violation { sqlstate: "54000", message });
        }
        self.ready += usize::from(matches!(expect, Expect::Ready { .. }));
        if let Some(id) = expect.id() {
            *self.concerned.entry(id).or_default() += 1;
        }
        self.queue.push_back(expect);
        Ok(())
    }

    fn pop(&mut self) -> Option<Expect> {
        let expect = self.queue.pop_front()?;
        self.ready -= usize::from(matches!(expect, Expect::Ready { .. }));
        if let Some(id) = expect.id()
            && let Some(times) = self.concerned.get_mut(&id)
        {
            *times -= 1;
            if *times == 0 {
                self.concerned.remove(&id);
            }
        }
        Some(expect)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether an answer is to come after the last ReadyForQuery.
    pub fn ends_open(&self) -> bool {
        let last = self.queue.iter().rev().find(|expect| !matches!(expect, Expect::CopyEnd));
        matches!(last, Some(Expect::Parse { .. } | Expect::Close { .. }))
    }

    /// So many ReadyForQuery are to come.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Whether an answer to come tells if the session has that statement.
    pub fn concerns(&self, id: u64) -> bool {
        self.concerned.contains_key(&id)
    }

    /// The first of the client's namings that the server has not answered yet.
    pub fn first_naming(&self) -> Option<u64> {
        self.queue.iter().find_map(|expect| match expect {
            Expect::Parse { undo: Some(undo), .. } | Expect::Close { undo: Some(undo), .. } => match **undo {
                Undo::Named { stamp, .. } => Some(stamp),
                Undo::Closed { .. } => None,
            },
            _ => None,
        })
    }

    /// Whether the next answer is to a Parse of a name that its client has given already: it is meant to fail.
    pub fn is_own_name(&self) -> bool {
        matches!(self.queue.front(), Some(Expect::Parse { answer: Answer::Pass, id: Some(_), undo: None }))
    }

    /// ParseComplete or CloseComplete has come.
    pub fn answered(&mut self, tag: u8, desk: &mut Desk<'_>) -> Answer {
        match (tag, self.queue.front()) {
            (b'1', Some(Expect::Parse { .. })) | (b'3', Some(Expect::Close { .. })) => {}
            _ => return Answer::Pass,
        }
        match self.pop() {
            Some(Expect::Parse { answer, id, .. }) => {
                id.into_iter().for_each(|id| desk.server.insert(id));
                answer
            }
            Some(Expect::Close { answer, id, .. }) => {
                id.into_iter().for_each(|id| desk.server.remove(id));
                answer
            }
            _ => Answer::Pass,
        }
    }

    /// ReadyForQuery has come. What should have been answered before it was skipped after an error.
    pub fn ready_for_query(&mut self, desk: &mut Desk<'_>) {
        let mut skipped = Vec::new();
        while let Some(expect) = self.pop() {
            match expect {
                Expect::Ready { .. } => break,
                Expect::CopyEnd => {}
                Expect::Parse { undo, .. } | Expect::Close { undo, .. } => skipped.extend(undo),
            }
        }
        // The end of COPY data for what did not want any.
        while matches!(self.queue.front(), Some(Expect::CopyEnd)) {
            self.pop();
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
        Undo::Named { name, stamp } => desk.client.take_back(&name, stamp),
        Undo::Closed { name, named } => desk.client.restore(&name, named),
    }
}
