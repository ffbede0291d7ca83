//! The code that an error has for programs.

use std::fmt;
use std::ops::Deref;

/// Five letters and digits, whatever was received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sqlstate([u8; 5]);

impl Sqlstate {
    /// What stands for anything that is no SQLSTATE: it could hold anything.
    const INTERNAL_ERROR: Sqlstate = Sqlstate(*b"XX000");

    pub fn read(code: &[u8]) -> Self {
        match <[u8; 5]>::try_from(code) {
            Ok(code) if code.iter().all(u8::is_ascii_alphanumeric) => Sqlstate(code),
            _ => Self::INTERNAL_ERROR,
        }
    }
}

impl From<&str> for Sqlstate {
    fn from(code: &str) -> Self {
        Self::read(code.as_bytes())
    }
}

impl Deref for Sqlstate {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl PartialEq<&str> for Sqlstate {
    fn eq(&self, code: &&str) -> bool {
        **self == **code
    }
}

impl fmt::Display for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_kept_and_what_is_none_is_not_passed_on() {
        assert_eq!(Sqlstate::from("28P01"), "28P01");
        for none in ["", "28P0", "28P01x", "my password", "28 01", "28P0\u{e9}"] {
            assert_eq!(Sqlstate::from(none), "XX000", "{none:?}");
        }
    }
}
