//! What the server says: what ends something, what the client has not asked for, what tells that things have changed.

use super::edit::{Cut, Edited};
use super::expect::Answer;
use super::{Copy, Desk, LONGEST_READ, Link};
use crate::pool::leftovers::tag;
use crate::protocol::{Frame, Violation, error_field, text};

impl Link {
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
            let is_whole = rest.len() >= frame.len;
            let body = &rest[Frame::HEADER..rest.len().min(frame.len)];
            let answer = match frame.tag {
                // Longer than any that matters.
                _ if !is_whole => {
                    self.server_message(frame, &[], desk);
                    Answer::Pass
                }
                b'1' | b'3' if self.renames => self.expected.answered(frame.tag, desk),
                // Who listened has another session now.
                b'A' if self.renames => Answer::Swallow,
                b'S' => {
                    if let Some((name, value)) =
                        text(body).and_then(|(name, rest)| Some((name, text(rest)?.0)))
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
                if self.copy == Copy::In {
                    self.copy = Copy::No;
                }
                self.status = body.first().copied().unwrap_or(b'I');
                self.expected.ready_for_query(desk);
                if !self.awaits_answer() {
                    self.bound.clear();
                    self.wiping = false;
                }
            }
            b'G' => {
                let begun = self.expected.copy_in();
                self.copy = if begun.ended { Copy::No } else { Copy::In };
                // The Sync that ends it is still to come.
                self.unsynced |= !begun.answered;
            }
            b'C' => self.completed(body, desk),
            b'E' => {
                if self.copy == Copy::In {
                    self.copy = Copy::Failed;
                }
                self.fatal |= is_fatal(body);
                self.stale |= self.renames && is_surprised(body) && !self.expected.is_own_name();
                if is_outdated(body) {
                    self.bound.drain(..).for_each(|statement| desk.catalog.forget(&statement));
                }
            }
            _ => {}
        }
    }

    fn completed(&mut self, tag: &[u8], desk: &mut Desk<'_>) {
        if self.copy == Copy::In {
            self.copy = Copy::No;
        }
        if let b"DISCARD ALL\0" | b"DEALLOCATE ALL\0" = tag {
            // What was prepared behind it is still to be answered.
            desk.client.clear_before(self.expected.first_naming().unwrap_or(u64::MAX));
            desk.server.clear();
        }
        if self.renames {
            self.hints.answered(tag.strip_suffix(b"\0").unwrap_or(tag));
            self.was_reset |= self.hints.may_have_reset(tag);
        } else {
            // Texts are not read here: it may have been `SET … TO DEFAULT`.
            self.was_reset |= matches!(tag, b"RESET\0" | b"SET\0" | b"DISCARD ALL\0");
        }
    }
}

/// Messages from a server that are looked into; an error that is longer than any is not.
fn reads_whole(frame: Frame) -> bool {
    match frame.tag {
        b'Z' | b'1' | b'3' | b'S' | b'E' | b'A' => frame.len <= LONGEST_READ,
        b'C' => frame.len <= Frame::HEADER + tag::LONGEST,
        _ => false,
    }
}

/// Whether an ErrorResponse ends the session.
fn is_fatal(body: &[u8]) -> bool {
    matches!(error_field(body, b'V'), Some(b"FATAL" | b"PANIC"))
}

/// Whether an ErrorResponse says that a prepared statement has another result since a table was altered. It fails on
/// every session that has it, until it is prepared anew.
fn is_outdated(body: &[u8]) -> bool {
    error_field(body, b'C') == Some(b"0A000") && error_field(body, b'R') == Some(b"RevalidateCachedQuery")
}

/// Whether an ErrorResponse says that a statement of the catalog is there and should not be, or should be and is not: SQL
/// that nobody reads has made or dropped it.
fn is_surprised(body: &[u8]) -> bool {
    let ours = |message: &[u8]| message.windows(9).any(|part| part == b"pgtether_");
    matches!(error_field(body, b'C'), Some(b"42P05" | b"26000")) && error_field(body, b'M').is_some_and(ours)
}
