//! Statements without a name that are not kept prepared: a session has one at a time, that of whoever was there last. A client
//! that prepares it in one round trip and executes it in the next may get another session, which is given its text again.

use std::sync::Arc;

use super::asker::Asker;
use super::edit::Edit;
use super::expect::{Answer, Expect, ParsedAs};
use super::provide::Use;
use super::refused::Refused;
use super::{Link, Pause, Statements};
use crate::pool::leftovers::Hints;
use crate::pool::statements::Unnamed;

impl Link {
    /// The session's statement without a name is another client's, or may be: ours goes first.
    pub(super) fn provide_unnamed(
        &mut self,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        if self.batch.has_unnamed() {
            return self.compare_unnamed(edit, statements);
        }
        match statements.client.unnamed() {
            Unnamed::None => return Use::Refused(Refused::NoUnnamed),
            Unnamed::Prepared(statement) => {
                let (statement, told) = (Arc::clone(statement), statements.client.unnamed_told());
                return self.provide_known(&statement, told, edit, statements);
            }
            Unnamed::Kept(_) | Unnamed::Long(_) | Unnamed::NotKept => {}
        }
        match self.expected.unnamed.is_known() {
            None => {
                self.pause = Pause::Unnamed;
                return Use::Later;
            }
            Some(true) => return self.compare_unnamed(edit, statements),
            Some(false) => {}
        }
        let long = match statements.client.unnamed() {
            Unnamed::None | Unnamed::NotKept | Unnamed::Prepared(_) => {
                return Use::Refused(Refused::OverBudget);
            }
            Unnamed::Kept(body) => {
                edit.message(b'P', &[b"\0", body]);
                self.leaves(&Hints::of_text(body, true), &mut statements.catalog);
                None
            }
            Unnamed::Long(statement) => {
                let statement = Arc::clone(statement);
                self.leaves(&statement.hints, &mut statements.catalog);
                Some(statement)
            }
        };
        self.expect_unnamed(Answer::Swallow);
        match long {
            Some(statement) if !self.send(b"\0", &statement, edit) => Use::Later,
            _ => self.compare_unnamed(edit, statements),
        }
    }

    /// A Parse of it is sent. It is the client's own where that is answered.
    pub(super) fn expect_unnamed(&mut self, answer: Answer) {
        self.batch.set_unnamed(true);
        self.expected.unnamed.is_sent(answer == Answer::Swallow);
        self.expected.push(Expect::Parse { answer, what: ParsedAs::Unnamed, undo: None });
    }

    /// What becomes of the use of one that the session has, or is sent. What its client has prepared here, the server
    /// compares itself. Where the pool has, the session is asked, if the client was told something elsewhere.
    fn compare_unnamed(&mut self, edit: &mut Edit<'_, '_>, statements: &Statements<'_>) -> Use {
        let Some((told, given)) = statements.client.unnamed_told().zip(self.expected.unnamed.given()) else {
            return Use::AsItIs;
        };
        match given {
            Some(described) if described.is_as(told) => Use::AsItIs,
            Some(_) => Use::Refused(Refused::Changed),
            None => {
                self.ask_unnamed(Asker::Pool, edit);
                edit.message(b'H', &[]);
                self.pause = Pause::Unnamed;
                Use::Later
            }
        }
    }

    pub(super) fn ask_unnamed(&mut self, asker: Asker, edit: &mut Edit<'_, '_>) {
        edit.message(b'D', &[b"S\0"]);
        self.expected.push(Expect::Describe { what: ParsedAs::Unnamed, asker, parameters: None });
    }
}
