//! What the log says of clients that were not let in: at once, and then at most once a minute, with how many there were.
//!
//! Pure: time is an argument.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::LoginRejection;
use crate::status::login::LoginFailure;

/// Between two lines in the log.
pub const PAUSE: Duration = Duration::from_secs(60);

/// What was not said yet.
#[derive(Debug, Default)]
pub struct Tally {
    unsaid: Summary,
    /// Before then nothing is said.
    next: Option<Instant>,
}

/// One line in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    counts: [u64; LoginFailure::ALL.len()],
    /// The words of the last one.
    pub last: String,
}

impl Tally {
    pub fn add(&mut self, rejection: LoginRejection) {
        self.unsaid.counts[rejection.why as usize] += 1;
        self.unsaid.last = rejection.message;
    }

    /// When there is something to say.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        (self.unsaid.total() > 0).then(|| self.next.unwrap_or(now))
    }

    /// What is to be said now.
    pub fn take(&mut self, now: Instant) -> Option<Summary> {
        if self.due(now)? > now {
            return None;
        }
        self.next = Some(now + PAUSE);
        Some(std::mem::take(&mut self.unsaid))
    }
}

impl Summary {
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// `password 30, timeout 2`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = LoginFailure::ALL.iter().zip(self.counts).filter(|(_, count)| *count > 0);
        for (i, (why, count)) in counted.enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {count}", why.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(why: LoginFailure, message: &str) -> LoginRejection {
        LoginRejection { why, message: message.to_owned() }
    }

    #[test]
    fn the_first_is_said_at_once_and_those_of_the_next_minute_together() {
        let start = Instant::now();
        let mut tally = Tally::default();
        assert_eq!((tally.due(start), tally.take(start)), (None, None));
        tally.add(rejection(LoginFailure::Password, "first"));
        let said = tally.take(start).unwrap();
        assert_eq!((said.to_string().as_str(), said.total(), said.last.as_str()), ("password 1", 1, "first"));
        assert_eq!(tally.due(start), None, "all is said");
        for _ in 0..3 {
            tally.add(rejection(LoginFailure::Password, "guess"));
        }
        tally.add(rejection(LoginFailure::Timeout, "slow"));
        let just_before = start + PAUSE - Duration::from_millis(1);
        assert_eq!((tally.due(just_before), tally.take(just_before)), (Some(start + PAUSE), None));
        let said = tally.take(start + PAUSE).unwrap();
        assert_eq!(
            (said.to_string().as_str(), said.total(), said.last.as_str()),
            ("password 3, timeout 1", 4, "slow")
        );
        assert_eq!(tally.take(start + PAUSE * 9), None);
        tally.add(rejection(LoginFailure::Tls, "late"));
        assert!(tally.take(start + PAUSE * 9).is_some(), "after a rest at once again");
    }
}
