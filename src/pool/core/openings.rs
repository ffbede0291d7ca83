//! When sessions may be opened, and how many at once: few after trouble, and none for a while after a failure.

use std::time::Instant;

use crate::policy::ASKED_APART;
use crate::policy::retry::FailureRow;
use crate::reason::{Class, Diagnosis, Reason};
use crate::target::Backoff;

/// Opened at once, at the most.
const WIDEST: usize = 8;

/// What came of the openings so far.
#[derive(Debug, Clone)]
pub struct Openings {
    /// So many at once: one after trouble, then twice as many with each that opens.
    width: usize,
    failure: Option<OpenFailure>,
}

/// Sessions cannot be opened, although the target may be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFailure {
    pub reason: Reason,
    pub class: Class,
    pub at: Instant,
    /// The supervisor has logged in since: until the next one fails, nothing is known to be wrong.
    pub is_past: bool,
    failures: FailureRow,
    until: Instant,
}

impl Default for Openings {
    fn default() -> Self {
        Openings { width: 1, failure: None }
    }
}

impl Openings {
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn failure(&self) -> Option<&OpenFailure> {
        self.failure.as_ref()
    }

    pub fn opened(&mut self) {
        self.width = (self.width * 2).min(WIDEST);
        self.failure = None;
    }

    pub fn failed(&mut self, diagnosis: Diagnosis, backoff: Backoff, now: Instant, dice: f64) {
        self.width = 1;
        let mut failures = self.failure.map_or_else(FailureRow::default, |failure| failure.failures);
        let wait = failures.wait_after(diagnosis.class, backoff, dice).max(diagnosis.at_least);
        self.failure = Some(OpenFailure {
            reason: diagnosis.reason,
            class: diagnosis.class,
            at: now,
            is_past: false,
            failures,
            until: now + wait,
        });
    }

    /// The supervised session was lost: what was learned of the server before that does not count.
    pub fn slow_down(&mut self) {
        self.width = 1;
    }

    /// Another configuration, or somebody says that the cause is mended.
    pub fn forget_failure(&mut self) {
        self.failure = None;
    }

    /// The supervisor has logged in after the failure.
    pub fn pass(&mut self) {
        if let Some(failure) = &mut self.failure {
            failure.is_past = true;
        }
    }

    /// The target is well: the pool may log in, too.
    pub fn proven(&mut self, now: Instant) {
        if let Some(failure) = &mut self.failure {
            (failure.at, failure.until) = (now, now);
        }
    }

    /// When the next may begin. `wanted`: a client waits.
    pub fn next(&self, wanted: bool) -> Option<Instant> {
        let failure = self.failure?;
        let hurried = wanted && failure.reason.is_safe_to_hurry();
        Some(if hurried { failure.until.min(failure.at + ASKED_APART) } else { failure.until })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30) };

    fn diagnosis(reason: Reason, class: Class) -> Diagnosis {
        Diagnosis { reason, class, at_least: Duration::ZERO }
    }

    #[test]
    fn the_width_doubles_to_eight_and_begins_anew_after_a_failure() {
        let mut openings = Openings::default();
        let mut widths = vec![openings.width()];
        for _ in 0..4 {
            openings.opened();
            widths.push(openings.width());
        }
        assert_eq!(widths, [1, 2, 4, 8, 8]);
        openings.failed(diagnosis(Reason::Reset, Class::Transient), BACKOFF, Instant::now(), 0.5);
        assert_eq!(openings.width(), 1);
    }

    #[test]
    fn each_class_has_its_wait_and_only_a_missing_database_is_hurried_by_a_client() {
        let now = Instant::now();
        for (reason, class, idle, wanted) in [
            (Reason::Reset, Class::Transient, 200, 200),
            (Reason::StartingUp, Class::Starting, 800, 800),
            (Reason::Capacity, Class::Capacity, 5_000, 5_000),
            (Reason::Auth, Class::Permanent, 30_000, 30_000),
            (Reason::DatabaseMissing, Class::Permanent, 30_000, 1_000),
        ] {
            let mut openings = Openings::default();
            openings.failed(diagnosis(reason, class), BACKOFF, now, 0.0);
            let waits = [false, true].map(|wanted| openings.next(wanted).map(|at| (at - now).as_millis()));
            assert_eq!(waits, [Some(idle), Some(wanted)], "{reason}");
        }
    }

    #[test]
    fn failures_in_a_row_wait_longer_and_never_less_than_the_server_asked() {
        let now = Instant::now();
        let mut openings = Openings::default();
        let asked =
            Diagnosis { at_least: Duration::from_secs(90), ..diagnosis(Reason::Auth, Class::Permanent) };
        let waits = [diagnosis(Reason::Auth, Class::Permanent), asked, asked].map(|diagnosis| {
            openings.failed(diagnosis, BACKOFF, now, 0.0);
            openings.next(false).map(|at| (at - now).as_secs())
        });
        assert_eq!(waits, [Some(30), Some(90), Some(120)]);
    }
}
