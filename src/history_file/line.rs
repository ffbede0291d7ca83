//! The file's lines: JSON, one record each.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::status::State;
use crate::status::history::{PoolCost, StateChange, UptimeKind, UptimeSpan};

/// The format. A file of another one is left alone.
pub const FORMAT: u32 = 1;

/// One line. `run_ms` is how long the process had run, by the monotonic clock: a wall clock that is set changes no
/// length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum FileLine {
    /// The first line of a file.
    PgtetherHistory { format: u32 },
    /// A process began to write.
    Started { at: Timestamp },
    /// A target's state has changed. Without `run_ms`, its time is in an `uptime` that follows.
    Changed {
        at: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        run_ms: Option<u64>,
        target: String,
        #[serde(flatten)]
        change: ChangeFields,
    },
    /// A target is configured no more.
    Removed { at: Timestamp, run_ms: u64, target: String },
    /// Nothing has changed since.
    Alive { at: Timestamp, run_ms: u64 },
    /// All that is known of a target's uptime, in place of what the lines before say, the oldest first.
    Uptime {
        at: Timestamp,
        target: String,
        spans_ms: Vec<[u32; 3]>,
        /// What goes on from `run_ms` on; nothing, where the target ended at `at`.
        #[serde(flatten)]
        goes_on: Option<GoesOn>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoesOn {
    pub run_ms: u64,
    pub state: KindWord,
}

/// [`UptimeKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindWord {
    Up,
    Down,
    Unknown,
}

/// A [`StateChange`], in the words of `/api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeFields {
    from: String,
    to: String,
    reason: Option<String>,
    detail: Option<String>,
    lasted_seconds: f64,
    reasons_before: Vec<String>,
    clients: Option<ClientCounts>,
    counted_ms: [u32; 3],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ClientCounts {
    waited: u64,
    refused: u64,
    disconnected: u64,
}

impl FileLine {
    /// The record of a line; `None` where it is none, or was torn.
    pub fn read(line: &[u8]) -> Option<FileLine> {
        serde_json::from_slice(line).ok()
    }

    /// Appends it, with its end. What cannot be written as JSON is left out; there is nothing of the kind.
    pub fn write(&self, out: &mut Vec<u8>) {
        let before = out.len();
        match serde_json::to_writer(&mut *out, self) {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(before),
        }
    }
}

/// A time that can be written; the first one where the clock is set beyond all of them.
pub fn stamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn millis(span: UptimeSpan) -> [u32; 3] {
    [span.up, span.down, span.unknown]
}

pub fn span([up, down, unknown]: [u32; 3]) -> UptimeSpan {
    UptimeSpan { up, down, unknown }
}

impl From<UptimeKind> for KindWord {
    fn from(kind: UptimeKind) -> Self {
        match kind {
            UptimeKind::Up => KindWord::Up,
            UptimeKind::Down => KindWord::Down,
            UptimeKind::Unknown => KindWord::Unknown,
        }
    }
}

impl From<KindWord> for UptimeKind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::Up => UptimeKind::Up,
            KindWord::Down => UptimeKind::Down,
            KindWord::Unknown => UptimeKind::Unknown,
        }
    }
}

impl ChangeFields {
    pub fn of(change: &StateChange) -> Self {
        ChangeFields {
            from: change.from.as_str().to_owned(),
            to: change.to.as_str().to_owned(),
            reason: change.reason.map(|reason| reason.as_str().to_owned()),
            detail: change.detail.as_deref().map(str::to_owned),
            lasted_seconds: change.lasted.as_secs_f64(),
            reasons_before: change.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
            clients: change.cost.map(|PoolCost { waited, refused, disconnected }| ClientCounts {
                waited,
                refused,
                disconnected,
            }),
            counted_ms: millis(change.counted),
        }
    }

    /// `None` where a state is one that this version does not know. Such a reason is left out.
    pub fn change(self, at: Timestamp) -> Option<StateChange> {
        let state = |word: &str| State::ALL.into_iter().find(|state| state.as_str() == word);
        let reason = |word: &String| Reason::ALL.iter().copied().find(|reason| reason.as_str() == *word);
        Some(StateChange {
            at: at.into(),
            from: state(&self.from)?,
            to: state(&self.to)?,
            reason: self.reason.as_ref().and_then(reason),
            detail: self.detail.as_deref().map(StateChange::detail),
            lasted: Duration::try_from_secs_f64(self.lasted_seconds).ok()?,
            reasons: self.reasons_before.iter().filter_map(reason).collect(),
            cost: self.clients.map(|ClientCounts { waited, refused, disconnected }| PoolCost {
                waited,
                refused,
                disconnected,
            }),
            counted: span(self.counted_ms),
        })
    }
}
