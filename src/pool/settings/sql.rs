//! Settings as SQL.

use std::collections::BTreeMap;

/// Changed before all others, and set after them: they decide what may be changed, and how long that may take.
const FIRST: [&str; 3] = ["role", "session_authorization", "statement_timeout"];
/// Lists of names, each of which a server quotes where it is set.
const LISTS: [&str; 4] =
    ["search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"];

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

/// Makes one setting, without a query: it may stand before the first one of a transaction.
pub fn set_to(name: &str, value: &str, for_transaction: bool) -> String {
    let how = if for_transaction { "SET LOCAL" } else { "SET" };
    let value = match LISTS.contains(&name).then(|| elements(value)).flatten() {
        Some(elements) => elements.iter().map(|element| literal(element)).collect::<Vec<_>>().join(", "),
        None => literal(value),
    };
    format!("{how} {} TO {value}", identifier(name))
}

/// The names in a list of them, as a server takes it apart; `None` where it is none, or empty.
fn elements(mut list: &str) -> Option<Vec<String>> {
    let mut elements = Vec::new();
    loop {
        list = list.trim_ascii_start();
        let rest = match list.strip_prefix('"') {
            Some(quoted) => {
                let (mut element, mut rest) = (String::new(), quoted);
                loop {
                    let (part, behind) = rest.split_once('"')?;
                    element.push_str(part);
                    match behind.strip_prefix('"') {
                        Some(behind) => rest = behind,
                        None => {
                            elements.push(element);
                            break behind;
                        }
                    }
                    element.push('"');
                }
            }
            None => {
                let end = list.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(list.len());
                let (element, rest) = list.split_at(end);
                if element.is_empty() {
                    return None;
                }
                elements.push(element.to_ascii_lowercase());
                rest
            }
        };
        match rest.trim_ascii_start() {
            "" => return Some(elements),
            rest => list = rest.strip_prefix(',')?,
        }
    }
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
    fn one_setting_is_made_as_the_server_has_spelled_it() {
        for (name, value, expected) in [
            ("timezone", "Europe/Paris", "SET \"timezone\" TO 'Europe/Paris'"),
            ("datestyle", "ISO, DMY", "SET \"datestyle\" TO 'ISO, DMY'"),
            ("app.tenant", "it's", "SET \"app\".\"tenant\" TO 'it''s'"),
            ("search_path", "\"$user\", Public ,a", "SET \"search_path\" TO '$user', 'public', 'a'"),
            ("search_path", "\"a", "SET \"search_path\" TO '\"a'"),
            ("search_path", "\"a \"\"b\"\", c\",d", "SET \"search_path\" TO 'a \"b\", c', 'd'"),
            ("search_path", "\"\"", "SET \"search_path\" TO ''"),
            ("search_path", "", "SET \"search_path\" TO ''"),
            ("search_path", "a,", "SET \"search_path\" TO 'a,'"),
        ] {
            assert_eq!(set_to(name, value, false), expected);
        }
        assert_eq!(set_to("role", "a", true), "SET LOCAL \"role\" TO 'a'");
    }

    #[test]
    fn a_role_is_given_up_first_and_taken_last() {
        let settings = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "x".to_owned())).collect();
        let some = settings(&["a", "role", "z"]);
        assert_eq!(change(&some, &settings(&[])).unwrap(), "RESET \"role\";RESET \"a\";RESET \"z\"");
        assert!(change(&settings(&[]), &some).unwrap().ends_with("set_config('role', 'x', false)"));
    }
}
