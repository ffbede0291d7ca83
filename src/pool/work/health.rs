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
