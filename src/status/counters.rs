//! What a target's snapshot counts and remembers: totals since its start, the last attempts, the last pings.

use std::time::Duration;

use super::histogram::{self, Histogram};
use crate::policy::breaker;
use crate::reason::Reason;

/// One counter a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByReason([u64; Reason::COUNT]);

impl Default for ByReason {
    fn default() -> Self {
        ByReason([0; Reason::COUNT])
    }
}

impl ByReason {
    /// Counts one more.
    pub fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// How often it was that reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Everything that only grows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counters {
    pub attempts: u64,
    pub connections: u64,
    /// Kept within [`Reason::CONNECT`].
    pub failures: ByReason,
    pub reconnects: u64,
    /// Kept within [`Reason::DISCONNECT`].
    pub disconnects: ByReason,
    pub refreshes: u64,
    pub refresh_failures: u64,
    pub tcp_connects: u64,
    pub pings: u64,
    /// Kept within [`Reason::PING`].
    pub ping_failures: ByReason,
    pub throttled: u64,
    pub throttle_wait: Duration,
    pub address_changes: u64,
    pub restarts: u64,
    pub breaker_transitions: [u64; breaker::BreakerState::ALL.len()],
    pub connect_seconds: Histogram<{ histogram::CONNECT.len() }>,
    pub ping_seconds: Histogram<{ histogram::PING.len() }>,
    pub wake_seconds: Histogram<{ histogram::WAKE.len() }>,
}

/// The last 20 attempts, oldest bit first to fall out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recent {
    bits: u32,
    len: u8,
}

impl Recent {
    /// So many attempts are remembered.
    pub const SIZE: u8 = 20;

    /// Remembers how an attempt ended.
    pub fn push(&mut self, ok: bool) {
        self.bits = (self.bits << 1 | u32::from(ok)) & ((1 << Self::SIZE) - 1);
        self.len = (self.len + 1).min(Self::SIZE);
    }

    /// The share that succeeded; `None` before the first.
    pub fn rate(&self) -> Option<f64> {
        (self.len > 0).then(|| f64::from(self.bits.count_ones()) / f64::from(self.len))
    }
}

/// The last pings for a small chart, newest last: seconds, or `None` where one failed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PingHistory {
    ring: Vec<Option<f32>>,
    next: usize,
}

impl PingHistory {
    /// So many pings are remembered.
    pub const SIZE: usize = 60;

    /// Remembers a ping: how long it took, or `None` where it failed.
    pub fn push(&mut self, took: Option<Duration>) {
        let value = took.map(|t| t.as_secs_f32());
        if self.ring.len() < Self::SIZE {
            self.ring.push(value);
        } else {
            self.ring[self.next] = value;
            self.next = (self.next + 1) % Self::SIZE;
        }
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Option<f32>> + '_ {
        let (newer, older) = self.ring.split_at(self.next);
        older.iter().chain(newer).copied()
    }
}
