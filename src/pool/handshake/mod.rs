//! How a client is let in: from its first byte to the point where it waits for AuthenticationOk.
//!
//! Clients speak as they do to PostgreSQL itself: requests for TLS, direct TLS, SCRAM, cancel requests. Knows one user,
//! one database and one password; not where the database is, nor whether it is up. It waits for nothing but the
//! client: the caller's deadline is the only one.
//!
//! ```text
//! mod       who may come in               tls       certificate, handshake
//! negotiate TLS or not, the first packet  wire      bytes in, bytes out, the last message
//! startup   that packet (pure)            listen    sockets that clients come to
//! options   its command line (pure)
//! scram     the proof (pure)
//! ```

mod listen;
mod negotiate;
mod options;
mod scram;
mod startup;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

pub use listen::{Listener, bind};
pub use scram::Verifier;
pub use startup::Startup;
pub use tls::Acceptor;
pub use wire::close;

use self::negotiate::{Connection, Request, negotiate};
use self::scram::Proof;
use self::startup::StartupMessage;
use self::wire::{Stop, answer, send};
use crate::connection::Stream;
use crate::protocol::{ErrorFields, backend};
use crate::target::pool::Auth;

/// The longest name that PostgreSQL knows; longer ones are cut where they are shown.
const MAX_NAME: usize = 63;

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
    /// Why, for the log; the client has been told where that was possible.
    Told(String),
}

/// Lets a client in, or turns it away.
pub async fn authenticate(stream: Stream, policy: AuthPolicy<'_>) -> Result<Outcome, Rejected> {
    let (mut connection, packet) = match negotiate(stream, policy.acceptor).await? {
        (connection, Request::Cancel(key)) => return Ok(Outcome::Cancel(key, connection.stream)),
        (connection, Request::Startup(packet)) => (connection, packet),
    };
    let mut pending = Vec::new();
    match admit(&mut connection, &packet, &policy, &mut pending).await {
        Ok(()) => Ok(Outcome::Client(Box::new(Authenticated {
            stream: connection.stream,
            startup: packet.startup,
            pending,
        }))),
        Err(stop) => Err(connection.end(stop).await),
    }
}

/// Turns a client away without asking who it is, though under TLS if it wants that: most do not read what they are told
/// before. A cancel request is not turned away: it takes nobody's place. The deadline is the caller's here, too.
pub async fn reject(
    stream: Stream,
    acceptor: Option<&Acceptor>,
    words: &ErrorFields<'_>,
) -> Result<(CancelKey, Stream), Rejected> {
    match negotiate(stream, acceptor).await? {
        (connection, Request::Cancel(key)) => Ok((key, connection.stream)),
        (connection, Request::Startup(_)) => {
            connection.reject(words).await;
            Err(Rejected::Told(words.message.to_string()))
        }
    }
}

async fn admit(
    connection: &mut Connection<'_>,
    packet: &StartupMessage,
    policy: &AuthPolicy<'_>,
    pending: &mut Vec<u8>,
) -> Result<(), Stop> {
    if policy.demand_tls && connection.secured_by.is_none() {
        return Err(ErrorFields::fatal("28000", "connections from other machines need TLS")
            .hint("Connect with sslmode=require.")
            .into());
    }
    if packet.is_negotiated() {
        backend::negotiate_protocol_version(pending, packet.startup.minor.into(), &packet.unknown);
    }
    let Startup { user, database, .. } = &packet.startup;
    match policy.auth {
        Auth::Trust if user == policy.user => {}
        Auth::Trust => return Err(wrong_user(user, policy.user).into()),
        Auth::Scram => prove(connection, user, policy, pending).await?,
    }
    if database == policy.database {
        return Ok(());
    }
    // Only to those who have proven who they are.
    backend::authentication_ok(pending);
    send(&mut connection.stream, pending).await?;
    Err(wrong_database(database, policy.database).into())
}

/// SCRAM. Whoever comes under another name meets the same questions and, whatever the answers, the same refusal as
/// with a wrong password.
async fn prove(
    connection: &mut Connection<'_>,
    user: &str,
    policy: &AuthPolicy<'_>,
    pending: &mut Vec<u8>,
) -> Result<(), Stop> {
    let Some(verifier) = policy.verifier else {
        return Err(ErrorFields::fatal("28000", "no password is known here to check clients by")
            .detail("The database is connected to without one, so that there is none to ask for.")
            .hint("Give the target a password, or let its pool trust those who reach it.")
            .into());
    };
    let nonce = scram::nonce()
        .map_err(|_| ErrorFields::fatal("XX000", "no random number can be had: OpenSSL fails"))?;
    let end_point = connection.secured_by.and_then(Acceptor::end_point);
    backend::authentication_sasl(pending, scram::mechanisms(end_point));
    say(connection, pending).await?;
    let challenge = verifier.challenge(&answer(&mut connection.stream).await?, end_point, &nonce)?;
    backend::authentication_sasl_continue(pending, challenge.message());
    say(connection, pending).await?;
    match challenge.judge(&answer(&mut connection.stream).await?)? {
        Proof::Right { outcome } if user == policy.user => {
            backend::authentication_sasl_final(pending, &outcome);
            Ok(())
        }
        Proof::Right { .. } | Proof::Wrong => {
            let message = format!("password authentication failed for user \"{}\"", shown(user));
            Err(ErrorFields::fatal("28P01", message).into())
        }
    }
}

/// Sends what is pending.
async fn say(connection: &mut Connection<'_>, pending: &mut Vec<u8>) -> Result<(), Stop> {
    send(&mut connection.stream, pending).await?;
    pending.clear();
    Ok(())
}

fn wrong_user(user: &str, ours: &str) -> ErrorFields<'static> {
    ErrorFields::fatal("28000", format!("user \"{}\" cannot log in here", shown(user)))
        .hint(format!("This port is a pool of sessions of user \"{ours}\"."))
}

fn wrong_database(database: &str, ours: &str) -> ErrorFields<'static> {
    ErrorFields::fatal("3D000", format!("database \"{}\" cannot be reached here", shown(database)))
        .hint(format!("This port leads to database \"{ours}\"."))
}

fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
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
