//! What people are told of a target, read off its snapshot at one moment.

use std::time::Duration;

use super::pool::PoolStatus;
use super::{Attempt, Because, Failure, Held, Line, Moment, Purpose, TargetStatus};
use crate::policy::backoff;
use crate::reason::Reason;

/// The `state` of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Starting,
    Up,
    Degraded,
    Sleeping,
    Down,
}

impl State {
    /// In the order of the series that show them.
    pub const ALL: [State; 5] = [State::Starting, State::Up, State::Degraded, State::Sleeping, State::Down];

    /// The word in metrics, `/health` and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Up => "up",
            State::Degraded => "degraded",
            State::Sleeping => "sleeping",
            State::Down => "down",
        }
    }

    /// The value of `pgtether_up`.
    pub const fn is_up(self) -> bool {
        matches!(self, State::Up | State::Degraded | State::Sleeping)
    }
}

/// A moment without a session that is no outage, or not one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// We make it ourselves, or a close may turn out to be sleep: what follows says what it was.
    Planned,
    /// The next session of a target that flaps is on its way.
    Flapping,
}

/// A target's snapshot and its pool's, and the moment at which they are read.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub status: &'a TargetStatus,
    /// Where applications connect through one.
    pub pool: Option<&'a PoolStatus>,
    pub now: Moment,
}

impl<'a> View<'a> {
    /// How late a loop may be before it counts as stalled.
    pub const GRACE: Duration = Duration::from_secs(5);
    /// How long a fresh loss only degrades `/health`.
    pub const RECONNECT_GRACE: Duration = Duration::from_secs(1);

    /// `status` as it reads at `now`, without a pool.
    pub fn new(status: &'a TargetStatus, now: Moment) -> Self {
        View { status, pool: None, now }
    }

    /// The same, with its pool.
    #[must_use]
    pub fn with_pool(self, pool: Option<&'a PoolStatus>) -> Self {
        View { pool, ..self }
    }

    /// Whether the target's loop is overdue: what the snapshot says is then too old to be believed.
    pub fn stalled(&self) -> bool {
        self.now.mono.saturating_duration_since(self.status.due) > Self::GRACE
    }

    /// The state that people are shown.
    pub fn state(&self) -> State {
        if self.stalled() {
            return State::Down;
        }
        state_of(self.status)
    }

    /// Why it is not simply up; `None` where it is, or sleeps, or has only started.
    pub fn reason(&self) -> Option<Reason> {
        if self.stalled() {
            return Some(Reason::Stalled);
        }
        reason_of(self.status)
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        self.failure().map(|failure| failure.remedy).or_else(|| self.reason().map(Reason::remedy))
    }

    /// What was seen last that has the reason in force; `None` where the last failure was of another kind.
    pub fn detail(&self) -> Option<&'a str> {
        if self.reason() == Some(Reason::Flapping) {
            return self.status.flapping.as_ref().map(|flapping| flapping.detail.as_str());
        }
        self.failure().map(|failure| failure.detail.as_str())
    }

    /// The last failure, where it has the reason in force.
    fn failure(&self) -> Option<&'a Failure> {
        let reason = self.reason()?;
        self.status.last_failure.as_ref().filter(|failure| failure.reason == reason)
    }

    /// Whether an attempt of now can be of use: it ends no losses that came before it, and a task that hangs makes none.
    pub fn is_worth_a_try(&self) -> bool {
        !matches!(self.reason(), Some(Reason::Flapping | Reason::Stalled))
    }

    /// Since when the state is what it is.
    pub fn since(&self) -> Moment {
        self.status.since
    }

    /// The first second of an outage, while the first reconnect is under way.
    pub fn in_reconnect_grace(&self) -> bool {
        let just_lost = match &self.status.line {
            Line::Lost { at, .. } => self.now.since(*at) < Self::RECONNECT_GRACE,
            Line::Closing { .. } => self.now.since(self.status.since) < Self::RECONNECT_GRACE,
            _ => false,
        };
        just_lost && !self.stalled() && self.status.consecutive_failures == 0
    }

    /// The session's age.
    pub fn connection_age(&self) -> Option<Duration> {
        self.status.held().map(|held| self.now.since(held.since))
    }

    /// When the next attempt begins, TCP connects ahead of it aside; `None` where none is planned or one is under way.
    pub fn next_attempt(&self) -> Option<Moment> {
        match &self.status.attempt {
            Attempt::Waiting { until, .. } => Some(*until),
            Attempt::Connecting { early: Some((until, _)), .. } => Some(*until),
            _ => None,
        }
    }

    /// When the server is asked next, be it by a TCP connect alone: now, where that is under way; `None` where nothing is
    /// planned.
    pub fn next_try(&self) -> Option<Moment> {
        match &self.status.attempt {
            Attempt::Waiting { until, tcp_connect, .. } => Some(tcp_connect.unwrap_or(*until)),
            Attempt::Connecting { .. } | Attempt::LoggingIn { .. } => Some(self.now),
            Attempt::None => None,
        }
    }

    /// The longest wait between two tries, should it go on to fail like that; `None` where that is not known yet, or is up
    /// to the other side.
    pub fn longest_wait(&self) -> Option<Duration> {
        let tuning = &self.status.tuning;
        match &self.status.attempt {
            Attempt::Waiting { tcp_connect: Some(_), .. } | Attempt::Connecting { early: Some(_), .. } => {
                Some(backoff::next_tcp_connect(1.0))
            }
            // The first after a loss.
            Attempt::Waiting { .. } if self.status.consecutive_failures == 0 => None,
            Attempt::Waiting { because, .. } => match because {
                Because::SlowLane => Some(backoff::slow_lane(u32::MAX, 1.0)),
                Because::StartingUp => Some(backoff::next_tcp_connect(1.0)),
                Because::Backoff | Because::Breaker => {
                    Some(tuning.backoff.max.max(tuning.breaker.max_open_for))
                }
                Because::Capacity => Some(tuning.backoff.max),
                Because::Asked => None,
            },
            Attempt::Connecting { .. } | Attempt::LoggingIn { .. } | Attempt::None => None,
        }
    }
}

/// The state as the machine left it, whatever the clock says since.
pub(super) fn state_of(status: &TargetStatus) -> State {
    match &status.line {
        Line::Never => State::Starting,
        Line::Lost { .. } | Line::Suspect { .. } | Line::Closing { .. } => State::Down,
        Line::Asleep { .. } => State::Sleeping,
        Line::Live(held) if problem_of(status, held).is_none() => State::Up,
        Line::Live(_) => State::Degraded,
    }
}

/// The reason as the machine left it, whatever the clock says since.
fn reason_of(status: &TargetStatus) -> Option<Reason> {
    match &status.line {
        Line::Never | Line::Asleep { .. } => None,
        Line::Lost { at, reason } => match &status.last_failure {
            Some(failure) if failure.at.mono >= at.mono => Some(failure.reason),
            _ => Some(*reason),
        },
        Line::Live(held) => problem_of(status, held),
        Line::Suspect { .. } => Some(Reason::Timeout),
        Line::Closing { .. } => Some(Reason::Closed),
    }
}

/// What is wrong although there is a session; what it is now goes before what it was.
fn problem_of(status: &TargetStatus, held: &Held) -> Option<Reason> {
    let problem = held.login.and(held.ping).and(held.role).err();
    problem.or_else(|| status.flapping.as_ref().map(|_| Reason::Flapping))
}

impl TargetStatus {
    /// See [`View::state`]; without the clock, for transitions.
    pub fn state(&self) -> State {
        state_of(self)
    }

    /// See [`View::reason`]; without the clock, for transitions.
    pub fn reason(&self) -> Option<Reason> {
        reason_of(self)
    }

    /// Whether the state is one that passes, and of which nobody is told.
    pub fn gap(&self) -> Option<Gap> {
        let asks_whether_it_sleeps =
            matches!(self.attempt, Attempt::Connecting { purpose: Purpose::Confirm, .. });
        let is_replaced = self.flapping.is_some() && self.consecutive_failures == 0;
        match self.line {
            Line::Closing { .. } => Some(Gap::Planned),
            _ if asks_whether_it_sleeps => Some(Gap::Planned),
            Line::Lost { .. } if is_replaced => Some(Gap::Flapping),
            _ => None,
        }
    }
}
