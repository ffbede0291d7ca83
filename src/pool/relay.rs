//! Moves bytes between a client and its session, both ways at once, until the session is free or one side is gone.
//!
//! Buffers belong to the thread: a chunk is read, looked at and written on within one poll, and only what the other side
//! does not take at once is kept. While something is kept, nothing more is read for that side.

mod buffers;
mod chunks;
mod limits;

use std::task::{Context, Poll};

use tokio::time::Instant;

use self::buffers::poll_in;
use self::buffers::{RelayBuffers, with_scratch};
pub use self::buffers::{give_back, poll_first, poll_out};
use self::limits::Timer;
pub use self::limits::{HALF_CLOSED, Limit, Limits};
use super::link::Link;
use super::registry::{Cancelling, ClientSignal, Registered};
use super::server::Server;
use super::settings::{ClientSettings, SettingValues};
use super::shared::Shared;
use super::statements::ClientStatements;
use crate::connection::Stream;
use crate::protocol::{Violation, backend};

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// The session is free; what the client has not read yet is kept for it.
    Free,
    /// The client said goodbye; what it has asked before is still to be done.
    Goodbye,
    /// The client hung up, or sent what no client may send.
    ClientGone(Option<Violation>),
    /// The client has stopped in the middle of something.
    ClientStopped(Limit),
    /// The server hung up, or sent what no server may send.
    ServerGone(Option<Violation>),
    /// The session may have lost settings that the client asked for; it stays the client's.
    Reset,
    /// The server is quiet, and the client has nothing under way; the session stays the client's.
    Quiet,
    /// The server hangs and was given up.
    Cut,
    /// The pool ends and waits no longer.
    Over,
}

/// A client's end of its sessions, one after the other.
#[derive(Debug)]
pub struct Relay {
    /// What passes, and what is changed of it.
    pub link: Link,
    /// The session is the client's until it leaves.
    for_good: bool,
    /// What the client has sent before it had the session.
    first: Vec<u8>,
    to_server: Vec<u8>,
    owes: Owes,
    client: ClientSide,
    /// The server has ended.
    over: bool,
    timer: Timer,
}

/// What the server owes the client, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owes {
    Answer(Instant),
    Nothing(Instant),
}

/// Whether more is to come of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientSide {
    Sends,
    /// It has said that nothing more will come, or is gone: that, the answers will show.
    Finished,
}

/// The streams of which no more is to be had in this poll: they wake the task when there is.
#[derive(Debug, Default)]
struct Dry {
    client: bool,
    server: bool,
}

/// What a relay works between, and what it notes things in.
pub struct Sides<'a> {
    pub shared: &'a Shared,
    pub registered: &'a Registered,
    pub client: &'a mut Stream,
    pub server: &'a mut Server,
    pub statements: &'a mut ClientStatements,
    /// The client's settings, as the server reports them.
    pub settings: &'a mut ClientSettings,
    /// What the client has not read yet.
    pub to_client: &'a mut Vec<u8>,
    pub limits: Limits,
}

impl Relay {
    pub fn new(for_good: bool) -> Self {
        Relay {
            link: Link::new(!for_good),
            for_good,
            first: Vec::new(),
            to_server: Vec::new(),
            owes: Owes::Nothing(Instant::now()),
            client: ClientSide::Sends,
            over: false,
            timer: Timer::default(),
        }
    }

    /// There is a session, of whose server the client has asked `first`.
    pub fn begin(&mut self, first: Vec<u8>) {
        self.link.begin();
        self.first = first;
        self.to_server = Vec::new();
        self.over = false;
    }

    /// It begins, or goes on, with a session that was last heard then and owes nothing.
    pub fn goes_on(&mut self, heard: Instant) {
        self.owes = Owes::Nothing(heard);
    }

    /// The client has no session for now: no more memory is kept than most transactions need.
    pub fn rest(&mut self) {
        self.link.shrink();
    }

    /// The session is the client's until it leaves.
    pub fn is_for_good(&self) -> bool {
        self.for_good
    }

    /// All that the client has sent is the server's.
    pub fn has_sent_all(&self) -> bool {
        self.to_server.is_empty()
    }

    pub fn poll(&mut self, cx: &mut Context<'_>, sides: &mut Sides<'_>) -> Poll<Ended> {
        let signal = sides.registered.entry.signal();
        match signal {
            ClientSignal::Cut => return Poll::Ready(Ended::Cut),
            ClientSignal::End => return Poll::Ready(Ended::Over),
            ClientSignal::GoOn | ClientSignal::Leave => {}
        }
        // A client for good has no end of its own: it is asked to leave when it has nothing under way.
        let leaves = self.for_good && signal == ClientSignal::Leave;
        loop {
            let ended = with_scratch(|scratch| self.move_bytes(cx, sides, scratch));
            if let Some(ended) = ended {
                return Poll::Ready(ended);
            }
            if leaves && self.link.is_free() {
                return Poll::Ready(Ended::Free);
            }
            let (limit, began) = self.limit(sides);
            match self.timer.poll(limit, began, &sides.limits, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Limit::Query) => {
                    let cancelling = Cancelling::new(&sides.server.backend);
                    let (done, _) = tokio::sync::oneshot::channel();
                    sides.shared.driver.cancel(cancelling, done);
                }
                Poll::Ready(Limit::Quiet) => return Poll::Ready(Ended::Quiet),
                // One that is gone refuses what it is sent, and then the next thing that it is sent.
                Poll::Ready(Limit::HalfClosed) => self.probe(sides),
                Poll::Ready(limit) => return Poll::Ready(Ended::ClientStopped(limit)),
            }
        }
    }

    /// What is waited for, where that has an end, and since when, where that is known.
    fn limit(&self, sides: &Sides<'_>) -> (Option<Limit>, Option<Instant>) {
        let limit = if self.client == ClientSide::Finished {
            Limit::HalfClosed
        } else if self.link.awaits_rest() && self.to_server.is_empty() {
            Limit::Rest
        } else if let Owes::Answer(since) = self.owes {
            return (Some(Limit::Query), Some(since));
        } else if self.link.is_idle_in_transaction() {
            Limit::IdleTransaction
        } else if let Owes::Nothing(since) = self.owes
            && self.for_good
            && self.is_at_rest(sides)
        {
            return (Some(Limit::Quiet), Some(since));
        } else {
            return (None, None);
        };
        (Some(limit), None)
    }

    fn probe(&self, sides: &mut Sides<'_>) {
        if sides.to_client.is_empty() && self.link.can_tell() {
            probe(sides.settings.told(), sides.to_client);
        }
    }

    /// Until nothing moves.
    fn move_bytes(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        scratch: &mut RelayBuffers,
    ) -> Option<Ended> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            let ended = self.client_sent(cx, &first, sides, &mut scratch.edited);
            give_back(first);
            if ended.is_some() {
                return ended;
            }
        }
        let mut dry = Dry::default();
        loop {
            let mut moved = false;
            if !self.to_server.is_empty() {
                match poll_out(&mut sides.server.stream, &mut self.to_server, cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => self.server_broke(),
                    Poll::Pending => {}
                }
            }
            if !sides.to_client.is_empty() {
                match poll_out(sides.client, sides.to_client, cx) {
                    Poll::Ready(Ok(())) => {
                        moved = true;
                        sides.registered.owed(matches!(self.owes, Owes::Answer(_)), Instant::now());
                    }
                    Poll::Ready(Err(_)) => return Some(Ended::ClientGone(None)),
                    Poll::Pending => {}
                }
            }
            if self.over {
                return Some(Ended::ServerGone(None));
            }
            if sides.to_client.is_empty() && !dry.server {
                match poll_in(&mut sides.server.stream, &mut scratch.read, cx) {
                    Poll::Ready(Ok(n @ 1..)) => {
                        moved = true;
                        let ended = self.server_sent(cx, &scratch.read[..n], sides, &mut scratch.edited);
                        if ended.is_some() {
                            return ended;
                        }
                    }
                    Poll::Ready(_) => (moved, self.over) = (true, true),
                    Poll::Pending => dry.server = true,
                }
            }
            // A client that reads slowly keeps its answers waiting, not the session.
            if self.is_free() {
                return Some(Ended::Free);
            }
            if self.has_reset(sides) {
                return Some(Ended::Reset);
            }
            if self.to_server.is_empty() && !self.over {
                match self.poll_client(cx, sides, scratch, &mut dry) {
                    Poll::Ready(Some(ended)) => return Some(ended),
                    Poll::Ready(None) => moved = true,
                    Poll::Pending => {}
                }
            }
            if !moved {
                return None;
            }
        }
    }

    fn is_free(&self) -> bool {
        !self.for_good && self.link.is_free() && self.to_server.is_empty()
    }

    /// Nothing is under way, in either direction.
    fn is_at_rest(&self, sides: &Sides<'_>) -> bool {
        let sent = self.first.is_empty() && self.to_server.is_empty() && sides.to_client.is_empty();
        sent && self.link.is_free()
    }

    fn has_reset(&mut self, sides: &Sides<'_>) -> bool {
        if !self.link.has_reset() || !self.to_server.is_empty() {
            return false;
        }
        self.link.is_restored();
        sides.settings.ask_for_something()
    }
}

/// Something that every client reads over: to see whether it is still there.
pub fn probe(told: &SettingValues, out: &mut Vec<u8>) {
    const NAME: &str = "client_encoding";
    told.get(NAME).into_iter().for_each(|value| backend::parameter_status(out, NAME, value));
}
