//! The stream that tokio-postgres holds: a thin handle on a slot that holds the real one.
//!
//! So the real stream can be taken back after a login, what passes is scanned and bounded, and how the stream ended
//! is known first-hand. Knows nothing of TLS: the slot's stream is already plain to read.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::facts;
use super::scanner::{Observed, Scanner};
use crate::protocol::Violation;
use crate::reason::Cause;

/// What carries bytes both ways: a socket, or TLS on one.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A [`Duplex`] whose kind does not matter any more.
pub type Stream = Box<dyn Duplex>;

/// The handle; its clones share the slot.
#[derive(Clone)]
pub struct Tap(Arc<Mutex<Slot>>);

struct Slot {
    /// `None` once it was taken back.
    stream: Option<Stream>,
    scanner: Scanner,
    /// The hash of the server's certificate that SCRAM binds the login to.
    end_point: Option<Vec<u8>>,
    /// A write has failed, and the peer's last words are still being read.
    broken: Option<io::Error>,
    /// How the stream ended, as the stream itself tells.
    ended: Option<Cause>,
}

impl Tap {
    pub fn new(stream: Stream, end_point: Option<Vec<u8>>) -> Self {
        Tap(Arc::new(Mutex::new(Slot {
            stream: Some(stream),
            scanner: Scanner::new(),
            end_point,
            broken: None,
            ended: None,
        })))
    }

    /// A question is about to be asked.
    pub fn ask(&self) {
        self.slot().scanner.ask();
    }

    /// The server's last error is dealt with.
    pub fn forget_error(&self) {
        self.slot().scanner.forget_error();
    }

    /// What the server has said so far.
    pub fn observed<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(self.slot().scanner.observed())
    }

    /// How the stream ended, once it has.
    pub fn ended(&self) -> Option<Cause> {
        self.slot().ended.clone()
    }

    /// Nothing is outstanding: the server waits for a query, and no part of a message has been read.
    pub fn at_rest(&self) -> bool {
        let slot = self.slot();
        slot.ended.is_none()
            && slot.scanner.observed().error.is_none()
            && slot.scanner.observed().ready
            && slot.scanner.between_messages()
    }

    /// Takes the real stream; the handle is an empty shell from then on.
    pub fn take_stream(&self) -> Option<Stream> {
        self.slot().stream.take()
    }

    /// Nobody panics while holding the lock, and a scanner's state is whole between calls.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        match &mut self.stream {
            Some(stream) => Ok(Pin::new(stream)),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "the stream was taken back")),
        }
    }

    /// The first end counts: what follows it is an echo.
    fn end(&mut self, cause: Cause) {
        self.ended.get_or_insert(cause);
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            self.end(Cause::Closed);
            return Ok(());
        }
        self.scanner.feed(bytes).map_err(|Violation { message, .. }| {
            let message = message.into_owned();
            self.end(Cause::Protocol { message: message.clone() });
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// A write fails as soon as the peer is gone, and what it said before it went may still lie unread: the error, or
    /// TLS's alert, that tells why. Ready at the end of that.
    fn poll_hear_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        while let Some(stream) = &mut self.stream {
            let mut buf = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(stream).poll_read(cx, &mut buf)) {
                Ok(()) if buf.filled().is_empty() || self.scanner.feed(buf.filled()).is_err() => break,
                Ok(()) => {}
                Err(error) => {
                    if let alert @ Cause::Tls { .. } = facts::io_cause(&error) {
                        self.end(alert);
                    }
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| self.end(facts::io_cause(error)))
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut slot = self.slot();
        let before = buf.filled().len();
        let result = ready!(slot.stream()?.poll_read(cx, buf));
        slot.noted(result)?;
        Poll::Ready(slot.received(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut slot = self.slot();
        if slot.broken.is_none() {
            match ready!(slot.stream()?.poll_write(cx, buf)) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => slot.broken = Some(error),
            }
        }
        ready!(slot.poll_hear_out(cx));
        let error = slot.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(slot.noted(Err(error)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slot = self.slot();
        let result = ready!(slot.stream()?.poll_flush(cx));
        Poll::Ready(slot.noted(result))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.slot().stream()?.poll_shutdown(cx)
    }
}

impl TlsStream for Tap {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.slot().end_point {
            Some(hash) => ChannelBinding::tls_server_end_point(hash.clone()),
            None => ChannelBinding::none(),
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// Tells tokio-postgres that TLS, where wanted, is already there: it takes the handle as its TLS stream and so asks
/// it for the channel binding.
#[derive(Debug, Clone, Copy)]
pub struct AlreadyNegotiated;

impl TlsConnect<Tap> for AlreadyNegotiated {
    type Stream = Tap;
    type Error = Infallible;
    type Future = Ready<Result<Tap, Infallible>>;

    fn connect(self, stream: Tap) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_a_peer_said_before_it_went_is_heard_though_the_write_fails_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(b"E\0\0\0\x1aVFATAL\0C53300\0Mfull\0\0\0\0").unwrap();
        socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);

        let mut tap = Tap::new(Box::new(ours), None);
        while tap.write_all(b"anything").await.is_ok() {}
        let said = tap.observed(|observed| observed.error.clone()).unwrap();
        assert_eq!((&*said.sqlstate, &*said.message), ("53300", "full"));
        assert!(matches!(tap.ended(), Some(Cause::Io { .. })), "{:?}", tap.ended());
    }
}
