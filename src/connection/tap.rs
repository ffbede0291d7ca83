//! The stream that tokio-postgres holds: a thin handle on a state that holds the real one.
//!
//! So the real stream can be taken back after a login, what passes is scanned and bounded, and how the stream ended
//! is known first-hand. Knows nothing of TLS: the state's stream is already plain to read.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::auth::AuthDemand;
use super::facts;
use super::scanner::{Observed, Scanner};
use crate::protocol::Violation;
use crate::reason::Cause;
use crate::target::Secret;

/// What carries bytes both ways: a socket, or TLS on one.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A [`Duplex`] whose kind does not matter any more.
pub type Stream = Box<dyn Duplex>;

/// The handle; its clones share the state.
#[derive(Clone)]
pub struct Tap(Arc<Mutex<TapState>>);

struct TapState {
    /// `None` once it was taken back.
    stream: Option<Stream>,
    scanner: Scanner,
    /// The hash of the server's certificate that SCRAM binds the login to.
    end_point: Option<Vec<u8>>,
    demand: AuthDemand,
    /// A write has failed, and the peer's last words are still being read.
    broken: Option<io::Error>,
    /// How the stream ended, as the stream itself tells.
    ended: Option<Cause>,
}

impl Tap {
    pub fn new(stream: Stream, end_point: Option<Vec<u8>>, demand: AuthDemand) -> Self {
        Tap(Arc::new(Mutex::new(TapState {
            stream: Some(stream),
            scanner: Scanner::new(),
            end_point,
            demand,
            broken: None,
            ended: None,
        })))
    }

    /// A question is about to be asked.
    pub fn ask(&self) {
        self.state().scanner.ask();
    }

    /// The server's last error is dealt with.
    pub fn forget_error(&self) {
        self.state().scanner.forget_error();
    }

    /// What the server has said so far.
    pub fn observed<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(self.state().scanner.observed())
    }

    /// Why the conversation ended, or an answer in it was an error: `error` is tokio-postgres's view of that.
    pub fn cause(&self, error: &tokio_postgres::Error, password: Option<&Secret>) -> Cause {
        let state = self.state();
        facts::cause(state.scanner.observed(), state.ended.as_ref(), error, password)
    }

    /// Nothing is outstanding: the server waits for a query, and no part of a message has been read.
    pub fn at_rest(&self) -> bool {
        let state = self.state();
        state.ended.is_none()
            && state.scanner.observed().error.is_none()
            && state.scanner.observed().ready
            && state.scanner.between_messages()
    }

    /// Takes the real stream; the handle is an empty shell from then on.
    pub fn take_stream(&self) -> Option<Stream> {
        self.state().stream.take()
    }

    /// Nobody panics while holding the lock, and a scanner's state is whole between calls.
    fn state(&self) -> MutexGuard<'_, TapState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TapState {
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
        })?;
        match self.demand.objection(self.scanner.observed()) {
            Some(message) => {
                self.end(facts::config(message));
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "require_auth"))
            }
            None => Ok(()),
        }
    }

    /// A write fails as soon as the peer is gone, and what it said before it went may still lie unread: the error, or
    /// TLS's alert, that tells why. Ready at the end of that.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
        let mut state = self.state();
        let before = buf.filled().len();
        let result = ready!(state.stream()?.poll_read(cx, buf));
        state.noted(result)?;
        Poll::Ready(state.received(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if state.broken.is_none() {
            match ready!(state.stream()?.poll_write(cx, buf)) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => state.broken = Some(error),
            }
        }
        ready!(state.poll_drain(cx));
        let error = state.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(state.noted(Err(error)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let result = ready!(state.stream()?.poll_flush(cx));
        Poll::Ready(state.noted(result))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().stream()?.poll_shutdown(cx)
    }
}

impl TlsStream for Tap {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.state().end_point {
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

        let mut tap = Tap::new(Box::new(ours), None, AuthDemand::Any);
        while tap.write_all(b"anything").await.is_ok() {}
        let said = tap.observed(|observed| observed.error.clone()).unwrap();
        assert_eq!((&*said.sqlstate, &*said.message), ("53300", "full"));
        let ended = &tap.state().ended;
        assert!(matches!(ended, Some(Cause::Io { .. })), "{ended:?}");
    }
}
