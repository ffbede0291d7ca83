//! Moves bytes between a client and its session, both ways at once, until the session is free or one side is gone.
//!
//! Buffers belong to the thread: a chunk is read, looked at and written on within one poll, and only what the other side
//! does not take at once is kept. While something is kept, nothing more is read for that side.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::link::{Asked, Desk, Edited, Link};
use super::registry::{Order, Registered};
use super::server::Server;
use super::settings::ClientSettings;
use super::shared::Shared;
use super::statements::ClientStatements;
use crate::connection::Stream;
use crate::protocol::Violation;

/// Read at once.
const CHUNK: usize = 1 << 16;

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// The session is free; what the client has not read yet is kept for it.
    Free,
    /// The client said goodbye; what it has asked before is still to be done.
    Goodbye,
    /// The client hung up, or sent what no client may send.
    ClientGone(Option<Violation>),
    /// The server hung up, or sent what no server may send.
    ServerGone(Option<Violation>),
    /// The session may have lost settings that the client asked for; it stays the client's.
    Reset,
    /// The server is quiet, and the client has nothing under way; the session stays the client's.
    Quiet,
    /// The server hangs and was given up.
    Cut,
}

/// A client with a session.
pub struct Relay<'a> {
    pub shared: &'a Shared,
    pub registered: &'a Registered,
    pub client: &'a mut Stream,
    pub server: &'a mut Server,
    pub link: &'a mut Link,
    pub statements: &'a mut ClientStatements,
    /// The client's settings, as the server reports them.
    pub settings: &'a mut ClientSettings,
    /// The session is the client's until it leaves.
    pub for_good: bool,
    /// What the client has sent already.
    pub first: Vec<u8>,
    pub to_client: Vec<u8>,
    pub to_server: Vec<u8>,
    /// When the server began to owe an answer.
    pub asked: Option<Instant>,
    /// When the server was last asked for something and had answered all of it.
    pub ready: Instant,
    /// The server has ended.
    pub over: bool,
}

struct Scratch {
    read: Vec<u8>,
    edited: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { read: vec![0; CHUNK], edited: Vec::new() });
}

/// Reads a first chunk of a client that has no session; nothing at the end of the stream.
pub fn poll_first(client: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buf = ReadBuf::new(&mut scratch.read);
        ready!(Pin::new(client).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().to_vec()))
    })
}

impl Relay<'_> {
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        SCRATCH.with_borrow_mut(|scratch| self.poll_with(cx, scratch))
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Ended> {
        match self.registered.entry.order(cx) {
            Order::Cut => return Poll::Ready(Ended::Cut),
            // A client for good has no end of its own: it is asked to leave when it has nothing under way.
            Order::Leave if self.for_good && self.link.is_free() => return Poll::Ready(Ended::Free),
            Order::GoOn | Order::Leave => {}
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            if let Some(ended) = self.client_said(cx, &first, &mut scratch.edited) {
                return Poll::Ready(ended);
            }
        }
        loop {
            let mut moved = false;
            if !self.to_server.is_empty() {
                match poll_out(&mut self.server.stream, &mut self.to_server, cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => self.server_broke(),
                    Poll::Pending => {}
                }
            }
            if !self.to_client.is_empty() {
                match poll_out(self.client, &mut self.to_client, cx) {
                    Poll::Ready(Ok(())) => {
                        moved = true;
                        self.registered.owed(self.asked.is_some(), Instant::now());
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Ended::ClientGone(None)),
                    Poll::Pending => {}
                }
            }
            if self.over {
                return Poll::Ready(Ended::ServerGone(None));
            }
            if self.to_client.is_empty()
                && let Poll::Ready(bytes) = poll_in(&mut self.server.stream, &mut scratch.read, cx)
            {
                moved = true;
                match bytes {
                    Ok(0) | Err(_) => self.over = true,
                    Ok(n) => {
                        if let Some(ended) = self.server_said(cx, &scratch.read[..n], &mut scratch.edited) {
                            return Poll::Ready(ended);
                        }
                    }
                }
            }
            // A client that reads slowly keeps its answers waiting, not the session.
            if self.is_free() {
                return Poll::Ready(Ended::Free);
            }
            if self.has_reset() {
                return Poll::Ready(Ended::Reset);
            }
            if self.to_server.is_empty()
                && !self.over
                && let Poll::Ready(bytes) = poll_in(self.client, &mut scratch.read, cx)
            {
                moved = true;
                match bytes {
                    Ok(0) | Err(_) => return Poll::Ready(Ended::ClientGone(None)),
                    Ok(n) => {
                        if let Some(ended) = self.client_said(cx, &scratch.read[..n], &mut scratch.edited) {
                            return Poll::Ready(ended);
                        }
                    }
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn is_free(&self) -> bool {
        !self.for_good && self.link.is_free() && self.to_server.is_empty()
    }

    /// Nothing is under way, in either direction.
    pub fn is_at_rest(&self) -> bool {
        self.link.is_free() && self.to_server.is_empty() && self.to_client.is_empty() && self.first.is_empty()
    }

    fn has_reset(&mut self) -> bool {
        if !self.link.has_reset() || !self.to_server.is_empty() {
            return false;
        }
        self.link.is_restored();
        self.settings.ask_for_something()
    }

    fn client_said(&mut self, cx: &mut Context<'_>, chunk: &[u8], edited: &mut Vec<u8>) -> Option<Ended> {
        edited.clear();
        let settings = self.settings.meaning();
        let passed = self.shared.with_catalog(|catalog| {
            let desk =
                &mut Desk { catalog, client: self.statements, server: &mut self.server.statements, settings };
            self.link.client_said(chunk, edited, desk)
        });
        let (how, asked) = match passed {
            Ok(passed) => passed,
            Err(violation) => return Some(Ended::ClientGone(Some(violation))),
        };
        if self.asked.is_none() && self.link.awaits_answer() {
            let now = Instant::now();
            self.asked = Some(now);
            self.registered.owed(true, now);
        }
        let bytes = match how {
            Edited::Unchanged => chunk,
            Edited::Changed => edited,
        };
        if send(&mut self.server.stream, &mut self.to_server, bytes, cx).is_err() {
            self.server_broke();
        }
        (asked == Asked::Terminate).then_some(Ended::Goodbye)
    }

    fn server_said(&mut self, cx: &mut Context<'_>, chunk: &[u8], edited: &mut Vec<u8>) -> Option<Ended> {
        edited.clear();
        let settings = self.settings.meaning();
        let (on_server, mut reported) = (&mut self.server.settings, false);
        let passed = self.shared.with_catalog(|catalog| {
            let desk =
                &mut Desk { catalog, client: self.statements, server: &mut self.server.statements, settings };
            self.link.server_said(chunk, edited, desk, |name, value| {
                on_server.report(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
                reported = true;
            })
        });
        let how = match passed {
            Ok(how) => how,
            Err(violation) => return Some(Ended::ServerGone(Some(violation))),
        };
        if reported {
            self.settings.are_told(&self.server.settings);
        }
        if self.link.is_stale() {
            self.server.backend.retire();
        }
        let now = Instant::now();
        self.server.heard = now;
        if let Some(asked) = self.asked {
            let owed = self.link.awaits_answer();
            self.registered.owed(owed, now);
            if !owed {
                self.asked = None;
                self.ready = now;
                self.shared.status.answered(now - asked);
            }
        }
        let bytes = match how {
            Edited::Unchanged => chunk,
            Edited::Changed => edited,
        };
        let sent = send(self.client, &mut self.to_client, bytes, cx);
        // Nothing is read of a server while its client does not read: that is no silence of the server's.
        if !self.to_client.is_empty() {
            self.registered.owed(false, now);
        }
        sent.is_err().then_some(Ended::ClientGone(None))
    }

    /// What the server said before it went is still to be read.
    fn server_broke(&mut self) {
        self.to_server.clear();
    }
}

fn poll_in(stream: &mut Stream, read: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(read);
    ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

/// Writes what it can at once, and keeps the rest.
fn send(stream: &mut Stream, kept: &mut Vec<u8>, mut bytes: &[u8], cx: &mut Context<'_>) -> io::Result<()> {
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
