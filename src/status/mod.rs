//! What is known of a target and its pool, at one moment: the snapshot that everything people see is a projection of.
//!
//! A target's is written by its supervisor, one step at a time, in the target's slot on the [`board`]; a pool's by the
//! pool, in a slot of its own. Readers look at both through a [`View`]. Nothing here decides, waits or formats.

pub mod board;
mod counters;
mod flapping;
pub mod histogram;
pub mod history;
pub mod login;
mod moment;
pub mod pool;
pub mod process;
#[cfg(test)]
pub mod sample;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use counters::{ByReason, Counters, PingHistory, Recent};
pub use flapping::Flapping;
pub use moment::{Moment, epoch_seconds};
pub use view::{Gap, State, View};

use crate::connection::SessionFacts;
use crate::policy::breaker::Breaker;
use crate::reason::{Facts, Phase, Reason, remedy};
use crate::target::{Endpoint, Host, Provider, TargetName, Tuning};

/// What we hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Nothing yet.
    Never,
    /// There was a session, or an attempt has failed.
    Lost { at: Moment, reason: Reason },
    /// A session whose last ping was answered, with an answer or an error.
    Live(Held),
    /// A session whose ping went unanswered in time; a late answer makes it live again.
    Suspect { held: Held, asked_at: Moment },
    /// Put to sleep by the other side, or by us to let it sleep.
    Asleep { since: Moment, idle_for: Duration },
    /// We are closing it: a refresh without overlap, or the end. A line that was whole before that gap, and since when.
    Closing { unbroken_since: Option<Moment> },
}

/// A session in hand, and what is wrong with it although it lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// When this session was opened.
    pub since: Moment,
    /// Since when there was always a session: refreshes do not restart it.
    pub unbroken_since: Moment,
    /// When the server last answered.
    pub answered_at: Moment,
    /// The last ping.
    pub ping: Result<(), Reason>,
    /// The last attempt to log in beside it.
    pub login: Result<(), Reason>,
    /// Whether the server has the role that the target asks for.
    pub role: Result<(), Reason>,
}

/// What we do about the next session.
#[derive(Debug, Clone, PartialEq)]
pub enum Attempt {
    None,
    /// The attempt begins at `until`; a TCP connect goes ahead of it at `tcp_connect`.
    Waiting {
        until: Moment,
        tcp_connect: Option<Moment>,
        purpose: Purpose,
        because: Because,
    },
    /// Resolving and connecting. `early` is set for a TCP connect ahead of its time: what it goes back to when refused.
    Connecting {
        since: Moment,
        purpose: Purpose,
        early: Option<(Moment, Because)>,
    },
    /// Logging in on an accepted socket.
    LoggingIn {
        since: Moment,
        purpose: Purpose,
    },
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    First,
    Reconnect,
    Refresh,
    Wake,
    /// Asked for by `/probe`.
    Prove,
    /// Only a TCP connect: was an idle close sleep, or is the server gone?
    Confirm,
}

/// Why an attempt waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Because {
    Backoff,
    Breaker,
    /// Nothing changes until secret, configuration or plan do.
    SlowLane,
    /// The server said that it is starting or stopping.
    StartingUp,
    Capacity,
    /// The guard or the other side asked for a pause.
    Asked,
}

impl Because {
    /// Each of them.
    pub const ALL: [Because; 6] = [
        Because::Backoff,
        Because::Breaker,
        Because::SlowLane,
        Because::StartingUp,
        Because::Capacity,
        Because::Asked,
    ];

    /// The word in `/probe` and `/api/v1/targets`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Because::Backoff => "backoff",
            Because::Breaker => "breaker",
            Because::SlowLane => "slow_lane",
            Because::StartingUp => "starting_up",
            Because::Capacity => "capacity",
            Because::Asked => "asked",
        }
    }
}

/// Where the target lives, as last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub provider: Provider,
}

impl Location {
    /// The first host of an endpoint: it stands for the list in labels.
    pub fn of(endpoint: &Endpoint) -> Self {
        let first = endpoint.hosts.first();
        Location {
            host: first.map(Host::name).unwrap_or_default(),
            port: first.map(Host::port).unwrap_or_default(),
            database: endpoint.database.clone(),
            user: endpoint.user.clone(),
            provider: endpoint.provider(),
        }
    }
}

/// The last thing that went wrong: an attempt, a ping or a loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: Moment,
    pub reason: Reason,
    /// What mends it.
    pub remedy: &'static str,
    /// One line for people, without secrets.
    pub detail: String,
}

impl Failure {
    /// With the remedy that the reason has by itself.
    pub fn new(at: Moment, reason: Reason, detail: String) -> Self {
        Failure { at, reason, remedy: reason.remedy(), detail }
    }

    /// With the remedy that fits what happened best.
    pub fn of(at: Moment, reason: Reason, facts: &Facts) -> Self {
        Failure { remedy: remedy(reason, facts), ..Failure::new(at, reason, facts.to_string()) }
    }
}

/// How long each phase of the last successful attempt took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Option<Duration>,
    pub startup: Duration,
    pub ping: Duration,
}

impl Phases {
    /// From the start of the attempt to its first answered ping, waits for the guard aside.
    pub fn total(&self) -> Duration {
        self.named().map(|(_, took)| took).sum()
    }

    /// In order, those that took place.
    pub fn named(&self) -> impl Iterator<Item = (Phase, Duration)> {
        [
            (Phase::Resolve, Some(self.resolve)),
            (Phase::Connect, Some(self.connect)),
            (Phase::Tls, self.tls),
            (Phase::Startup, Some(self.startup)),
            (Phase::Ping, Some(self.ping)),
        ]
        .into_iter()
        .filter_map(|(phase, took)| Some((phase, took?)))
    }
}

/// The snapshot of one target.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    pub name: TargetName,
    pub tuning: Arc<Tuning>,
    /// `None` until `url_file` was read.
    pub location: Option<Location>,
    pub line: Line,
    pub attempt: Attempt,
    pub breaker: Breaker,
    /// Since when [`View::state`] is what it is.
    pub since: Moment,
    /// The session's own facts, while there is one.
    pub session: Option<SessionFacts>,
    /// When the first certificate of the chain ends that the last attempts refused; none since a login.
    pub refused_certificate_expiry: Option<SystemTime>,
    /// The server's address that the last login reached.
    pub peer: Option<SocketAddr>,
    /// Whether an attempt has ended, for better or worse.
    pub tried: bool,
    pub consecutive_failures: u64,
    pub last_failure: Option<Failure>,
    /// The last attempt or ping that succeeded.
    pub last_success: Option<Moment>,
    /// The last attempt or ping that ended.
    pub last_check: Option<Moment>,
    pub last_login: Option<Moment>,
    pub last_ping: Option<Duration>,
    pub last_phases: Option<Phases>,
    pub recent: Recent,
    pub pings: PingHistory,
    /// Sessions are lost again and again, while logins succeed.
    pub flapping: Option<Flapping>,
    /// The idle limit of the other side, once learned.
    pub idle_limit: Option<Duration>,
    /// What ping and refresh come down to under the learned limit; `None` where off.
    pub ping_every: Option<Duration>,
    pub refresh_every: Option<Duration>,
    pub counters: Counters,
    /// When the loop runs next, at the latest: past it, and a little more, the target is `stalled`.
    pub due: Instant,
}

impl TargetStatus {
    /// A target that nothing has happened to.
    pub fn new(name: TargetName, tuning: Arc<Tuning>, location: Option<Location>, now: Moment) -> Self {
        TargetStatus {
            name,
            breaker: Breaker::default(),
            tuning,
            location,
            line: Line::Never,
            attempt: Attempt::None,
            since: now,
            session: None,
            refused_certificate_expiry: None,
            peer: None,
            tried: false,
            consecutive_failures: 0,
            last_failure: None,
            last_success: None,
            last_check: None,
            last_login: None,
            last_ping: None,
            last_phases: None,
            recent: Recent::default(),
            pings: PingHistory::default(),
            flapping: None,
            idle_limit: None,
            ping_every: None,
            refresh_every: None,
            counters: Counters::default(),
            due: now.mono,
        }
    }

    /// The session in hand, if there is one.
    pub fn held(&self) -> Option<&Held> {
        match &self.line {
            Line::Live(held) | Line::Suspect { held, .. } => Some(held),
            Line::Never | Line::Lost { .. } | Line::Asleep { .. } | Line::Closing { .. } => None,
        }
    }
}
