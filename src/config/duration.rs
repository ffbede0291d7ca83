//! Durations as people write them: `200ms`, `30s`, `1m30s`, `2h`, `1d`.

use std::fmt;
use std::time::Duration;

/// What the schema tells editors; [`parse`] takes exactly these, apart from zero.
pub const PATTERN: &str = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// Largest first: the order in which they may follow each other.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no duration; says nothing of the text itself, which may have to stay hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    NoUnit,
    Fraction,
    Unknown,
    TooLong,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bad::NoUnit => "has no unit: write 30s or 200ms",
            Bad::Fraction => "has a fraction: write 1500ms for one and a half seconds",
            Bad::Unknown => "is not a duration: write 200ms, 30s, 4m, 2h or 1d",
            Bad::TooLong => "is too long",
        })
    }
}

impl std::error::Error for Bad {}

/// The duration that a text names.
pub fn parse(text: &str) -> Result<Duration, Bad> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, tail) = rest.split_at(digits);
        let (unit, tail) = tail.split_at(letters);
        if digits > 0 && letters == 0 {
            return Err(if tail.starts_with(['.', ',']) {
                Bad::Fraction
            } else if tail.is_empty() {
                Bad::NoUnit
            } else {
                Bad::Unknown
            });
        }
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or(Bad::Unknown)?;
        if digits == 0 {
            return Err(Bad::Unknown);
        }
        let number: u64 = number.parse().map_err(|_| Bad::TooLong)?;
        let part = number.checked_mul(*millis).ok_or(Bad::TooLong)?;
        total = total.checked_add(part).ok_or(Bad::TooLong)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(Bad::Unknown);
    }
    Ok(Duration::from_millis(total))
}

/// The shortest text that [`parse`] reads back; what is below a millisecond is cut off.
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if left >= millis {
            text += &format!("{}{unit}", left / millis);
            left %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("200ms", 200),
            ("30s", 30_000),
            ("4m", 240_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1s500ms", 1_500),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_the_rest() {
        let cases = [
            ("", Bad::Unknown),
            ("30", Bad::NoUnit),
            ("1.5s", Bad::Fraction),
            ("30 s", Bad::Unknown),
            ("30sec", Bad::Unknown),
            ("-30s", Bad::Unknown),
            ("s", Bad::Unknown),
            ("30s1m", Bad::Unknown),
            ("1m30", Bad::NoUnit),
            ("1s1s", Bad::Unknown),
            ("5us", Bad::Unknown),
            ("99999999999999999999s", Bad::TooLong),
            ("18446744073709551615d", Bad::TooLong),
        ];
        for (text, bad) in cases {
            assert_eq!(parse(text), Err(bad), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_read_back(millis in 0u64..=u64::MAX) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
