//! What the client says: what asks for an answer, what begins and ends a batch, and where it has to wait.

use super::edit::{Edit, Edited};
use super::expect::Expect;
use super::{Asked, Copy, Link, Pause, Statements};
use crate::protocol::{Frame, Violation};

impl Link {
    /// Bytes from the client, on their way to the server. None are given where it goes on after a pause.
    pub fn client_sent(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        statements: &mut Statements<'_>,
    ) -> Result<(Edited, Asked), Violation> {
        let held = match self.from_client.take_held(chunk) {
            Some(held) => held,
            None => return Ok((Edited::Changed, Asked::More)),
        };
        let bytes = held.as_deref().unwrap_or(chunk);
        let mut edit = Edit::new(bytes, out, held.is_some());
        let mut asked = Asked::More;
        self.pause = Pause::No;
        if self.sending.is_some() {
            self.send_on(&mut edit);
        }
        while self.pause == Pause::No {
            let body = self.from_client.body(&mut edit);
            if self.upload.is_some() {
                self.uploaded(body, &mut edit, statements);
            }
            if edit.left() == 0 {
                break;
            }
            if edit.is_full() || self.expected.is_full() {
                self.pause = if edit.is_full() { Pause::Full } else { Pause::Answers };
                break;
            }
            let Some(frame) = Frame::read(edit.rest())? else {
                self.from_client.hold(&mut edit, Frame::HEADER);
                break;
            };
            if frame.tag == b'X' {
                edit.drop_rest();
                asked = Asked::Terminate;
                break;
            }
            self.client_message(frame, &mut edit, statements)?;
        }
        if self.pause != Pause::No && edit.left() > 0 {
            self.from_client.hold(&mut edit, 0);
        }
        // Closes alone begin nothing: they are answered at once, and do not keep the session.
        let ended = !self.batch.is_open() && self.from_client.sent_whole() && self.sending.is_none();
        if self.renames && ended && self.expected.ends_open() {
            edit.message(b'H', &[]);
        }
        Ok((edit.finish(), asked))
    }

    fn client_message(
        &mut self,
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Result<(), Violation> {
        if !frame.is_clients() {
            return Err(Violation::unknown(frame));
        }
        if self.batch.has_failed() && frame.tag != b'S' {
            self.from_client.leave_out(edit, frame.len);
            return Ok(());
        }
        if self.copy == Copy::Failed && !matches!(frame.tag, b'd' | b'H' | b'S' | b'c' | b'f') {
            self.copy = Copy::No;
        }
        match frame.tag {
            b'Q' => {
                self.simple_query(frame, edit, statements);
                return Ok(());
            }
            b'F' => {
                self.expected.push(Expect::Ready { sync: false });
                self.batch_ends();
            }
            // A server that takes COPY data reads over it: the one that ends the batch is still to come.
            b'S' if self.copy == Copy::In => {}
            b'S' => {
                self.expected.push(Expect::Ready { sync: true });
                self.batch_ends();
            }
            b'P' | b'B' | b'D' | b'C' => {
                if frame.tag != b'C' || !self.renames {
                    self.batch.progress.begin();
                }
                if self.renames {
                    return self.extended(frame, edit, statements);
                }
                if frame.tag == b'P' && !statements.asked.is_empty() {
                    self.parse_in_session(frame, edit, statements);
                    return Ok(());
                }
            }
            b'E' => {
                self.batch.progress.begin();
                self.begins_step();
                if self.portals.giving_up() > 0 {
                    self.execute(frame, edit, statements);
                    return Ok(());
                }
                self.batch.executes = true;
            }
            b'c' | b'f' => match self.copy {
                Copy::In | Copy::Failed => self.copy = Copy::No,
                // Where nothing is under way that may be a COPY, servers read over it.
                Copy::No if self.batch.is_open() || self.expected.ready() > 0 => {
                    self.expected.push(Expect::CopyEnd)
                }
                Copy::No => {}
            },
            _ => {}
        }
        self.from_client.pass(edit, frame.len);
        Ok(())
    }

    /// What was sent so far succeeds or fails apart from what follows.
    pub(super) fn batch_ends(&mut self) {
        if self.batch.wipes_before.is_some() {
            self.wiping = self.expected.ready();
        }
        self.batch.clear();
        self.begins_step();
    }
}
