//! What a session owes its client, in order: only what ends something, or is changed when it comes.

mod copy_in;

use std::collections::{HashMap, VecDeque};

use super::asker::Asker;
use super::refused::Refused;
use super::session_unnamed::SessionUnnamed;
use super::undo::{NameUndo, take_back};
use super::{KEPT, Statements};
use crate::pool::statements::{Described, Named, Under};

/// So many answers to come, and so many bytes of names behind them; a client that asks for more waits.
const MOST: usize = 1 << 14;
const MOST_BYTES: usize = 1 << 20;

/// An answer to come.
#[derive(Debug)]
pub enum Expect {
    /// ReadyForQuery, after a Sync or after a query that needs none.
    Ready { sync: bool },
    /// ParseComplete; then the session has what was prepared.
    Parse { answer: Answer, what: ParsedAs, undo: Option<Box<NameUndo>> },
    /// CloseComplete; then the session has the statement of the catalog no more, if it is one.
    Close { answer: Answer, id: Option<u64>, undo: Option<Box<NameUndo>> },
    /// What a statement takes and returns: ParameterDescription, whose body is kept, then RowDescription or NoData.
    Describe { what: ParsedAs, asker: Asker, parameters: Option<Box<[u8]>> },
    /// An error that we have provoked, to tell the client this.
    Error(Box<Refused>),
    /// CloseComplete, in whose place the client is told this: the server knows of no error.
    Refused(Box<Refused>),
    /// No answer: the client has ended a COPY that the server has not begun yet.
    CopyEnd,
    /// The statements of a simple query whose text was read, in their order. Its ReadyForQuery follows.
    Script(VecDeque<ScriptStep>),
}

/// What the client gets when one statement of a simple query is complete.
#[derive(Debug)]
pub enum ScriptStep {
    Pass,
    /// Nothing: it has not sent that one.
    Swallow,
    /// This tag, with its NUL: what it has sent has another one than what was sent.
    Tag(&'static [u8]),
    /// It gives up what the client calls so.
    GivesUp(Option<Box<NameUndo>>),
}

/// What a statement is to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParsedAs {
    /// A statement of the catalog, under those settings.
    Known(u64, Under),
    /// The client's statement without a name.
    Unnamed,
    /// Nothing that is used, or that is known.
    Nothing,
}

/// What the client gets of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Pass,
    /// Nothing: it did not ask.
    Swallow,
    /// A message of this type instead, with this body.
    Other(u8, &'static [u8]),
}

/// The queue.
#[derive(Debug, Default)]
pub struct Expected {
    queue: VecDeque<Expect>,
    /// How many of it are ReadyForQuery.
    ready: usize,
    /// How many bytes of names are behind it.
    bytes: usize,
    pub unnamed: SessionUnnamed,
    /// The statements that it will tell something of, and how often.
    concerned: HashMap<u64, usize>,
}

impl Expect {
    fn id(&self) -> Option<u64> {
        match self {
            Expect::Parse { what: ParsedAs::Known(id, _), .. } => Some(*id),
            Expect::Close { id, .. } => *id,
            // What the client is told later changes nothing that is sent now.
            Expect::Describe { what: ParsedAs::Known(id, _), asker: Asker::Pool, .. } => Some(*id),
            _ => None,
        }
    }

    fn undo(&self) -> Option<&NameUndo> {
        match self {
            Expect::Parse { undo, .. } | Expect::Close { undo, .. } => undo.as_deref(),
            _ => None,
        }
    }

    /// A naming that is given up, unless the server does not come to that.
    fn closed(&mut self) -> Option<&mut Named> {
        let Expect::Close { undo: Some(undo), .. } = self else {
            return None;
        };
        if let NameUndo::Closed { named, .. } = &mut **undo { Some(named) } else { None }
    }

    fn bytes(&self) -> usize {
        if let Expect::Script(steps) = self {
            return steps.len() * size_of::<ScriptStep>();
        }
        if let Expect::Describe { asker: Asker::Client { name, .. } | Asker::Portal { name, .. }, .. } = self
        {
            return name.len();
        }
        match self.undo() {
            Some(NameUndo::Named { name, .. } | NameUndo::Closed { name, .. }) => name.len(),
            Some(NameUndo::Unnamed) | None => 0,
        }
    }

    /// By it, the client prepares its statement without a name.
    fn names_unnamed(&self) -> bool {
        match self {
            Expect::Parse { answer: Answer::Pass, what: ParsedAs::Unnamed, .. } => true,
            // One of the catalog: what has a name can be undone.
            Expect::Parse { answer: Answer::Pass, what: ParsedAs::Known(..), undo: None }
            | Expect::Close { answer: Answer::Other(b'1', _), undo: None, .. } => true,
            _ => false,
        }
    }

    fn is_unnamed(&self) -> bool {
        match self {
            Expect::Parse { what, .. } | Expect::Describe { what, asker: Asker::Pool, .. } => {
                *what == ParsedAs::Unnamed
            }
            _ => false,
        }
    }
}

impl Expected {
    /// For another session: what is owed is forgotten, not the memory for it.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.concerned.clear();
        (self.ready, self.bytes, self.unnamed) = (0, 0, SessionUnnamed::default());
    }

    pub fn shrink(&mut self) {
        self.queue.shrink_to(KEPT);
        self.concerned.shrink_to(KEPT);
    }

    /// So many answers there is memory for.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.queue.capacity().max(self.concerned.capacity())
    }

    pub fn push(&mut self, expect: Expect) {
        if let Expect::Ready { .. } = expect {
            self.ready += 1;
        } else {
            if expect.is_unnamed() {
                self.unnamed.awaits();
            }
            self.bytes += expect.bytes();
            if let Some(id) = expect.id() {
                *self.concerned.entry(id).or_default() += 1;
            }
        }
        self.queue.push_back(expect);
    }

    fn pop(&mut self) -> Option<Expect> {
        let expect = self.queue.pop_front()?;
        if let Expect::Ready { .. } = expect {
            self.ready -= 1;
            return Some(expect);
        }
        if expect.is_unnamed() {
            self.unnamed.is_answered();
        }
        self.bytes -= expect.bytes();
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

    pub fn is_full(&self) -> bool {
        self.queue.len() >= MOST || self.bytes >= MOST_BYTES
    }

    /// Whether an answer is to come after the last ReadyForQuery.
    pub fn ends_open(&self) -> bool {
        let last = self.queue.iter().rev().find(|expect| !matches!(expect, Expect::CopyEnd));
        last.is_some_and(|last| !matches!(last, Expect::Ready { .. }))
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
        self.queue.iter().find_map(|expect| match expect.undo() {
            Some(NameUndo::Named { stamp, .. }) => Some(*stamp),
            _ => None,
        })
    }

    /// What the client is told in place of the error that has come, if that was provoked.
    pub fn refused(&self) -> Option<&Refused> {
        match self.queue.front() {
            Some(Expect::Error(refused)) => Some(refused),
            _ => None,
        }
    }

    /// What the client is told in place of a CloseComplete that has come, if anything.
    pub fn take_refused(&mut self) -> Option<Box<Refused>> {
        if !matches!(self.queue.front(), Some(Expect::Refused(_))) {
            return None;
        }
        self.pop().and_then(|expect| if let Expect::Refused(refused) = expect { Some(refused) } else { None })
    }

    /// ParseComplete or CloseComplete has come.
    pub fn answered(&mut self, tag: u8, statements: &mut Statements<'_>) -> Answer {
        match (tag, self.queue.front()) {
            (b'1', Some(Expect::Parse { .. })) | (b'3', Some(Expect::Close { .. })) => {}
            _ => return Answer::Pass,
        }
        match self.pop() {
            Some(Expect::Parse { answer, what, .. }) => {
                match what {
                    ParsedAs::Known(id, under) => statements.server.insert(id, under),
                    ParsedAs::Unnamed => self.unnamed.is_there(true),
                    ParsedAs::Nothing => {}
                }
                answer
            }
            Some(Expect::Close { answer, id, .. }) => {
                id.into_iter().for_each(|id| statements.server.remove(id));
                answer
            }
            _ => Answer::Pass,
        }
    }

    /// Whether the next answer is of a statement that is to be described.
    pub fn awaits_description(&self) -> bool {
        matches!(self.queue.front(), Some(Expect::Describe { .. }))
    }

    /// Whether a message of this kind tells of a statement that is to be described.
    pub fn describes(&self, tag: u8) -> bool {
        match (tag, self.queue.front()) {
            (b't', Some(Expect::Describe { .. })) => true,
            // Without that before it, it is of a portal, or of a query.
            (b'T' | b'n', Some(Expect::Describe { parameters, .. })) => parameters.is_some(),
            _ => false,
        }
    }

    /// Such a message has come, with this body.
    pub fn described(&mut self, tag: u8, body: &[u8], statements: &mut Statements<'_>) -> Answer {
        let Some(Expect::Describe { asker, parameters, .. }) = self.queue.front_mut() else {
            return Answer::Pass;
        };
        let answer = if asker.is_client() { Answer::Pass } else { Answer::Swallow };
        if tag == b't' {
            *parameters = Some(body.into());
            return answer;
        }
        if let Some(Expect::Describe { what, asker, parameters: Some(parameters) }) = self.pop() {
            let columns = (tag == b'T').then_some(body);
            let described = match asker {
                Asker::OwnPortal { .. } => Described::by_portal(columns),
                _ => Described::new(&parameters, columns),
            };
            match (what, &asker) {
                (_, Asker::OwnPortal { .. }) | (ParsedAs::Nothing, _) => {}
                (ParsedAs::Known(id, _), _) => statements.server.describe(id, described),
                (ParsedAs::Unnamed, _) => self.unnamed.is_described(described),
            }
            // The client may have closed it behind that, which may come to nothing.
            let closed = self.queue.iter_mut().filter_map(Expect::closed);
            asker.tell(described, statements.client, closed);
        }
        answer
    }

    /// CommandComplete has come; `None` where it is of no text that was read.
    pub fn completed(&mut self) -> Option<Answer> {
        let Some(Expect::Script(steps)) = self.queue.front_mut() else {
            return None;
        };
        let step = steps.pop_front()?;
        self.bytes -= size_of::<ScriptStep>();
        Some(match step {
            ScriptStep::Pass | ScriptStep::GivesUp(_) => Answer::Pass,
            ScriptStep::Swallow => Answer::Swallow,
            ScriptStep::Tag(tag) => Answer::Other(b'C', tag),
        })
    }

    /// ReadyForQuery has come. What should have been answered before it was skipped after an error.
    pub fn ready_for_query(&mut self, statements: &mut Statements<'_>) {
        // As mostly: nothing was skipped.
        if self.queue.len() == 1 && self.ready == 1 {
            self.pop();
            return;
        }
        let mut skipped = Vec::new();
        while let Some(expect) = self.pop() {
            match expect {
                Expect::Ready { .. } => break,
                other => self.skip(other, &mut skipped),
            }
        }
        // The end of COPY data for what did not want any.
        while matches!(self.queue.front(), Some(Expect::CopyEnd)) {
            self.pop();
        }
        // What the client has prepared behind that is another one again.
        if self.queue.iter().any(Expect::names_unnamed) {
            skipped.retain(|undo| !matches!(undo, NameUndo::Unnamed));
        }
        take_back(skipped, statements);
    }

    /// The server has failed in a batch whose end was not sent yet: all of it that is not answered is skipped. False
    /// where that end is on its way, or something that is no part of a batch.
    pub fn skip_open_batch(&mut self, statements: &mut Statements<'_>) -> bool {
        if self.ready > 0 {
            return false;
        }
        let mut skipped = Vec::new();
        while let Some(expect) = self.pop() {
            self.skip(expect, &mut skipped);
        }
        take_back(skipped, statements);
        true
    }

    fn skip(&mut self, expect: Expect, skipped: &mut Vec<NameUndo>) {
        if expect.is_unnamed() {
            self.unnamed.is_there(false);
        }
        if expect.names_unnamed() {
            skipped.push(NameUndo::Unnamed);
        }
        match expect {
            Expect::Parse { undo, .. } | Expect::Close { undo, .. } => skipped.extend(undo.map(|undo| *undo)),
            Expect::Script(steps) => skipped.extend(steps.into_iter().filter_map(|step| match step {
                ScriptStep::GivesUp(undo) => undo.map(|undo| *undo),
                ScriptStep::Pass | ScriptStep::Swallow | ScriptStep::Tag(_) => None,
            })),
            Expect::Describe { .. }
            | Expect::Ready { .. }
            | Expect::Error(_)
            | Expect::Refused(_)
            | Expect::CopyEnd => {}
        }
    }
}
