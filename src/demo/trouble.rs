//! What went wrong with a throw-away server.

use std::fmt;

/// One message for people: what happened, where, what to do.
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
