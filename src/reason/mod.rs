//! Why something failed: what was observed ([`Facts`]), and what it means ([`Diagnosis`]).
//!
//! The connection reports facts and never judges; [`table`] judges and never waits; how long to wait is the
//! supervisor's. Nothing here knows of sockets, clocks or configuration.

mod remedy;
mod set;
pub mod table;

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crate::blocking::Crashed;

pub use crate::policy::retry::Class;
pub use remedy::{SCRAM_BEFORE, remedy};
pub use set::Reason;

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
    /// Whether `password_command` printed the password that was used.
    pub printed_password: bool,
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
    Tls {
        message: String,
        /// When the first certificate of a chain that was refused ends.
        certificate_expiry: Option<SystemTime>,
    },
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

/// Whether a login was under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginTls {
    /// It was, or needs none: a Unix socket.
    #[default]
    Used,
    /// TCP, and TLS was not asked for.
    NotAsked,
    /// The server has said that it has none.
    NotOffered,
}

/// What a server adds to its message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerWords {
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The function that reported it, which no locale translates.
    pub routine: Option<String>,
    /// Whether a rule of `pg_hba.conf` may be about TLS.
    pub tls: LoginTls,
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
    /// A handshake that failed, but not by its certificate.
    pub fn tls(message: impl Into<String>) -> Self {
        Cause::Tls { message: message.into(), certificate_expiry: None }
    }

    /// An ErrorResponse with nothing but what each has.
    pub fn server(sqlstate: impl Into<String>, message: impl Into<String>) -> Self {
        Cause::Server { sqlstate: sqlstate.into(), message: message.into(), words: Box::default() }
    }
}

impl Facts {
    /// What happened, and where.
    pub fn new(phase: Phase, cause: Cause) -> Self {
        Facts { phase, cause, printed_password: false }
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
            Cause::Tls { message, .. } => write!(f, "TLS handshake failed: {message}"),
            Cause::Protocol { message } => write!(f, "unexpected answer: {message}"),
            Cause::WrongRole { wanted } => write!(f, "the server is not a {wanted}"),
            Cause::Config { message } | Cause::Local { message } | Cause::Command { message } => {
                f.write_str(message)
            }
            Cause::Internal => f.write_str("the supervisor task ended by itself; this is a bug in pgtether"),
        }
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
