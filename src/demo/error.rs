//! What went wrong with a temporary server.

use std::fmt;

/// One message for people: what happened, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// What happened, in a sentence of its own.
    pub fn new(what: impl Into<String>) -> Self {
        Error(what.into())
    }

    /// What failed, and why.
    pub fn of(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Error(format!("{what}: {why}"))
    }

    /// The same, with what it happened within in front.
    pub fn within(self, what: impl fmt::Display) -> Self {
        Error(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
