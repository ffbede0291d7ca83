//! What a wrong password costs: time, one after the other, however many connections guess.
//!
//! A right password never waits, so whoever guesses cannot keep out whoever knows it. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// How long each wrong password takes before it is told.
pub const PENALTY: Duration = Duration::from_millis(300);
/// So many may wait to be told; more are hung up on.
pub const WAITING: u32 = 16;

/// When the wrong passwords of a pool are told.
#[derive(Debug, Default)]
pub struct Penalties {
    /// When the last one of those that wait is told.
    last: Option<Instant>,
}

impl Penalties {
    /// When this one is told; `None` where too many wait already.
    pub fn add(&mut self, now: Instant) -> Option<Instant> {
        let told = self.last.map_or(now, |last| last.max(now)) + PENALTY;
        if told - now > PENALTY * WAITING {
            return None;
        }
        self.last = Some(told);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_passwords_are_told_one_after_the_other_and_only_so_many_wait() {
        let start = Instant::now();
        let mut penalties = Penalties::default();
        for turn in 1..=WAITING {
            assert_eq!(penalties.add(start), Some(start + PENALTY * turn));
        }
        assert_eq!(penalties.add(start), None);
        assert_eq!(penalties.add(start + PENALTY), Some(start + PENALTY * (WAITING + 1)));
        assert_eq!(penalties.add(start + PENALTY), None, "what was refused took no turn");
    }

    #[test]
    fn a_rest_is_not_saved_up() {
        let start = Instant::now();
        let mut penalties = Penalties::default();
        penalties.add(start);
        let later = start + Duration::from_secs(60);
        assert_eq!(penalties.add(later), Some(later + PENALTY));
        assert_eq!(penalties.add(later), Some(later + PENALTY * 2));
    }
}
