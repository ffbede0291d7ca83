//! What an operator reads of sessions that the pool cannot open: one line when that begins, one when it is over, and fewer
//! where it never ends.

use std::time::Instant;

use tracing::{info, warn};

use crate::policy::pace::Pace;
use crate::reason::{Facts, Reason};
use crate::target::TargetName;

/// What was logged of the pool's logins.
#[derive(Debug, Default)]
pub struct OpeningLog {
    pace: Pace,
    /// The line that says that sessions cannot be opened is the last one.
    is_told: bool,
    /// Failures that were news, and too many to be logged.
    unlogged: u64,
}

impl OpeningLog {
    /// A session could not be opened; `is_news` where that was not so before, or for another reason.
    pub fn failed(
        &mut self,
        target: &TargetName,
        is_news: bool,
        reason: Reason,
        facts: &Facts,
        remedy: &'static str,
    ) {
        let now = tokio::time::Instant::now().into_std();
        if !self.is_due(is_news, now) {
            return;
        }
        let unlogged_changes = Some(std::mem::take(&mut self.unlogged)).filter(|left_out| *left_out > 0);
        warn!(
            %target, %reason, phase = facts.phase.as_str(), detail = %facts, remedy, unlogged_changes,
            "the pool cannot open a session"
        );
    }

    /// It is over, as `message` says.
    pub fn over(&mut self, target: &TargetName, message: &'static str) {
        if std::mem::take(&mut self.is_told) {
            info!(%target, "{message}");
        }
    }

    /// What was left out is told later, if it lasts.
    fn is_due(&mut self, is_news: bool, now: Instant) -> bool {
        if is_news {
            self.pace.changed(now);
            self.is_told = false;
        }
        if self.is_told {
            return false;
        }
        self.is_told = self.pace.admits(now);
        self.unlogged += u64::from(is_news && !self.is_told);
        self.is_told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_is_due_once_and_those_that_come_and_go_ever_more_rarely() {
        let (mut log, start) = (OpeningLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(log.is_due(true, at(0)));
        assert!((1..600).all(|second| !log.is_due(false, at(second))), "it goes on");
        let told = (600..4_200).filter(|second| log.is_due(true, at(*second))).count();
        assert!((12..=18).contains(&told), "{told}");
        assert!(log.unlogged > 3_000);
        let later: Vec<_> = (4_200..4_400).filter(|second| log.is_due(false, at(*second))).collect();
        assert_eq!(later, [4_259], "what lasts is told after a minute");
    }
}
