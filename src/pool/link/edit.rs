//! Passing bytes on with changes in between: nothing is copied where nothing is changed.

use super::put;

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
    /// Of a message that passes: so much of its body is still to come.
    left: usize,
    /// The beginning of a message that must be read before it may pass.
    held: Vec<u8>,
    /// So much of it is needed.
    need: usize,
}

/// A chunk that is being passed on.
#[derive(Debug)]
pub struct Cut<'c, 'o> {
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

    /// The chunk from the next message's start; `None` at its end.
    pub fn next<'c>(&mut self, cut: &mut Cut<'c, '_>) -> Option<&'c [u8]> {
        let body = self.left.min(cut.left());
        cut.at += body;
        self.left -= body;
        (cut.left() > 0).then(|| &cut.chunk[cut.at..])
    }

    /// Passes the next `len` bytes on, those that are still to come too.
    pub fn pass(&mut self, cut: &mut Cut<'_, '_>, len: usize) {
        let here = len.min(cut.left());
        cut.at += here;
        self.left = len - here;
    }

    /// Keeps the rest of the chunk until there are `need` bytes of it.
    pub fn hold(&mut self, cut: &mut Cut<'_, '_>, need: usize) {
        self.held.extend_from_slice(&cut.chunk[cut.at..]);
        self.need = need;
        cut.drop_rest();
    }
}

impl<'c, 'o> Cut<'c, 'o> {
    /// `kept` where the chunk will not outlive the cut, so that all of it must be copied.
    pub fn new(chunk: &'c [u8], out: &'o mut Vec<u8>, kept: bool) -> Self {
        Cut { chunk, out, at: 0, copied: 0, changed: kept }
    }

    /// So much of the chunk is not dealt with.
    pub fn left(&self) -> usize {
        self.chunk.len() - self.at
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
