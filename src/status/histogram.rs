//! A histogram of durations with fixed bounds, cheap to keep in a snapshot.

use std::time::Duration;

/// `connect_duration_seconds`: 5 ms to 30 s.
pub const CONNECT: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];
/// `ping_duration_seconds`: 0.5 ms to 5 s.
pub const PING: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// `wake_duration_seconds`: 0.1 to 60 s.
pub const WAKE: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0];

/// Counts by bucket, not cumulated; what lies above the last bound is in `count` alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram<const N: usize> {
    pub buckets: [u64; N],
    pub count: u64,
    pub sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Histogram { buckets: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    /// Adds one observation; `bounds` are those the histogram is shown with.
    pub fn observe(&mut self, bounds: &[f64; N], took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = bounds.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}
