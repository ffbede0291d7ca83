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
        /// A line each, without secrets.
        problems: String,
    },
}

impl LastRead {
    /// Refused at `at`, and so was what came `before`, or not.
    #[must_use]
    pub fn refused(at: SystemTime, problems: String, before: Option<&LastRead>) -> Self {
        let since = match before {
            Some(LastRead::Refused { since, .. }) => *since,
            Some(LastRead::Taken { .. }) | None => at,
        };
        LastRead::Refused { at, since, problems }
    }

    /// Whether it was refused for the same as now.
    pub fn is_refused_for(&self, problems: &str) -> bool {
        matches!(self, LastRead::Refused { problems: told, .. } if told == problems)
    }
}
