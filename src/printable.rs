//! What others wrote, fit to be shown: on one line, without characters that hide or move what stands beside them, and cut.
//!
//! Servers, clients, certificates and commands write what ends up in the log, on the page and in metrics. A line end would
//! forge a line of the log, an escape sequence would command a terminal, and a mark such as U+202E turns round what follows.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The characters of a message, at the most.
pub const MESSAGE: usize = 600;
/// The characters of a short word, at the most: a version, or a name, which PostgreSQL and X.509 keep below that.
pub const WORD: usize = 64;

/// A message, such as a server's DETAIL.
pub fn message(text: &str) -> String {
    beginning(text, MESSAGE)
}

/// A short word, such as a server's version.
pub fn word(text: &str) -> String {
    beginning(text, WORD)
}

/// The last `most` characters of a text whose end tells most.
pub fn end(text: &str, most: usize) -> String {
    let line = on_one_line(text);
    match line.chars().count().checked_sub(most).filter(|surplus| *surplus > 0) {
        // One more makes room for the mark.
        Some(surplus) => ['…'].into_iter().chain(line.chars().skip(surplus + 1)).collect(),
        None => line,
    }
}

/// The first `most` characters of a text, with a mark where more followed.
pub fn beginning(text: &str, most: usize) -> String {
    let line = on_one_line(text);
    match line.chars().nth(most) {
        Some(_) => line.chars().take(most - 1).chain(['…']).collect(),
        None => line,
    }
}

/// Words stay apart: what is left out must not put together what stood beside it.
fn on_one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || is_hidden(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn is_hidden(c: char) -> bool {
    matches!(c.general_category(), GeneralCategory::Control | GeneralCategory::Format)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_hides_or_moves_text_is_left_out_and_words_stay_apart() {
        for (text, shown) in [
            ("so\r\nwhat\u{7}", "so what"),
            ("\u{1b}[31mred\u{1b}[0m", "[31mred [0m"),
            ("pay\u{202e}drawkcab\u{202c}!", "pay drawkcab !"),
            ("a\u{200b}b\u{ad}c\u{feff}d\u{2060}e\u{e0041}f", "a b c d e f"),
            ("one\u{2028}two\u{2029}three\u{85}four\0", "one two three four"),
            ("  Überfällig: 資料庫 «базы» 🐘  ", "Überfällig: 資料庫 «базы» 🐘"),
            ("\t\n", ""),
        ] {
            assert_eq!(message(text), shown);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_the_cut_is_marked() {
        for (cut, most) in [(message as fn(&str) -> String, MESSAGE), (word, WORD)] {
            assert_eq!(cut(&"é".repeat(most)), "é".repeat(most));
            assert_eq!(cut(&"é".repeat(most + 1)), format!("{}…", "é".repeat(most - 1)));
        }
        assert_eq!(end("é1234", 5), "é1234");
        assert_eq!(end("xé1234", 5), "…1234");
    }

    proptest! {
        #[test]
        fn no_text_gets_more_than_its_room_or_past_its_line(text in "(\\p{Cc}|\\p{Cf}|\\p{Z}|\\PC){0,700}") {
            let moves = |text: &str| text.chars().any(|c| "\u{202e}\u{200f}\u{2028}\n\u{1b}".contains(c));
            for (shown, most) in [(message(&text), MESSAGE), (word(&text), WORD), (end(&text, 9), 9)] {
                prop_assert!(shown.chars().count() <= most);
                prop_assert!(!moves(&shown) && !shown.chars().any(char::is_control), "{shown:?}");
            }
        }

        /// What a person can read is left as it is.
        #[test]
        fn a_text_that_hides_nothing_is_shown_as_it_came(text in "[\\p{L}\\p{N}\\p{P}\\p{S}]{1,64}") {
            prop_assert_eq!(word(&text), text);
        }

        #[test]
        fn each_format_character_is_left_out(hidden in "\\p{Cf}{500}") {
            prop_assert_eq!(message(&hidden), "");
        }
    }
}
