//! Turns sorted values into an [`Endpoint`].

use std::time::Duration;

use super::Findings;
use super::hosts::hosts;
use super::table::Keyword;
use super::tls::tls;
use super::uri::after_scheme;
use super::values::Values;
use super::words::{BALANCES, BINDINGS, SESSION_ATTRS, number, word};
use crate::target::{AuthMethods, ChannelBinding, Endpoint, Host, Secret, SslMode, UrlTimings};

/// Nobody waits longer for a login, and nothing here may wait for ever.
const LONGEST_TIMEOUT: i32 = 86_400;
/// Linux takes no longer times between keepalive probes, and no more probes.
const LONGEST_KEEPALIVE: i32 = 32_767;
const MOST_KEEPALIVES: i32 = 127;

/// `None` only where there was nothing to read or no user; every other problem is in the findings.
pub(super) fn build(values: Values, findings: &mut Findings) -> Option<Endpoint> {
    if !values.readable {
        return None;
    }
    let text = |key| values.filled(key).map(str::to_owned);
    let hosts = hosts(&values, findings);
    let tls = tls(&hosts, &values, findings);
    let user = user(&values, findings);
    let channel_binding = word(Keyword::ChannelBinding, BINDINGS, &values, findings).unwrap_or_default();
    let without_tls = tls.mode == SslMode::Disable || hosts.iter().all(|h| matches!(h, Host::Unix { .. }));
    if channel_binding == ChannelBinding::Require && without_tls && !hosts.is_empty() {
        let message =
            "`channel_binding` require needs TLS: with sslmode=disable and on Unix sockets there is none";
        findings.problem(Some("channel_binding"), message);
    }
    if values.filled(Keyword::Password).is_some_and(is_placeholder) {
        let message = "the password is the placeholder of a template, such as `[YOUR-PASSWORD]`: put the real one there";
        findings.problem(Some("password"), message);
    }
    if values.filled(Keyword::DbName).is_some_and(is_connection_string) {
        let message =
            "`dbname` is a connection string (not shown, it may hold a secret): give it as the whole string";
        findings.problem(Some("dbname"), message);
    }
    let user = user?;
    Some(Endpoint {
        load_balance: word(Keyword::LoadBalanceHosts, BALANCES, &values, findings).unwrap_or_default(),
        password: text(Keyword::Password).map(Secret::new),
        database: text(Keyword::DbName).unwrap_or_else(|| user.clone()),
        application_name: text(Keyword::ApplicationName).or_else(|| text(Keyword::FallbackApplicationName)),
        options: text(Keyword::Options),
        session: word(Keyword::TargetSessionAttrs, SESSION_ATTRS, &values, findings).unwrap_or_default(),
        timings: timings(&values, findings),
        require_auth: require_auth(&values, findings),
        hosts,
        user,
        tls,
        channel_binding,
    })
}

/// As libpq takes one in the place of the database's name. A name may hold nearly anything else.
fn is_connection_string(name: &str) -> bool {
    let mut words = name.split(|c: char| c.is_whitespace() || c == '=');
    after_scheme(name).is_some() || name.contains('=') && words.any(|word| word == "password")
}

/// What consoles of providers show in place of a password; copied as it is.
fn is_placeholder(password: &str) -> bool {
    let bare = |open, close| password.strip_prefix(open)?.strip_suffix(close);
    bare('[', ']').or_else(|| bare('<', '>')).is_some_and(|inside| {
        let word = inside.to_ascii_lowercase().replace(['-', '_', ' '], "");
        ["password", "yourpassword", "yourdbpassword", "yourdatabasepassword"].contains(&word.as_str())
    })
}

/// An empty user is a mistake, mostly a variable that was not set; a missing one is the system's, as in libpq.
fn user(values: &Values, findings: &mut Findings) -> Option<String> {
    match values.get(Keyword::User) {
        Some("") => {
            findings.problem(
                Some("user"),
                "`user` is empty: name the user, or leave the keyword out for the system's",
            );
            None
        }
        Some(user) => Some(user.to_owned()),
        None => match whoami::username() {
            Ok(user) => Some(user),
            Err(_) => {
                findings.problem(
                    Some("user"),
                    "`user` is missing and the system does not tell its own: write `user`",
                );
                None
            }
        },
    }
}

/// Empty is no demand, as in libpq.
fn require_auth(values: &Values, findings: &mut Findings) -> Option<AuthMethods> {
    match AuthMethods::parse(values.filled(Keyword::RequireAuth)?) {
        Ok(methods) => Some(methods),
        Err(problem) => {
            findings.problem(Some("require_auth"), format!("`require_auth` {problem}"));
            None
        }
    }
}

fn timings(values: &Values, findings: &mut Findings) -> UrlTimings {
    let mut seconds = |key| positive(key, "seconds", LONGEST_KEEPALIVE, values, findings).map(secs);
    let keepalives_idle = seconds(Keyword::KeepalivesIdle);
    let keepalives_interval = seconds(Keyword::KeepalivesInterval);
    let count = positive(Keyword::KeepalivesCount, "probes", MOST_KEEPALIVES, values, findings);
    UrlTimings {
        connect_timeout: connect_timeout(values, findings),
        keepalives: whole(Keyword::Keepalives, i32::MAX, values, findings).map(|n| n != 0),
        keepalives_idle,
        keepalives_interval,
        keepalives_count: count.map(i32::unsigned_abs),
        // 0 is kept: it means the system's default, and so turns pgtether's own off.
        tcp_user_timeout: whole(Keyword::TcpUserTimeout, i32::MAX, values, findings)
            .map(|ms| Duration::from_millis(u64::from(ms.max(0).unsigned_abs()))),
    }
}

fn connect_timeout(values: &Values, findings: &mut Findings) -> Option<Duration> {
    let keyword = Keyword::ConnectTimeout.keyword();
    match whole(Keyword::ConnectTimeout, LONGEST_TIMEOUT, values, findings)? {
        ..=0 => {
            findings.note(
                keyword,
                "`connect_timeout` of 0 means no limit in libpq; here the target's own limit holds",
            );
            None
        }
        1 => {
            findings.note(keyword, "`connect_timeout` of 1 means 2 seconds, as in libpq");
            Some(secs(2))
        }
        n => Some(secs(n)),
    }
}

/// 0 and less mean the default, which here is pgtether's own.
fn positive(key: Keyword, unit: &str, most: i32, values: &Values, findings: &mut Findings) -> Option<i32> {
    let n = whole(key, most, values, findings)?;
    if n <= 0 {
        let keyword = key.keyword();
        findings.note(
            keyword,
            format!("`{keyword}` of 0 {unit} means the default: the target's own setting holds"),
        );
    }
    (n > 0).then_some(n)
}

fn whole(key: Keyword, most: i32, values: &Values, findings: &mut Findings) -> Option<i32> {
    let n = number(values.get(key)?).filter(|n| *n <= most);
    if n.is_none() {
        let keyword = key.keyword();
        findings.problem(Some(keyword), format!("`{keyword}` must be a whole number, {most} at the most"));
    }
    n
}

fn secs(n: i32) -> Duration {
    Duration::from_secs(u64::from(n.unsigned_abs()))
}
