//! The sessions of a pool, and what is known of each.

use std::time::{Duration, Instant};

use slotmap::SlotMap;

use super::event::{ClientId, SessionId};
use crate::status::pool::ServerState;

/// What is known of one session.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    pub state: SessionState,
    /// The generation under which it was opened.
    pub generation: u64,
    /// When the server last said something.
    pub heard: Instant,
    /// When a client last had it.
    pub used: Instant,
    pub due: Renewal,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// `replaces`: an old session is closed once it is there.
    Opening {
        replaces: bool,
    },
    Idle,
    Testing {
        since: Instant,
    },
    Held(ClientId),
    Resetting,
    /// Its slot at the server is not free yet.
    Closing,
}

/// When a session is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Renewal {
    Never,
    At(Instant),
    /// As soon as no client has it.
    WhenFree,
}

/// All sessions of one pool, counted by what they do.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    all: SlotMap<SessionId, SessionRecord>,
    /// Those that nobody has; who was used last is at the end, and goes out first: so that those that are not needed
    /// grow old.
    idle: Vec<SessionId>,
    counts: [usize; ServerState::ALL.len()],
    closing: usize,
    testing: usize,
    replacing: usize,
}

impl SessionRecord {
    pub fn is_old(&self, now: Instant) -> bool {
        matches!(self.due, Renewal::At(due) if now >= due)
    }

    pub fn is_held(&self) -> bool {
        matches!(self.state, SessionState::Held(_))
    }
}

impl SessionState {
    /// As metrics and the page show it. One that is being closed is ready for nobody.
    fn shown(self) -> ServerState {
        match self {
            SessionState::Opening { .. } => ServerState::Login,
            SessionState::Idle => ServerState::Idle,
            SessionState::Testing { .. } | SessionState::Resetting | SessionState::Closing => {
                ServerState::Testing
            }
            SessionState::Held(_) => ServerState::Active,
        }
    }
}

impl Sessions {
    pub fn open(&mut self, replaces: bool, generation: u64, now: Instant) -> SessionId {
        let state = SessionState::Opening { replaces };
        self.count(state, 1);
        self.all.insert(SessionRecord { state, generation, heard: now, used: now, due: Renewal::Never })
    }

    pub fn get(&self, id: SessionId) -> Option<&SessionRecord> {
        self.all.get(id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut SessionRecord> {
        self.all.get_mut(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &SessionRecord)> {
        self.all.iter()
    }

    /// The only way in which a session's state changes.
    pub fn set(&mut self, id: SessionId, state: SessionState) {
        let Some(session) = self.all.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut session.state, state);
        self.count(before, -1);
        self.count(state, 1);
        match (before, state) {
            (SessionState::Idle, SessionState::Idle) => {}
            // Mostly the last one.
            (SessionState::Idle, _) => {
                if let Some(at) = self.idle.iter().rposition(|idle| *idle == id) {
                    self.idle.remove(at);
                }
            }
            (_, SessionState::Idle) => self.idle.push(id),
            _ => {}
        }
    }

    pub fn remove(&mut self, id: SessionId) -> Option<SessionRecord> {
        let session = self.all.remove(id)?;
        self.count(session.state, -1);
        self.idle.retain(|idle| *idle != id);
        Some(session)
    }

    /// Every slot that is taken at the server, or may be.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn idle(&self) -> &[SessionId] {
        &self.idle
    }

    pub fn closing(&self) -> usize {
        self.closing
    }

    pub fn testing(&self) -> usize {
        self.testing
    }

    /// Being opened: all, and those that are to replace another.
    pub fn opening(&self) -> (usize, usize) {
        (self.counts[ServerState::Login as usize], self.replacing)
    }

    /// Tested or reset, and then idle again.
    pub fn between(&self) -> usize {
        self.counts[ServerState::Testing as usize] - self.closing
    }

    /// For the gauges.
    pub fn counts(&self) -> [usize; ServerState::ALL.len()] {
        self.counts
    }

    /// Tests that are not slow yet.
    pub fn tested_for_less_than(&self, limit: Duration, now: Instant) -> usize {
        let young = |session: &SessionRecord| match session.state {
            SessionState::Testing { since } => now.saturating_duration_since(since) < limit,
            _ => false,
        };
        self.all.values().filter(|session| young(session)).count()
    }

    fn count(&mut self, state: SessionState, change: isize) {
        let add = |count: &mut usize| *count = count.saturating_add_signed(change);
        add(&mut self.counts[state.shown() as usize]);
        match state {
            SessionState::Closing => add(&mut self.closing),
            SessionState::Testing { .. } => add(&mut self.testing),
            SessionState::Opening { replaces: true } => add(&mut self.replacing),
            _ => {}
        }
    }
}
