//! Sorts settings by the table: what is used is kept, the rest becomes notes and problems.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::table::{Handling, Keyword, Row, find, similar};
use super::{Findings, Setting, Split};

/// The values of the keywords that are used; as in libpq, the last one of a name.
pub(super) struct Values {
    by_key: BTreeMap<Keyword, Zeroizing<String>>,
    /// Whether there was a string to read; where not, defaults are not worth a look.
    pub(super) readable: bool,
}

impl Values {
    pub(super) fn get(&self, key: Keyword) -> Option<&str> {
        self.by_key.get(&key).map(|value| value.as_str())
    }

    /// For keywords where libpq takes an empty value as none.
    pub(super) fn filled(&self, key: Keyword) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    fn store(&mut self, key: Keyword, value: Zeroizing<String>, findings: &mut Findings) {
        let keyword = key.keyword();
        if key != Keyword::Password && value.chars().any(char::is_control) {
            findings.problem(
                Some(keyword),
                format!("`{keyword}` holds a line break or another control character"),
            );
        }
        if self.by_key.insert(key, value).is_some() {
            findings.note(keyword, format!("`{keyword}` is set more than once: the last one counts"));
        }
    }
}

/// The values of `sslmode`, which asyncpg takes for `ssl`, too.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// More settings than anybody writes, and few enough to look each one up and tell of it.
const MOST_SETTINGS: usize = 256;

pub(super) fn sort(mut split: Split, findings: &mut Findings) -> Values {
    let mut values = Values { by_key: BTreeMap::new(), readable: split.readable };
    // Where the syntax is broken, or could be by a quotation mark too many, any name may be a piece of a password; so
    // may those behind a password that holds a blank or an `&`.
    let torn = split.quoted || !findings.problems.is_empty();
    let mut position = Position { after: None, hidden: torn };
    if split.settings.len() > MOST_SETTINGS {
        findings.problem(None, format!("the connection string holds more than {MOST_SETTINGS} settings"));
        split.settings.truncate(MOST_SETTINGS);
    }
    for setting in split.settings {
        match find(&setting.name) {
            Some(row) => {
                position = Position { after: Some(row.keyword), hidden: torn || row.is_secret() };
                known(row, setting, &mut values, findings);
            }
            None => position.hidden |= unknown(&setting.name, position, findings),
        }
    }
    values
}

/// Where an unknown keyword stands.
#[derive(Clone, Copy)]
struct Position {
    /// The known one before it.
    after: Option<&'static str>,
    /// Whether it may be a piece of a password.
    hidden: bool,
}

fn known(row: &Row, setting: Setting, values: &mut Values, findings: &mut Findings) {
    let keyword = row.keyword;
    match row.handling {
        Handling::Used(Keyword::Ssl, _) => match setting.value.as_str() {
            "true" => values.store(Keyword::SslMode, Zeroizing::new("require".to_owned()), findings),
            mode if SSL_MODES.contains(&mode) => values.store(Keyword::SslMode, setting.value, findings),
            _ => {
                let message = "`ssl` means something only as ssl=true, which is sslmode=require, or with a value \
                                   of sslmode: write `sslmode`";
                findings.problem(Some(keyword), message);
            }
        },
        Handling::Used(Keyword::RequireSsl, _) => {
            let mode = if setting.value.starts_with('1') { "require" } else { "prefer" };
            findings.note(keyword, format!("`requiressl` is an old word: write sslmode={mode}"));
            values.store(Keyword::SslMode, Zeroizing::new(mode.to_owned()), findings);
        }
        Handling::Used(key, _) => values.store(key, setting.value, findings),
        Handling::Harmless(why) => findings.note(keyword, does_nothing(keyword, why)),
        Handling::Either { harmless, why, .. } if harmless.contains(&setting.value.as_str()) => {
            findings.note(keyword, does_nothing(keyword, why));
        }
        Handling::Either { remedy, .. } | Handling::Refused(remedy) => {
            findings.problem(Some(keyword), format!("`{keyword}` is not supported: {remedy}"));
        }
    }
}

fn does_nothing(keyword: &str, why: &str) -> String {
    format!("`{keyword}` does nothing here: {why}")
}

/// Refuses an unknown keyword, by name only where the name cannot be a piece of a secret. Tells whether what follows
/// may be one.
fn unknown(name: &str, position: Position, findings: &mut Findings) -> bool {
    let meant = similar(name);
    let hint = match meant.map(|row| (row.keyword, row.handling)) {
        Some((keyword, Handling::Refused(remedy))) => {
            format!("like `{keyword}` it is not supported: {remedy}")
        }
        Some((keyword, _)) => format!("did you mean `{keyword}`?"),
        None => "libpq does not know it either: leave it out".to_owned(),
    };
    let hidden = position.hidden || !looks_like_keyword(name);
    if hidden {
        let position = position.after.map_or("at the beginning".to_owned(), |k| format!("after `{k}`"));
        findings.problem(
            None,
            format!(
                "unknown keyword {position}, not shown because it may be a piece of a password: {hint}; if it belongs to \
                 the value before it, write 'a b' in quotes, or in a URI `&` as `%26`"
            ),
        );
    } else {
        findings.problem(Some(name), format!("unknown keyword `{name}`: {hint}"));
    }
    hidden || meant.is_some_and(Row::is_secret)
}

fn looks_like_keyword(name: &str) -> bool {
    const LONGEST: usize = 40;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    name.len() <= LONGEST && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(fits)
}
