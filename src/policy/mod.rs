//! How to be patient: pure rules over std alone. Time and randomness are arguments; nothing here waits or acts.

pub mod accept;
pub mod backoff;
pub mod breaker;
pub mod guard;
pub mod idle;
pub mod loss;
pub mod pace;
pub mod retry;

use std::time::{Duration, Instant};

/// What others ask for (a probe, an operator, a pool's clients) brings the attempts of a target no nearer together than this.
pub const ASKED_APART: Duration = Duration::from_secs(1);
/// Longer than any process runs; clocks can still count that far.
pub const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// That much later, where plain addition would panic on settings that are absurdly long.
pub fn later(at: Instant, wait: Duration) -> Instant {
    at + wait.min(FOREVER)
}
