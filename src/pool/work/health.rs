//! What a target's snapshot means for its pool.

use crate::pool::core::{Availability, Health};
use crate::status::{Attempt, Because, Line, State, TargetStatus};

impl Health {
    /// A login that failed beside it or a ping in flight makes the supervised session suspect, not those of the pool.
    pub fn of(status: &TargetStatus) -> Self {
        let suspect = matches!(status.line, Line::Suspect { .. });
        Health {
            availability: availability(status),
            down: status.state() == State::Down && (status.consecutive_failures > 0 || suspect),
            reason: status.reason(),
            remedy: status
                .last_failure
                .as_ref()
                .filter(|failure| Some(failure.reason) == status.reason())
                .map(|failure| failure.remedy),
            failed_at: status.last_failure.as_ref().map(|failure| failure.at.mono),
            last_login: status.last_login.map(|at| at.mono),
            ping_every: status.ping_every,
        }
    }
}

fn availability(status: &TargetStatus) -> Availability {
    match (&status.line, &status.attempt) {
        (Line::Live(_), _) => Availability::Live,
        (Line::Asleep { .. }, _) => Availability::Asleep,
        (Line::Lost { .. }, Attempt::Waiting { until, because: Because::SlowLane, .. }) => {
            Availability::Permanent(until.mono)
        }
        // A TCP connect that is accepted brings the attempt forward.
        (Line::Lost { .. }, Attempt::Waiting { until, tcp_connect, .. }) => {
            Availability::NotBefore(tcp_connect.map_or(until.mono, |at| at.mono.min(until.mono)))
        }
        _ => Availability::Trying,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::{Purpose, sample};

    #[test]
    fn a_pool_knows_when_its_target_is_tried_again() {
        let now = sample::moment();
        let [soon, late] = [1, 60].map(|seconds| now.after(Duration::from_secs(seconds)));
        let waiting = |tcp_connect, because| Attempt::Waiting {
            until: late,
            tcp_connect,
            purpose: Purpose::Reconnect,
            because,
        };
        let connecting = Attempt::Connecting { since: now, purpose: Purpose::Reconnect, early: None };
        for (status, attempt, expected) in [
            (sample::up("db", now), Attempt::None, Availability::Live),
            (sample::up("db", now), connecting.clone(), Availability::Live),
            (sample::asleep("db", now), Attempt::None, Availability::Asleep),
            (sample::lost("db", now, 5.0), connecting, Availability::Trying),
            (
                sample::lost("db", now, 5.0),
                waiting(None, Because::Backoff),
                Availability::NotBefore(late.mono),
            ),
            (
                sample::lost("db", now, 5.0),
                waiting(Some(soon), Because::Breaker),
                Availability::NotBefore(soon.mono),
            ),
            (
                sample::lost("db", now, 5.0),
                waiting(Some(soon), Because::SlowLane),
                Availability::Permanent(late.mono),
            ),
        ] {
            let found = Health::of(&TargetStatus { attempt: attempt.clone(), ..status.clone() });
            assert_eq!(found.availability, expected, "{:?} {attempt:?}", status.line);
        }
    }

    #[test]
    fn a_target_is_down_for_its_pool_once_that_is_proven() {
        let now = sample::moment();
        let mut status = sample::lost("db", now, 5.0);
        status.consecutive_failures = 0;
        assert!(!Health::of(&status).down, "between two sessions");
        status.consecutive_failures = 1;
        assert!(Health::of(&status).down);
        assert!(!Health::of(&sample::up("db", now)).down);
        let held = sample::held(now, now);
        let suspect = TargetStatus { line: Line::Suspect { held, asked_at: now }, ..sample::up("db", now) };
        assert!(Health::of(&suspect).down, "its ping was not answered");
    }
}
