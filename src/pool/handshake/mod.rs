//! How a client is let in: from its first byte to the point where it waits for AuthenticationOk.
//!
//! Clients speak as they do to PostgreSQL itself: requests for TLS, direct TLS, SCRAM, cancel requests. Knows one user,
//! one database and one password; not where the database is, nor whether it is up. It waits for nothing but the
//! client, and for as long as its caller says.
//!
//! ```text
//! mod       who may come in               tls       certificate, handshake
//! negotiate TLS or not, the first packet  wire      bytes in, bytes out, the last message
//! startup   that packet (pure)            listen    sockets that clients come to
//! options   its command line (pure)       attempt   one login's time
//! scram     the proof (pure)              penalty   what a wrong password costs (pure)
//! pending   who has not logged in (pure)  tally     what the log says of the rejected (pure)
//! ```

mod attempt;
mod listen;
mod negotiate;
mod options;
mod penalty;
pub mod pending;
mod scram;
mod startup;
pub mod tally;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

pub use attempt::LoginAttempt;
pub use listen::{Listener, bind};
pub use penalty::Penalties;
pub use scram::Verifier;
pub use startup::Startup;
pub use tls::Acceptor;
pub use wire::{Stop, close};

use self::attempt::penalty;
use self::negotiate::{Connection, FirstPacket, negotiate};
use self::pending::LoginProgress;
use self::scram::Proof;
use self::startup::StartupMessage;
use self::wire::{answer, send};
use crate::connection::Stream;
use crate::printable;
use crate::protocol::{ErrorFields, backend};
use crate::status::login::LoginFailure;
use crate::target::pool::Auth;

/// What a connection turned out to be.
pub enum Outcome {
    Client(Box<Authenticated>),
    /// Somebody who wants another client's query cancelled. It takes the end of the stream for the sign that this is
    /// done, so the stream is closed when it is.
    Cancel(CancelKey, Stream),
}

/// What a cancel request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelKey {
    pub process_id: i32,
    /// 4 bytes in protocol 3.0, up to 256 since 3.2.
    pub secret: Vec<u8>,
}

/// A client that may come in, and waits to hear so. Nothing was read from its stream beyond its last message.
pub struct Authenticated {
    pub stream: Stream,
    pub startup: Startup,
    /// To be sent before AuthenticationOk.
    pub pending: Vec<u8>,
}

/// Who may come in, and how they prove it.
#[derive(Debug, Clone, Copy)]
pub struct AuthPolicy<'a> {
    pub auth: Auth,
    /// `None` where TLS is off.
    pub acceptor: Option<&'a Acceptor>,
    /// Whether nobody comes in without TLS.
    pub demand_tls: bool,
    /// The one user and the one database that this port leads to.
    pub user: &'a str,
    pub database: &'a str,
    /// `None` where the target has no password.
    pub verifier: Option<&'a Verifier>,
}

/// Why nobody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// The client hung up, as port checks do.
    Gone,
    /// The client has been told where that was possible.
    Told(LoginRejection),
}

/// Why a client is not let in, for the log and the counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRejection {
    pub why: LoginFailure,
    pub message: String,
}

/// Lets a client in, or turns it away.
pub async fn authenticate(
    stream: Stream,
    policy: AuthPolicy<'_>,
    mut attempt: LoginAttempt,
) -> Result<Outcome, Rejected> {
    let (mut connection, packet) = match negotiate(stream, policy.acceptor, &mut attempt).await? {
        (connection, FirstPacket::Cancel(key)) => return Ok(Outcome::Cancel(key, connection.stream)),
        (connection, FirstPacket::Startup(packet)) => (connection, packet),
    };
    let mut pending = Vec::new();
    let (progress, penalties) = (attempt.progress.clone(), Arc::clone(&attempt.penalties));
    let proof =
        Prover { connection: &mut connection, policy: &policy, progress: &progress, penalties: &penalties };
    match attempt.in_time(proof.admit(&packet, &mut pending)).await {
        Ok(()) => Ok(Outcome::Client(Box::new(Authenticated {
            stream: connection.stream,
            startup: packet.startup,
            pending,
        }))),
        Err(stop) => Err(connection.end(stop).await),
    }
}

/// Turns a client away without asking who it is, though under TLS if it wants that: most do not read what they are told
/// before. A cancel request is not turned away: it takes nobody's place.
pub async fn reject(
    stream: Stream,
    acceptor: Option<&Acceptor>,
    (why, words): (LoginFailure, ErrorFields<'static>),
    mut attempt: LoginAttempt,
) -> Result<(CancelKey, Stream), Rejected> {
    match negotiate(stream, acceptor, &mut attempt).await? {
        (connection, FirstPacket::Cancel(key)) => Ok((key, connection.stream)),
        (connection, FirstPacket::Startup(_)) => Err(connection.end(Stop::because(why, words)).await),
    }
}

impl Authenticated {
    /// Turns away one that has proven who it is.
    pub async fn reject(self, why: LoginFailure, words: &ErrorFields<'_>) -> LoginRejection {
        let mut out = self.pending;
        backend::error(&mut out, words);
        close(self.stream, &out).await;
        LoginRejection::new(why, words)
    }
}

impl LoginRejection {
    pub fn new(why: LoginFailure, words: &ErrorFields<'_>) -> Self {
        let ErrorFields { message, detail, .. } = words;
        let message = match detail {
            Some(detail) => format!("{message}: {detail}"),
            None => message.to_string(),
        };
        LoginRejection::in_words(why, &message)
    }

    /// What the client wrote may be in the words.
    fn in_words(why: LoginFailure, message: &str) -> Self {
        LoginRejection { why, message: printable::message(message) }
    }
}

/// A client that has said who it is, and what it has to prove.
struct Prover<'a, 'c> {
    connection: &'a mut Connection<'c>,
    policy: &'a AuthPolicy<'a>,
    progress: &'a LoginProgress,
    penalties: &'a Mutex<Penalties>,
}

impl Prover<'_, '_> {
    async fn admit(mut self, packet: &StartupMessage, pending: &mut Vec<u8>) -> Result<(), Stop> {
        let policy = self.policy;
        if policy.demand_tls && self.connection.secured_by.is_none() {
            let words = ErrorFields::fatal("28000", "connections from other machines need TLS")
                .hint("Connect with sslmode=require.");
            return Err(Stop::because(LoginFailure::Tls, words));
        }
        if packet.is_negotiated() {
            backend::negotiate_protocol_version(pending, packet.startup.minor.into(), &packet.unknown);
        }
        let Startup { user, database, .. } = &packet.startup;
        match policy.auth {
            Auth::Trust if user == policy.user => {}
            Auth::Trust => {
                return Err(Stop::because(LoginFailure::User, wrong_user(user, policy.user)));
            }
            Auth::Scram => self.prove(user, pending).await?,
        }
        if database == policy.database {
            return Ok(());
        }
        // Only to those who have proven who they are.
        backend::authentication_ok(pending);
        self.say(pending).await?;
        Err(Stop::because(LoginFailure::Database, wrong_database(database, policy.database)))
    }

    /// SCRAM. Whoever comes under another name meets the same questions and, whatever the answers, the same refusal as
    /// with a wrong password.
    async fn prove(&mut self, user: &str, pending: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(verifier) = self.policy.verifier else {
            let words = ErrorFields::fatal("28000", "no password is known here to check clients by")
                .detail("The database is connected to without one, so that there is none to ask for.")
                .hint("Give the target a password, or let its pool trust those who reach it.");
            return Err(Stop::because(LoginFailure::Config, words));
        };
        let nonce = scram::nonce()
            .map_err(|_| ErrorFields::fatal("XX000", "no random number can be had: OpenSSL fails"))?;
        let end_point = self.connection.secured_by.and_then(Acceptor::end_point);
        backend::authentication_sasl(pending, scram::mechanisms(end_point));
        let initial = self.ask(pending).await?;
        let challenge = verifier.challenge(&initial, end_point, &nonce)?;
        backend::authentication_sasl_continue(pending, challenge.message());
        let response = self.ask(pending).await?;
        match challenge.judge(&response)? {
            Proof::Right { outcome } if user == self.policy.user => {
                backend::authentication_sasl_final(pending, &outcome);
                Ok(())
            }
            Proof::Right { .. } | Proof::Wrong => {
                let message =
                    format!("password authentication failed for user \"{}\"", printable::word(user));
                let words = ErrorFields::fatal("28P01", message);
                Err(match penalty(self.penalties).await {
                    true => Stop::because(LoginFailure::Password, words),
                    false => Stop::Broken(LoginRejection::new(LoginFailure::Password, &words)),
                })
            }
        }
    }

    /// Sends what is pending, and waits for the answer.
    async fn ask(&mut self, pending: &mut Vec<u8>) -> Result<Vec<u8>, Stop> {
        self.say(pending).await?;
        let answer = answer(&mut self.connection.stream).await?;
        self.progress.made(Instant::now());
        Ok(answer)
    }

    /// Sends what is pending.
    async fn say(&mut self, pending: &mut Vec<u8>) -> Result<(), Stop> {
        send(&mut self.connection.stream, pending).await?;
        pending.clear();
        Ok(())
    }
}

fn wrong_user(user: &str, ours: &str) -> ErrorFields<'static> {
    ErrorFields::fatal("28000", format!("user \"{}\" cannot log in here", printable::word(user)))
        .hint(format!("This port is a pool of sessions of user \"{ours}\"."))
}

fn wrong_database(database: &str, ours: &str) -> ErrorFields<'static> {
    ErrorFields::fatal("3D000", format!("database \"{}\" cannot be reached here", printable::word(database)))
        .hint(format!("This port leads to database \"{ours}\"."))
}

impl fmt::Debug for Authenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("startup", &self.startup).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Client(client) => client.fmt(f),
            Outcome::Cancel(key, _) => f.debug_tuple("Cancel").field(&key.process_id).finish(),
        }
    }
}
