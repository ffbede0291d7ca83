//! The words and numbers that keywords take as values. Messages name what is allowed, never what was written.

use super::Findings;
use super::table::Keyword;
use super::values::Values;
use crate::target::{ChannelBinding, LoadBalance, SessionAttrs, SslMode, SslNegotiation, TlsVersion};

/// The words that a keyword takes, and what they mean.
pub(super) type Choices<T> = [(&'static str, T)];

pub(super) const SSL_MODES: &Choices<SslMode> = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

pub(super) const NEGOTIATIONS: &Choices<SslNegotiation> =
    &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];

pub(super) const TLS_VERSIONS: &Choices<TlsVersion> = &[
    ("TLSv1", TlsVersion::V1_0),
    ("TLSv1.1", TlsVersion::V1_1),
    ("TLSv1.2", TlsVersion::V1_2),
    ("TLSv1.3", TlsVersion::V1_3),
];

pub(super) const BINDINGS: &Choices<ChannelBinding> = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

pub(super) const SESSION_ATTRS: &Choices<SessionAttrs> = &[
    ("any", SessionAttrs::Any),
    ("read-write", SessionAttrs::ReadWrite),
    ("read-only", SessionAttrs::ReadOnly),
    ("primary", SessionAttrs::Primary),
    ("standby", SessionAttrs::Standby),
    ("prefer-standby", SessionAttrs::PreferStandby),
];

pub(super) const BALANCES: &Choices<LoadBalance> =
    &[("disable", LoadBalance::Disable), ("random", LoadBalance::Random)];

pub(super) const SWITCH: &Choices<bool> = &[("0", false), ("1", true)];

/// The meaning of a keyword's word; `None` where it is missing or, said in the findings, none of the set.
pub(super) fn word<T: Copy>(
    key: Keyword,
    set: &Choices<T>,
    values: &Values,
    findings: &mut Findings,
) -> Option<T> {
    let written = values.get(key)?;
    let found = set.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let keyword = key.keyword();
        let known: Vec<_> = set.iter().map(|(word, _)| *word).collect();
        let meant =
            nearest(written, &known).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        findings.problem(Some(keyword), format!("`{keyword}` must be one of: {}{meant}", known.join(", ")));
    }
    found.map(|(_, meaning)| *meaning)
}

/// The known word that a wrong one is so near to that it tells nothing new: it may be a piece of a password.
fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase();
    let distances = known.iter().map(|word| (strsim::damerau_levenshtein(&lower, word), *word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    (written.len() <= 20 && distance <= word.len() / 4).then_some(word)
}

/// A whole number as libpq reads it: a sign and blanks around it are fine, anything else is not.
pub(super) fn number(written: &str) -> Option<i32> {
    let blank = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    written.trim_matches(blank).parse().ok()
}
