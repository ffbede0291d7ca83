//! Connection strings as libpq reads them.
//!
//! A string goes through three steps: its syntax (`uri` or `keyword`) splits it into settings, `table` says what
//! pgtether makes of each keyword (`values` sorts by it), and `endpoint`, `hosts` and `tls` turn what is left
//! into an [`Endpoint`]. Every problem is reported at once, and nothing is ignored in silence.
//!
//! Knows nothing of sockets, the environment or other files: `PG*` variables, `~/.pgpass`, `~/.postgresql` and service
//! files are not read, because a daemon should do what its own configuration says. Where libpq would fall back to the
//! system, so does this: no user means the system's user, no host means the folder of PostgreSQL's Unix sockets.
//!
//! No problem and no note ever quotes a value. A string that is mis-split, an `@` too many, shows pieces of its
//! password where the host or a keyword should be, so only words of our own table and harmless-looking names are shown.

mod describe;
mod endpoint;
mod hosts;
mod keyword;
mod redirect;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod uri;
mod values;
mod words;

use std::fmt;

use zeroize::Zeroizing;

use super::Endpoint;
pub use redirect::{redirect, without_driver};
pub use table::{Handling, Keyword, Row, rows};

/// Longer strings are refused unread.
pub const MAX_LEN: usize = 16 * 1024;

/// What is wrong with a connection string, without any of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The keyword it is about, where there is one.
    pub keyword: Option<String>,
    /// What is wrong and what to do about it; a sentence that stands alone.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A connection string, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    pub endpoint: Endpoint,
    /// Accepted, but a person should know: what does nothing here, and why; what means something else than it seems.
    pub notes: Vec<Mistake>,
}

/// Reads a URI (`postgresql://`, `postgres://`) or a keyword string; every problem at once.
///
/// White space around the string and a byte order mark before it are cut off: it comes from files.
pub fn parse(text: &str) -> Result<Parsed, Vec<Mistake>> {
    let mut findings = Findings::default();
    let split = split(text, &mut findings);
    let stray_at = split.stray_at;
    let values = values::sort(split, &mut findings);
    let endpoint = endpoint::build(values, &mut findings);
    match endpoint {
        Some(endpoint) if findings.problems.is_empty() => Ok(Parsed { endpoint, notes: findings.notes }),
        _ if stray_at => Err(vec![uri::stray_at()]),
        _ => Err(findings.problems),
    }
}

fn split(text: &str, findings: &mut Findings) -> Split {
    // Editors on Windows put a byte order mark first.
    let text = text.trim_ascii_start().trim_start_matches('\u{feff}');
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() {
        findings.problem(
            None,
            "the connection string is empty: write one such as postgresql://user@host/database",
        );
    } else if text.len() > MAX_LEN {
        findings.problem(None, format!("the connection string is longer than {MAX_LEN} bytes"));
    } else if text.contains('\0') {
        findings.problem(None, "the connection string holds a NUL byte");
    } else if let Some(rest) = uri::after_scheme(trimmed) {
        return uri::split(rest, findings);
    } else if let Some(remedy) = uri::foreign(trimmed) {
        findings.problem(None, remedy);
    } else {
        return keyword::split(text, findings);
    }
    Split::unreadable()
}

/// What both syntaxes come down to.
struct Split {
    /// In the order of the string: as in libpq, the last one of a name counts.
    settings: Vec<Setting>,
    /// Whether an `@` of a URI stands where a mis-split password would have left it.
    stray_at: bool,
    /// Whether a quotation mark too many could have made names out of pieces of a password.
    quoted: bool,
    /// Whether the settings are worth a closer look.
    readable: bool,
}

impl Split {
    fn new(settings: Vec<Setting>) -> Self {
        Split { settings, stray_at: false, quoted: false, readable: true }
    }

    fn unreadable() -> Self {
        Split { readable: false, ..Split::new(Vec::new()) }
    }
}

/// One setting, decoded, not yet understood. Without `Debug` on purpose: either half may be a piece of a password.
struct Setting {
    name: Zeroizing<String>,
    value: Zeroizing<String>,
}

/// Collects what a person is told.
#[derive(Default)]
struct Findings {
    problems: Vec<Mistake>,
    notes: Vec<Mistake>,
}

impl Findings {
    fn problem(&mut self, keyword: Option<&str>, message: impl Into<String>) {
        push(&mut self.problems, keyword, message.into());
    }

    fn note(&mut self, keyword: &str, message: impl Into<String>) {
        push(&mut self.notes, Some(keyword), message.into());
    }
}

/// The same mistake made twice is said once.
fn push(list: &mut Vec<Mistake>, keyword: Option<&str>, message: String) {
    let problem = Mistake { keyword: keyword.map(str::to_owned), message };
    if !list.contains(&problem) {
        list.push(problem);
    }
}
