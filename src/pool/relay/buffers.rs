//! The thread's buffers, and reading and writing without waiting.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Stream;

/// Read at once.
const CHUNK: usize = 1 << 16;
/// A buffer that has more memory than this is not kept for the next client: it may hold it for long.
const SPARE_ROOM: usize = 1 << 12;
/// What a chunk is edited to may grow to twice this; more is given back.
const EDITED: usize = 2 * CHUNK;

/// One chunk, as it is read and as it is sent.
pub struct RelayBuffers {
    pub read: Vec<u8>,
    pub edited: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<RelayBuffers> = RefCell::new(RelayBuffers { read: vec![0; CHUNK], edited: Vec::new() });
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An empty buffer, which has memory if the thread has some to spare: most are needed for a moment only.
fn spare() -> Vec<u8> {
    SPARE.take()
}

/// What is not needed any more.
pub fn give_back(mut buffer: Vec<u8>) {
    if (1..=SPARE_ROOM).contains(&buffer.capacity()) {
        buffer.clear();
        SPARE.set(buffer);
    }
}

pub fn with_scratch<T>(f: impl FnOnce(&mut RelayBuffers) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        let result = f(scratch);
        if scratch.edited.capacity() > 2 * EDITED {
            scratch.edited = Vec::new();
        }
        result
    })
}

/// Reads more of a client that has no session. How much it was: nothing at the end of the stream.
pub fn poll_first(client: &mut Stream, have: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    with_scratch(|scratch| {
        let read = ready!(poll_in(client, &mut scratch.read, cx))?;
        if have.is_empty() {
            *have = spare();
        }
        have.extend_from_slice(&scratch.read[..read]);
        Poll::Ready(Ok(read))
    })
}

pub fn poll_in(stream: &mut Stream, read: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(read);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

/// Writes what it can at once, and keeps the rest.
pub fn send(
    stream: &mut Stream,
    kept: &mut Vec<u8>,
    mut bytes: &[u8],
    cx: &mut Context<'_>,
) -> io::Result<()> {
    while kept.is_empty() && !bytes.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => bytes = &bytes[n..],
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    kept.extend_from_slice(bytes);
    Ok(())
}

/// Writes what was kept. Ready once nothing is.
pub fn poll_out(stream: &mut Stream, kept: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut at = 0;
    let result = loop {
        if at == kept.len() {
            break Poll::Ready(Ok(()));
        }
        match Pin::new(&mut *stream).poll_write(cx, &kept[at..]) {
            Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => at += n,
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending => break Poll::Pending,
        }
    };
    kept.drain(..at);
    if kept.is_empty() {
        *kept = Vec::new();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_serves_again_and_a_large_one_is_given_up() {
        let small = b"a question".repeat(10);
        let memory = small.as_ptr();
        give_back(small);
        let again = spare();
        assert!(again.is_empty() && again.as_ptr() == memory);
        assert_eq!(spare().capacity(), 0, "one at a time");
        give_back(again);
        give_back(vec![0; SPARE_ROOM + 1]);
        give_back(Vec::new());
        let kept = spare();
        assert_eq!(kept.as_ptr(), memory);
    }
}
