//! `pool:` of a target: where applications connect, and how many server sessions they share.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A pool: where applications connect, and the server sessions that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub listen: Listen,
    pub mode: Mode,
    /// Server sessions at the most, replacements included; the supervised one is beside them.
    pub size: u32,
    /// So many are kept open although nobody needs them.
    pub min_idle: u32,
    /// Client connections at the most.
    pub max_clients: u32,
    /// How long a client waits for a session.
    pub wait_timeout: Duration,
    pub auth: Auth,
    pub tls: ClientTls,
    /// A query is cut off when the target is down and its server has been silent for that long.
    pub query_stall: Duration,
    /// A query that runs longer is canceled.
    pub query_timeout: Option<Duration>,
    /// A client that leaves a transaction open for longer without sending anything is disconnected.
    pub idle_transaction_timeout: Option<Duration>,
    /// A client that sends nothing for longer outside of a transaction is disconnected.
    pub client_idle_timeout: Option<Duration>,
    /// A client that takes longer to log in is disconnected.
    pub login_timeout: Duration,
    /// Statements without a name are kept on the sessions like named ones.
    pub prepare_unnamed: bool,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    Tcp(SocketAddr),
    /// The socket's file, whose name ends in `.s.PGSQL.PORT` where libpq is to find it.
    Unix(PathBuf),
}

/// For how long a client keeps a server session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Until its transaction ends.
    #[default]
    Transaction,
    /// Until it disconnects.
    Session,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Auth {
    /// SCRAM-SHA-256 with the target's own user and password.
    #[default]
    Scram,
    /// Not at all: the socket's reach is the proof.
    Trust,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum ClientTls {
    /// A certificate made at the start, so that `sslmode=require` works on loopback.
    #[default]
    SelfSigned,
    /// PEM files.
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    Off,
}

impl Listen {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

/// As it is written in the configuration.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Mode {
    /// The word in the configuration and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Transaction => "transaction",
            Mode::Session => "session",
        }
    }
}

impl Auth {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Auth::Scram => "scram",
            Auth::Trust => "trust",
        }
    }
}
