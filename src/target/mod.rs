//! What a target is: where it lives ([`Source`], [`Endpoint`]) and how it is treated ([`Tuning`]).
//!
//! Valid by construction: whoever holds one of these types need not check it again. Knows nothing of YAML, sockets
//! or the supervisor.

mod auth;
pub mod conninfo;
mod endpoint;
mod password;
pub mod pool;
mod provider;
#[cfg(test)]
pub mod sample;
mod secret;
mod secret_file;
mod tuning;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use auth::{AuthMethod, AuthMethods};
pub use endpoint::{
    ChannelBinding, Endpoint, Host, Identity, LoadBalance, RootCerts, SessionAttrs, SslMode, SslNegotiation,
    Tls, TlsVersion, UrlTimings,
};
pub use password::{Argument, PasswordCommand, PasswordSource};
pub use provider::Provider;
pub use secret::{REDACTED, Secret};
pub use secret_file::{SecretFile, is_no_path};
pub use tuning::{Backoff, Breaker, IdlePolicy, Keepalives, Ping, Refresh, Role, Tuning};

/// A target's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, so that it fits in labels, paths and logs as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// What [`Self::new`] takes, as a regular expression.
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

    /// The name, or `None` where it does not fit [`Self::PATTERN`].
    pub fn new(name: &str) -> Option<Self> {
        let first = name.bytes().next()?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (name.len() <= 63 && first.is_ascii_alphanumeric() && name.bytes().all(fits))
            .then(|| TargetName(name.into()))
    }

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// To be looked up by what somebody has asked for.
impl Borrow<str> for TargetName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One database to hold a line to.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub name: TargetName,
    pub source: Source,
    pub password: PasswordSource,
    /// `service` of the configuration: `application_name` unless the connection string names one.
    pub service: String,
    pub tuning: Arc<Tuning>,
    /// The timings that the target's own keys set: they beat the connection string, which beats `tuning`'s defaults.
    pub own_timings: UrlTimings,
    /// The pool for applications, if it has one.
    pub pool: Option<Arc<pool::Pool>>,
    /// Neither the target nor `defaults` says `idle_policy`: see [`Target::kept_awake_unasked`].
    pub idle_policy_unset: bool,
}

/// What [`Target::kept_awake_unasked`] costs and what to do about it.
pub const KEPT_AWAKE_COST: &str = "keeps a Neon database awake around the clock, since idle_policy is not set: at 0.25 CU \
     that is 6 CU-hours a day, and the free plan's 100 hours are gone in 16.7 days. Set idle_policy to keep_awake if that \
     is meant, or to let_sleep";

/// What a socket to the target is opened with: own keys over the connection string over defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketTuning {
    pub connect_timeout: Duration,
    pub keepalives: Option<Keepalives>,
    pub tcp_user_timeout: Option<Duration>,
}

impl Target {
    /// Whether both name the same place and the same user: then a session with the one will do for the other.
    pub fn is_same_location(&self, other: &Target) -> bool {
        self.source == other.source && self.password == other.password && self.service == other.service
    }

    /// Whether a file, that may change or hang, is read for it at each attempt.
    pub fn has_files(&self) -> bool {
        let in_string = match &self.source {
            Source::File(_) => true,
            Source::Inline(endpoint) => endpoint.tls.has_files(),
        };
        in_string || matches!(self.password, PasswordSource::File(_))
    }

    /// Whether its password may be another one from one attempt to the next.
    pub fn secret_may_change(&self) -> bool {
        self.has_files() || self.password.is_command()
    }

    /// A database that scales to zero and bills by the hour is kept awake, and nobody has said that it should be.
    pub fn kept_awake_unasked(&self, endpoint: &Endpoint) -> bool {
        self.idle_policy_unset && endpoint.provider() == Provider::Neon
    }

    /// Which of key, connection string and default counts; decided in one place, because `url_file` may change the
    /// string at any attempt.
    pub fn socket_tuning(&self, endpoint: &Endpoint) -> SocketTuning {
        self.sockets(&endpoint.timings)
    }

    /// The same while the connection string is not known: `url_file` is read at each attempt.
    pub fn sockets_without_url(&self) -> SocketTuning {
        self.sockets(&UrlTimings::default())
    }

    fn sockets(&self, url: &UrlTimings) -> SocketTuning {
        let (own, base) = (&self.own_timings, &self.tuning);
        let spare = base.keepalives.unwrap_or_default();
        let wanted = own.keepalives.or(url.keepalives).unwrap_or(base.keepalives.is_some());
        let user_timeout = own.tcp_user_timeout.or(url.tcp_user_timeout).or(base.tcp_user_timeout);
        SocketTuning {
            connect_timeout: own.connect_timeout.or(url.connect_timeout).unwrap_or(base.connect_timeout),
            keepalives: wanted.then(|| Keepalives {
                idle: own.keepalives_idle.or(url.keepalives_idle).unwrap_or(spare.idle),
                interval: own.keepalives_interval.or(url.keepalives_interval).unwrap_or(spare.interval),
                count: own.keepalives_count.or(url.keepalives_count).unwrap_or(spare.count),
            }),
            // libpq's 0 is the system's default: the option is left alone.
            tcp_user_timeout: user_timeout.filter(|t| !t.is_zero()),
        }
    }
}

/// Where the connection string comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `url` in the configuration, already parsed.
    Inline(Arc<Endpoint>),
    /// `url_file`: read and parsed again at every attempt.
    File(SecretFile),
}
