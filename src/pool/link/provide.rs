//! Sees to it that a session has the statements that its client uses, and that they are what the client was told of them:
//! where tables, types or functions have changed since, a session that prepares the text now has other types. A client
//! that reads rows by what it was told gets the error that a server gives whose statement has changed under it.

use std::sync::Arc;

use super::asker::Asker;
use super::edit::{BUFFER, Edit};
use super::expect::{Answer, Expect, ParsedAs};
use super::refused::Refused;
use super::undo::NameUndo;
use super::{LONGEST_READ, Link, Pause, Statements};
use crate::pool::leftovers::{Hints, Kinds};
use crate::pool::statements::{Described, STAND_IN, SharedCatalog, Statement, Under};
use crate::protocol::Frame;

/// A long text on its way to the session, in parts.
#[derive(Debug)]
pub struct Sending {
    statement: Arc<Statement>,
    /// Up to here it is sent.
    at: usize,
}

/// What the session is to be sent of a client's use of a name.
#[derive(Debug)]
pub enum Use {
    /// The client's own name.
    AsItIs,
    /// The statement's name on all servers.
    Of(Arc<Statement>),
    /// An error instead.
    Refused(Refused),
    /// Nothing yet: the link pauses.
    Later,
}

/// Whether a session has a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    /// It has told that of it, if it was asked.
    Yes(Option<Described>),
    No,
    /// It may have it: that is closed first, since to close what is not there is no error.
    Perhaps,
    /// An answer to come tells.
    Awaited,
}

impl Link {
    /// The session gets what the client calls so, where it lacks it.
    pub(super) fn provide(
        &mut self,
        name: &[u8],
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        if name.is_empty() {
            return self.provide_unnamed(edit, statements);
        }
        let Some(named) = self.named(name, statements.client) else {
            return Use::AsItIs;
        };
        let (statement, told) = (Arc::clone(&named.statement), named.told);
        self.provide_known(&statement, told, edit, statements)
    }

    /// A Describe of a statement.
    pub(super) fn describe(
        &mut self,
        name: &[u8],
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let stamp = match name {
            // It outlives what gives up all others.
            b"" => Some(statements.client.unnamed_stamp()),
            name => self.named(name, statements.client).map(|named| named.stamp),
        };
        let what = if name.is_empty() { ParsedAs::Unnamed } else { ParsedAs::Nothing };
        let asker = match stamp {
            Some(stamp) => Asker::Client { name: name.into(), stamp },
            None => Asker::Untold,
        };
        match self.provide(name, edit, statements) {
            Use::AsItIs => {
                self.expected.push(Expect::Describe { what, asker, parameters: None });
                self.from_client.pass(edit, frame.len);
            }
            Use::Of(statement) => {
                self.ask(&statement, asker, edit);
                edit.skip(frame.len);
            }
            Use::Refused(refused) => {
                self.refuse(refused, edit);
                edit.skip(frame.len);
            }
            Use::Later => {}
        }
    }

    /// What becomes of the use of a statement that the session has, or is sent, and of which it has not told what its
    /// client was told. What it has had for a while may be by tables as they were: it is prepared anew, which no server
    /// refuses. What differs then is by tables that have changed since the client was told.
    fn compare(
        &mut self,
        statement: &Arc<Statement>,
        described: Option<Described>,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        let id = statement.id;
        let is_new = self.batch.has_sent(id).is_some();
        if is_new && described.is_some() {
            // Who prepares it again gets one with a name that no session knows.
            statements.catalog.lock().forget(statement);
            return Use::Refused(Refused::Changed);
        }
        if is_new || self.send_anew(statement, Has::Perhaps, edit, statements) {
            self.ask(statement, Asker::Pool, edit);
            edit.message(b'H', &[]);
            self.pause = Pause::Statement(id);
        }
        Use::Later
    }

    pub(super) fn ask(&mut self, statement: &Statement, asker: Asker, edit: &mut Edit<'_, '_>) {
        edit.message(b'D', &[b"S", statement.server_name()]);
        let what = ParsedAs::Known(statement.id, self.under);
        self.expected.push(Expect::Describe { what, asker, parameters: None });
    }

    pub(super) fn provide_known(
        &mut self,
        statement: &Arc<Statement>,
        told: Option<Described>,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        let Some(statement) = statements.catalog.lock().under(statement, statements.settings) else {
            return Use::Refused(Refused::OverBudget);
        };
        let described = match self.has(statement.id, false, statements) {
            Has::Yes(described) => described,
            // Sent once: where that is still to be answered, what follows waits.
            Has::Awaited => {
                self.pause = Pause::Statement(statement.id);
                return Use::Later;
            }
            has => {
                if !self.send_anew(&statement, has, edit, statements) {
                    return Use::Later;
                }
                None
            }
        };
        self.leaves(&statement.hints, &mut statements.catalog);
        if !self.bound.iter().any(|bound| bound.id == statement.id) {
            self.bound.push(Arc::clone(&statement));
        }
        match told {
            Some(told) if !described.is_some_and(|described| described.is_as(told)) => {
                self.compare(&statement, described, edit, statements)
            }
            _ => Use::Of(statement),
        }
    }

    /// Sends a statement that the session has not, or not as it is to be. False where it goes in parts, and the link pauses.
    fn send_anew(
        &mut self,
        statement: &Arc<Statement>,
        has: Has,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> bool {
        self.make_room(statement.id, has, edit, statements);
        self.batch.sent.push((statement.id, self.under));
        let what = ParsedAs::Known(statement.id, self.under);
        self.expected.push(Expect::Parse { answer: Answer::Swallow, what, undo: None });
        self.send(statement.server_name(), statement, edit)
    }

    /// A client's own Parse of a statement that the session may have.
    pub(super) fn prepare(
        &mut self,
        statement: &Statement,
        undo: Option<Box<NameUndo>>,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        match self.has(statement.id, true, statements) {
            Has::Yes(_) => {
                stand_in(edit);
                // The client waits for a ParseComplete.
                let answer = Answer::Other(b'1', b"");
                self.expected.push(Expect::Close { answer, id: None, undo });
            }
            has => {
                self.make_room(statement.id, has, edit, statements);
                edit.message(b'P', &[statement.server_name(), statement.body()]);
                self.batch.sent.push((statement.id, self.under));
                let what = ParsedAs::Known(statement.id, self.under);
                self.expected.push(Expect::Parse { answer: Answer::Pass, what, undo });
            }
        }
    }

    /// Whether the session has the statement when it comes to what is sent now. `anew` where its client prepares it now:
    /// then it is to be under the settings of now.
    pub(super) fn has(&self, id: u64, anew: bool, statements: &mut Statements<'_>) -> Has {
        let serves = |sent: Under| if anew { sent == self.under } else { sent.serves(self.under) };
        if let Some(under) = self.batch.has_sent(id) {
            // If that fails, what is sent now is skipped.
            if serves(under) { Has::Yes(statements.server.described(id)) } else { Has::Perhaps }
        } else if self.batch.wipes_before.is_some() || self.batch.evicted.contains(&id) {
            Has::Perhaps
        } else if self.wiping > 0 || self.expected.concerns(id) {
            Has::Awaited
        } else {
            match statements.server.touch(id) {
                None => Has::No,
                Some((described, under)) if serves(under) => Has::Yes(described),
                Some(_) => Has::Perhaps,
            }
        }
    }

    /// Something is sent that may leave this.
    pub(super) fn leaves(&mut self, hints: &Hints, catalog: &mut SharedCatalog<'_>) {
        if hints.kinds.contains(Kinds::MEANING) && self.under == Under::default() {
            self.under = Under::unknown(catalog.lock().next_id());
        }
        self.hints.add(hints);
    }

    /// Something is executed, or a transaction may end: in a period of settings that are not known, they may be others now.
    pub(super) fn begins_step(&mut self) {
        self.under = self.under.next_step();
    }

    /// The session gives up the one that was not used for longest, if it is full; or the statement itself.
    fn make_room(&mut self, id: u64, has: Has, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let goes = match has {
            Has::No => statements.server.to_evict(|id| self.expected.concerns(id)),
            _ => {
                statements.server.forget_description(id);
                Some(id)
            }
        };
        if let Some(id) = goes {
            edit.message(b'C', &[b"S", format!("pgtether_{id}\0").as_bytes()]);
            self.expected.push(Expect::Close { answer: Answer::Swallow, id: Some(id), undo: None });
            self.batch.sent.retain(|(sent, _)| *sent != id);
            self.batch.evicted.push(id);
        }
    }

    /// Sends a statement under that name. False where it is long: then it goes in parts, and the link pauses.
    pub(super) fn send(&mut self, name: &[u8], statement: &Arc<Statement>, edit: &mut Edit<'_, '_>) -> bool {
        let body = statement.body();
        if body.len() <= LONGEST_READ {
            edit.message(b'P', &[name, body]);
            return true;
        }
        edit.begin(b'P', &[name], body.len());
        self.sending = Some(Sending { statement: Arc::clone(statement), at: 0 });
        self.send_on(edit);
        self.pause = Pause::Full;
        false
    }

    /// The next part of a long text.
    pub(super) fn send_on(&mut self, edit: &mut Edit<'_, '_>) {
        let Some(sending) = &mut self.sending else {
            return;
        };
        let rest = &sending.statement.body()[sending.at..];
        let part = rest.len().min(BUFFER);
        edit.insert(&rest[..part]);
        sending.at += part;
        if part == rest.len() {
            self.sending = None;
        } else {
            self.pause = Pause::Full;
        }
    }
}

/// A Close of what no server has, in place of something that is not sent.
pub fn stand_in(edit: &mut Edit<'_, '_>) {
    edit.message(b'C', &[b"S", STAND_IN, b"\0"]);
}
