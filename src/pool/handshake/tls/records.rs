//! A stream under TLS: the socket is read once for a record, and OpenSSL is asked only where something has come.
//!
//! OpenSSL reads a record's header and then its body, and a question that nothing answers costs it as much as half a
//! record. So what has come is read here, into a buffer of the thread's, and OpenSSL takes both from there.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use openssl::error::ErrorStack;
use openssl::ssl::{self, Ssl, SslRef};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::connection::Stream;

/// The longest record: header, contents, and what encryption adds.
const RECORD: usize = 5 + (1 << 14) + 256;

thread_local! {
    /// An empty buffer, while no stream of the thread has it.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// See the module.
pub struct TlsStream(SslStream<Records>);

/// What is below TLS.
struct Records {
    /// What was read and OpenSSL has not taken yet: from `at` on.
    read: Vec<u8>,
    at: usize,
    stream: Stream,
}

impl TlsStream {
    /// `head` are bytes of the handshake that have been read already.
    pub fn new(session: Ssl, head: Vec<u8>, stream: Stream) -> Result<Self, ErrorStack> {
        SslStream::new(session, Records { read: head, at: 0, stream }).map(TlsStream)
    }

    pub async fn accept(&mut self) -> Result<(), ssl::Error> {
        Pin::new(&mut self.0).accept().await
    }

    pub fn ssl(&self) -> &SslRef {
        self.0.ssl()
    }

    /// OpenSSL has given all that can be read without the socket.
    fn is_dry(&self) -> bool {
        self.0.get_ref().is_empty() && self.0.ssl().pending() == 0
    }
}

impl Records {
    fn is_empty(&self) -> bool {
        self.at == self.read.len()
    }

    /// Reads where nothing is left; nothing at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut buffer = SPARE.take();
        buffer.clear();
        buffer.reserve_exact(RECORD);
        let read = pin!(self.stream.read_buf(&mut buffer)).poll(cx);
        (self.read, self.at) = (buffer, 0);
        self.give_back();
        read.map_ok(drop)
    }

    /// A buffer in which nothing is left is the next stream's.
    fn give_back(&mut self) {
        if self.is_empty() {
            self.at = 0;
            SPARE.set(std::mem::take(&mut self.read));
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_dry() {
            ready!(self.0.get_mut().poll_fill(cx))?;
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncRead for Records {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let end = self.read.len().min(self.at + buf.remaining());
        buf.put_slice(&self.read[self.at..end]);
        self.at = end;
        self.give_back();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncWrite for Records {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
