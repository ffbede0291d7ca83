//! Why something failed: what was observed ([`Facts`]), and what it means ([`Diagnosis`]).
//!
//! The connection reports facts and never judges; [`table`] judges and never waits; how long to wait is the
//! supervisor's. Nothing here knows of sockets, clocks or configuration.

mod remedy;
pub mod table;

use std::fmt;
use std::io;
use std::time::Duration;

use crate::blocking::Crashed;

pub use crate::policy::retry::Class;
pub use remedy::remedy;

/// Where in the life of a connection something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before any traffic: reading `url_file`, `password_file` or a certificate.
    Prepare,
    /// Asking DNS.
    Resolve,
    /// Opening the TCP connection or the Unix socket.
    Connect,
    /// Asking for TLS, and the handshake.
    Tls,
    /// The startup packet, the password, the parameters: until ReadyForQuery.
    Startup,
    /// A ping, the first of a login or a later one.
    Ping,
    /// Nothing was asked: the session was idle.
    Idle,
}

impl Phase {
    /// The name in metrics, logs and `check`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Startup => "startup",
            Phase::Ping => "ping",
            Phase::Idle => "idle",
        }
    }
}

/// What was observed, before anybody decides what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub phase: Phase,
    pub cause: Cause,
}

/// What ended an attempt, a ping or a session. Texts are free of secrets: whoever builds one from a peer's words
/// has scrubbed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// An ErrorResponse, or a notice of class 57P sent before the end, of the server or of a pooler before it.
    Server { sqlstate: String, message: String, words: Box<ServerWords> },
    /// The resolver's answer: no such name, or no answer.
    Dns { message: String },
    /// The operating system's error on a socket.
    Io { kind: io::ErrorKind, os: Option<i32> },
    /// The peer closed the socket without a message.
    Closed,
    /// Our own deadline passed.
    Timeout,
    /// The server has no TLS and `sslmode` demands it (or the other way round).
    TlsRefused,
    /// The handshake failed, verification included.
    Tls { message: String },
    /// The peer does not speak PostgreSQL's protocol as we know it.
    Protocol { message: String },
    /// The server works and is not what `role` or `target_session_attrs` asks for.
    WrongRole { wanted: String },
    /// A file or a value that the configuration names cannot be used.
    Config { message: String },
    /// `password_command` gave no password.
    Command { message: String },
    /// Our own machine is the matter: no descriptors, no memory, no local port.
    Local { message: String },
    /// A bug of pgtether: the target's task ended by itself.
    Internal,
}

/// Whether the TLS library has refused the server's certificate. Its words come first, what is told of the certificates,
/// in words of the server, after them.
pub fn is_refused_certificate(message: &str) -> bool {
    message.starts_with("certificate verify failed")
}

impl From<Crashed> for Cause {
    fn from(Crashed: Crashed) -> Self {
        Cause::Internal
    }
}

/// What a server adds to its message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerWords {
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The function that reported it, which no locale translates.
    pub routine: Option<String>,
    /// The message as it came, where a password was taken out of the one that is shown.
    pub verbatim: Option<Verbatim>,
}

/// A text that only the table of reasons reads; it is never shown, because it may contain a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verbatim(String);

impl Verbatim {
    pub fn new(text: String) -> Self {
        Verbatim(text)
    }
}

impl fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<verbatim>")
    }
}

impl Cause {
    /// An ErrorResponse with nothing but what each has.
    pub fn server(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Cause::Server { sqlstate: sqlstate.into(), message: message.into(), words: Box::default() }
    }
}

impl Facts {
    /// What happened, and where.
    pub fn new(phase: Phase, cause: Cause) -> Self {
        Facts { phase, cause }
    }

    /// Whether it failed before any server took the socket: such a TCP connect costs the server nothing.
    pub fn before_the_server(&self) -> bool {
        matches!(self.phase, Phase::Resolve | Phase::Connect)
            && !matches!(self.cause, Cause::Local { .. } | Cause::Config { .. })
    }

    /// The server's SQLSTATE, where the server said something.
    pub fn sqlstate(&self) -> Option<&str> {
        match &self.cause {
            Cause::Server { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }
}

/// One line for a log or a person, without the phase.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Server { sqlstate, message, words } => {
                write!(f, "{message} (SQLSTATE {sqlstate})")?;
                let more = [("DETAIL", &words.detail), ("HINT", &words.hint)];
                more.iter()
                    .filter_map(|(name, text)| Some((name, text.as_ref()?)))
                    .try_for_each(|(name, text)| write!(f, ", {name}: {text}"))
            }
            Cause::Dns { message } => write!(f, "name resolution failed: {message}"),
            Cause::Io { os: Some(os), .. } => write!(f, "{}", io::Error::from_raw_os_error(*os)),
            Cause::Io { kind, os: None } => write!(f, "{kind}"),
            Cause::Closed => f.write_str("the server closed the connection without a message"),
            Cause::Timeout => write!(f, "no answer in time during {}", self.phase.as_str()),
            Cause::TlsRefused => f.write_str("the server does not offer TLS, and sslmode demands it"),
            Cause::Tls { message } => write!(f, "TLS handshake failed: {message}"),
            Cause::Protocol { message } => write!(f, "unexpected answer: {message}"),
            Cause::WrongRole { wanted } => write!(f, "the server is not a {wanted}"),
            Cause::Config { message } | Cause::Local { message } | Cause::Command { message } => {
                f.write_str(message)
            }
            Cause::Internal => f.write_str("the supervisor task ended by itself; this is a bug in pgtether"),
        }
    }
}

/// Declares [`Reason`] once: variant, label, remedy.
macro_rules! reasons {
    ($($variant:ident $label:literal $remedy:literal)*) => {
        /// The closed set of reasons that metrics, `/health` and logs name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($variant),* }

        impl Reason {
            /// In the order of their declaration.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $label),* }
            }

            /// What a person can do about it, in one sentence.
            pub const fn remedy(self) -> &'static str {
                match self { $(Reason::$variant => $remedy),* }
            }
        }
    };
}

reasons! {
    Dns "dns" "Check the host name and the resolver; the name is resolved again every second."
    Refused "refused" "Nothing listens there: check that the server runs, and host, port or socket path."
    Unreachable "unreachable" "No route to the host: check network, security group and firewall."
    Timeout "timeout" "No answer in time: the server hangs, or something on the way drops packets silently."
    Reset "reset" "The connection was reset: look for a proxy, load balancer or firewall that cuts it."
    Closed "closed" "The peer closed the connection without a message: look at the server's or the pooler's log."
    Tls "tls" "Check sslmode, sslrootcert, the host name in the certificate and its expiry."
    Auth "auth" "Check user, password or token, and pg_hba.conf; a changed password_file is tried at once."
    Blocked "blocked" "The other side refuses this client: check the IP allow list and the project's or database's settings."
    DatabaseMissing "database_missing" "Check the database name, or the tenant in the user name; create it if it is gone."
    Capacity "capacity" "All connection slots are taken: close idle clients or raise the limit; pgtether tries rarely."
    Resources "resources" "The server has run out of disk space, memory or processes: the message says of which; free some, or give it more."
    StartingUp "starting_up" "The server is starting or recovering: wait; it is tried again every second."
    Shutdown "shutdown" "The session was ended by an administrator or a server shutdown; reconnecting."
    Crash "crash" "A server process crashed and all sessions were reset: look at the server's log."
    IdleTimeout "idle_timeout" "The other side closes idle sessions: lower ping.interval, or set idle_policy to let_sleep."
    Quota "quota" "The plan's quota is used up: upgrade the plan or wait for its reset."
    WrongRole "wrong_role" "The server does not have the required role: check for a failover, the host list and role."
    Pooler "pooler" "The pooler answered, its database did not: look at the pooler's log and its server settings."
    QueryFailed "query_failed" "The server answered the ping with an error: look at its log."
    Flapping "flapping" "Three sessions were lost within five minutes although logins succeed: look at the reasons of the losses, and for a proxy, script or crash that ends sessions."
    Protocol "protocol" "What answers there is not PostgreSQL as we know it: check host and port."
    Config "config" "A setting or file that this target needs cannot be used: the message says which."
    PasswordCommand "password_command" "password_command gave no password: run it as the user that pgtether runs as; its exit code and stderr are in the detail."
    Local "local" "This machine lacks descriptors, memory or local ports: raise its limits."
    Internal "internal" "A bug in pgtether: the target's task was restarted; please report the log."
    Stalled "stalled" "The target's loop is overdue: the process is starved of CPU, or a bug; /livez fails too."
    Other "other" "Not a failure that pgtether knows: see the message in the log."
}

impl Reason {
    /// What an attempt can end with.
    pub const CONNECT: &'static [Reason] = &[
        Reason::Dns,
        Reason::Refused,
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Reset,
        Reason::Closed,
        Reason::Tls,
        Reason::Auth,
        Reason::Blocked,
        Reason::DatabaseMissing,
        Reason::Capacity,
        Reason::Resources,
        Reason::StartingUp,
        Reason::Shutdown,
        Reason::Crash,
        Reason::Quota,
        Reason::WrongRole,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Config,
        Reason::PasswordCommand,
        Reason::Local,
        Reason::Internal,
        Reason::Other,
    ];
    /// What a session can be lost by. A pooler ends its clients' sessions for whatever its own login failed by.
    pub const DISCONNECT: &'static [Reason] = &[
        Reason::Unreachable,
        Reason::Timeout,
        Reason::Reset,
        Reason::Closed,
        Reason::Tls,
        Reason::Auth,
        Reason::Blocked,
        Reason::DatabaseMissing,
        Reason::Capacity,
        Reason::Resources,
        Reason::StartingUp,
        Reason::Shutdown,
        Reason::Crash,
        Reason::IdleTimeout,
        Reason::Quota,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Internal,
        Reason::Other,
    ];
    /// What a ping can fail by while its session lives.
    pub const PING: &'static [Reason] = &[
        Reason::Timeout,
        Reason::Capacity,
        Reason::Resources,
        Reason::WrongRole,
        Reason::Pooler,
        Reason::QueryFailed,
        Reason::Protocol,
        Reason::Other,
    ];

    /// Whether somebody who waits may bring the next attempt forward although the failure is permanent: there is nothing
    /// that trying often could lock out, and what is missing may be there again.
    pub const fn is_safe_to_hurry(self) -> bool {
        matches!(self, Reason::DatabaseMissing)
    }

    /// Whether somebody answered and refused the login.
    pub const fn is_rejection(self) -> bool {
        matches!(
            self,
            Reason::Auth
                | Reason::Blocked
                | Reason::DatabaseMissing
                | Reason::Capacity
                | Reason::Resources
                | Reason::Quota
                | Reason::WrongRole
                | Reason::StartingUp
        )
    }

    /// This reason if `set` has it, else [`Reason::Other`]: a family exports only what its set names.
    pub fn within(self, set: &[Reason]) -> Reason {
        if set.contains(&self) { self } else { Reason::Other }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What facts mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diagnosis {
    pub reason: Reason,
    pub class: Class,
    /// How long the other side will not answer, as it reported; zero where it did not.
    pub at_least: Duration,
}
