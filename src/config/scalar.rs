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
