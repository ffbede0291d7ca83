//! A value that is never shown.

use std::fmt;

use zeroize::Zeroizing;

/// What is shown in place of a secret.
pub const REDACTED: &str = "<redacted>";

/// A password: wiped when dropped, `<redacted>` wherever it is formatted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the value over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// The one way to the value: for the login, and for scrubbing texts of it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_however_it_is_formatted_and_comes_back_when_asked() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {secret:#?}"), "<redacted> <redacted>");
        assert_eq!(secret.expose(), b"hunter2");
        assert_eq!(secret, Secret::new(b"hunter2".as_slice()));
        assert_ne!(secret, Secret::new("hunter3"));
    }
}
