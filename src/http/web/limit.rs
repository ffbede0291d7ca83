//! The rate limit of the web config file: a token bucket over all clients.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets `burst` requests through at once, and one more each `interval`.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again; `None` while it is.
    full_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    pub fn new(interval: Duration, burst: u32) -> Self {
        RateLimit { interval, burst, full_at: Mutex::default() }
    }

    /// Takes a token, or tells how long until there is one.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.map_or(now, |at| at.max(now)) + self.interval;
        let tolerance = self.interval * self.burst;
        match (full - now).checked_sub(tolerance) {
            None | Some(Duration::ZERO) => {
                *full_at = Some(full);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_each_interval_and_a_rest_fills_it_again() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let limit = RateLimit::new(Duration::from_millis(100), 3);
        for _ in 0..3 {
            assert_eq!(limit.take(at(0)), Ok(()));
        }
        assert_eq!(limit.take(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(limit.take(at(40)), Err(Duration::from_millis(60)));
        assert_eq!(limit.take(at(100)), Ok(()));
        assert_eq!(limit.take(at(100)), Err(Duration::from_millis(100)), "what was refused cost nothing");
        for _ in 0..3 {
            assert_eq!(limit.take(at(10_000)), Ok(()), "no more than a burst is saved up");
        }
        assert!(limit.take(at(10_000)).is_err());
    }
}
