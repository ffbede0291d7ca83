//! What pgtether makes of each keyword: every one of libpq's, and those of drivers that copied URLs carry.
//!
//! Data, so that tests walk it and documents print it. What a keyword's value means is `endpoint`'s.

mod drivers;
mod libpq;

use strsim::damerau_levenshtein;

/// One keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub keyword: &'static str,
    /// Who reads it: `libpq` or the name of a driver, a pool or a platform.
    pub origin: &'static str,
    pub handling: Handling,
}

/// What becomes of a keyword. The texts complete a sentence that begins with the keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// It does what libpq says; the text sums that up.
    Used(Keyword, &'static str),
    /// It is accepted and does nothing; the text says why that is right.
    Harmless(&'static str),
    /// It is accepted with the values that ask for what happens anyway, and refused with any other.
    Either { harmless: &'static [&'static str], why: &'static str, remedy: &'static str },
    /// It would be wrong to accept it; the text is the remedy.
    Refused(&'static str),
}

/// The keywords that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keyword {
    Host,
    HostAddr,
    Port,
    DbName,
    User,
    Password,
    ApplicationName,
    FallbackApplicationName,
    Options,
    ConnectTimeout,
    Keepalives,
    KeepalivesIdle,
    KeepalivesInterval,
    KeepalivesCount,
    TcpUserTimeout,
    SslMode,
    RequireSsl,
    Ssl,
    SslNegotiation,
    SslRootCert,
    SslCertFile,
    SslKeyFile,
    SslCertMode,
    SslSni,
    SslMinVersion,
    SslMaxVersion,
    ChannelBinding,
    RequireAuth,
    TargetSessionAttrs,
    LoadBalanceHosts,
}

impl Keyword {
    /// The keyword, as the table spells it.
    pub fn keyword(self) -> &'static str {
        let is_it = |row: &&Row| matches!(row.handling, Handling::Used(key, _) if key == self);
        rows().find(is_it).map_or("", |row| row.keyword)
    }
}

impl Row {
    /// Whether its value is never to be seen, and what follows it may be a piece of it.
    pub fn is_secret(&self) -> bool {
        const SECRETS: [&str; 7] = [
            "password",
            "sslpassword",
            "oauth_client_secret",
            "scram_client_key",
            "scram_server_key",
            "pass",
            "pwd",
        ];
        SECRETS.contains(&self.keyword)
    }
}

/// The whole table, libpq's keywords first.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    libpq::ROWS.iter().chain(drivers::ROWS)
}

/// Exactly that keyword: libpq tells upper case from lower case.
pub(super) fn find(keyword: &str) -> Option<&'static Row> {
    rows().find(|row| row.keyword == keyword)
}

/// The keyword that was probably meant.
pub(super) fn similar(keyword: &str) -> Option<&'static Row> {
    const LONGEST: usize = 64;
    if keyword.len() > LONGEST {
        return None;
    }
    let wanted = plain(keyword);
    let far = |row: &'static Row| (damerau_levenshtein(&wanted, &plain(row.keyword)), row);
    let (distance, row) = rows().map(far).min_by_key(|(distance, _)| *distance)?;
    (distance <= wanted.len().min(row.keyword.len()) / 3).then_some(row)
}

/// Spelled without what people vary: case, `-` and `_`.
fn plain(keyword: &str) -> String {
    keyword.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The rows are written as one line each.
const fn used(keyword: &'static str, key: Keyword, what: &'static str) -> Row {
    Row { keyword, origin: "libpq", handling: Handling::Used(key, what) }
}
