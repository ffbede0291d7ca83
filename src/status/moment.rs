//! Points in time: one that both clocks were read for, and how metrics and documents tell a time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::policy::{FOREVER, later};

/// A moment, stamped once with both clocks: waits use `mono`, people read `wall`, and no clock jump changes a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub mono: Instant,
    pub wall: SystemTime,
}

impl Moment {
    /// Reads the clocks. Only the driver and the edges (HTTP, start-up) call this; under a paused tokio clock the
    /// monotonic half is the paused one.
    pub fn now() -> Self {
        Moment { mono: tokio::time::Instant::now().into_std(), wall: SystemTime::now() }
    }

    /// So much later, on both clocks.
    pub fn after(self, wait: Duration) -> Self {
        Moment { mono: later(self.mono, wait), wall: self.wall + wait.min(FOREVER) }
    }

    /// For people, in UTC and to the second; the epoch for a time that no calendar has.
    pub fn text(self) -> String {
        format!("{:.0}", jiff::Timestamp::try_from(self.wall).unwrap_or_default())
    }

    /// The moment that had or has this time on the monotonic clock, as the wall clock is set now.
    pub fn at(self, mono: Instant) -> Self {
        let (behind, ahead) =
            (self.mono.saturating_duration_since(mono), mono.saturating_duration_since(self.mono));
        let wall = self.wall.checked_sub(behind).unwrap_or(self.wall);
        Moment { mono, wall: wall + ahead.min(FOREVER) }
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        self.mono.saturating_duration_since(earlier.mono)
    }
}

/// Seconds since 1970, to the millisecond, as metrics and `/health` tell a time.
pub fn epoch_seconds(at: SystemTime) -> f64 {
    let millis = match at.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_millis() as f64,
        Err(before) => -(before.duration().as_millis() as f64),
    };
    millis / 1000.0
}
