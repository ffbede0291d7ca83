//! The messages of the extended protocol that name a statement.

use std::sync::Arc;

use super::edit::Edit;
use super::expect::{Answer, Expect, ParsedAs};
use super::provide::{Use, stand_in};
use super::refused::Refused;
use super::script::{self, GiveUp};
use super::simple::text_to_prepare;
use super::undo::NameUndo;
use super::{LONGEST_READ, Link, Statements};
use crate::pool::leftovers::Hints;
use crate::pool::statements::{STAND_IN, Statement, Unnamed};
use crate::protocol::{Frame, Violation, text};

impl Link {
    /// The messages that may name a statement. Nothing of one is taken where the link pauses.
    pub(super) fn extended(
        &mut self,
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Result<(), Violation> {
        let rest = edit.rest();
        let have = &rest[Frame::HEADER..rest.len().min(frame.len)];
        let is_whole = rest.len() >= frame.len;
        match (frame.tag, have.split_first()) {
            (b'P', _) => match text(have) {
                Some((name, _)) if frame.len > LONGEST_READ => self.upload(frame, name, edit, statements),
                Some((name, body)) if is_whole => {
                    let other = text_to_prepare(body, statements);
                    let text = other.as_deref().unwrap_or(body);
                    self.parse(name, (text, other.is_some()), frame, edit, statements);
                }
                // Not a Parse at all: the server will say so.
                None if is_whole => self.from_client.pass(edit, frame.len),
                _ => return self.collect(frame, edit),
            },
            (b'B', _) => match text(have).and_then(|(portal, rest)| Some((portal, text(rest)?.0))) {
                Some((portal, name)) => self.bind(portal, name, frame, edit, statements),
                None if is_whole => self.from_client.pass(edit, frame.len),
                None => return self.collect(frame, edit),
            },
            _ if !is_whole => return self.collect(frame, edit),
            (b'D', Some((b'S', name))) => {
                let name = text(name).map(|(name, _)| name).unwrap_or_default();
                self.describe(name, frame, edit, statements);
            }
            (b'D', Some((b'P', portal))) => {
                let portal = text(portal).map(|(portal, _)| portal).unwrap_or_default();
                self.describe_portal(portal, edit, statements);
                self.from_client.pass(edit, frame.len);
            }
            (b'C', Some((b'S', name))) => {
                let name = text(name).map(|(name, _)| name).unwrap_or_default();
                self.close(name, frame, edit, statements);
            }
            (tag, _) => {
                if tag == b'C' {
                    if let Some((b'P', portal)) =
                        have.split_first().and_then(|(kind, rest)| Some((kind, text(rest)?.0)))
                    {
                        self.portals.bind(portal, None);
                    }
                    self.expected.push(Expect::Close { answer: Answer::Pass, id: None, undo: None });
                }
                self.from_client.pass(edit, frame.len);
            }
        }
        Ok(())
    }

    /// Waits for the whole message, or for as much of it as can hold what is read.
    fn collect(&mut self, frame: Frame, edit: &mut Edit<'_, '_>) -> Result<(), Violation> {
        let have = edit.left();
        if have > LONGEST_READ {
            let message = "a name is longer than a pool keeps".into();
            return Err(Violation { sqlstate: "54000", message });
        }
        // Where the names end is not known: twice as much is looked at again.
        let need = if frame.len <= LONGEST_READ { frame.len } else { have * 2 + Frame::HEADER };
        self.from_client.hold(edit, need);
        Ok(())
    }

    /// A Parse that is there as a whole; its text may be another than the client's.
    fn parse(
        &mut self,
        name: &[u8],
        (body, is_changed): (&[u8], bool),
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        if name.is_empty() {
            if !gives_up_all(body)
                && let Some(statement) = unnamed_to_prepare(body, statements)
            {
                self.batch.set_unnamed(false);
                edit.skip(frame.len);
                return self.prepare(&statement, None, edit, statements);
            }
            self.leaves(&Hints::of_text(body, true), &mut statements.catalog);
            statements.client.set_unnamed(body);
            self.expect_unnamed(Answer::Pass);
            if !is_changed {
                return self.from_client.pass(edit, frame.len);
            }
            edit.message(b'P', &[b"\0", body]);
            return edit.skip(frame.len);
        }
        edit.skip(frame.len);
        let given = statements.client.get(name).is_some_and(|named| !self.is_in_doubt(named.stamp));
        if given {
            // Unless the text is wrong in itself: that, the server says first.
            edit.message(b'P', &[STAND_IN, b"\0", body]);
            let what = ParsedAs::Nothing;
            self.expected.push(Expect::Parse { answer: Answer::Swallow, what, undo: None });
            stand_in(edit);
            self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None });
            return self.refuse(Refused::Taken(name.into()), edit);
        }
        let statement = statements.catalog.lock().intern(body, statements.settings);
        let named = statement.and_then(|statement| {
            let undo = self.give_name(name, &statement, statements)?;
            Some((statement, Some(undo)))
        });
        let Some((statement, undo)) = named else {
            return self.refuse(Refused::OverBudget, edit);
        };
        self.prepare(&statement, undo, edit, statements);
    }

    /// The statement gets a name that the client has not, or that is about to be given up; `None` where it has too many.
    pub(super) fn give_name(
        &mut self,
        name: &[u8],
        statement: &Arc<Statement>,
        statements: &mut Statements<'_>,
    ) -> Option<Box<NameUndo>> {
        let before = statements.client.remove(name);
        let Some(stamp) = statements.client.insert(name, Arc::clone(statement)) else {
            before.into_iter().for_each(|before| statements.client.restore(name, before));
            return None;
        };
        self.batch.named.get_or_insert(stamp);
        // One of an earlier batch that may come to nothing does not come back; one of this batch is undone after this one.
        let first = self.expected.first_naming();
        let of_batch = self.batch.named.unwrap_or(stamp);
        let before =
            before.filter(|named| named.stamp >= of_batch || first.is_none_or(|first| named.stamp < first));
        Some(Box::new(NameUndo::Named { name: name.into(), stamp, before }))
    }

    /// Whether a naming may still come to nothing, since it was sent before the last Sync and is not answered, or is about
    /// to be given up with all others.
    pub(super) fn is_in_doubt(&self, stamp: u64) -> bool {
        if self.wiping > 0 || self.batch.wipes_before.is_some_and(|wiped| stamp < wiped) {
            return true;
        }
        let sent_before = self.batch.named.is_none_or(|first| stamp < first);
        sent_before && self.expected.first_naming().is_some_and(|first| stamp >= first)
    }

    /// Its names' end is there; all else passes as it comes.
    fn bind(
        &mut self,
        portal: &[u8],
        name: &[u8],
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let names = portal.len() + name.len() + 2;
        let given_up = self.gives_up(portal, name, statements);
        let used = match &given_up {
            Some(GiveUp::One(_)) => self.provide_stand_in(edit, statements),
            Some(GiveUp::All) | None => self.provide(name, edit, statements),
        };
        if !matches!(used, Use::Later) {
            let is_own = !matches!(given_up, Some(GiveUp::One(_)));
            self.portals.bind(portal, given_up);
            match &used {
                Use::Of(statement) if is_own => {
                    self.tells_by(portal, name, Some(statement), edit, statements);
                }
                Use::AsItIs => self.tells_by(portal, name, None, edit, statements),
                Use::Of(_) | Use::Refused(_) | Use::Later => {}
            }
        }
        match used {
            Use::AsItIs => self.from_client.pass(edit, frame.len),
            Use::Of(statement) => {
                let more = frame.len - Frame::HEADER - names;
                edit.begin(b'B', &[portal, b"\0", statement.server_name()], more);
                edit.skip(Frame::HEADER + names);
                self.from_client.pass(edit, more);
            }
            Use::Refused(refused) => {
                self.refuse(refused, edit);
                self.from_client.leave_out(edit, frame.len);
            }
            Use::Later => {}
        }
    }

    /// Close of a statement. A named one stays on the session: the next client may want it.
    fn close(&mut self, name: &[u8], frame: Frame, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let undo = statements.client.remove(name).map(|named| {
            stand_in(edit);
            edit.skip(frame.len);
            Box::new(NameUndo::Closed { name: name.into(), named })
        });
        if name.is_empty() {
            statements.client.drop_unnamed(Unnamed::None);
            self.batch.set_unnamed(false);
        }
        if undo.is_none() {
            self.from_client.pass(edit, frame.len);
        }
        self.expected.push(Expect::Close { answer: Answer::Pass, id: None, undo });
    }
}

/// The client's new statement without a name as one of the catalog, where it is to be prepared like one with a name, and
/// there is room for it.
fn unnamed_to_prepare(body: &[u8], statements: &mut Statements<'_>) -> Option<Arc<Statement>> {
    let Statements { catalog, client, settings, .. } = statements;
    if !client.prepares_unnamed {
        return None;
    }
    let catalog = catalog.lock();
    let statement = catalog.intern(body, *settings)?;
    if client.prepare_unnamed(&statement) {
        // The next one takes its place, and nobody tells then.
        catalog.given_up(1, statement.bytes());
    }
    Some(statement)
}

/// Whether a statement with that text gives up all, itself among them.
fn gives_up_all(body: &[u8]) -> bool {
    text(body).and_then(|(sql, _)| script::gives_up(sql)) == Some(GiveUp::All)
}
