//! A single value of the file as text, and what of a text may be shown.

/// A single value after expansion. It may be a secret: there is no Debug.
pub struct Scalar {
    pub(super) text: String,
    /// Not quoted, or it came from the environment, where there are no quotes: may be a number or boolean.
    pub(super) plain: bool,
    /// The variables that it came from.
    pub(super) names: Vec<String>,
}

impl Scalar {
    /// Without the blanks and line ends around it, which variables and block texts often bring along.
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// For what must not be a text.
    pub fn unquoted(&self) -> Result<(), String> {
        if self.plain {
            return Ok(());
        }
        Err(format!("{} is a text: remove the quotes", self.shown()))
    }

    /// The value in a message, unless it may hold a secret: what came from the environment is named by its variables.
    pub fn shown(&self) -> String {
        match self.names.as_slice() {
            [] => quoted(&self.text),
            names => format!("the value of {}", names.join(", ")),
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

/// Quotes a short text; one that looks like more than a word may be a misplaced connection string or password.
pub fn quoted(text: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let harmless = |c: char| word(c) || " .+,:/%".contains(c);
    let secretive = text.contains("://") || text.to_ascii_lowercase().contains("pass");
    let short = text.chars().count() <= 40;
    if short && (text.chars().all(word) || text.chars().all(harmless) && !secretive) {
        format!("\"{text}\"")
    } else {
        "this text (not shown, it may hold a secret)".to_owned()
    }
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
}
