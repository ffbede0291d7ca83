//! How long to wait before the next attempt.

use std::time::Duration;

use super::FOREVER;

/// The waits after failed logins: the least, and the bound that the doubling stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

/// Full jitter above a floor: `initial + U(0, min(max, initial·2ⁿ) − initial)`. `n` counts the failures before this
/// one; `dice` is in 0..1.
pub fn full_jitter(initial: Duration, max: Duration, n: u32, dice: f64) -> Duration {
    let (initial, max) = (initial.min(FOREVER), max.min(FOREVER));
    let ceiling = initial.saturating_mul(2u32.saturating_pow(n)).min(max).max(initial);
    initial + (ceiling - initial).mul_f64(dice.clamp(0.0, 1.0))
}

/// The slow lane of permanent failures: 30 s doubling to 5 min, plus 0 to 10 %.
pub fn slow_lane(n: u32, dice: f64) -> Duration {
    const FIRST: Duration = Duration::from_secs(30);
    const LAST: Duration = Duration::from_secs(300);
    let wait = FIRST.saturating_mul(2u32.saturating_pow(n)).min(LAST);
    wait + wait.mul_f64(0.1 * dice.clamp(0.0, 1.0))
}

/// The next TCP connect after one that nobody answered: 0.8 to 1.0 s after it failed.
pub fn next_tcp_connect(dice: f64) -> Duration {
    Duration::from_millis(800) + Duration::from_millis(200).mul_f64(dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_the_floor_and_a_ceiling_that_doubles_up_to_max() {
        let (initial, max) = (Duration::from_millis(200), Duration::from_secs(30));
        let spans =
            [0, 1, 2, 8, 40].map(|n| (full_jitter(initial, max, n, 0.0), full_jitter(initial, max, n, 1.0)));
        let millis = spans.map(|(low, high)| (low.as_millis(), high.as_millis()));
        assert_eq!(millis, [(200, 200), (200, 400), (200, 800), (200, 30_000), (200, 30_000)]);
    }

    #[test]
    fn a_floor_above_max_is_kept() {
        let wait = full_jitter(Duration::from_secs(5), Duration::from_secs(1), 3, 1.0);
        assert_eq!(wait, Duration::from_secs(5));
    }

    #[test]
    fn the_slow_lane_doubles_to_five_minutes() {
        let waits = [0, 1, 2, 3, 4, 99].map(|n| slow_lane(n, 0.0).as_secs());
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        assert_eq!(slow_lane(9, 1.0), Duration::from_secs(330));
    }
}
