//! What holds for strings that nobody thought of.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

/// Any text that PostgreSQL can carry.
fn any_password() -> impl Strategy<Value = String> {
    ".{1,40}|[ -~]{1,40}|[\\\\' @:/?#%&=+\n\t]{1,20}".prop_map(|s| s.replace('\0', "0"))
}

/// Choices that no message contains, glued by what strings are split at.
fn pieces() -> impl Strategy<Value = (Vec<String>, String)> {
    let word = "Zq[0-9]{3}xK";
    let glue = prop::sample::select(vec![
        "@", "/", ":", "?", "&", "=", " ", "'", "\\", "%", "#", ",", "[", "]", ";", "\n",
    ]);
    prop::collection::vec((word, glue), 1..5).prop_map(|parts| {
        let words = parts.iter().map(|(word, _)| word.clone()).collect();
        let mut text: String = parts.iter().map(|(word, glue)| format!("{word}{glue}")).collect();
        text.push_str("Zq999xK");
        (words, text)
    })
}

fn quoted(password: &str) -> String {
    format!("'{}'", password.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn encoded(password: &str) -> String {
    utf8_percent_encode(password, NON_ALPHANUMERIC).to_string()
}

fn forms(password: &str) -> [String; 4] {
    let (quoted, encoded) = (quoted(password), encoded(password));
    [
        format!("host=h user=u password={quoted} sslmode=require"),
        format!("password = {quoted} host=h user=u"),
        format!("postgresql://u:{encoded}@h:5432/db?sslmode=require"),
        format!("postgres://u@h/db?password={encoded}&sslmode=require"),
    ]
}

/// Everything that a person could see of a result.
fn shown(result: &Result<Parsed, Vec<Mistake>>) -> String {
    let described = result.as_ref().map(|p| p.endpoint.describe()).unwrap_or_default();
    format!("{result:?} {result:#?} {described}")
}

/// Problems and notes alone: a mangled string may put anything into its host or database.
fn said(result: &Result<Parsed, Vec<Mistake>>) -> String {
    match result {
        Ok(parsed) => format!("{:?}", parsed.notes),
        Err(problems) => format!("{problems:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("postgresql://{text}"));
        let _ = parse(&format!("host={text}"));
    }

    #[test]
    fn no_text_of_the_syntaxes_own_signs_makes_it_panic(text in "[@/:?&=%#,;'\\[\\] \\\\a1.-]{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("postgres://{text}"));
        let _ = parse(&format!("host=h user={text}"));
    }

    #[test]
    fn a_password_comes_back_exactly(password in any_password()) {
        for text in forms(&password) {
            prop_assert_eq!(self::super::password(&text), Some(password.clone()), "{}", text);
        }
    }

    #[test]
    fn a_password_is_in_nothing_that_is_shown((words, password) in pieces()) {
        for text in forms(&password) {
            let result = parse(&text);
            prop_assert!(result.is_ok());
            let shown = shown(&result);
            prop_assert!(words.iter().all(|word| !shown.contains(word)), "{} shows {}", text, shown);
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_in_no_message((words, password) in pieces()) {
        for text in [
            format!("postgresql://u:{password}@h:5432/db?sslmode=require"),
            format!("postgresql://{password}@h/db"),
            format!("postgresql://u@h/db?sslmode=require&password={password}"),
            format!("postgresql//u:{password}@h/db"),
            format!("jdbc:postgresql://h/db?user=u&password={password}"),
            format!("host=h user=u password={password}"),
            format!("password={password} host=h user=u"),
            format!("host=h user=u password='{password}' sslmode=require"),
        ] {
            let said = said(&parse(&text));
            prop_assert!(words.iter().all(|word| !said.contains(word)), "{} says {}", text, said);
        }
    }

    #[test]
    fn a_string_with_a_slip_of_the_pen_keeps_its_password(
        (words, password) in pieces(),
        form in 0..4usize,
        position in any::<prop::sample::Index>(),
        slip in "[@/:?&=%# '\\\\x]{0,2}",
        lost in 0..3usize,
    ) {
        let text = &forms(&password)[form];
        let chars: Vec<char> = text.chars().collect();
        let at = position.index(chars.len());
        let rest = chars.iter().skip(at + lost);
        let mangled: String = chars[..at].iter().copied().chain(slip.chars()).chain(rest.copied()).collect();
        let said = said(&parse(&mangled));
        prop_assert!(words.iter().all(|word| !said.contains(word)), "{} says {}", mangled, said);
    }
}
