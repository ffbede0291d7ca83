//! A file with a secret in it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::REDACTED;

/// The path of a file that contains a secret. What was written may be that secret itself, in the place of a path.
#[derive(Clone)]
pub struct SecretFile {
    path: PathBuf,
    /// It was written like a path: from `/`, `./` or `../` on. A password hardly ever is.
    is_plainly_a_path: bool,
}

impl SecretFile {
    /// A relative one starts at `folder`.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        SecretFile { path: folder.join(self.path), ..self }
    }

    /// What to say of a key whose value [`Self::shown`] does not show.
    pub const NO_FILE: &str = "names a file that does not exist (the name is not shown, because it may be the secret itself): \
                               write the secret to a file, and the file's path here; an absolute path or ./NAME is shown";

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path for people, unless it may be a secret: there is no such file, and it does not look like a path. Asks the file
    /// system.
    pub fn shown(&self) -> Option<String> {
        let exists = || self.path.symlink_metadata().is_ok();
        (self.is_plainly_a_path || exists()).then(|| self.path.display().to_string())
    }
}

/// The same file, however it was written.
impl PartialEq for SecretFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for SecretFile {}

/// As it was written.
impl From<&str> for SecretFile {
    fn from(written: &str) -> Self {
        let is_plainly_a_path = ["/", "./", "../"].iter().any(|start| written.starts_with(start));
        SecretFile { path: written.into(), is_plainly_a_path }
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_plainly_a_path {
            true => self.path.fmt(f),
            false => f.write_str(REDACTED),
        }
    }
}

/// Whether a text that should be the path of a file is a connection string or a key in PEM.
pub fn is_no_path(text: &str) -> bool {
    // PostgreSQL's keywords allow blanks around the `=`.
    let keyword = |before: &str| {
        let last = before.trim_end().rsplit(|c: char| c.is_whitespace() || c == '\'').next();
        last.is_some_and(|word| ["host", "hostaddr", "user", "dbname", "password"].contains(&word))
    };
    let assigned = text.rsplit_once('=').is_some_and(|(before, _)| before.split('=').any(keyword));
    assigned || text.contains("://") || text.contains("-----BEGIN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_or_a_key_is_told_from_a_path() {
        for text in [
            "postgresql://app:hunter2@localhost/shop",
            "jdbc:postgresql://localhost/shop?password=hunter2",
            "host=localhost password=hunter2",
            "port=5432 password = 'hunter2'",
            "password=hunter2=",
            "-----BEGIN PRIVATE KEY----- MIIE",
        ] {
            assert!(is_no_path(text), "{text}");
        }
        for text in [
            "/run/secrets/database-url",
            "url",
            "C:\\secrets\\password",
            "my passwords/password",
            "/secrets/user=app/password",
            "team=shop/url",
            "a file = of mine",
        ] {
            assert!(!is_no_path(text), "{text}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_shown_only_if_there_is_a_file_of_that_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "sesame").unwrap();
        let shown = |written: &str| SecretFile::from(written).within(folder.path()).shown();
        let path = |name: &str| Some(folder.path().join(name).display().to_string());
        assert_eq!(shown("pw"), path("pw"));
        assert_eq!(shown("./none"), path("./none"));
        assert_eq!(shown("/nonexistent/pw"), Some("/nonexistent/pw".to_owned()));
        for password in ["S3cretPassw0rd!", "c29/tZQ==", &"x".repeat(5_000), "..", "a/b"] {
            let file = SecretFile::from(password).within(folder.path());
            let is_there = password == "..";
            assert_eq!(file.shown().is_some(), is_there, "{password}");
            assert_eq!(format!("{file:?}"), "<redacted>");
        }
    }
}
