//! What is to happen when, and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dials::LoginId;
use super::hosts::{Mood, SimBackend, Wire};
use super::supervised::Asked;
use super::task_model::Question;
use crate::pool::session_slot::SessionSlot;
use crate::target::Target;

/// Something that happens to one of them.
pub enum Happening {
    Accident,
    HostIs(usize, Mood),
    /// The guard lets somebody through by the clock alone.
    Turn,
    /// The server has taken the socket, or not.
    Dial(LoginId),
    Login(LoginId),
    /// The machine's timer; void where it was set anew since.
    Supervised {
        target: usize,
        version: u64,
    },
    Pong {
        target: usize,
        asked: Asked,
    },
    LineEnds {
        target: usize,
        wire: Arc<Wire>,
    },
    LineClosed(usize),
    /// The pool's task is woken.
    Task(usize),
    /// The files of the target have been read for a session that is to be opened.
    Prepared {
        pool: usize,
        slot: SessionSlot,
        urgent: bool,
        configured: Arc<Target>,
    },
    /// The server may have answered the pool's own question.
    Answer {
        pool: usize,
        question: Question,
    },
    /// Void where the client has come or gone since.
    Client {
        pool: usize,
        client: usize,
        visit: u64,
    },
    Cancelled {
        backend: Arc<SimBackend>,
        reached: bool,
    },
    /// A session has said nothing for as long as its server allows, perhaps.
    QuietEnds(Arc<Wire>),
}

/// What happens at the same time happens in the order in which it was put here.
pub struct Agenda {
    now: Instant,
    number: u64,
    entries: BTreeMap<(Instant, u64), Happening>,
}

impl Agenda {
    pub fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        Agenda { now, number: 0, entries: BTreeMap::new() }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// Never the same.
    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub fn put(&mut self, wait: Duration, happening: Happening) {
        self.put_at(self.now + wait, happening);
    }

    pub fn put_at(&mut self, at: Instant, happening: Happening) {
        let number = self.next_number();
        self.entries.insert((at.max(self.now), number), happening);
    }

    /// Moves the clock to the next that happens, or to `until`.
    pub async fn next(&mut self, until: Instant) -> Option<Happening> {
        let found = self.entries.first_entry().filter(|entry| entry.key().0 <= until);
        let (at, happening) = match found {
            Some(entry) => (entry.key().0, Some(entry.remove())),
            None => (until, None),
        };
        if at > self.now {
            tokio::time::advance(at - self.now).await;
            self.now = at;
        }
        happening
    }
}
