//! The messages of the extended protocol that name a statement: renamed, and prepared first where the session lacks it.

use std::sync::Arc;

use super::edit::Cut;
use super::expect::{Answer, Expect, Undo};
use super::{Desk, LONGEST_READ, Link};
use crate::pool::statements::{Statement, server_name};
use crate::pool::wire::{Frame, Violation, text};

/// A statement's text is kept for the sessions to come; longer ones can be prepared without a name.
const LONGEST_STATEMENT: usize = 1 << 20;
/// What statements are called that no server has: nothing of the catalog has the number 0.
const NOBODY: u64 = 0;

impl Link {
    /// The messages that may name a statement.
    pub(super) fn extended(
        &mut self,
        frame: Frame,
        rest: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        let have = &rest[Frame::HEADER..rest.len().min(frame.len)];
        let is_whole = rest.len() >= frame.len;
        match frame.tag {
            b'P' => match text(have) {
                Some((b"", body)) if is_whole || frame.len > LONGEST_READ => {
                    desk.client.set_unnamed(if frame.len <= LONGEST_READ { body } else { b"" });
                    self.has_unnamed = true;
                    self.expected.push(Expect::Parse { answer: Answer::Pass, undo: None });
                    self.from_client.pass(cut, frame.len);
                }
                Some(_) if frame.len > LONGEST_STATEMENT => return Err(too_long("a named statement")),
                Some((name, body)) if is_whole => {
                    self.parse(name, body, cut, desk)?;
                    cut.skip(frame.len);
                }
                None if is_whole => self.from_client.pass(cut, frame.len),
                _ => self.collect(frame, cut, LONGEST_STATEMENT)?,
            },
            b'B' => match text(have).and_then(|(portal, rest)| Some((portal, text(rest)?))) {
                Some((portal, (name, _))) => match self.on_server(name, cut, desk) {
                    Some(new) => {
                        let names = portal.len() + name.len() + 2;
                        let new = [portal, b"\0", &new].concat();
                        let len = frame.len - 1 - names + new.len();
                        cut.insert(b"B");
                        cut.insert(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
                        cut.insert(&new);
                        cut.skip(Frame::HEADER + names);
                        self.from_client.pass(cut, frame.len - Frame::HEADER - names);
                    }
                    None => self.from_client.pass(cut, frame.len),
                },
                // Not a Bind at all: the server will say so.
                None if is_whole => self.from_client.pass(cut, frame.len),
                None => self.collect(frame, cut, LONGEST_READ)?,
            },
            _ if !is_whole => self.collect(frame, cut, LONGEST_READ)?,
            _ => match have.split_first() {
                Some((b'S', name)) if frame.tag == b'D' => {
                    let name = text(name).map(|(name, _)| name).unwrap_or_default();
                    match self.on_server(name, cut, desk) {
                        Some(new) => {
                            cut.message(b'D', &[b"S", &new]);
                            cut.skip(frame.len);
                        }
                        None => self.from_client.pass(cut, frame.len),
                    }
                }
                Some((b'S', name)) => {
                    let name = text(name).map(|(name, _)| name).unwrap_or_default();
                    self.close(name, frame, cut, desk);
                }
                _ => {
                    if frame.tag == b'C' {
                        self.expected.push(Expect::Close { answer: Answer::Pass, undo: None });
                    }
                    self.from_client.pass(cut, frame.len);
                }
            },
        }
        Ok(())
    }

    /// The name, with its NUL, by which the session knows the client's statement once it has been told of it; `None` where
    /// the client's own name is the one to send.
    fn on_server(&mut self, name: &[u8], cut: &mut Cut<'_, '_>, desk: &mut Desk<'_>) -> Option<Vec<u8>> {
        if !name.is_empty() {
            let statement = desk.client.get(name).cloned()?;
            self.provide(&statement, cut, desk);
            return Some(statement.server_name());
        }
        if self.has_unnamed {
            return None;
        }
        // The session's statement without a name is another client's, or may be: ours goes first.
        let Some(body) = desk.client.unnamed() else {
            return Some(server_name(NOBODY));
        };
        cut.message(b'P', &[b"\0", body]);
        self.expected.push(Expect::Parse { answer: Answer::Swallow, undo: None });
        self.has_unnamed = true;
        None
    }

    /// Waits for the whole message, or for as much of it as can hold what is read.
    pub(super) fn collect(
        &mut self,
        frame: Frame,
        cut: &mut Cut<'_, '_>,
        most: usize,
    ) -> Result<(), Violation> {
        let have = cut.left();
        if have > most {
            return Err(too_long("a name"));
        }
        // Where the names end is not known: twice as much is looked at again.
        let need = if frame.len <= most { frame.len } else { have * 2 + Frame::HEADER };
        self.from_client.hold(cut, need);
        Ok(())
    }

    /// A named Parse.
    pub(super) fn parse(
        &mut self,
        name: &[u8],
        body: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        if let Some(known) = desk.client.get(name).cloned() {
            // The name is taken: the server finds the same of its own, and says so.
            self.provide(&known, cut, desk);
            cut.message(b'P', &[&known.server_name(), body]);
            self.expected.push(Expect::Parse { answer: Answer::Pass, undo: None });
            return Ok(());
        }
        let statement = desk.catalog.intern(body);
        desk.client.insert(name, Arc::clone(&statement))?;
        let taken_back = Undo::Named { name: name.into() };
        if desk.server.touch(statement.id) {
            cut.message(b'C', &[b"S", &server_name(NOBODY)]);
            self.expected.push(Expect::Close { answer: Answer::AsParse, undo: Some(Box::new(taken_back)) });
        } else {
            let undo = Undo::Both { id: statement.id, name: name.into() };
            self.tell(&statement, Answer::Pass, undo, cut, desk);
        }
        Ok(())
    }

    /// Sees to it that the session has the statement.
    pub(super) fn provide(&mut self, statement: &Arc<Statement>, cut: &mut Cut<'_, '_>, desk: &mut Desk<'_>) {
        self.bound.push(Arc::clone(statement));
        if !desk.server.touch(statement.id) {
            self.tell(statement, Answer::Swallow, Undo::Told { id: statement.id }, cut, desk);
        }
    }

    /// Prepares the statement on the session, in place of the one that was not used for longest if it is full.
    pub(super) fn tell(
        &mut self,
        statement: &Statement,
        answer: Answer,
        undo: Undo,
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) {
        if let Some(evicted) = desk.server.insert(statement.id) {
            cut.message(b'C', &[b"S", &server_name(evicted)]);
            let undo = Some(Box::new(Undo::Evicted { id: evicted }));
            self.expected.push(Expect::Close { answer: Answer::Swallow, undo });
        }
        cut.message(b'P', &[&statement.server_name(), &statement.body]);
        self.expected.push(Expect::Parse { answer, undo: Some(Box::new(undo)) });
    }

    /// Close of a statement. A named one stays on the session: the next client may want it.
    pub(super) fn close(&mut self, name: &[u8], frame: Frame, cut: &mut Cut<'_, '_>, desk: &mut Desk<'_>) {
        let undo = desk.client.remove(name).map(|statement| {
            cut.message(b'C', &[b"S", &server_name(NOBODY)]);
            cut.skip(frame.len);
            Box::new(Undo::Closed { name: name.into(), statement })
        });
        if name.is_empty() {
            desk.client.set_unnamed(b"");
            self.has_unnamed = false;
        }
        if undo.is_none() {
            self.from_client.pass(cut, frame.len);
        }
        self.expected.push(Expect::Close { answer: Answer::Pass, undo });
    }
}

fn too_long(what: &str) -> Violation {
    Violation { sqlstate: "54000", message: format!("{what} is longer than a pool keeps").into() }
}
