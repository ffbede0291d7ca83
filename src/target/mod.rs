//! What a target is: where it lives ([`Source`], [`Endpoint`]) and how it is treated ([`Tuning`]).
//!
//! Valid by construction: whoever holds one of these types need not check it again. Knows nothing of YAML, sockets
//! or the supervisor.

pub mod conninfo;
pub mod secret;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::policy::breaker::Limits as Breaker;
pub use secret::Secret;

/// A target's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, so that it fits in labels, paths and logs as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName(Arc<str>);

impl TargetName {
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

    /// The name, or `None` where it does not fit [`Self::PATTERN`].
    pub fn new(name: &str) -> Option<Self> {
        let first = name.bytes().next()?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (name.len() <= 63 && first.is_ascii_alphanumeric() && name.bytes().all(fits))
            .then(|| TargetName(name.into()))
    }

    pub fn as_str(&self) -> &str {
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
    /// Read again at every attempt; beats a password in the connection string.
    pub password_file: Option<PathBuf>,
    /// `service` of the configuration: `application_name` unless the connection string names one.
    pub service: String,
    pub tuning: Arc<Tuning>,
    /// The timings that the target's own keys set: they beat the connection string, which beats `tuning`'s defaults.
    pub own_timings: UrlTimings,
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
    /// A database that scales to zero and bills by the hour is kept awake, and nobody has said that it should be.
    pub fn kept_awake_unasked(&self, endpoint: &Endpoint) -> bool {
        self.idle_policy_unset && endpoint.provider() == Provider::Neon
    }

    /// The precedence of section 3, decided in one place because `url_file` may change the string at any attempt.
    pub fn socket_tuning(&self, endpoint: &Endpoint) -> SocketTuning {
        self.sockets(&endpoint.timings)
    }

    /// The same while the connection string is not known: `url_file` is read at each attempt.
    pub fn sockets_without_url(&self) -> SocketTuning {
        self.sockets(&UrlTimings::default())
    }

    fn sockets(&self, url: &UrlTimings) -> SocketTuning {
        let (own, base) = (&self.own_timings, &self.tuning);
        let spare = base.keepalives.unwrap_or(Keepalives::DEFAULT);
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
    File(PathBuf),
}

/// Where to connect and as whom: a connection string, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// In the order to try them; never empty.
    pub hosts: Vec<Host>,
    pub load_balance: LoadBalance,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    /// `None` where the string names none: the service's name is used.
    pub application_name: Option<String>,
    /// The startup parameter `options`; Neon's endpoint rides there.
    pub options: Option<String>,
    pub tls: Tls,
    pub channel_binding: ChannelBinding,
    pub session: SessionAttrs,
    /// libpq's `connect_timeout`, `keepalives*` and `tcp_user_timeout`, where the string names them.
    pub timings: UrlTimings,
}

/// One server of a connection string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// `hostaddr`, where given, is dialled without asking DNS; `name` is then what TLS verifies.
    Tcp { name: String, hostaddr: Option<IpAddr>, port: u16 },
    /// A Unix socket: the folder (or `@name` of an abstract one) and the port that names the socket in it.
    Unix { dir: PathBuf, port: u16 },
}

impl Host {
    /// The host as `target_info` names it: a name, an address or a folder.
    pub fn name(&self) -> String {
        match self {
            Host::Tcp { name, .. } => name.clone(),
            Host::Unix { dir, .. } => dir.display().to_string(),
        }
    }

    pub fn port(&self) -> u16 {
        match self {
            Host::Tcp { port, .. } | Host::Unix { port, .. } => *port,
        }
    }
}

/// `load_balance_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalance {
    #[default]
    Disable,
    Random,
}

/// How TLS is asked for and what is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    pub mode: SslMode,
    pub negotiation: SslNegotiation,
    /// `sslrootcert`.
    pub roots: RootCerts,
    /// `sslcert` and `sslkey`: PEM files.
    pub identity: Option<Identity>,
    /// `sslsni`: whether the host name is sent in the handshake.
    pub sni: bool,
    /// `ssl_min_protocol_version`.
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`.
    pub max_version: Option<TlsVersion>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SslNegotiation {
    #[default]
    Postgres,
    Direct,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum RootCerts {
    /// The operating system's.
    #[default]
    System,
    /// A PEM file; the system's roots are then not trusted.
    File(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    V1_0,
    V1_1,
    #[default]
    V1_2,
    V1_3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChannelBinding {
    Disable,
    #[default]
    Prefer,
    Require,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionAttrs {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// What a connection string says of timings; the target's own keys beat it, it beats `defaults`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlTimings {
    pub connect_timeout: Option<Duration>,
    pub keepalives: Option<bool>,
    pub keepalives_idle: Option<Duration>,
    pub keepalives_interval: Option<Duration>,
    pub keepalives_count: Option<u32>,
    pub tcp_user_timeout: Option<Duration>,
}

/// Who runs the server, as far as its host name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    Neon,
    Supabase,
    Aurora,
    Rds,
    Azure,
    CloudSql,
    Other,
}

impl Provider {
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Neon => "neon",
            Provider::Supabase => "supabase",
            Provider::Aurora => "aurora",
            Provider::Rds => "rds",
            Provider::Azure => "azure",
            Provider::CloudSql => "cloudsql",
            Provider::Other => "other",
        }
    }

    /// By the host's suffix.
    pub fn of(host: &str) -> Provider {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let under = |suffix: &str| host.ends_with(suffix);
        match () {
            () if under(".neon.tech") => Provider::Neon,
            () if under(".supabase.co") || under(".supabase.com") => Provider::Supabase,
            () if under(".rds.amazonaws.com") && host.contains(".cluster-") => Provider::Aurora,
            () if under(".rds.amazonaws.com") => Provider::Rds,
            () if under(".postgres.database.azure.com") => Provider::Azure,
            () if under(".sql.goog") => Provider::CloudSql,
            () => Provider::Other,
        }
    }
}

impl Endpoint {
    /// What shares knocks and the guard's limits per host: the list of `host:port`, as written.
    pub fn address_key(&self) -> String {
        let each = |h: &Host| match h {
            Host::Tcp { name, hostaddr, port } => {
                format!("{}:{port}", hostaddr.map_or_else(|| name.clone(), |a| a.to_string()))
            }
            Host::Unix { dir, port } => format!("{}:{port}", dir.display()),
        };
        self.hosts.iter().map(each).collect::<Vec<_>>().join(",")
    }

    pub fn provider(&self) -> Provider {
        self.hosts
            .iter()
            .map(|h| Provider::of(&h.name()))
            .find(|p| *p != Provider::Other)
            .unwrap_or(Provider::Other)
    }
}

/// How a target is treated. Every field applies live: changing one costs no session.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Whether its failure fails `/health` (`true`) or only degrades it.
    pub required: bool,
    pub idle_policy: IdlePolicy,
    pub role: Role,
    /// For knock and login together.
    pub connect_timeout: Duration,
    pub keepalives: Option<Keepalives>,
    pub tcp_user_timeout: Option<Duration>,
    pub ping: Ping,
    pub refresh: Refresh,
    pub backoff: Backoff,
    pub breaker: Breaker,
    /// `let_sleep`: prove a login that often.
    pub wake_every: Option<Duration>,
    /// The deadline of the first attempt after sleep.
    pub wake_timeout: Duration,
    /// `let_sleep`: close the idle session ourselves after that long.
    pub close_idle_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IdlePolicy {
    #[default]
    KeepAwake,
    LetSleep,
}

impl IdlePolicy {
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Any => "any",
            Role::Primary => "primary",
            Role::Standby => "standby",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    pub idle: Duration,
    pub interval: Duration,
    pub count: u32,
}

impl Keepalives {
    pub const DEFAULT: Keepalives =
        Keepalives { idle: Duration::from_secs(10), interval: Duration::from_secs(5), count: 5 };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    pub interval: Duration,
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refresh {
    /// `None` is `off`.
    pub every: Option<Duration>,
    /// 0 to 1; only shortens.
    pub jitter: f64,
    /// Whether the new session is opened before the old one is closed.
    pub overlap: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

/// The defaults of the contract; `connections.md`'s numbers, where it names a source, stand beside them in README.
impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            required: true,
            idle_policy: IdlePolicy::KeepAwake,
            role: Role::Any,
            connect_timeout: Duration::from_secs(10),
            keepalives: Some(Keepalives::DEFAULT),
            tcp_user_timeout: Some(Duration::from_secs(30)),
            ping: Ping { interval: Duration::from_secs(30), timeout: Duration::from_secs(5) },
            refresh: Refresh { every: Some(Duration::from_secs(240)), jitter: 0.1, overlap: true },
            backoff: Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30) },
            breaker: Breaker {
                consecutive_failures: 5,
                open_for: Duration::from_secs(10),
                max_open_for: Duration::from_secs(30),
            },
            wake_every: None,
            wake_timeout: Duration::from_secs(45),
            close_idle_after: None,
        }
    }
}
