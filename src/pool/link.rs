//! One client on one server session: what passes between them, what is changed on the way, and when the session is
//! free again.
//!
//! Headers are read, and the few messages that matter; all else passes as bytes, a message in parts as it comes. Knows
//! no sockets and no clocks: bytes in, bytes out.
//!
//! Renaming prepared statements must not disturb the order of answers. So nothing is answered here: where a client's
//! Parse or Close has nothing to do on the server, a Close of a name that no server knows goes in its place, whose
//! answer comes at the right moment and is passed on as what the client waits for.

mod answers;
mod edit;
mod expect;
mod housekeeping;
mod idle;
mod rename;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::edit::Edited;
use self::edit::{Cut, Flow};
use self::expect::{Expect, Expected};
pub use self::idle::{Idle, Next};
use super::leftovers::Hints;
use super::statements::{Catalog, ClientStatements, ServerStatements, Statement};
use crate::protocol::{Frame, Violation, put};

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
    /// Something was asked by the extended protocol, and no Sync sent after it.
    unsynced: bool,
    /// Since the last Sync the client has prepared a statement without a name, or was given its own again. After a Sync
    /// it may have another session, or an error may have come before.
    has_unnamed: bool,
    /// The statements that the session was told of since the last Sync.
    told: Vec<u64>,
    /// The stamp of the first of the client's namings since then.
    named_here: Option<u64>,
    /// All statements are about to be given up.
    wiping: bool,
    /// What the client may have left on the session.
    hints: Hints,
    /// The session may have taken settings back to what they were when it was opened.
    was_reset: bool,
    copy: Copy,
    /// What the session has is not what is known of it.
    stale: bool,
    /// The server has said why it ends the session.
    fatal: bool,
}

/// COPY data from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    No,
    /// The server takes it.
    In,
    /// The server does not want it any more; what is on its way is read over.
    Failed,
}

/// What the link works on beside the bytes.
#[derive(Debug)]
pub struct Desk<'a> {
    pub catalog: &'a mut Catalog,
    pub client: &'a mut ClientStatements,
    pub server: &'a mut ServerStatements,
    /// Tells apart the settings that the server understands a text under.
    pub settings: u64,
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
            told: Vec::new(),
            named_here: None,
            wiping: false,
            hints: Hints::default(),
            was_reset: false,
            copy: Copy::No,
            stale: false,
            fatal: false,
        }
    }

    /// Nothing is under way and no transaction is open: another client may have the session.
    pub fn is_free(&self) -> bool {
        self.status == b'I' && !self.awaits_answer() && self.copy != Copy::In && self.between_messages()
    }

    fn between_messages(&self) -> bool {
        self.from_client.between_messages() && self.from_server.between_messages()
    }

    /// The server owes an answer, or the client a Sync.
    pub fn awaits_answer(&self) -> bool {
        self.unsynced || !self.expected.is_empty()
    }

    /// The session is to be closed: somebody would be told of a statement that is there, or is not.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// What the client may have left on the session since this was asked last.
    pub fn take_hints(&mut self) -> Hints {
        std::mem::take(&mut self.hints)
    }

    /// The client keeps the session and waits, and the session may have lost settings that it asked for.
    pub fn has_reset(&self) -> bool {
        let keeps = self.status == b'T' || (!self.renames && self.status == b'I');
        self.was_reset && keeps && self.copy != Copy::In && !self.awaits_answer() && self.between_messages()
    }

    /// The session has them again.
    pub fn is_restored(&mut self) {
        self.was_reset = false;
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
        if self.fatal || self.copy == Copy::In || !self.between_messages() {
            Left::Broken
        } else if !self.awaits_answer() {
            if self.status == b'I' { Left::Clean } else { Left::InTransaction }
        } else {
            let synced = !self.unsynced && !self.expected.ends_open();
            Left::Busy { ready: self.expected.ready() + usize::from(!synced), synced }
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
        // Closes alone begin nothing: they are answered at once, and do not keep the session.
        if self.renames && !self.unsynced && self.from_client.sent_whole() && self.expected.ends_open() {
            cut.message(b'H', &[]);
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
        if self.copy == Copy::Failed && !matches!(frame.tag, b'd' | b'H' | b'S' | b'c' | b'f') {
            self.copy = Copy::No;
        }
        match frame.tag {
            b'Q' | b'F' => {
                if self.renames && frame.tag == b'Q' && self.housekeeping(frame, rest, cut, desk)? {
                    self.batch_ends();
                    return Ok(());
                }
                if self.renames && frame.tag == b'Q' {
                    let sql = &rest[Frame::HEADER..rest.len().min(frame.len)];
                    self.hints.add(&Hints::of_text(sql, rest.len() >= frame.len));
                }
                self.expected.push(Expect::Ready { sync: false })?;
                self.batch_ends();
            }
            // A server that takes COPY data reads over it: the one that ends the batch is still to come.
            b'S' if self.copy == Copy::In => {}
            b'S' => {
                self.expected.push(Expect::Ready { sync: true })?;
                self.batch_ends();
            }
            b'P' | b'B' | b'D' | b'C' => {
                self.unsynced |= frame.tag != b'C' || !self.renames;
                if self.renames {
                    return self.extended(frame, rest, cut, desk);
                }
            }
            b'E' => self.unsynced = true,
            b'd' | b'H' => {}
            b'c' | b'f' => match self.copy {
                Copy::In | Copy::Failed => self.copy = Copy::No,
                // Where nothing is under way that may be a COPY, servers read over it.
                Copy::No if self.unsynced || self.expected.ready() > 0 => {
                    self.expected.push(Expect::CopyEnd)?;
                }
                Copy::No => {}
            },
            _ => return Err(Violation::unknown(frame)),
        }
        self.from_client.pass(cut, frame.len);
        Ok(())
    }

    /// What was sent so far succeeds or fails apart from what follows.
    fn batch_ends(&mut self) {
        self.unsynced = false;
        self.has_unnamed = false;
        self.told.clear();
        self.named_here = None;
    }
}
