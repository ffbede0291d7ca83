//! Passing bytes on with changes in between: nothing is copied where nothing is changed.

use super::put;
use crate::protocol::Frame;

/// Where more than this is to be sent, nothing is added before it has been taken.
pub const BUFFER: usize = 1 << 16;

/// Where what is to be sent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edited {
    /// The chunk itself, as it came.
    Unchanged,
    /// In the output.
    Changed,
}

/// One direction of the stream, between chunks.
#[derive(Debug, Default)]
pub struct Flow {
    /// Of a message under way: so much of its body is still to come.
    left: usize,
    /// That body is left out.
    drops: bool,
    /// What is not dealt with yet.
    held: Vec<u8>,
    /// So much of it is needed.
    need: usize,
}

/// A chunk that is being passed on.
#[derive(Debug)]
pub struct Edit<'c, 'o> {
    chunk: &'c [u8],
    out: &'o mut Vec<u8>,
    /// Up to here the chunk is dealt with.
    at: usize,
    /// Up to here it is in the output, or not to be.
    copied: usize,
    changed: bool,
}

impl Flow {
    pub fn between_messages(&self) -> bool {
        self.left == 0 && self.held.is_empty()
    }

    /// For another stream; the memory is given up.
    pub fn clear(&mut self) {
        (self.left, self.drops, self.need) = (0, false, 0);
        if self.held.capacity() > 0 {
            self.held = Vec::new();
        }
    }

    /// Nothing of a message was sent whose rest is still to come.
    pub fn sent_whole(&self) -> bool {
        self.left == 0
    }

    /// What is to be looked at: `Some(None)` for the chunk itself, the held bytes with the chunk behind them, or `None`
    /// while that is not enough.
    #[allow(clippy::option_option)]
    pub fn take_held(&mut self, chunk: &[u8]) -> Option<Option<Vec<u8>>> {
        if self.held.is_empty() {
            return Some(None);
        }
        self.held.extend_from_slice(chunk);
        (self.held.len() >= self.need).then(|| Some(std::mem::take(&mut self.held)))
    }

    /// Passes on, or leaves out, what belongs to the message under way. Returns it where it is passed on.
    #[inline]
    pub fn body<'c>(&mut self, edit: &mut Edit<'c, '_>) -> &'c [u8] {
        if self.left == 0 { b"" } else { self.body_under_way(edit) }
    }

    fn body_under_way<'c>(&mut self, edit: &mut Edit<'c, '_>) -> &'c [u8] {
        let body = self.left.min(edit.left());
        self.left -= body;
        if self.drops {
            edit.skip(body);
            self.drops = self.left > 0;
            return b"";
        }
        edit.at += body;
        &edit.chunk[edit.at - body..edit.at]
    }

    /// Passes the next `len` bytes on, those that are still to come too.
    pub fn pass(&mut self, edit: &mut Edit<'_, '_>, len: usize) {
        let here = len.min(edit.left());
        edit.at += here;
        self.left = len - here;
    }

    /// Leaves the next `len` bytes out, those that are still to come too.
    pub fn leave_out(&mut self, edit: &mut Edit<'_, '_>, len: usize) {
        self.left = len;
        self.drops = len > 0;
        self.body(edit);
    }

    /// Keeps the rest of the chunk until there are `need` bytes of it.
    pub fn hold(&mut self, edit: &mut Edit<'_, '_>, need: usize) {
        self.held.extend_from_slice(edit.rest());
        self.need = need;
        edit.drop_rest();
    }
}

impl<'c, 'o> Edit<'c, 'o> {
    /// `kept` where the chunk will not outlive the edit, so that all of it must be copied.
    pub fn new(chunk: &'c [u8], out: &'o mut Vec<u8>, kept: bool) -> Self {
        Edit { chunk, out, at: 0, copied: 0, changed: kept }
    }

    /// Passes on the messages that come next, as long as they are there as a whole and of such a type.
    #[inline]
    pub fn pass_whole(&mut self, is_passed: impl Fn(u8) -> bool) {
        while let Ok(Some(Frame { tag, len })) = Frame::read(self.rest())
            && is_passed(tag)
            && len <= self.left()
        {
            self.at += len;
        }
    }

    /// So much of the chunk is not dealt with.
    pub fn left(&self) -> usize {
        self.chunk.len() - self.at
    }

    pub fn rest(&self) -> &'c [u8] {
        &self.chunk[self.at..]
    }

    /// Whether there is so much of our own to send that nothing should be added.
    pub fn is_full(&self) -> bool {
        self.out.len() >= BUFFER
    }

    /// Puts bytes of our own here.
    pub fn insert(&mut self, bytes: &[u8]) {
        self.catch_up();
        self.out.extend_from_slice(bytes);
    }

    /// Puts a message of our own here.
    pub fn message(&mut self, tag: u8, body: &[&[u8]]) {
        self.catch_up();
        put(self.out, tag, body);
    }

    /// Puts the beginning of a message here, whose last `more` bytes follow.
    pub fn begin(&mut self, tag: u8, body: &[&[u8]], more: usize) {
        let len = 4 + more + body.iter().map(|part| part.len()).sum::<usize>();
        self.insert(&[tag]);
        self.insert(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        body.iter().for_each(|part| self.insert(part));
    }

    /// Leaves out the next `len` bytes, which are there.
    pub fn skip(&mut self, len: usize) {
        self.catch_up();
        self.at += len;
        self.copied = self.at;
    }

    pub fn drop_rest(&mut self) {
        self.skip(self.left());
    }

    pub fn finish(mut self) -> Edited {
        if !self.changed {
            return Edited::Unchanged;
        }
        self.catch_up();
        Edited::Changed
    }

    fn catch_up(&mut self) {
        self.out.extend_from_slice(&self.chunk[self.copied..self.at]);
        self.copied = self.at;
        self.changed = true;
    }
}
