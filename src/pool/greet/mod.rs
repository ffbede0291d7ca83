//! How a client is let in: from its first byte to the point where it waits for AuthenticationOk.
//!
//! Clients speak as they do to PostgreSQL itself: requests for TLS, direct TLS, SCRAM, cancel requests. Knows one user,
//! one database and one password; not where the database is, nor whether it is up. It waits for nothing but the
//! client: the caller's deadline is the only one.
//!
//! ```text
//! greet     who may come in               tls       certificate, handshake
//! opening   TLS or not, the first packet  wire      bytes in, bytes out, the farewell
//! startup   that packet (pure)            listen    sockets that clients come to
//! options   its command line (pure)
//! scram     the proof (pure)
//! ```

mod listen;
mod opening;
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
pub use wire::hang_up;

use self::opening::{First, Line, open};
use self::scram::Proof;
use self::startup::Hello;
use self::wire::{Stop, answer, send};
use crate::connection::Stream;
use crate::pool::message::{self, Words};
use crate::target::pool::Auth;

/// The longest name that PostgreSQL knows; longer ones are cut where they are shown.
const MAX_NAME: usize = 63;

/// Who came.
pub enum Greeted {
    Client(Box<Newcomer>),
    /// Somebody who wants another client's query cancelled. It takes the closed stream for the sign that this is done,
    /// so the stream is dropped when it is.
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
pub struct Newcomer {
    pub stream: Stream,
    pub startup: Startup,
    /// To be sent before AuthenticationOk.
    pub pending: Vec<u8>,
}

/// Who receives the client.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    pub auth: Auth,
    /// `None` where TLS is off.
    pub acceptor: Option<&'a Acceptor>,
    /// Whether nobody comes in without TLS.
    pub demand_tls: bool,
    /// The one user and the one database that this door leads to.
    pub user: &'a str,
    pub database: &'a str,
    /// `None` where the target has no password.
    pub verifier: Option<&'a Verifier>,
}

/// Why nobody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The client hung up, as port checks do.
    Gone,
    /// Why, for the log; the client has been told where that was possible.
    Told(String),
}

/// Lets a client in, or turns it away.
pub async fn greet(stream: Stream, host: Host<'_>) -> Result<Greeted, Refused> {
    let (mut line, hello) = match open(stream, host.acceptor).await? {
        (line, First::Cancel(key)) => return Ok(Greeted::Cancel(key, line.stream)),
        (line, First::Hello(hello)) => (line, hello),
    };
    let mut pending = Vec::new();
    match admit(&mut line, &hello, &host, &mut pending).await {
        Ok(()) => {
            Ok(Greeted::Client(Box::new(Newcomer { stream: line.stream, startup: hello.startup, pending })))
        }
        Err(stop) => Err(line.end(stop).await),
    }
}

/// Turns a client away without asking who it is, though under TLS if it wants that: most do not read what they are told
/// before. A cancel request is not turned away: it takes nobody's place. The deadline is the caller's here, too.
pub async fn decline(
    stream: Stream,
    acceptor: Option<&Acceptor>,
    words: &Words<'_>,
) -> Result<(CancelKey, Stream), Refused> {
    match open(stream, acceptor).await? {
        (line, First::Cancel(key)) => Ok((key, line.stream)),
        (line, First::Hello(_)) => {
            line.turn_away(words).await;
            Err(Refused::Told(words.message.to_string()))
        }
    }
}

async fn admit(
    line: &mut Line<'_>,
    hello: &Hello,
    host: &Host<'_>,
    pending: &mut Vec<u8>,
) -> Result<(), Stop> {
    if host.demand_tls && line.secured_by.is_none() {
        return Err(Words::fatal("28000", "connections from other machines need TLS")
            .hint("Connect with sslmode=require.")
            .into());
    }
    if hello.is_negotiated() {
        message::negotiate_protocol_version(pending, hello.startup.minor.into(), &hello.unknown);
    }
    let Startup { user, database, .. } = &hello.startup;
    match host.auth {
        Auth::Trust if user == host.user => {}
        Auth::Trust => return Err(wrong_user(user, host.user).into()),
        Auth::Scram => prove(line, user, host, pending).await?,
    }
    if database == host.database {
        return Ok(());
    }
    // Only to those who have proven who they are.
    message::authentication_ok(pending);
    send(&mut line.stream, pending).await?;
    Err(wrong_database(database, host.database).into())
}

/// SCRAM. Whoever comes under another name meets the same questions and, whatever the answers, the same refusal as
/// with a wrong password.
async fn prove(line: &mut Line<'_>, user: &str, host: &Host<'_>, pending: &mut Vec<u8>) -> Result<(), Stop> {
    let Some(verifier) = host.verifier else {
        return Err(Words::fatal("28000", "no password is known here to check clients by")
            .detail("The database is connected to without one, so that there is none to ask for.")
            .hint("Give the target a password, or let its pool trust those who reach it.")
            .into());
    };
    let nonce =
        scram::nonce().map_err(|_| Words::fatal("XX000", "no random number can be had: OpenSSL fails"))?;
    let end_point = line.secured_by.and_then(Acceptor::end_point);
    message::authentication_sasl(pending, scram::mechanisms(end_point));
    say(line, pending).await?;
    let challenge = verifier.challenge(&answer(&mut line.stream).await?, end_point, &nonce)?;
    message::authentication_sasl_continue(pending, challenge.message());
    say(line, pending).await?;
    match challenge.judge(&answer(&mut line.stream).await?)? {
        Proof::Right { outcome } if user == host.user => {
            message::authentication_sasl_final(pending, &outcome);
            Ok(())
        }
        Proof::Right { .. } | Proof::Wrong => {
            let message = format!("password authentication failed for user \"{}\"", shown(user));
            Err(Words::fatal("28P01", message).into())
        }
    }
}

/// Sends what is pending.
async fn say(line: &mut Line<'_>, pending: &mut Vec<u8>) -> Result<(), Stop> {
    send(&mut line.stream, pending).await?;
    pending.clear();
    Ok(())
}

fn wrong_user(user: &str, ours: &str) -> Words<'static> {
    Words::fatal("28000", format!("user \"{}\" cannot log in here", shown(user)))
        .hint(format!("This port is a pool of sessions of user \"{ours}\"."))
}

fn wrong_database(database: &str, ours: &str) -> Words<'static> {
    Words::fatal("3D000", format!("database \"{}\" cannot be reached here", shown(database)))
        .hint(format!("This port leads to database \"{ours}\"."))
}

fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newcomer").field("startup", &self.startup).finish_non_exhaustive()
    }
}

impl fmt::Debug for Greeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Greeted::Client(newcomer) => newcomer.fmt(f),
            Greeted::Cancel(key, _) => f.debug_tuple("Cancel").field(&key.process_id).finish(),
        }
    }
}
