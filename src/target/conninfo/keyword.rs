//! The keyword syntax: `host=db.example user='a b' password=it\'s`.
//!
//! Quotes and backslashes as in libpq, where a backslash takes the next character as it is, in and out of quotes.
//! Knows nothing of what the keywords mean.

use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

use super::{Findings, Setting, Split, table};

pub(super) fn split(text: &str, findings: &mut Findings) -> Split {
    let mut reader = KeywordReader {
        rest: text.chars().peekable(),
        scratch: Zeroizing::new(String::with_capacity(text.len())),
    };
    let mut settings = Vec::new();
    let mut before = None;
    loop {
        reader.skip_blanks();
        if reader.rest.peek().is_none() {
            return Split { quoted: text.contains(['\'', '\\']), ..Split::new(settings) };
        }
        let name = reader.name();
        if reader.rest.next_if_eq(&'=').is_none() {
            // The word is not shown: it may be the second half of a password with a blank in it.
            let position = before.map_or("a word".to_owned(), |k| format!("after the value of `{k}` a word"));
            findings.problem(
                before,
                format!(
                    "{position} stands without `=`: write keyword=value, and a value with blanks as 'a b'"
                ),
            );
            continue;
        }
        before = table::find(&name).map(|row| row.keyword).or(before);
        let blanks = reader.skip_blanks();
        let quoted = reader.rest.peek() == Some(&'\'');
        match reader.value() {
            Some(value) if blanks && !quoted && is_setting(&value) => findings.problem(
                before,
                "a `=` is followed by a blank and the next setting, which libpq takes for the value: write '' if \
                 there is none",
            ),
            Some(value) => settings.push(Setting { name, value }),
            None => findings.problem(
                before,
                "a value that begins with ' has no ' at its end; inside of the quotes write ' as \\' and \\ as \\\\",
            ),
        }
    }
}

/// Mostly the work of a variable that was empty: `password= host=db.example`.
fn is_setting(value: &str) -> bool {
    value.split_once('=').is_some_and(|(name, _)| table::find(name).is_some())
}

struct KeywordReader<'t> {
    rest: Peekable<Chars<'t>>,
    /// Long enough for every word, so that a password never leaves copies behind where a buffer grew.
    scratch: Zeroizing<String>,
}

impl KeywordReader<'_> {
    /// Whether there were any.
    fn skip_blanks(&mut self) -> bool {
        let mut any = false;
        while self.rest.next_if(is_blank).is_some() {
            any = true;
        }
        any
    }

    /// Up to the `=`, with the blanks that may stand before it, or up to where the next word begins.
    fn name(&mut self) -> Zeroizing<String> {
        self.scratch.clear();
        while let Some(c) = self.rest.next_if(|c| *c != '=' && !is_blank(c)) {
            self.scratch.push(c);
        }
        self.skip_blanks();
        self.scratch.clone()
    }

    /// `None` where the closing quote is missing.
    fn value(&mut self) -> Option<Zeroizing<String>> {
        self.scratch.clear();
        let quoted = self.rest.next_if_eq(&'\'').is_some();
        loop {
            match self.rest.next() {
                Some('\'') if quoted => break,
                Some('\\') => self.scratch.extend(self.rest.next()),
                Some(c) if !quoted && is_blank(&c) => break,
                Some(c) => self.scratch.push(c),
                None if quoted => return None,
                None => break,
            }
        }
        Some(self.scratch.clone())
    }
}

/// C's `isspace`, which libpq asks.
fn is_blank(c: &char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}
