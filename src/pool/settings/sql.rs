//! Settings as SQL.

use std::collections::BTreeMap;

/// Changed before all others, and set after them: they decide what may be changed, and how long that may take.
const FIRST: [&str; 3] = ["role", "session_authorization", "statement_timeout"];

/// Turns a session that has `from` into one that has `to`.
pub fn change(from: &BTreeMap<String, String>, to: &BTreeMap<String, String>) -> Option<String> {
    let mut gone: Vec<_> = from.keys().filter(|name| !to.contains_key(*name)).collect();
    gone.sort_by_key(|name| !FIRST.contains(&name.as_str()));
    let mut sql: Vec<_> = gone.into_iter().map(|name| format!("RESET {}", identifier(name))).collect();
    sql.extend(set(to.iter().filter(|(name, value)| from.get(*name) != Some(*value))));
    (!sql.is_empty()).then(|| sql.join(";"))
}

/// Makes these settings. The server answers with one row of them, as it spells them.
pub fn set<'a>(settings: impl Iterator<Item = (&'a String, &'a String)>) -> Option<String> {
    let mut settings: Vec<_> = settings.collect();
    settings.sort_by_key(|(name, _)| FIRST.contains(&name.as_str()));
    let call = |(name, value): (&String, &String)| {
        format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
    };
    let calls: Vec<_> = settings.into_iter().map(call).collect();
    (!calls.is_empty()).then(|| format!("SELECT {}", calls.join(", ")))
}

/// In which order the row of [`set`] has these names.
pub fn order(names: &mut [&String]) {
    names.sort_by_key(|name| FIRST.contains(&name.as_str()));
}

/// A text as a literal that neither `standard_conforming_strings` nor `client_encoding` touches.
pub fn literal(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii() && byte != b'\\') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut literal = String::from("E'");
    for c in text.chars() {
        match c {
            '\'' => literal.push_str("''"),
            '\\' => literal.push_str("\\\\"),
            c if c.is_ascii() => literal.push(c),
            c => literal.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    literal.push('\'');
    literal
}

/// A setting's name; the dot of an extension's stays one.
fn identifier(name: &str) -> String {
    let quoted = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_written_so_that_no_encoding_touches_it() {
        assert_eq!(literal("caf\u{e9} \\ it's"), r"E'caf\U000000E9 \\ it''s'");
    }

    #[test]
    fn a_role_is_given_up_first_and_taken_last() {
        let settings = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "x".to_owned())).collect();
        let some = settings(&["a", "role", "z"]);
        assert_eq!(change(&some, &settings(&[])).unwrap(), "RESET \"role\";RESET \"a\";RESET \"z\"");
        assert!(change(&settings(&[]), &some).unwrap().ends_with("set_config('role', 'x', false)"));
    }
}
