//! A Parse whose text is too long to be waited for: it passes in parts as it comes, and its text is taken down meanwhile,
//! for the sessions to come.

use super::Link;
use super::edit::Edit;
use super::expect::{Answer, Expect, ParsedAs};
use super::provide::stand_in;
use super::refused::Refused;
use super::{LONGEST_READ, Statements};
use crate::pool::leftovers::Hints;
use crate::pool::statements::{Catalog, Charge, STAND_IN, Unnamed};
use crate::protocol::Frame;

/// See the module.
#[derive(Debug)]
pub struct Upload {
    /// So much of its text is still to come.
    left: usize,
    /// What it may leave on a session, as far as its beginning tells.
    hints: Hints,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A statement that the client calls so, and the session by that number.
    Named {
        name: Box<[u8]>,
        id: u64,
        taken: Taken,
    },
    Unnamed(Taken),
    /// Its name is given already: it is looked at by the server and then refused.
    NameTaken(Box<[u8]>),
}

/// The text so far.
#[derive(Debug)]
enum Taken {
    Down {
        text: Vec<u8>,
        charge: Charge,
    },
    /// There is no room for it.
    Not,
}

impl Taken {
    fn new(statements: &mut Statements<'_>) -> Self {
        let charge = statements.catalog.lock().budget().nothing();
        Taken::Down { text: statements.settings.to_ne_bytes().to_vec(), charge }
    }

    fn add(&mut self, body: &[u8], statements: &mut Statements<'_>) {
        let Taken::Down { text, charge } = self else {
            return;
        };
        match statements.catalog.lock().grow(charge, text.len() + body.len()) {
            true => text.extend_from_slice(body),
            false => *self = Taken::Not,
        }
    }
}

impl Link {
    /// A Parse that is longer than what is waited for; `name` is all that was read of it.
    pub(super) fn upload(
        &mut self,
        frame: Frame,
        name: &[u8],
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        debug_assert!(frame.len > LONGEST_READ, "shorter ones are read whole");
        self.startup_settings.unread();
        let body = &edit.rest()[Frame::HEADER + name.len() + 1..];
        let hints = Hints::of_text(body, body.len() >= frame.len - Frame::HEADER - name.len() - 1);
        let taken = Taken::new(statements);
        let left = frame.len - Frame::HEADER - name.len() - 1;
        let given = statements.client.get(name).is_some_and(|named| !self.is_in_doubt(named.stamp));
        let what = match name {
            b"" => What::Unnamed(taken),
            name if given => {
                edit.begin(b'P', &[STAND_IN, b"\0"], left);
                What::NameTaken(name.into())
            }
            name => {
                let id = statements.catalog.lock().next_id();
                edit.begin(b'P', &[format!("pgtether_{id}\0").as_bytes()], left);
                What::Named { name: name.into(), id, taken }
            }
        };
        match what {
            What::Unnamed(_) => self.from_client.pass(edit, Frame::HEADER + 1),
            _ => edit.skip(Frame::HEADER + name.len() + 1),
        }
        self.upload = Some(Box::new(Upload { left, hints, what }));
        self.pass_upload(left, edit, statements);
    }

    /// A part of a message has passed on: of the text, if one is sent.
    pub(super) fn uploaded(&mut self, body: &[u8], edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        upload.left -= body.len();
        match &mut upload.what {
            What::Named { taken, .. } | What::Unnamed(taken) => taken.add(body, statements),
            What::NameTaken(_) => {}
        }
        match upload.left {
            0 => self.finish_upload(*upload, edit, statements),
            _ => self.upload = Some(upload),
        }
    }

    fn pass_upload(&mut self, left: usize, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let here = &edit.rest()[..left.min(edit.left())];
        self.from_client.pass(edit, left);
        self.uploaded(here, edit, statements);
    }

    /// The Parse is sent.
    fn finish_upload(&mut self, upload: Upload, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let hints = upload.hints;
        match upload.what {
            What::Unnamed(taken) => {
                self.leaves(&hints, &mut statements.catalog);
                self.expect_unnamed(Answer::Pass);
                match taken {
                    Taken::Down { text, charge } => {
                        let id = statements.catalog.lock().next_id();
                        let statement = Catalog::own(id, text, hints, charge);
                        statements.client.drop_unnamed(Unnamed::Long(statement));
                    }
                    Taken::Not => statements.client.drop_unnamed(Unnamed::NotKept),
                }
            }
            What::NameTaken(name) => {
                self.expect_parse(Answer::Swallow, ParsedAs::Nothing);
                stand_in(edit);
                self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None });
                self.refuse(Refused::Taken(name), edit);
            }
            What::Named { name, id, taken } => {
                let statement = match taken {
                    Taken::Down { text, charge } => Some(Catalog::own(id, text, hints, charge)),
                    Taken::Not => None,
                };
                match statement.and_then(|statement| self.give_name(&name, &statement, statements)) {
                    Some(undo) => {
                        self.batch.sent.push((id, self.under));
                        let what = ParsedAs::Known(id, self.under);
                        self.expected.push(Expect::Parse { answer: Answer::Pass, what, undo: Some(undo) });
                    }
                    None => {
                        self.expect_parse(Answer::Swallow, ParsedAs::Nothing);
                        edit.message(b'C', &[b"S", format!("pgtether_{id}\0").as_bytes()]);
                        self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None });
                        self.refuse(Refused::OverBudget, edit);
                    }
                }
            }
        }
    }

    fn expect_parse(&mut self, answer: Answer, what: ParsedAs) {
        self.expected.push(Expect::Parse { answer, what, undo: None });
    }
}
