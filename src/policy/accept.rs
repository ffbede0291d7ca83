//! What an accept that failed means: one connection is lost, or the process lacks what each connection takes, and would
//! spin if it tried again at once.

use std::io;
use std::time::{Duration, Instant};

/// The first wait where something is lacking; each that follows is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often that is logged: it comes and goes with every connection that is closed.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// The failed accepts of one listener.
#[derive(Debug, Default)]
pub struct AcceptFailures {
    pause: Option<Duration>,
    logged: Option<Instant>,
}

/// What to do after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFailure {
    /// The client left before it was accepted: the next one may be there already.
    ClientGone,
    /// There is no descriptor, or no memory, for any: make room, and wait.
    NoRoom { pause: Duration, log: bool },
}

impl AcceptFailures {
    /// A connection was accepted.
    pub fn accepted(&mut self) {
        self.pause = None;
    }

    pub fn failed(&mut self, error: &io::Error, now: Instant) -> AcceptFailure {
        if is_the_clients(error) {
            return AcceptFailure::ClientGone;
        }
        let pause = self.pause.map_or(FIRST_PAUSE, |before| (before * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        let log = self.logged.is_none_or(|at| now.saturating_duration_since(at) >= LOGGED_EVERY);
        if log {
            self.logged = Some(now);
        }
        AcceptFailure::NoRoom { pause, log }
    }
}

/// Whether only the connection at hand is the matter.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMFILE: i32 = 24;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn no_descriptor() -> io::Error {
        io::Error::from_raw_os_error(EMFILE)
    }

    #[test]
    fn without_descriptors_it_waits_ever_longer_until_one_is_accepted() {
        let (mut failures, now) = (AcceptFailures::default(), Instant::now());
        let mut pause = || match failures.failed(&no_descriptor(), now) {
            AcceptFailure::NoRoom { pause, .. } => pause,
            AcceptFailure::ClientGone => Duration::ZERO,
        };
        let pauses: Vec<_> = (0..7).map(|_| pause()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000].map(ms));
        failures.accepted();
        let first = failures.failed(&no_descriptor(), now);
        assert_eq!(first, AcceptFailure::NoRoom { pause: ms(50), log: false });
    }

    #[test]
    fn it_is_logged_once_a_minute_however_often_one_is_accepted_meanwhile() {
        let (mut failures, begin) = (AcceptFailures::default(), Instant::now());
        let mut logged = Vec::new();
        for second in 0..=120 {
            let now = begin + Duration::from_secs(second);
            if matches!(failures.failed(&no_descriptor(), now), AcceptFailure::NoRoom { log: true, .. }) {
                logged.push(second);
            }
            failures.accepted();
        }
        assert_eq!(logged, [0, 60, 120]);
    }

    #[test]
    fn a_client_that_has_left_costs_no_wait_and_no_line() {
        let (mut failures, now) = (AcceptFailures::default(), Instant::now());
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::NotConnected] {
            assert_eq!(failures.failed(&kind.into(), now), AcceptFailure::ClientGone);
        }
        let first = failures.failed(&no_descriptor(), now);
        assert_eq!(first, AcceptFailure::NoRoom { pause: ms(50), log: true });
    }
}
