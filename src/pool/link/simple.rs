//! Texts that are read before they are sent: simple queries, and on a session that its client keeps those of Parse.

use super::edit::Edit;
use super::expect::{Answer, Expect};
use super::provide::stand_in;
use super::script::{self, SqlScript};
use super::{LONGEST_READ, Link, Statements, TransactionStatus};
use crate::pool::leftovers::{Hints, Kinds, is_to_read};
use crate::pool::statements::Unnamed;
use crate::protocol::{Frame, text};

impl Link {
    /// A simple query, of which nothing is taken before as much is there as is read.
    pub(super) fn simple_query(
        &mut self,
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let reads = self.renames || !statements.asked.is_empty();
        if reads && self.awaits_text(frame, edit) {
            return;
        }
        if self.renames {
            statements.client.drop_unnamed(Unnamed::None);
        }
        match self.script(frame, edit, statements) {
            Some(mut script) => {
                if self.renames {
                    if self.batch.is_open() {
                        // What comes before the answer to this is of what was sent before.
                        stand_in(edit);
                        self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None });
                    }
                    self.begin_script(&mut script, edit, statements);
                }
                self.expected.push(Expect::Script(script.steps));
                if script.is_changed {
                    edit.message(b'Q', &[&script.sql, b"\0"]);
                    edit.skip(frame.len);
                } else {
                    self.from_client.pass(edit, frame.len);
                }
            }
            None => self.from_client.pass(edit, frame.len),
        }
        self.expected.push(Expect::Ready { sync: false });
        self.batch_ends();
    }

    /// Reads the text of a simple query, if that may matter.
    fn script(
        &mut self,
        frame: Frame,
        edit: &Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Option<SqlScript> {
        if !self.renames && statements.asked.is_empty() {
            return None;
        }
        let rest = edit.rest();
        let is_whole = rest.len() >= frame.len;
        let body = &rest[Frame::HEADER..rest.len().min(frame.len)];
        // What is left on a session that its client keeps is nobody else's business.
        let (mut hints, is_to_read) = match self.renames {
            true => {
                let hints = Hints::of_text(body, is_whole);
                let is_to_read = hints.kinds.contains(Kinds::TO_READ);
                (hints, is_to_read)
            }
            false => (Hints::default(), is_to_read(body)),
        };
        let mut script = None;
        if is_to_read || !is_whole {
            // A failed transaction takes nothing more: the server says so.
            let names = (self.renames && self.transaction != TransactionStatus::Failed)
                .then_some(&*statements.client);
            // Which answers are the query's is not known behind others that are not.
            script = text(body)
                .filter(|(_, rest)| rest.is_empty() && is_whole && (self.renames || !self.batch.is_open()))
                .and_then(|(sql, _)| script::read(sql, statements.asked, names));
            if script.as_ref().is_none_or(|script| script.has_unread) {
                self.startup_settings.unread();
            }
        }
        if self.renames {
            if let Some(SqlScript { sql, is_changed: true, .. }) = &script {
                hints = Hints::of_text(sql, true);
            }
            self.leaves(&hints, &mut statements.catalog);
        }
        script
    }

    /// A Parse on a session that is its client's for good.
    pub(super) fn parse_in_session(
        &mut self,
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &Statements<'_>,
    ) {
        if self.awaits_text(frame, edit) {
            return;
        }
        let body = edit.rest().get(Frame::HEADER..frame.len);
        match body.and_then(text) {
            Some((name, body)) => match text_to_prepare(body, statements) {
                Some(body) => {
                    edit.message(b'P', &[name, b"\0", &body]);
                    edit.skip(frame.len);
                }
                None => self.from_client.pass(edit, frame.len),
            },
            None => {
                self.startup_settings.unread();
                self.from_client.pass(edit, frame.len);
            }
        }
    }

    /// Waits for the whole message, unless it is longer than what is read. True where it has to.
    pub(super) fn awaits_text(&mut self, frame: Frame, edit: &mut Edit<'_, '_>) -> bool {
        let waits = frame.len <= LONGEST_READ && edit.left() < frame.len;
        if waits {
            self.from_client.hold(edit, frame.len);
        }
        waits
    }
}

/// What a Parse is to have behind its name, where that is to be something else.
pub fn text_to_prepare(body: &[u8], statements: &Statements<'_>) -> Option<Vec<u8>> {
    if statements.asked.is_empty() || !is_to_read(body) {
        return None;
    }
    let (sql, types) = text(body)?;
    let sent = script::read_one(sql, statements.asked)?;
    Some([&sent[..], b"\0", types].concat())
}
