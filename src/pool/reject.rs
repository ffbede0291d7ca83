//! Answers a client that gets no session as a server would: each query, and each batch up to its Sync, is answered with
//! the error, and the connection stays good for the next.

use super::link::{Idle, NextMessage};
use super::rejection::Refusal;
use super::statements::ClientStatements;
use crate::protocol::{Frame, Violation};
use crate::protocol::{Severity, backend};

/// The answers to what a client has asked in vain.
#[derive(Debug)]
pub struct Reject {
    refusal: Refusal,
    /// Between batches.
    idle: Idle,
    /// The client has its error, and what follows up to the Sync is read over.
    told: bool,
    /// Of a message that is read over: so much is still to come.
    skip: usize,
}

/// Where the client is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// In the middle of what it has asked.
    InBatch,
    /// All that it has asked is answered; what is left of the bytes is the beginning of something new.
    Done,
    Terminate,
}

impl Reject {
    pub fn new(refusal: Refusal) -> Self {
        Reject { refusal, idle: Idle::default(), told: false, skip: 0 }
    }

    /// Takes off `bytes` what the client has asked; answers go to `out`.
    pub fn read(
        &mut self,
        bytes: &mut &[u8],
        statements: &mut ClientStatements,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Violation> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = &bytes[skipped..];
            if self.skip == 0 && !self.told {
                match self.idle.read(bytes, statements, out)? {
                    NextMessage::More => return Ok(Progress::Done),
                    NextMessage::Terminate => return Ok(Progress::Terminate),
                    NextMessage::Asks => {}
                }
            }
            let Some(frame) = Frame::read(bytes)? else {
                return Ok(Progress::InBatch);
            };
            self.skip = frame.len;
            match frame.tag {
                b'X' => return Ok(Progress::Terminate),
                _ if !frame.is_clients() => return Err(Violation::unknown(frame)),
                b'Q' | b'F' | b'S' => {
                    self.tell(out);
                    backend::ready_for_query(out, b'I');
                    self.told = false;
                }
                // COPY data that was on its way, and what asks nothing.
                b'd' | b'c' | b'f' | b'H' => {}
                _ => self.tell(out),
            }
        }
    }

    fn tell(&mut self, out: &mut Vec<u8>) {
        if !self.told {
            self.refusal.write(out, Severity::Error);
            self.told = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::statements::Budget;
    use crate::protocol::put;

    fn messages(of: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        of.iter().for_each(|(tag, body)| put(&mut out, *tag, &[body]));
        out
    }

    /// The answers' tags and where the client is, with the bytes cut into parts of that size.
    fn answers(bytes: &[u8], part: usize) -> (String, Progress) {
        let (mut reject, mut statements) =
            (Reject::new(Refusal::draining()), ClientStatements::new(&Budget::default()));
        let (mut have, mut out, mut progress) = (Vec::new(), Vec::new(), Progress::Done);
        for part in bytes.chunks(part) {
            have.extend_from_slice(part);
            let mut rest = &have[..];
            progress = reject.read(&mut rest, &mut statements, &mut out).unwrap();
            have = rest.to_vec();
        }
        let mut tags = String::new();
        let mut rest = &out[..];
        while let Ok(Some(frame)) = Frame::read(rest) {
            tags.push(char::from(frame.tag));
            rest = &rest[frame.len..];
        }
        (tags, progress)
    }

    #[test]
    fn each_query_and_each_batch_is_told_once_and_what_asks_nothing_is_told_nothing() {
        let batch = [(b'P', &b"\0select 1\0\0\0"[..]), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0")];
        let parts = [&batch[..], &[(b'S', b"")], &[(b'H', b"")]].concat();
        for (asked, expected) in [
            (messages(&[(b'Q', b"select 1\0")]), "EZ"),
            (messages(&[(b'Q', b"select 1\0"), (b'Q', b"select 2\0")]), "EZEZ"),
            (messages(&parts), "EZ"),
            // A pipeline's end asks nothing, and the next query gets an error of its own.
            (messages(&[&parts[..], &[(b'Q', b"select 1\0")]].concat()), "EZEZ"),
            (messages(&[&parts[..], &[(b'S', b"")]].concat()), "EZZ"),
            (messages(&[(b'P', b"\0copy\0\0\0"), (b'd', b"1\n"), (b'c', b""), (b'S', b"")]), "EZ"),
        ] {
            for part in [1, 7, asked.len()] {
                let told = (expected.to_owned(), Progress::Done);
                assert_eq!(answers(&asked, part), told, "{} by {part}", asked.escape_ascii());
            }
        }
    }

    #[test]
    fn a_batch_without_its_sync_is_not_done() {
        let begun = messages(&[(b'P', b"\0select 1\0\0\0"), (b'H', b"")]);
        assert_eq!(answers(&begun, 3), ("E".to_owned(), Progress::InBatch));
        let bye = [begun, messages(&[(b'X', b"")])].concat();
        assert_eq!(answers(&bye, 3), ("E".to_owned(), Progress::Terminate));
    }
}
