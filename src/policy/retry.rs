//! How a failure is followed up: the one place that says how long to wait after which class of failure.

use std::time::Duration;

use super::backoff::{Backoff, full_jitter, next_tcp_connect, slow_lane};

/// A full server is never asked again sooner than this.
const CAPACITY_FLOOR: Duration = Duration::from_secs(5);

/// How a failed attempt is followed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Backoff and breaker decide the wait.
    Transient,
    /// The server is coming up or going down: tried again each second for a minute, the breaker left alone.
    Starting,
    /// The server is full: backoff from 5 s, so that pgtether never adds load.
    Capacity,
    /// Nothing changes until secret, configuration or plan do: the slow lane.
    Permanent,
    /// A failure of this machine: backoff, the breaker left alone.
    Local,
}

/// The failures in a row that the next wait depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureRow {
    /// Those that may pass by themselves.
    temporary: u32,
    permanent: u32,
}

impl FailureRow {
    /// The wait after one more failure of that class; `dice` is in 0..1.
    pub fn wait_after(&mut self, class: Class, backoff: Backoff, dice: f64) -> Duration {
        let FailureRow { temporary, permanent } = *self;
        match class {
            Class::Starting => next_tcp_connect(dice),
            Class::Permanent => {
                self.permanent = permanent.saturating_add(1);
                slow_lane(permanent, dice)
            }
            Class::Capacity | Class::Transient | Class::Local => {
                *self = FailureRow { temporary: temporary.saturating_add(1), permanent: 0 };
                let floor = if class == Class::Capacity { CAPACITY_FLOOR } else { backoff.initial };
                full_jitter(floor, backoff.max, temporary, dice)
            }
        }
    }

    /// A login succeeded: the next failure is the first of a new row.
    pub fn end(&mut self) {
        *self = FailureRow::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(200), max: s(30) };

    /// The least and the most that the first waits of a row take.
    fn waits(class: Class) -> [(f64, f64); 4] {
        let (mut low, mut high) = (FailureRow::default(), FailureRow::default());
        [(); 4].map(|()| {
            let (low, high) = (low.wait_after(class, BACKOFF, 0.0), high.wait_after(class, BACKOFF, 1.0));
            (low.as_secs_f64(), high.as_secs_f64())
        })
    }

    #[test]
    fn each_class_has_its_waits() {
        for class in [Class::Transient, Class::Local] {
            assert_eq!(waits(class), [(0.2, 0.2), (0.2, 0.4), (0.2, 0.8), (0.2, 1.6)]);
        }
        assert_eq!(waits(Class::Starting), [(0.8, 1.0); 4]);
        assert_eq!(waits(Class::Capacity), [(5.0, 5.0), (5.0, 10.0), (5.0, 20.0), (5.0, 30.0)]);
        assert_eq!(waits(Class::Permanent), [(30.0, 33.0), (60.0, 66.0), (120.0, 132.0), (240.0, 264.0)]);
    }

    #[test]
    fn a_failure_that_may_pass_ends_a_row_of_permanent_ones_and_one_of_a_start_ends_none() {
        let mut row = FailureRow::default();
        row.wait_after(Class::Permanent, BACKOFF, 0.0);
        row.wait_after(Class::Starting, BACKOFF, 0.0);
        assert_eq!(row.wait_after(Class::Permanent, BACKOFF, 0.0), s(60));
        row.wait_after(Class::Transient, BACKOFF, 0.0);
        assert_eq!(row.wait_after(Class::Permanent, BACKOFF, 0.0), s(30));
        assert_eq!(row.wait_after(Class::Transient, BACKOFF, 1.0), 2 * BACKOFF.initial);
    }

    #[test]
    fn a_login_ends_the_row() {
        let mut row = FailureRow::default();
        for class in [Class::Permanent, Class::Transient, Class::Transient] {
            row.wait_after(class, BACKOFF, 0.0);
        }
        row.end();
        assert_eq!(row.wait_after(Class::Transient, BACKOFF, 1.0), BACKOFF.initial);
    }
}
