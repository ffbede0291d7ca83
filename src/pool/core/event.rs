//! The core's vocabulary: what happens to a pool, and what is to be done about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slotmap::new_key_type;

use crate::reason::{Diagnosis, Reason};
use crate::target::Tuning;
use crate::target::pool::Pool;

new_key_type! {
    /// A server session, from the decision to open it until it is closed. Never used twice.
    pub struct SessionId;
}

/// A client that has logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub i32);

/// What happens.
#[derive(Debug, Clone)]
pub enum PoolEvent {
    /// A client needs a session, and has needed it since then.
    Waits {
        client: ClientId,
        since: Instant,
    },
    /// It does not wait any more: it is gone, or was cancelled.
    Leaves(ClientId),
    /// Who had the session has done with it; the server was last heard then.
    Returned {
        session: SessionId,
        heard: Instant,
        condition: Condition,
    },
    /// It was begun under that generation, and is to be replaced at `due`.
    Opened {
        session: SessionId,
        generation: u64,
        due: Option<Instant>,
    },
    Failed {
        session: SessionId,
        generation: u64,
        diagnosis: Diagnosis,
    },
    Tested {
        session: SessionId,
        outcome: TestOutcome,
    },
    /// A session that nobody had has ended; it may have been put to use since it was looked at.
    Ended(SessionId),
    /// The session's connection is gone, whoever had it.
    Closed(SessionId),
    /// What is known of the target has changed.
    Target(Health),
    Configured(CoreConfig),
    /// Sessions lead elsewhere from now on: those there are must not be used any more.
    Moved,
    Requested(PoolRequest),
    /// The pool ends: clients finish their transactions.
    Drain,
    /// The last client of a pool that ends has left.
    ClientsGone,
    /// `due` has come.
    Timer,
}

/// How a session comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Fit for the next client.
    Clean,
    /// Something was left on it, or a cancel request may still reach it.
    NeedsReset,
    /// To be closed.
    Broken,
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestOutcome {
    Answered,
    Ended,
    /// No answer within `ping.timeout`.
    Silent,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolRequest {
    /// No session is handed out; each is closed as soon as no client has it.
    Pause,
    Resume,
    /// Each session is replaced as soon as no client has it.
    Reconnect,
}

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    pub pool: Arc<Pool>,
    pub tuning: Arc<Tuning>,
}

/// The target, as its snapshot shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub availability: Availability,
    /// Proven down, not only between two sessions.
    pub down: bool,
    pub reason: Option<Reason>,
    /// What mends it, where more is known than the reason.
    pub remedy: Option<&'static str>,
    /// When an attempt failed last.
    pub failed_at: Option<Instant>,
    /// When a login succeeded last.
    pub last_login: Option<Instant>,
    /// How often the supervised session is pinged, where that differs from `ping.interval`.
    pub ping_every: Option<Duration>,
}

/// Whether sessions can be opened, or when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Live,
    Asleep,
    /// Something is being tried.
    Trying,
    /// Nothing is tried before then.
    NotBefore(Instant),
    /// Only another secret, setting or plan helps; tried again then.
    Permanent(Instant),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolAction {
    HandOver {
        client: ClientId,
        session: SessionId,
    },
    Reject {
        client: ClientId,
        why: Rejection,
    },
    /// `urgent` where a client waits for it.
    Open {
        session: SessionId,
        urgent: bool,
    },
    Test(SessionId),
    Reset(SessionId),
    Close(SessionId),
    /// Give up the queries whose servers have been silent for longer.
    CutSilent(Duration),
    /// Somebody needs the target.
    Wake,
}

/// Why a client gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// All sessions were in use.
    Busy {
        waited: Duration,
    },
    /// The target is not available. `next` is how long it is to the next attempt, where that is known.
    Down {
        reason: Option<Reason>,
        /// What mends it.
        remedy: Option<&'static str>,
        permanent: bool,
        waited: Duration,
        next: Option<Duration>,
    },
    Paused {
        waited: Duration,
    },
    Draining,
}
