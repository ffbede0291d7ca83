//! The circuit breaker: after failures in a row it opens, for a while that doubles, and then lets one attempt through.

use std::time::{Duration, Instant};

use super::later;

/// When it opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    pub consecutive_failures: u32,
    pub open_for: Duration,
    pub max_open_for: Duration,
}

/// `breaker_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

impl BreakerState {
    /// In the order of the series that show them.
    pub const ALL: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// One target's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    Closed {
        failures: u32,
    },
    /// `trips` counts how often it opened since it was last closed.
    Open {
        until: Instant,
        trips: u32,
    },
    HalfOpen {
        until: Instant,
        trips: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker::Closed { failures: 0 }
    }
}

impl Breaker {
    /// The state without what it carries.
    pub const fn state(&self) -> BreakerState {
        match self {
            Breaker::Closed { .. } => BreakerState::Closed,
            Breaker::Open { .. } => BreakerState::Open,
            Breaker::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Until when no attempt may begin of itself.
    pub const fn opens_at(&self) -> Option<Instant> {
        match self {
            Breaker::Open { until, .. } => Some(*until),
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => None,
        }
    }

    /// An attempt begins: an open breaker becomes half open, early where a TCP connect was accepted or a secret changed.
    pub fn admit(&mut self) {
        if let Breaker::Open { until, trips } = *self {
            *self = Breaker::HalfOpen { until, trips };
        }
    }

    /// The attempt succeeded: closed, and earlier failures are forgotten.
    pub fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    /// The attempt failed: one more in a row, or open again for twice as long.
    pub fn failed(&mut self, now: Instant, limits: &BreakerLimits) {
        *self = match *self {
            Breaker::Closed { failures } if failures + 1 < limits.consecutive_failures => {
                Breaker::Closed { failures: failures + 1 }
            }
            Breaker::Closed { .. } => Breaker::Open { until: later(now, limits.open_for), trips: 1 },
            Breaker::HalfOpen { trips, .. } => {
                let doubled = limits.open_for.saturating_mul(2u32.saturating_pow(trips));
                let open_for = doubled.min(limits.max_open_for.max(limits.open_for));
                Breaker::Open { until: later(now, open_for), trips: trips.saturating_add(1) }
            }
            open @ Breaker::Open { .. } => open,
        };
    }

    /// The attempt ended in a way that says nothing about the database: back to where it was.
    pub fn undecided(&mut self) {
        if let Breaker::HalfOpen { until, trips } = *self {
            *self = Breaker::Open { until, trips };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerLimits = BreakerLimits {
        consecutive_failures: 3,
        open_for: Duration::from_secs(10),
        max_open_for: Duration::from_secs(30),
    };

    #[test]
    fn opens_after_failures_in_a_row_and_doubles_up_to_its_limit() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.failed(now, &LIMITS);
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        for seconds in [10, 20, 30, 30] {
            breaker.failed(now, &LIMITS);
            assert_eq!(breaker.opens_at(), Some(now + Duration::from_secs(seconds)));
            breaker.admit();
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
        breaker.succeeded();
        assert_eq!(breaker, Breaker::Closed { failures: 0 });
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker.failed(now, &LIMITS);
            breaker.failed(now, &LIMITS);
            breaker.succeeded();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn an_undecided_probe_leaves_the_wait_as_it_was() {
        let now = Instant::now();
        let mut breaker = Breaker::Open { until: now, trips: 2 };
        breaker.admit();
        breaker.undecided();
        assert_eq!(breaker, Breaker::Open { until: now, trips: 2 });
    }
}
