//! A connection to a database: TCP connect, log in, hold, close. It reports facts and decides nothing.
//!
//! [`Connector`] is what the supervisor acts through; [`Postgres`] is the real one, tests script their own. Knows
//! nothing of waiting, retrying, targets beside its own, metrics or HTTP.
//!
//! ```text
//! postgres   files, then the way below          session    event, ping, close, detach
//! tcp        names, addresses, sockets          ping       what is asked, what the answer tells
//! login      which host, which way of sslmode   tap        the stream under tokio-postgres
//! attempt    one socket: TLS, startup, ping     scanner    what the server says, and how much
//! tls        handshake, certificates            hello      which version of TLS was agreed on
//! files      secrets and certificates
//! password   what password_command prints       shown      certificates that were refused
//! facts      what happened, free of secrets
//! ```

mod attempt;
mod facts;
mod files;
mod hello;
mod login;
mod password;
mod ping;
mod postgres;
mod scanner;
mod session;
mod shown;
mod tap;
mod tcp;
mod tls;

use std::future::{Future, pending, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use login::OpenSocket;
pub use password::find_program;
pub use postgres::Postgres;
pub use session::{Detached, PgSession, SessionRoute};
pub use tap::{Duplex, Stream};

use crate::reason::Facts;
use crate::target::{Endpoint, Role, SocketTuning, Target};

/// What an attempt needs, read anew at its start because files may have changed.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub endpoint: Arc<Endpoint>,
    pub sockets: SocketTuning,
    /// What of `url_file`, `password_file` and the certificate files was used: differs when a secret changed.
    pub fingerprint: Fingerprint,
    /// The run of `password_command` that printed the password, where there was one.
    pub password_run: Option<u64>,
}

/// A hash of the secret files' contents, so that a change is seen without keeping them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint(pub u64);

/// What a TCP connect cost and which address accepted it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectTimes {
    pub resolve: Duration,
    pub connect: Duration,
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
}

/// A login that was proven by its first ping.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub tls: Option<Duration>,
    pub startup: Duration,
    pub ping: Duration,
    pub facts: SessionFacts,
    /// The role that the first ping found; `Role::Any` where nobody asked.
    pub role: Role,
}

/// What a session knows of its server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionFacts {
    pub server_version: String,
    /// `TLSv1.3`, or `None` without TLS.
    pub tls_version: Option<String>,
    /// When the certificate that the server showed ends.
    pub certificate_expiry: Option<SystemTime>,
    /// Where the session ended up: a login moves on to the next host where `target_session_attrs` asks for it.
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The backend's process id, from BackendKeyData.
    pub backend_pid: Option<i32>,
    /// What stands between us and the server, where it shows itself.
    pub pooler: Option<&'static str>,
}

/// What a held session reports.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// The ping was answered after that long.
    Pong { took: Duration, role: Role },
    /// The server answered the ping with an error; the session lives.
    PingFailed(Facts),
    /// The session is over.
    Lost(Facts),
}

/// Opens sessions.
pub trait Connector: Clone + Send + Sync + 'static {
    /// An accepted socket, not logged in yet.
    type Socket: Send + 'static;
    /// A session that is logged in.
    type Session: Session;

    /// Reads the target's files.
    fn prepare(&self, target: Arc<Target>) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static;

    /// Only reads and hashes the target's secret files: another value than the last attempt's means that a secret
    /// changed. Cheap enough to ask each second.
    fn fingerprint(&self, target: Arc<Target>) -> impl Future<Output = Fingerprint> + Send + 'static;

    /// Whether a command must run before this can log in. That takes its time: nobody should hold a socket open meanwhile.
    fn lacks_password(&self, _target: &Target, _prepared: &Prepared) -> bool {
        false
    }

    /// The same with the password of the target's command, if it has one, which runs if need be.
    fn with_password(
        &self,
        _target: Arc<Target>,
        prepared: Prepared,
    ) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        ready(Ok(prepared))
    }

    /// The server has rejected the password of `prepared`. True where [`Self::with_password`] may bring another one now.
    fn password_rejected(&self, _target: &Target, _prepared: &Prepared) -> bool {
        false
    }

    /// Resolves and connects; several addresses share the time to `deadline`.
    fn tcp_connect(
        &self,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Self::Socket, ConnectTimes), Facts>> + Send + 'static;

    /// Ends once the target's command prints another password than the one that the server has rejected; never where there
    /// is no such command.
    fn another_password(&self, _target: Arc<Target>) -> impl Future<Output = ()> + Send + 'static {
        pending()
    }

    /// These are all targets: what is kept of others can go.
    fn keep(&self, _targets: &[Arc<Target>]) {}

    /// TLS, startup and the first ping on the accepted socket. `role` tells whether the ping asks for it.
    fn login(
        &self,
        socket: Self::Socket,
        target: Arc<Target>,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Self::Session, Login), Facts>> + Send + 'static;
}

/// A session that is logged in.
pub trait Session: Send + 'static {
    /// Asks the server; the answer comes as an event. `role` tells whether the server's role is asked for. Called
    /// only when no ping is under way.
    fn ping(&mut self, role: Role);

    /// The next thing that happens. Dropping the future loses nothing. After `Lost` it is not called again.
    fn event(&mut self) -> impl Future<Output = SessionEvent> + Send;

    /// Says goodbye (Terminate) and waits, shortly, for the socket to close.
    fn close(self) -> impl Future<Output = ()> + Send + 'static;
}
