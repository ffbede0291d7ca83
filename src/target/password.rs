//! Where the password of a target comes from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{REDACTED, SecretFile};

/// Where the password comes from. There is one place: who named two has made a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PasswordSource {
    /// The connection string, if that has one.
    #[default]
    Url,
    /// `password_file`: read again at every attempt; beats a password in the connection string.
    File(SecretFile),
    /// `password_command`: asked when a login needs a password.
    Command(Arc<PasswordCommand>),
}

impl PasswordSource {
    /// Whether a command prints it.
    pub const fn is_command(&self) -> bool {
        matches!(self, PasswordSource::Command(_))
    }
}

/// A program that prints the password, and its arguments. There is no shell between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordCommand {
    /// With a slash a path, else a name that is looked up in `PATH`.
    pub program: PathBuf,
    pub arguments: Vec<Argument>,
}

/// An argument of a command. One that may hold a secret is `<redacted>` wherever it is formatted.
#[derive(Clone, PartialEq, Eq)]
pub struct Argument {
    text: String,
    may_be_shown: bool,
}

impl Argument {
    pub const fn new(text: String, may_be_shown: bool) -> Self {
        Argument { text, may_be_shown }
    }

    /// For the command alone.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// For people.
    pub fn shown(&self) -> &str {
        if self.may_be_shown { &self.text } else { REDACTED }
    }
}

impl fmt::Debug for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}
