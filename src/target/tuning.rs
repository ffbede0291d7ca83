//! How a target is treated: the keys of the configuration as types. Their limits and defaults are declared with the keys,
//! in `config`.

use std::time::Duration;

pub use crate::policy::backoff::Backoff;
pub use crate::policy::breaker::BreakerLimits as Breaker;

/// How a target is treated. Every field applies live: changing one costs no session.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Whether its failure fails `/health` (`true`) or only degrades it.
    pub required: bool,
    pub idle_policy: IdlePolicy,
    pub role: Role,
    /// For TCP connect and login together.
    pub connect_timeout: Duration,
    pub keepalives: Option<Keepalives>,
    pub tcp_user_timeout: Option<Duration>,
    pub ping: Ping,
    pub refresh: Refresh,
    pub backoff: Backoff,
    pub breaker: Breaker,
    /// `let_sleep`: prove a login that often.
    pub wake_every: Option<Duration>,
    /// For how long a password that `password_command` printed is used.
    pub password_command_ttl: Duration,
    /// After that long the command is killed.
    pub password_command_timeout: Duration,
    /// The deadline of the first attempt after sleep.
    pub wake_timeout: Duration,
    /// `let_sleep`: close the idle session ourselves after that long.
    pub close_idle_after: Option<Duration>,
}

/// What a quiet session is for: to be kept from going idle, or to let its database sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IdlePolicy {
    #[default]
    KeepAwake,
    LetSleep,
}

impl IdlePolicy {
    /// The word in the configuration and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            IdlePolicy::KeepAwake => "keep_awake",
            IdlePolicy::LetSleep => "let_sleep",
        }
    }
}

/// The role that a server must have, or has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    #[default]
    Any,
    Primary,
    Standby,
}

impl Role {
    /// The word in the configuration and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Any => "any",
            Role::Primary => "primary",
            Role::Standby => "standby",
        }
    }
}

/// TCP keepalives: the silence before the first probe, the time between probes, and how many may stay unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    pub idle: Duration,
    pub interval: Duration,
    pub count: u32,
}

/// How a session is proven between logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    pub interval: Duration,
    pub timeout: Duration,
}

/// How a fresh login is proven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refresh {
    /// `None` is `off`.
    pub every: Option<Duration>,
    /// 0 to 1; only shortens.
    pub jitter: f64,
    /// Whether the new session is opened before the old one is closed.
    pub overlap: bool,
}
