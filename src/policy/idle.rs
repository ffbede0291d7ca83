//! Learns after how long the other side closes an idle session.

use std::time::{Duration, Instant};

/// Two closes that agree within this teach a limit.
const AGREEMENT: f64 = 0.1;
/// Shorter idle times teach nothing unless the server names the limit itself.
const SHORTEST: Duration = Duration::from_secs(30);
/// A limit is forgotten when it was not confirmed for that long.
const MEMORY: Duration = Duration::from_secs(86_400);
/// Traffic stays below this part of the limit.
const MARGIN: f64 = 0.8;
/// No limit makes us ask more often than this: a server that closes within a second is not kept awake, it is broken.
const FLOOR: Duration = Duration::from_secs(1);

/// What is known of the idle limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Learner {
    #[default]
    Nothing,
    /// One close, which may be chance.
    Observed {
        idle: Duration,
        at: Instant,
    },
    Known {
        limit: Duration,
        at: Instant,
    },
}

impl Learner {
    /// The server said that it closed for idleness (57P05): that teaches at once.
    pub fn reported(&mut self, idle: Duration, now: Instant) {
        *self = Learner::Known { limit: idle, at: now };
    }

    /// Something closed a session that was idle for that long.
    pub fn observed(&mut self, idle: Duration, now: Instant) {
        if idle < SHORTEST {
            return;
        }
        let agrees = |other: Duration| {
            let (a, b) = (idle.as_secs_f64(), other.as_secs_f64());
            (a - b).abs() <= AGREEMENT * a.max(b)
        };
        *self = match *self {
            Learner::Observed { idle: before, .. } if agrees(before) => {
                Learner::Known { limit: idle.min(before), at: now }
            }
            Learner::Known { limit, .. } if agrees(limit) => {
                Learner::Known { limit: limit.min(idle), at: now }
            }
            // A close well before the known limit contradicts it; one well after it confirms nothing.
            Learner::Known { limit, at } if idle > limit => Learner::Known { limit, at },
            _ => Learner::Observed { idle, at: now },
        };
    }

    /// The limit, while it is known.
    pub fn limit(&self, now: Instant) -> Option<Duration> {
        match *self {
            Learner::Known { limit, at } if now.saturating_duration_since(at) < MEMORY => Some(limit),
            _ => None,
        }
    }

    /// `wanted`, or less where the limit asks for it.
    pub fn keep_below(&self, wanted: Duration, now: Instant) -> Duration {
        self.limit(now).map_or(wanted, |limit| wanted.min(limit.mul_f64(MARGIN).max(FLOOR)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_servers_own_word_teaches_at_once() {
        let now = Instant::now();
        let mut learner = Learner::default();
        learner.reported(s(3), now);
        assert_eq!(learner.limit(now), Some(s(3)));
        assert_eq!(learner.keep_below(s(30), now), Duration::from_millis(2400));
        assert_eq!(learner.keep_below(s(1), now), s(1));
        learner.reported(Duration::from_millis(10), now);
        assert_eq!(learner.keep_below(s(30), now), s(1), "a tiny limit makes no storm");
    }

    #[test]
    fn silent_closes_teach_after_two_that_agree() {
        let now = Instant::now();
        let mut learner = Learner::default();
        learner.observed(s(300), now);
        assert_eq!(learner.limit(now), None);
        learner.observed(s(350), now);
        assert_eq!(learner.limit(now), None, "350 is not within a tenth of 300");
        learner.observed(s(349), now);
        assert_eq!(learner.limit(now), Some(s(349)));
    }

    #[test]
    fn a_close_well_after_the_known_limit_leaves_it_and_one_well_before_contradicts_it() {
        let now = Instant::now();
        let mut learner = Learner::default();
        learner.reported(s(300), now);
        learner.observed(s(3_000), now);
        assert_eq!(learner.limit(now), Some(s(300)));
        learner.observed(s(200), now);
        assert_eq!(learner.limit(now), None);
    }

    #[test]
    fn short_closes_teach_nothing() {
        let now = Instant::now();
        let mut learner = Learner::default();
        learner.observed(s(29), now);
        learner.observed(s(29), now);
        assert_eq!(learner, Learner::Nothing);
    }

    #[test]
    fn a_limit_is_forgotten_after_a_day_without_a_close() {
        let now = Instant::now();
        let mut learner = Learner::default();
        learner.reported(s(300), now);
        assert_eq!(learner.limit(now + MEMORY - s(1)), Some(s(300)));
        assert_eq!(learner.limit(now + MEMORY), None);
    }
}
