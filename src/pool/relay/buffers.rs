//! The thread's buffers, and reading and writing without waiting.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Stream;

/// Read at once.
const CHUNK: usize = 1 << 16;
/// What a chunk is edited to may grow to twice this; more is given back.
const EDITED: usize = 2 * CHUNK;

/// One chunk, as it is read and as it is sent.
pub struct RelayBuffers {
    pub read: Vec<u8>,
    pub edited: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<RelayBuffers> = RefCell::new(RelayBuffers { read: vec![0; CHUNK], edited: Vec::new() });
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

/// Reads a first chunk of a client that has no session; nothing at the end of the stream.
pub fn poll_first(client: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    with_scratch(|scratch| {
        let read = ready!(poll_in(client, &mut scratch.read, cx))?;
        Poll::Ready(Ok(scratch.read[..read].to_vec()))
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
