//! SQL that gives up prepared statements, by `DEALLOCATE` and `DISCARD ALL`. Drivers send it for statements that they have
//! prepared by the protocol, under names that no server knows: an empty statement goes in place of each.

use super::edit::Edit;
use super::expect::{Answer, Expect, ParsedAs};
use super::provide::{Use, stand_in};
use super::refused::Refused;
use super::script::{self, GiveUp, SqlScript};
use super::undo::NameUndo;
use super::{Link, Statements};
use crate::pool::statements::{ClientStatements, Named, STAND_IN, Unnamed};
use crate::protocol::{Frame, text};

/// A text and the types of its parameters: it gives up what is prepared for it alone.
const GIVES_UP: &[u8] = b"DEALLOCATE pgtether_0\0\0\0";

impl Link {
    /// What the client calls so, unless it is about to be given up with all others.
    pub(super) fn named<'c>(&self, name: &[u8], client: &'c ClientStatements) -> Option<&'c Named> {
        let named = client.get(name)?;
        let is_wiped = self.batch.wipes_before.is_some_and(|wiped| named.stamp < wiped);
        (!is_wiped).then_some(named)
    }

    /// All that the client has prepared so far is about to be given up.
    pub(super) fn wipe(&mut self, statements: &Statements<'_>) {
        self.batch.wipes_before = Some(statements.client.next_stamp());
        self.batch.sent.clear();
    }

    /// A text gives up statements: so many empty ones are prepared for it, where it names the client's.
    pub(super) fn begin_script(
        &mut self,
        script: &mut SqlScript,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        if script.wipes {
            self.wipe(statements);
        }
        for number in 1..=script.given_up.len() {
            self.prepare_empty(&script::stand_in(number), edit);
        }
        script.begin(statements.client);
    }

    /// What an execution of that portal will give up: of the statements, what the client has.
    pub(super) fn gives_up(&self, portal: &[u8], name: &[u8], statements: &Statements<'_>) -> Option<GiveUp> {
        let body = match (name, statements.client.unnamed()) {
            (b"", Unnamed::Kept(body)) => &body[..],
            (b"", Unnamed::Prepared(statement)) => statement.body(),
            (b"", _) => return None,
            _ => self.named(name, statements.client)?.statement.body(),
        };
        let is_known = self.portals.have_room(portal);
        script::gives_up(text(body)?.0).filter(|given_up| match given_up {
            GiveUp::All => is_known,
            GiveUp::One(name) => is_known && self.named(name, statements.client).is_some(),
        })
    }

    /// Sees to it that the session has a statement to be bound in place of one that names a statement of the client's.
    pub(super) fn provide_stand_in(
        &mut self,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        match statements.catalog.lock().intern(GIVES_UP, statements.settings) {
            Some(statement) => self.provide_known(&statement, None, edit, statements),
            None => Use::Refused(Refused::OverBudget),
        }
    }

    /// An Execute, where a portal gives up statements.
    pub(super) fn execute(&mut self, frame: Frame, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        if self.awaits_text(frame, edit) {
            return;
        }
        let portal =
            edit.rest().get(Frame::HEADER..frame.len).and_then(text).map_or(&b""[..], |(portal, _)| portal);
        let given_up = self.portals.gives_up(portal);
        let named = match &given_up {
            Some(GiveUp::One(name)) if self.named(name, statements.client).is_some() => {
                statements.client.remove(name)
            }
            _ => None,
        };
        match (given_up, named) {
            (Some(GiveUp::One(name)), Some(named)) => {
                self.prepare_empty(&[STAND_IN, b"\0"].concat(), edit);
                self.from_client.pass(edit, frame.len);
                // Behind what gives it up: where the server does not come to that, it does not come here.
                stand_in(edit);
                let undo = Some(Box::new(NameUndo::Closed { name, named }));
                self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo });
            }
            // It has been given up since: the server finds none.
            (Some(GiveUp::One(name)), None) if self.fails_for_nothing() => {
                self.refuse(Refused::Missing(name), edit);
                return self.from_client.leave_out(edit, frame.len);
            }
            (Some(GiveUp::One(name)), None) => {
                self.from_client.pass(edit, frame.len);
                self.expected.push(Expect::Error(Box::new(Refused::Missing(name))));
            }
            (given_up, _) => {
                if given_up.is_some() {
                    self.wipe(statements);
                }
                self.from_client.pass(edit, frame.len);
            }
        }
        self.batch.executes = true;
    }

    /// Prepares an empty statement, with that name and its NUL. What is left of another one goes first.
    fn prepare_empty(&mut self, name: &[u8], edit: &mut Edit<'_, '_>) {
        edit.message(b'C', &[b"S", name]);
        self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None });
        edit.message(b'P', &[name, b"\0", b"\0\0"]);
        let what = ParsedAs::Nothing;
        self.expected.push(Expect::Parse { answer: Answer::Swallow, what, undo: None });
    }
}
