//! The startup parameter `options`: a command line of the server, of which only settings may pass.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::printable;
use crate::protocol::ErrorFields;

/// Words with which providers route a client that sends no SNI: Neon's, and Supabase's. They say where to connect, and
/// that is settled when the client is here.
const ROUTING: [&str; 3] = ["endpoint=", "project=", "reference="];

/// The settings in it: `-c name=value` and `--name=value`. The last one of a name counts.
pub fn parse(options: &str) -> Result<BTreeMap<String, String>, ErrorFields<'static>> {
    let mut settings = BTreeMap::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let setting = if let Some(long) = word.strip_prefix("--") {
            long.to_owned()
        } else if let Some(short) = word.strip_prefix("-c") {
            match short {
                "" => words.next().unwrap_or_default(),
                attached => attached.to_owned(),
            }
        } else if ROUTING.iter().any(|routing| word.starts_with(routing)) {
            continue;
        } else {
            return Err(refused(&word));
        };
        match setting.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                settings.insert(canonical(name), value.to_owned());
            }
            _ => return Err(refused(&word)),
        }
    }
    Ok(settings)
}

/// A command line may spell a setting's name with dashes.
fn canonical(name: &str) -> String {
    name.replace('-', "_").to_ascii_lowercase()
}

/// At white space, unless a backslash is before it; it takes any character as it is.
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t'..='\r' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

fn refused(word: &str) -> ErrorFields<'static> {
    let word = printable::word(word);
    ErrorFields::fatal("0A000", format!("cannot pass on \"{word}\" of the startup parameter \"options\""))
        .hint("Settings are passed on: -c name=value or --name=value.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(options: &str) -> Vec<(String, String)> {
        parse(options).unwrap().into_iter().collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn settings_are_read_in_each_way_of_writing_them() {
        let one = [pair("statement_timeout", "5s")];
        for way in [
            "-c statement_timeout=5s",
            "-cstatement_timeout=5s",
            "--statement_timeout=5s",
            "--statement-timeout=5s",
            "  -c \t Statement_Timeout=5s\n",
            "-c statement_timeout=1s --statement-timeout=5s",
        ] {
            assert_eq!(settings(way), one, "{way:?}");
        }
    }

    #[test]
    fn a_backslash_keeps_white_space_and_itself() {
        assert_eq!(settings(r"-c search_path=a,\ b\\c"), [pair("search_path", r"a, b\c")]);
        assert_eq!(settings(r"-c a=\"), [pair("a", "")], "nothing is left to keep");
        assert_eq!(settings(r"-c \a=1"), [pair("a", "1")]);
    }

    #[test]
    fn a_value_may_be_empty_and_have_equal_signs() {
        assert_eq!(settings("-c a= -c b=x=y"), [pair("a", ""), pair("b", "x=y")]);
    }

    #[test]
    fn where_to_connect_is_settled() {
        assert_eq!(settings("endpoint=ep-cool-1 -c a=1 project=p reference=r"), [pair("a", "1")]);
        assert_eq!(settings(""), []);
    }

    #[test]
    fn what_is_no_setting_is_refused_by_its_name() {
        for (options, word) in [
            ("-c a=1 -S 1024", "-S"),
            ("-c", "-c"),
            ("-c a", "-c"),
            ("--a", "--a"),
            ("--", "--"),
            ("--=1", "--=1"),
            ("a=1", "a=1"),
        ] {
            let words = parse(options).unwrap_err();
            assert_eq!(words.sqlstate, "0A000");
            assert!(words.message.contains(&format!("\"{word}\"")), "{options:?}: {}", words.message);
        }
    }

    proptest! {
        #[test]
        fn any_value_passes_when_it_is_escaped(value in "[^\0]{0,30}") {
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert_eq!(settings(&format!("-c a={escaped}")), [pair("a", &value)]);
        }

        #[test]
        fn no_text_makes_it_panic(options in any::<String>()) {
            let _ = parse(&options);
        }
    }
}
