//! Answers a client that gets no session, message by message, as a server would: each query, and each batch up to its
//! Sync, is answered with the error, and the connection stays good for the next.

use super::message::{self, Severity};
use super::refusal::Refusal;
use super::wire::{Frame, Violation};

/// The answers to what a client has asked in vain.
#[derive(Debug)]
pub struct Apology {
    refusal: Refusal,
    /// The batch has been told; the rest of it is read over.
    told: bool,
    /// Of a message that is read over: so much is still to come.
    skip: usize,
    /// A header in parts.
    held: Vec<u8>,
}

/// Where the client is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// In the middle of what it asked for.
    More,
    /// It has been told all; the next message is a new question.
    All,
    /// It says goodbye.
    Terminate,
}

impl Apology {
    pub fn new(refusal: Refusal) -> Self {
        Apology { refusal, told: false, skip: 0, held: Vec::new() }
    }

    /// Bytes from the client; what it is told goes to `out`.
    pub fn hear(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<Heard, Violation> {
        let held = std::mem::take(&mut self.held);
        let joined;
        let mut bytes = chunk;
        if !held.is_empty() {
            joined = [&held, chunk].concat();
            bytes = &joined;
        }
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let Some(frame) = Frame::read(bytes)? else {
                self.held = bytes.to_vec();
                break;
            };
            self.skip = frame.len;
            match frame.tag {
                b'X' => return Ok(Heard::Terminate),
                b'Q' | b'F' | b'S' => {
                    self.tell(out);
                    self.ready(out);
                }
                b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.tell(out),
                // COPY data that was on its way.
                b'd' | b'c' | b'f' => {}
                _ => return Err(Violation::unknown(frame)),
            }
        }
        let at_rest = !self.told && self.skip == 0 && self.held.is_empty();
        Ok(if at_rest { Heard::All } else { Heard::More })
    }

    fn tell(&mut self, out: &mut Vec<u8>) {
        if !self.told {
            self.refusal.write(out, Severity::Error);
            self.told = true;
        }
    }

    fn ready(&mut self, out: &mut Vec<u8>) {
        message::ready_for_query(out, b'I');
        self.told = false;
    }
}
