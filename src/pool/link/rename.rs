//! The messages of the extended protocol that name a statement: renamed, and prepared first where the session lacks it.

use std::sync::Arc;

use super::edit::Cut;
use super::expect::{Answer, Expect, Undo};
use super::housekeeping::Housekeeping;
use super::{Desk, LONGEST_READ, Link};
use crate::pool::leftovers::Hints;
use crate::pool::statements::{Statement, server_name};
use crate::protocol::{Frame, Violation, text};

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
                    self.wipe_if(wipes(body));
                    self.hints.add(&Hints::of_text(body, is_whole));
                    desk.client.set_unnamed(if frame.len <= LONGEST_READ { body } else { b"" });
                    self.has_unnamed = true;
                    self.expected.push(Expect::Parse { answer: Answer::Pass, id: None, undo: None })?;
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
                Some((portal, (name, _))) => match self.on_server(name, cut, desk)? {
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
                    match self.on_server(name, cut, desk)? {
                        Some(new) => {
                            cut.message(b'D', &[b"S", &new]);
                            cut.skip(frame.len);
                        }
                        None => self.from_client.pass(cut, frame.len),
                    }
                }
                Some((b'S', name)) => {
                    let name = text(name).map(|(name, _)| name).unwrap_or_default();
                    self.close(name, frame, cut, desk)?;
                }
                _ => {
                    if frame.tag == b'C' {
                        self.expected.push(Expect::Close { answer: Answer::Pass, id: None, undo: None })?;
                    }
                    self.from_client.pass(cut, frame.len);
                }
            },
        }
        Ok(())
    }

    /// The name, with its NUL, by which the session knows the client's statement once it has been told of it; `None` where
    /// the client's own name is the one to send.
    fn on_server(
        &mut self,
        name: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<Option<Vec<u8>>, Violation> {
        if !name.is_empty() {
            let Some(named) = desk.client.get(name) else {
                return Ok(None);
            };
            let statement = desk.catalog.under(&named.statement, desk.settings);
            self.provide(&statement, cut, desk)?;
            return Ok(Some(statement.server_name()));
        }
        if self.has_unnamed {
            return Ok(None);
        }
        // The session's statement without a name is another client's, or may be: ours goes first.
        let Some(body) = desk.client.unnamed() else {
            return Ok(Some(server_name(NOBODY)));
        };
        self.hints.add(&Hints::of_text(body, true));
        cut.message(b'P', &[b"\0", body]);
        self.expected.push(Expect::Parse { answer: Answer::Swallow, id: None, undo: None })?;
        self.has_unnamed = true;
        Ok(None)
    }

    /// Waits for the whole message, or for as much of it as can hold what is read.
    fn collect(&mut self, frame: Frame, cut: &mut Cut<'_, '_>, most: usize) -> Result<(), Violation> {
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
    fn parse(
        &mut self,
        name: &[u8],
        body: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        if let Some(named) = desk.client.get(name).cloned()
            && !self.is_in_doubt(named.stamp)
        {
            // The name is taken: the server finds the same of its own and says so, unless the text is wrong in itself.
            let known = desk.catalog.under(&named.statement, desk.settings);
            self.provide(&known, cut, desk)?;
            let stand_in = server_name(NOBODY);
            cut.message(b'P', &[&stand_in, body]);
            self.expected.push(Expect::Parse { answer: Answer::Swallow, id: None, undo: None })?;
            cut.message(b'C', &[b"S", &stand_in]);
            self.expected.push(Expect::Close { answer: Answer::Swallow, id: None, undo: None })?;
            cut.message(b'P', &[&known.server_name(), known.body()]);
            return self.expected.push(Expect::Parse {
                answer: Answer::Pass,
                id: Some(known.id),
                undo: None,
            });
        }
        self.wipe_if(wipes(body));
        let statement = desk.catalog.intern(body, desk.settings);
        let stamp = desk.client.insert(name, Arc::clone(&statement))?;
        self.named_here.get_or_insert(stamp);
        let undo = Some(Box::new(Undo::Named { name: name.into(), stamp }));
        match self.knows(statement.id, desk) {
            Knows::Yes => {
                cut.message(b'C', &[b"S", &server_name(NOBODY)]);
                self.expected.push(Expect::Close { answer: Answer::AsParse, id: None, undo })
            }
            knows => self.tell(&statement, knows, Answer::Pass, undo, cut, desk),
        }
    }

    /// Whether a naming may still come to nothing, since it was sent before the last Sync and is not answered, or is about
    /// to be given up with all others.
    fn is_in_doubt(&self, stamp: u64) -> bool {
        if self.wiping {
            return true;
        }
        let sent_before = self.named_here.is_none_or(|first| stamp < first);
        sent_before && self.expected.first_naming().is_some_and(|first| stamp >= first)
    }

    /// Sees to it that the session has the statement.
    fn provide(
        &mut self,
        statement: &Arc<Statement>,
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        if !self.bound.iter().any(|bound| bound.id == statement.id) {
            self.bound.push(Arc::clone(statement));
        }
        self.hints.add(&statement.hints);
        match self.knows(statement.id, desk) {
            Knows::Yes => Ok(()),
            knows => self.tell(statement, knows, Answer::Swallow, None, cut, desk),
        }
    }

    /// Whether the session has the statement when it comes to what is sent now.
    fn knows(&self, id: u64, desk: &mut Desk<'_>) -> Knows {
        if self.told.contains(&id) {
            // If that fails, what is sent now is skipped.
            Knows::Yes
        } else if self.wiping || self.expected.concerns(id) {
            Knows::Perhaps
        } else if desk.server.touch(id) {
            Knows::Yes
        } else {
            Knows::No
        }
    }

    /// All that the session was told of so far is about to be given up.
    fn wipe_if(&mut self, wipes: bool) {
        if wipes {
            self.wiping = true;
            self.told.clear();
        }
    }

    /// Prepares the statement on the session, in place of the one that was not used for longest if it is full. Where it
    /// may be there already it is closed first: to close what is not there is no error.
    fn tell(
        &mut self,
        statement: &Statement,
        knows: Knows,
        answer: Answer,
        undo: Option<Box<Undo>>,
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        let goes = match knows {
            Knows::Perhaps => Some(statement.id),
            Knows::Yes | Knows::No => desk.server.to_evict(|id| self.expected.concerns(id)),
        };
        if let Some(id) = goes {
            cut.message(b'C', &[b"S", &server_name(id)]);
            self.expected.push(Expect::Close { answer: Answer::Swallow, id: Some(id), undo: None })?;
            self.told.retain(|told| *told != id);
        }
        cut.message(b'P', &[&statement.server_name(), statement.body()]);
        self.told.push(statement.id);
        self.expected.push(Expect::Parse { answer, id: Some(statement.id), undo })
    }

    /// Close of a statement. A named one stays on the session: the next client may want it.
    fn close(
        &mut self,
        name: &[u8],
        frame: Frame,
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        let undo = desk.client.remove(name).map(|named| {
            cut.message(b'C', &[b"S", &server_name(NOBODY)]);
            cut.skip(frame.len);
            Box::new(Undo::Closed { name: name.into(), named })
        });
        if name.is_empty() {
            desk.client.set_unnamed(b"");
            self.has_unnamed = false;
        }
        if undo.is_none() {
            self.from_client.pass(cut, frame.len);
        }
        self.expected.push(Expect::Close { answer: Answer::Pass, id: None, undo })
    }

    /// A simple query that has to do with prepared statements. True where it was dealt with.
    pub(super) fn housekeeping(
        &mut self,
        frame: Frame,
        rest: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<bool, Violation> {
        let body = rest.get(Frame::HEADER..frame.len).and_then(text);
        let Some(told) = body.and_then(|(sql, _)| Housekeeping::read(sql)) else {
            return Ok(false);
        };
        match told {
            Housekeeping::All => self.wipe_if(true),
            // A failed transaction takes nothing more: the server says so.
            Housekeeping::Deallocate(name) if self.status != b'E' && desk.client.remove(&name).is_some() => {
                let stand_in = server_name(NOBODY);
                cut.message(b'P', &[&stand_in, b"\0\0\0"]);
                self.expected.push(Expect::Parse { answer: Answer::Swallow, id: None, undo: None })?;
                cut.message(b'Q', &[b"DEALLOCATE ", &stand_in]);
                cut.skip(frame.len);
                self.expected.push(Expect::Ready { sync: false })?;
                return Ok(true);
            }
            Housekeeping::Deallocate(_) => {}
        }
        Ok(false)
    }
}

/// Whether a session has a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    Yes,
    No,
    /// That depends on answers to come.
    Perhaps,
}

/// Whether a statement with that text gives up all others.
fn wipes(body: &[u8]) -> bool {
    let sql = text(body).map(|(sql, _)| sql).unwrap_or_default();
    matches!(Housekeeping::read(sql), Some(Housekeeping::All))
}

fn too_long(what: &str) -> Violation {
    Violation { sqlstate: "54000", message: format!("{what} is longer than a pool keeps").into() }
}
