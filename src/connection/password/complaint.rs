//! What a command that gave no password wrote to stderr, without what must stay secret.

use std::collections::HashSet;

use super::pipe::PipeText;
use crate::connection::facts::redact_all;
use crate::printable;
use crate::target::Secret;

/// Shorter words of the output are taken out of nothing.
const SHORTEST_SECRET: usize = 4;
/// A command that prints more words than that has printed something else than a password, and to take all of them out would
/// keep a thread busy for long.
const MOST_SECRETS: usize = 200;

/// The output of a command that gave no password.
pub struct Complaint {
    pub stdout: PipeText,
    pub stderr: PipeText,
    /// What the configuration hides.
    pub hidden: Vec<Secret>,
}

impl Complaint {
    /// The end of stderr, on one line, without any word of stdout: that may be the password. Takes its time where both are long.
    pub fn shown(&self) -> String {
        let is_long = |secret: &&[u8]| secret.len() >= SHORTEST_SECRET;
        let line = self.stdout.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let words = self.stdout.bytes.split(u8::is_ascii_whitespace).chain([line.trim_ascii()]);
        let printed: HashSet<&[u8]> = words.filter(is_long).collect();
        if printed.len() > MOST_SECRETS {
            return "; its stderr is not shown, because its output has too many words to take out of it"
                .to_owned();
        }
        let hidden = self.hidden.iter().map(Secret::expose).filter(is_long);
        let text =
            redact_all(&String::from_utf8_lossy(self.whole_words()), printed.into_iter().chain(hidden));
        match printable::end(&text, printable::MESSAGE) {
            text if text.is_empty() => ", and wrote nothing to stderr".to_owned(),
            text => format!("; stderr: {text}"),
        }
    }

    /// What begins in the middle of a word may be the rest of a secret.
    fn whole_words(&self) -> &[u8] {
        let bytes = &self.stderr.bytes;
        match self.stderr.is_cut {
            true => bytes.iter().position(u8::is_ascii_whitespace).map_or(&[], |at| &bytes[at..]),
            false => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn shown(stdout: &str, stderr: &str, hidden: &[&str]) -> String {
        let text = |text: &str| PipeText { bytes: Zeroizing::new(text.as_bytes().to_vec()), is_cut: false };
        let hidden = hidden.iter().map(|hidden| Secret::new(*hidden)).collect();
        Complaint { stdout: text(stdout), stderr: text(stderr), hidden }.shown()
    }

    #[test]
    fn no_word_of_the_output_and_nothing_that_the_configuration_hides_is_shown() {
        for (stdout, stderr, hidden, expected) in [
            ("", "no token", &[] as &[&str], "; stderr: no token"),
            ("sesame-open\n", "got sesame-open!", &[], "; stderr: got <redacted>!"),
            // Neither a piece of the longer one, nor a word of a line with blanks.
            ("sesame\nsesame-open\n", "sesame-open", &[], "; stderr: <redacted>"),
            ("open sesame now\n", "in 'open sesame now'", &[], "; stderr: in '<redacted>'"),
            ("", "hunter2 is wrong", &["hunter2"], "; stderr: <redacted> is wrong"),
            ("open+/sesame\n", "GET /?t=open%2B%2Fsesame", &[], "; stderr: GET /?t=<redacted>"),
            ("open-sesame\n", "Basic b3Blbi1zZXNhbWU=", &[], "; stderr: Basic <redacted>="),
            // What nobody could know to be one, and what is disguised otherwise: the docs say so.
            ("", "got sesame-open", &[], "; stderr: got sesame-open"),
            ("open-sesame\n", "emases-nepo", &[], "; stderr: emases-nepo"),
            ("a bc def\n", "a bc def", &[], "; stderr: <redacted>"),
            ("a\n", "a way", &[], "; stderr: a way"),
            ("sesame\n", " \r\n", &[], ", and wrote nothing to stderr"),
        ] {
            assert_eq!(shown(stdout, stderr, hidden), expected);
        }
    }

    #[test]
    fn a_flood_of_words_does_not_keep_a_thread_busy() {
        let words: String = (0..9_000).map(|n| format!("w{n:05} ")).collect();
        let told = shown(&words, &"w00001 ".repeat(2_000), &[]);
        assert!(told.contains("not shown") && !told.contains("w0"), "{told}");
        let same = shown(&"sesame ".repeat(9_000), "sesame", &[]);
        assert_eq!(same, "; stderr: <redacted>");
    }
}
