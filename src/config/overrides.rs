//! Which of the target's own keys beat its connection string, and what that says in vain because of them.

use std::time::Duration;

use super::duration::format;
use super::file::TuningKeys;
use super::values::Switch;
use crate::target::{Endpoint, PasswordSource, Target, UrlTimings};

/// Those of a target's own keys that beat its connection string.
pub fn own_timings(keys: &TuningKeys) -> UrlTimings {
    let keepalives = match &keys.keepalives {
        Some(Switch::On(keys)) => Some(keys),
        Some(Switch::Off) | None => None,
    };
    UrlTimings {
        connect_timeout: keys.connect_timeout.map(|span| span.0),
        keepalives: keys.keepalives.as_ref().map(|k| matches!(k, Switch::On(_))),
        keepalives_idle: keepalives.and_then(|k| Some(k.idle?.0)),
        keepalives_interval: keepalives.and_then(|k| Some(k.interval?.0)),
        keepalives_count: keepalives.and_then(|k| Some(k.count?.0)),
        // As libpq's 0: the system's default, whatever the connection string says.
        tcp_user_timeout: keys.tcp_user_timeout.map(|key| match key {
            Switch::Off => Duration::ZERO,
            Switch::On(span) => span.0,
        }),
    }
}

/// One line for each, such as `connect_timeout: the target's 10s beats the connection string's 5s`.
pub fn overrides(target: &Target, endpoint: &Endpoint) -> Vec<String> {
    let (own, url) = (&target.own_timings, &endpoint.timings);
    let flag = |on: bool| if on { "on" } else { "off" }.to_owned();
    // libpq's 0 leaves the option to the system.
    let user_timeout = |t: Duration| if t.is_zero() { "off".to_owned() } else { format(t) };
    let lines = [
        line("connect_timeout", own.connect_timeout, url.connect_timeout, format),
        line("keepalives", own.keepalives, url.keepalives, flag),
        line("keepalives.idle", own.keepalives_idle, url.keepalives_idle, format),
        line("keepalives.interval", own.keepalives_interval, url.keepalives_interval, format),
        line("keepalives.count", own.keepalives_count, url.keepalives_count, |n| n.to_string()),
        line("tcp_user_timeout", own.tcp_user_timeout, url.tcp_user_timeout, user_timeout),
        (matches!(target.password, PasswordSource::File(_)) && endpoint.password.is_some()).then(|| {
            "password: the target's password_file beats the password in the connection string".to_owned()
        }),
    ];
    lines.into_iter().flatten().collect()
}

fn line<T: PartialEq>(
    key: &str,
    own: Option<T>,
    url: Option<T>,
    show: impl Fn(T) -> String,
) -> Option<String> {
    let (own, url) = (own?, url?);
    (own != url)
        .then(|| format!("{key}: the target's {} beats the connection string's {}", show(own), show(url)))
}
