//! How a secret may stand in a text that somebody else wrote: as it is, percent-encoded by whichever rules, in base64, alone
//! or as a part of something longer, and in hexadecimal. What is disguised otherwise is not recognized.

use std::fmt::Write;

use openssl::base64::encode_block;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What every encoder of URLs leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A shorter piece of base64 stands in texts by chance.
const SHORTEST_BASE64: usize = 6;

/// One secret, as it may be written.
pub struct SecretSpellings<'s> {
    secret: &'s [u8],
    fixed: Vec<String>,
}

impl<'s> SecretSpellings<'s> {
    pub fn of(secret: &'s [u8]) -> Self {
        let mut fixed = vec![String::from_utf8_lossy(secret).into_owned()];
        // As a part of a URL that was written in lower case.
        fixed.extend(
            [NON_ALPHANUMERIC, UNRESERVED]
                .map(|set| percent_encode(secret, set).to_string().to_ascii_lowercase()),
        );
        fixed.extend(base64(secret).flat_map(|text| [text.replace('+', "-").replace('/', "_"), text]));
        let hexadecimal = secret.iter().fold(String::new(), |mut hexadecimal, byte| {
            // A String takes everything.
            let _ = write!(hexadecimal, "{byte:02x}");
            hexadecimal
        });
        fixed.extend([hexadecimal.to_ascii_uppercase(), hexadecimal]);
        SecretSpellings { secret, fixed }
    }

    /// How long the longest spelling is that the text begins with.
    pub fn longest_at(&self, text: &str) -> Option<usize> {
        let fixed = self.fixed.iter().filter(|spelling| text.starts_with(spelling.as_str())).map(String::len);
        fixed.chain(percent_encoded(text, self.secret)).max()
    }
}

/// How long the secret is at the beginning of the text, where each byte may be percent-encoded or not: encoders differ in
/// what they leave as it is.
fn percent_encoded(text: &str, secret: &[u8]) -> Option<usize> {
    let mut rest = text.as_bytes();
    for byte in secret {
        rest = match rest {
            [b'%', high, low, after @ ..] if hexadecimal(*high, *low) == Some(*byte) => after,
            [first, after @ ..] if first == byte => after,
            [b'+', after @ ..] if *byte == b' ' => after,
            _ => return None,
        };
    }
    let length = text.len() - rest.len();
    text.is_char_boundary(length).then_some(length)
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// All of it where it was encoded alone; what depends on the secret alone where something stood before or after it, such as
/// a user's name.
fn base64(secret: &[u8]) -> impl Iterator<Item = String> {
    let alone = encode_block(secret).trim_end_matches('=').to_owned();
    let within = (0..3_usize).map(move |before| {
        let encoded = encode_block(&[&[0; 3][..before], secret].concat());
        let bits = |bytes: usize| bytes * 8;
        encoded[bits(before).div_ceil(6)..bits(before + secret.len()) / 6].to_owned()
    });
    std::iter::once(alone).chain(within.filter(|piece| piece.len() >= SHORTEST_BASE64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::facts::redact_all;

    fn redacted(text: &str, secret: &str) -> String {
        redact_all(text, [secret.as_bytes()])
    }

    #[test]
    fn every_way_to_percent_encode_is_recognized() {
        let secret = "p@ss/wo rd+ä%";
        for spelling in [
            "p@ss/wo rd+ä%",
            "p%40ss%2Fwo%20rd%2B%C3%A4%25",
            "p%40ss%2fwo%20rd%2b%c3%a4%25",
            // Python's quote leaves the slash, quote_plus makes a blank a plus sign; encodeURI leaves most.
            "p%40ss/wo%20rd%2B%C3%A4%25",
            "p%40ss%2Fwo+rd%2B%C3%A4%25",
            "p@ss/wo%20rd+%C3%A4%25",
        ] {
            assert_eq!(redacted(&format!("at '{spelling}'!"), secret), "at '<redacted>'!", "{spelling}");
        }
        assert_eq!(redacted("p%40ss/wo%20rx", secret), "p%40ss/wo%20rx");
    }

    #[test]
    fn base64_is_recognized_alone_and_as_a_part_of_something_longer() {
        let secret = "sesame-open?>";
        for (before, after) in
            [("", ""), ("", "\n"), ("app:", ""), ("users:", "\n"), ("a", "b"), ("ab", "cd")]
        {
            let encoded = encode_block(format!("{before}{secret}{after}").as_bytes());
            for encoded in [encoded.replace('+', "-").replace('/', "_"), encoded] {
                let shown = redacted(&format!("Basic {encoded}"), secret);
                let left = shown.replace("Basic ", "").replace("<redacted>", "");
                // Of what stood beside it, and at most a bit more of a byte on each side.
                let beside = (before.len() + after.len()) * 4 / 3 + 4;
                assert!(
                    shown.contains("<redacted>") && left.len() <= beside,
                    "{before:?} {after:?}: {shown}"
                );
            }
        }
    }

    #[test]
    fn hexadecimal_is_recognized_in_both_cases() {
        assert_eq!(redacted("0x736573616d652d, 736573616D652D.", "sesame-"), "0x<redacted>, <redacted>.");
    }

    #[test]
    fn a_short_secret_leaves_texts_as_they_are_that_only_look_encoded() {
        assert_eq!(redacted("YWJj ZGVm c2Vz", "ses"), "YWJj ZGVm <redacted>", "it stands there alone");
        assert_eq!(redacted("xc2VY", "ses"), "xc2VY");
    }
}
