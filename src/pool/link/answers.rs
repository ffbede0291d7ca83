//! What the server says: what ends something, what the client has not asked for, what tells that things have changed.

use super::batch::BatchProgress;
use super::edit::{Edit, Edited};
use super::expect::Answer;
use super::refuse::is_surprised;
use super::{Copy, LONGEST_READ, Link, SessionFate, Statements, TransactionStatus};
use crate::pool::leftovers::tag;
use crate::protocol::{Frame, Violation, error_field, text};

/// Who follows what the server reports of its settings.
pub trait Reports {
    /// A ParameterStatus.
    fn report(&mut self, name: &[u8], value: &[u8]);

    /// The session was reset and is about to be free: what the client is told before it hears that, because it will have
    /// that again before its next query.
    fn before_ready(&mut self, out: &mut Vec<u8>);
}

impl Link {
    /// Bytes from the server, on their way to the client.
    pub fn server_sent(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        statements: &mut Statements<'_>,
        reports: &mut impl Reports,
    ) -> Result<Edited, Violation> {
        let held = match self.from_server.take_held(chunk) {
            Some(held) => held,
            None => return Ok(Edited::Changed),
        };
        let bytes = held.as_deref().unwrap_or(chunk);
        let mut edit = Edit::new(bytes, out, held.is_some());
        loop {
            self.from_server.body(&mut edit);
            self.pass_rows(&mut edit);
            let rest = edit.rest();
            if rest.is_empty() {
                break;
            }
            let Some(frame) = Frame::read(rest)? else {
                self.from_server.hold(&mut edit, Frame::HEADER);
                break;
            };
            let describes = self.expected.describes(frame.tag);
            if (reads_whole(frame) || describes && frame.len <= LONGEST_READ) && rest.len() < frame.len {
                self.from_server.hold(&mut edit, frame.len);
                break;
            }
            let is_whole = rest.len() >= frame.len;
            let body = &rest[Frame::HEADER..rest.len().min(frame.len)];
            let answer = match frame.tag {
                _ if describes => self.described(frame, body, statements),
                // Longer than any that matters.
                _ if !is_whole => {
                    self.server_message(frame, &[], statements);
                    Answer::Pass
                }
                b'C' => self.completed(body, statements),
                b'1' | b'3' if self.renames => self.answered(frame.tag, &mut edit, statements),
                // Who listened has another session now.
                b'A' if self.renames => Answer::Swallow,
                b'S' => {
                    reported(body).into_iter().for_each(|(name, value)| reports.report(name, value));
                    Answer::Pass
                }
                // The session dies right behind its last answer: that is for nobody who has that answer already.
                b'E' if self.renames && self.is_free() && is_fatal(body) => {
                    self.session = SessionFate::Ended;
                    Answer::Swallow
                }
                b'E' => {
                    let told = self.error_to_tell(body, statements);
                    self.server_message(frame, body, statements);
                    told.map_or(Answer::Pass, |error| {
                        edit.insert(&error);
                        Answer::Swallow
                    })
                }
                b'Z' => {
                    self.server_message(frame, body, statements);
                    self.tell_restored(&mut edit, reports);
                    Answer::Pass
                }
                _ => {
                    self.server_message(frame, body, statements);
                    Answer::Pass
                }
            };
            match answer {
                Answer::Pass => self.from_server.pass(&mut edit, frame.len),
                Answer::Swallow => self.from_server.leave_out(&mut edit, frame.len),
                Answer::Other(tag, body) => {
                    edit.message(tag, &[body]);
                    edit.skip(frame.len);
                }
            }
        }
        Ok(edit.finish())
    }

    /// ParseComplete or CloseComplete has come.
    fn answered(&mut self, tag: u8, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) -> Answer {
        if tag == b'3'
            && let Some(error) = self.refusal_to_tell()
        {
            edit.insert(&error);
            return Answer::Swallow;
        }
        self.expected.answered(tag, statements)
    }

    /// Before the client hears that nothing is under way any more.
    fn tell_restored(&self, edit: &mut Edit<'_, '_>, reports: &mut impl Reports) {
        let gone = self.startup_settings.are_gone() && self.transaction != TransactionStatus::Failed;
        if gone && !self.awaits_answer() {
            let mut told = Vec::new();
            reports.before_ready(&mut told);
            edit.insert(&told);
        }
    }

    /// Most of what comes: it means nothing here.
    #[inline]
    fn pass_rows(&self, edit: &mut Edit<'_, '_>) {
        let awaits_description = self.expected.awaits_description();
        edit.pass_whole(|tag| match tag {
            b'D' | b'd' | b'2' => true,
            b'T' | b'n' => !awaits_description,
            _ => false,
        });
    }

    fn server_message(&mut self, frame: Frame, body: &[u8], statements: &mut Statements<'_>) {
        match frame.tag {
            b'Z' => {
                if self.copy == Copy::In {
                    self.copy = Copy::No;
                }
                if self.batch.has_failed() {
                    self.batch.progress = BatchProgress::Open { has_unnamed: false };
                }
                self.transaction = TransactionStatus::read(body);
                // Only now others see it, or nobody will.
                if self.changed && self.transaction == TransactionStatus::Idle {
                    self.changed = false;
                    statements.catalog.lock().begin_generation();
                }
                self.expected.ready_for_query(statements);
                self.wiping = self.wiping.saturating_sub(1);
                if !self.awaits_answer() {
                    self.bound.clear();
                    self.portals.answered(self.transaction);
                }
            }
            b'G' => {
                let begun = self.expected.copy_in();
                self.wiping = self.wiping.min(self.expected.ready());
                self.copy = if begun.ended { Copy::No } else { Copy::In };
                // The Sync that ends it is still to come.
                if !begun.answered {
                    self.batch.progress.begin();
                }
            }
            b'E' => self.failed(body, statements),
            _ => {}
        }
    }

    /// Of what is too long to be read, the length is compared.
    fn described(&mut self, frame: Frame, body: &[u8], statements: &mut Statements<'_>) -> Answer {
        let length = frame.len.to_be_bytes();
        let body = if frame.len > LONGEST_READ { &length } else { body };
        self.expected.described(frame.tag, body, statements)
    }

    fn failed(&mut self, body: &[u8], statements: &mut Statements<'_>) {
        if self.copy == Copy::In {
            self.copy = Copy::Failed;
        }
        if self.renames && is_surprised(body) {
            self.session = self.session.max(SessionFate::Stale);
        }
        let catalog = statements.catalog.lock();
        match outdated(body) {
            Some(Outdated::Columns) => self.bound.drain(..).for_each(|statement| catalog.outdate(&statement)),
            Some(Outdated::Text) => self.bound.drain(..).for_each(|statement| catalog.forget(&statement)),
            None => {}
        }
        if is_fatal(body) {
            self.session = SessionFate::Ended;
        } else if self.batch.is_open() && self.expected.skip_open_batch(statements) {
            self.batch.progress = BatchProgress::Failed;
        }
    }

    /// A statement is complete, with this tag.
    fn completed(&mut self, tag: &[u8], statements: &mut Statements<'_>) -> Answer {
        if self.copy == Copy::In {
            self.copy = Copy::No;
        }
        let step = self.expected.completed();
        if step == Some(Answer::Swallow) {
            return Answer::Swallow;
        }
        self.startup_settings.completed(tag, step.is_some());
        if let b"DISCARD ALL\0" | b"DEALLOCATE ALL\0" = tag {
            // What was prepared behind it is still to be answered.
            statements.client.clear_before(self.expected.first_naming().unwrap_or(u64::MAX));
            statements.server.clear();
        }
        if self.renames {
            let name = tag.strip_suffix(b"\0").unwrap_or(tag);
            self.hints.answered(name);
            if tag::is_ddl(name) {
                self.changed = true;
                statements.catalog.lock().begin_generation();
            }
        }
        step.unwrap_or(Answer::Pass)
    }
}

/// Of a ParameterStatus: a setting and its value.
fn reported(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = text(body)?;
    Some((name, text(rest)?.0))
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

/// Why a statement fails on every session that has it, until it is prepared anew.
enum Outdated {
    /// Its columns are others since a table was altered.
    Columns,
    /// Its text does not fit what there is.
    Text,
}

/// Whether an ErrorResponse says so.
fn outdated(body: &[u8]) -> Option<Outdated> {
    match error_field(body, b'C')? {
        b"0A000" if error_field(body, b'R') == Some(b"RevalidateCachedQuery") => Some(Outdated::Columns),
        sqlstate if sqlstate.starts_with(b"42") => Some(Outdated::Text),
        _ => None,
    }
}
