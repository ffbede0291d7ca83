//! `pgtether demo`: a throw-away PostgreSQL, supervised by the real daemon.

pub mod binaries;
pub mod den;
pub mod postgres;

use std::fmt;

/// What went wrong with a throw-away server: one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(String);

impl Trouble {
    pub fn new(what: impl Into<String>) -> Self {
        Trouble(what.into())
    }

    /// What failed, and why.
    pub fn of(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Trouble(format!("{what}: {why}"))
    }

    /// The same, with what it happened within in front.
    pub fn within(self, what: impl fmt::Display) -> Self {
        Trouble(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}
