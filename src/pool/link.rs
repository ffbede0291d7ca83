//! One client on one server session: what passes between them, what is changed on the way, and when the session is
//! free again.
//!
//! Headers are read, and the few messages that matter; all else passes as bytes, a message in parts as it comes. Knows
//! no sockets and no clocks: bytes in, bytes out.
//!
//! Renaming prepared statements must not disturb the order of answers. So nothing is answered here: where a client's
//! Parse or Close has nothing to do on the server, a Close of a name that no server knows goes in its place, whose
//! answer comes at the right moment and is passed on as what the client waits for.

mod edit;
mod expect;
mod rename;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::edit::Edited;
use self::edit::{Cut, Flow};
use self::expect::{Answer, Expect, Expected};
use super::statements::{Catalog, ClientStatements, ServerStatements, Statement};
use super::wire::{Frame, Violation, field, put, text};

/// Names of portals and statements, and what else is read of a message, are no longer.
const LONGEST_READ: usize = 1 << 16;

/// The state between a client and its session.
#[derive(Debug)]
pub struct Link {
    /// Whether named statements are kept over sessions.
    renames: bool,
    from_client: Flow,
    from_server: Flow,
    expected: Expected,
    /// The statements of the catalog that are in use just now.
    bound: Vec<Arc<Statement>>,
    /// Of the last ReadyForQuery: idle, in a transaction, in a failed one.
    status: u8,
    /// Messages of the extended protocol were sent, and no Sync after them.
    unsynced: bool,
    /// Since the last Sync the client has prepared a statement without a name, or was given its own again. After a Sync
    /// it may have another session, or an error may have come before.
    has_unnamed: bool,
    /// The server takes COPY data.
    copying: bool,
    /// The server has said why it ends the session.
    fatal: bool,
}

/// What the link works on beside the bytes.
#[derive(Debug)]
pub struct Desk<'a> {
    pub catalog: &'a mut Catalog,
    pub client: &'a mut ClientStatements,
    pub server: &'a mut ServerStatements,
}

/// What the client's bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    More,
    /// The client says goodbye; what follows is not read.
    Terminate,
}

/// What a session that its client has left needs before another may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: it is between transactions.
    Clean,
    /// It waits inside a transaction.
    InTransaction,
    /// It still works for the client that has gone; so many ReadyForQuery are to come.
    Busy { ready: usize, synced: bool },
    /// A message was cut off in its middle, or COPY data is waited for: nobody can go on from here.
    Broken,
}

impl Link {
    pub fn new(renames: bool) -> Self {
        Link {
            renames,
            from_client: Flow::default(),
            from_server: Flow::default(),
            expected: Expected::default(),
            bound: Vec::new(),
            status: b'I',
            unsynced: false,
            has_unnamed: false,
            copying: false,
            fatal: false,
        }
    }

    /// Nothing is under way and no transaction is open: another client may have the session.
    pub fn is_free(&self) -> bool {
        self.status == b'I' && self.is_quiet()
    }

    /// Both sides are between messages and nobody owes an answer; a transaction may be open.
    fn is_quiet(&self) -> bool {
        !self.awaits_answer() && !self.copying && self.between_messages()
    }

    fn between_messages(&self) -> bool {
        self.from_client.between_messages() && self.from_server.between_messages()
    }

    /// The server owes an answer, or the client a Sync.
    pub fn awaits_answer(&self) -> bool {
        self.unsynced || self.expected.ready() > 0
    }

    /// The server has told why it ends the session; the client has it.
    pub fn was_told(&self) -> bool {
        self.fatal
    }

    /// The client can be told something: no message to it is half-way.
    pub fn can_tell(&self) -> bool {
        self.from_server.between_messages()
    }

    /// In what state the client leaves the session.
    pub fn left(&self) -> Left {
        if self.fatal || self.copying || !self.between_messages() {
            Left::Broken
        } else if !self.awaits_answer() {
            if self.status == b'I' { Left::Clean } else { Left::InTransaction }
        } else {
            Left::Busy { ready: self.expected.ready() + usize::from(self.unsynced), synced: !self.unsynced }
        }
    }

    /// Bytes from the client, on their way to the server.
    pub fn client_said(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        desk: &mut Desk<'_>,
    ) -> Result<(Edited, Asked), Violation> {
        let held = match self.from_client.take_held(chunk) {
            Some(held) => held,
            None => return Ok((Edited::Changed, Asked::More)),
        };
        let bytes = held.as_deref().unwrap_or(chunk);
        let mut cut = Cut::new(bytes, out, held.is_some());
        let mut asked = Asked::More;
        while let Some(rest) = self.from_client.next(&mut cut) {
            let Some(frame) = Frame::read(rest)? else {
                self.from_client.hold(&mut cut, Frame::HEADER);
                break;
            };
            if frame.tag == b'X' {
                cut.drop_rest();
                asked = Asked::Terminate;
                break;
            }
            self.client_message(frame, rest, &mut cut, desk)?;
        }
        Ok((cut.finish(), asked))
    }

    fn client_message(
        &mut self,
        frame: Frame,
        rest: &[u8],
        cut: &mut Cut<'_, '_>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Violation> {
        match frame.tag {
            b'Q' | b'F' => self.expected.push(Expect::Ready { sync: false }),
            b'S' => self.client_sync(),
            b'P' | b'B' | b'D' | b'C' => {
                self.unsynced = true;
                if self.renames {
                    return self.extended(frame, rest, cut, desk);
                }
            }
            b'E' | b'H' => self.unsynced = true,
            b'd' => {}
            b'c' | b'f' => match self.copying {
                true => self.copying = false,
                false => self.expected.push(Expect::CopyEnd),
            },
            other => {
                return Err(Violation::new(format!("a client sent a message of type 0x{other:02x}")));
            }
        }
        self.from_client.pass(cut, frame.len);
        Ok(())
    }

    fn client_sync(&mut self) {
        self.unsynced = false;
        self.has_unnamed = false;
        // A server that takes COPY data reads over it.
        if !self.copying {
            self.expected.push(Expect::Ready { sync: true });
        }
    }

    /// Bytes from the server, on their way to the client. `setting` is told each ParameterStatus.
    pub fn server_said(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        desk: &mut Desk<'_>,
        mut setting: impl FnMut(&[u8], &[u8]),
    ) -> Result<Edited, Violation> {
        let held = match self.from_server.take_held(chunk) {
            Some(held) => held,
            None => return Ok(Edited::Changed),
        };
        let bytes = held.as_deref().unwrap_or(chunk);
        let mut cut = Cut::new(bytes, out, held.is_some());
        while let Some(rest) = self.from_server.next(&mut cut) {
            let Some(frame) = Frame::read(rest)? else {
                self.from_server.hold(&mut cut, Frame::HEADER);
                break;
            };
            if reads_whole(frame) && rest.len() < frame.len {
                self.from_server.hold(&mut cut, frame.len);
                break;
            }
            let body = &rest[Frame::HEADER..rest.len().min(frame.len)];
            let answer = match frame.tag {
                b'1' | b'3' if self.renames => self.expected.answered(frame.tag),
                b'S' => {
                    if let Some((name, (value, _))) = text(body).and_then(|(n, rest)| Some((n, text(rest)?)))
                    {
                        setting(name, value);
                    }
                    Answer::Pass
                }
                // The session dies right behind its last answer: that is for nobody who has that answer already.
                b'E' if self.renames && self.is_free() && is_fatal(body) => {
                    self.fatal = true;
                    Answer::Swallow
                }
                _ => {
                    self.server_message(frame, body, desk);
                    Answer::Pass
                }
            };
            match answer {
                Answer::Pass => self.from_server.pass(&mut cut, frame.len),
                Answer::Swallow => cut.skip(frame.len),
                Answer::AsParse => {
                    cut.message(b'1', &[]);
                    cut.skip(frame.len);
                }
            }
        }
        Ok(cut.finish())
    }

    fn server_message(&mut self, frame: Frame, body: &[u8], desk: &mut Desk<'_>) {
        match frame.tag {
            b'Z' => {
                self.copying = false;
                self.status = body.first().copied().unwrap_or(b'I');
                self.expected.ready_for_query(desk);
                if !self.awaits_answer() {
                    self.bound.clear();
                }
            }
            b'G' => {
                let begun = self.expected.copy_in();
                self.copying = !begun.ended;
                // The Sync that ends it is still to come.
                self.unsynced |= !begun.answered;
            }
            b'C' => {
                self.copying = false;
                if let b"DISCARD ALL\0" | b"DEALLOCATE ALL\0" = body {
                    desk.client.clear();
                    desk.server.clear();
                }
            }
            b'E' => {
                self.copying = false;
                self.fatal |= is_fatal(body);
                if is_outdated(body) {
                    self.bound.drain(..).for_each(|statement| desk.catalog.forget(&statement));
                }
            }
            _ => {}
        }
    }
}

/// Messages from a server that are looked into; an error that is longer than any is not.
fn reads_whole(frame: Frame) -> bool {
    const DISCARD_ALL: usize = Frame::HEADER + 12;
    const DEALLOCATE_ALL: usize = Frame::HEADER + 15;
    match frame.tag {
        b'Z' | b'1' | b'3' => true,
        b'S' | b'E' => frame.len <= LONGEST_READ,
        b'C' => matches!(frame.len, DISCARD_ALL | DEALLOCATE_ALL),
        _ => false,
    }
}

/// Whether an ErrorResponse ends the session.
fn is_fatal(body: &[u8]) -> bool {
    matches!(field(body, b'V'), Some(b"FATAL" | b"PANIC"))
}

/// Whether an ErrorResponse says that a prepared statement has another result since a table was altered. It fails on
/// every session that has it, until it is prepared anew.
fn is_outdated(body: &[u8]) -> bool {
    field(body, b'C') == Some(b"0A000") && field(body, b'R') == Some(b"RevalidateCachedQuery")
}
