//! What is known of the process itself at one moment. A reload changes it once, when all of it is done.

use std::sync::Arc;
use std::time::SystemTime;

/// The snapshot of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// `service` of the configuration that is in force.
    pub service: Arc<str>,
    /// How the configuration was last read.
    pub config: LastRead,
    /// How the web config file was last read; `None` where there is none.
    pub web_config: Option<LastRead>,
    /// Whether the process was told to end: `/readyz` fails first.
    pub draining: bool,
    /// Dials and logins under way over all targets.
    pub logins_in_flight: usize,
}

impl ProcessStatus {
    /// A process that has read its files at `at`.
    pub fn new(service: &str, at: SystemTime, has_web_config: bool) -> Self {
        ProcessStatus {
            service: service.into(),
            config: LastRead::Taken { at },
            web_config: has_web_config.then_some(LastRead::Taken { at }),
            draining: false,
            logins_in_flight: 0,
        }
    }
}

/// What came of reading a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastRead {
    Taken {
        at: SystemTime,
    },
    /// What was there before goes on.
    Refused {
        at: SystemTime,
        /// When it was refused for the first time since it was last taken.
        since: SystemTime,
        /// When that was which is in force.
        taken_at: SystemTime,
        /// A line each, without secrets.
        problems: String,
    },
}

impl LastRead {
    /// It was read again at `at`, and refused.
    pub fn refuse(&mut self, at: SystemTime, problems: String) {
        let since = match self {
            LastRead::Refused { since, .. } => *since,
            LastRead::Taken { .. } => at,
        };
        *self = LastRead::Refused { at, since, taken_at: self.taken_at(), problems };
    }

    /// Whether what was read last is in force.
    pub fn is_taken(&self) -> bool {
        matches!(self, LastRead::Taken { .. })
    }

    /// When it was read what is in force.
    pub fn taken_at(&self) -> SystemTime {
        match self {
            LastRead::Taken { at: taken_at } | LastRead::Refused { taken_at, .. } => *taken_at,
        }
    }

    /// Whether it was refused for the same as now.
    pub fn is_refused_for(&self, problems: &str) -> bool {
        matches!(self, LastRead::Refused { problems: told, .. } if told == problems)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_that_stays_bad_is_refused_since_the_first_time_and_the_last_good_one_is_in_force() {
        let mut last = LastRead::Taken { at: at(5) };
        assert_eq!((last.is_taken(), last.taken_at()), (true, at(5)));
        for (seconds, problem) in [(10, "one"), (20, "two")] {
            last.refuse(at(seconds), problem.to_owned());
            let problems = problem.to_owned();
            let expected = LastRead::Refused { at: at(seconds), since: at(10), taken_at: at(5), problems };
            assert_eq!((&last, last.is_taken(), last.taken_at()), (&expected, false, at(5)));
            assert!(last.is_refused_for(problem) && !last.is_refused_for("three"));
        }
    }
}
