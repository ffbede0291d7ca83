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
//! tls        handshake, certificates            shown      certificates that were refused
//! files      secrets and certificates           binding    what SCRAM binds a login to
//! password   what password_command prints       facts      what happened, free of secrets
//! auth       how a server may ask for proof
//! ```

mod attempt;
mod auth;
mod binding;
mod facts;
mod files;
mod login;
mod password;
mod ping;
mod postgres;
mod scanner;
mod session;
mod shown;
mod spellings;
mod tap;
mod tcp;
mod tls;

use std::fmt;
use std::future::{Future, pending, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

pub use files::{CERT_FILE, KEY_FILE, mistakes_in_files, pool_file};
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
    /// Why `password_command` gives no password any more, while the one that it printed before is used.
    pub failed_renewal: Option<String>,
    pub pace: ConnectPace,
}

/// How many sockets were tried, each address of an attempt by itself. Clones share the number.
#[derive(Debug, Clone, Default)]
pub struct TcpConnects(Arc<AtomicU64>);

impl TcpConnects {
    /// One more is about to be sent.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Those since the last call.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// What an attempt waits for before each TCP connect but its first, which was let in as the attempt itself was; and where
/// all of them are counted.
#[derive(Clone, Default)]
pub struct ConnectPace {
    pause: Option<Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>>,
    pub made: TcpConnects,
}

impl ConnectPace {
    pub fn new(pace: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        ConnectPace { pause: Some(Arc::new(pace)), made: TcpConnects::default() }
    }

    #[must_use]
    pub fn counted_by(self, made: &TcpConnects) -> Self {
        ConnectPace { made: made.clone(), ..self }
    }

    /// Ready once one more TCP connect may be made.
    pub async fn next(&self) {
        if let Some(pause) = &self.pause {
            pause().await;
        }
    }
}

impl fmt::Debug for ConnectPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectPace")
    }
}

/// A hash of the secret files' contents, so that a change is seen without keeping them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint(pub u64);

/// What it cost to have a socket, addresses that did not answer included, and which address accepted it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectTimes {
    pub resolve: Duration,
    pub connect: Duration,
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// How many addresses were tried in vain before.
    pub unanswered: u32,
}

/// A login that was proven by its first ping.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub tls: Option<Duration>,
    pub startup: Duration,
    pub ping: Duration,
    /// What was lost on other sockets before this one: a host that hung, a way of `sslmode` that was refused.
    pub detour: Duration,
    pub facts: SessionFacts,
}

impl Login {
    /// What the login itself took, on the socket that it ended up on.
    pub fn took(&self) -> Duration {
        self.tls.unwrap_or_default() + self.startup + self.ping
    }
}

/// What a session knows of its server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionFacts {
    pub server_version: String,
    /// `TLSv1.3`, or `None` without TLS.
    pub tls_version: Option<String>,
    /// When the first of the certificates that the server showed ends.
    pub certificate_expiry: Option<SystemTime>,
    /// Where the session ended up: a login moves on to the next host where `target_session_attrs` asks for it.
    /// `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The backend's process id, from BackendKeyData.
    pub backend_pid: Option<i32>,
    /// What stands between us and the server, where it shows itself.
    pub pooler: Option<&'static str>,
    /// What the last ping found or the server reported; `Role::Any` where neither did.
    pub role: Role,
    /// Why `password_command` gave no new password for this login, which took the one that it had printed before.
    pub failed_renewal: Option<String>,
}

impl SessionFacts {
    /// The version without what the packager adds: `15.18` of `15.18 (Debian 15.18-1.pgdg12+1)`.
    pub fn short_version(&self) -> &str {
        self.server_version.split([' ', '/']).next().unwrap_or_default()
    }
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
