//! The beginning of a conversation: protected or not, and the first packet that means something.

use std::mem;

use tokio::time::Instant;

use super::attempt::LoginAttempt;
use super::pending::LoginProgress;
use super::startup::{self, Packet, StartupMessage};
use super::tls::{Acceptor, HANDSHAKE, Secured};
use super::wire::{Stop, body, close, close_with, exactly, send};
use super::{CancelKey, LoginRejection, Rejected};
use crate::connection::Stream;
use crate::protocol::ErrorFields;
use crate::status::login::LoginFailure;

/// A client's stream, and what protects it.
pub struct Connection<'a> {
    pub stream: Stream,
    /// `None` for a plain one.
    pub secured_by: Option<&'a Acceptor>,
}

/// What a client came for.
#[derive(Debug)]
pub enum FirstPacket {
    Startup(StartupMessage),
    Cancel(CancelKey),
}

/// What the next packets lead to.
enum Negotiation<'a> {
    Done(FirstPacket),
    /// The client waits for the handshake, of which these bytes have been read already.
    Handshake(&'a Acceptor, Vec<u8>),
}

/// What a client has asked for already, before its first packet that means something: each of it once.
#[derive(Default)]
struct EncryptionRequests {
    anything: bool,
    tls: bool,
    gss: bool,
}

/// Reads up to the first packet that means something, shaking hands on the way if the client wishes.
pub async fn negotiate<'a>(
    stream: Stream,
    acceptor: Option<&'a Acceptor>,
    attempt: &mut LoginAttempt,
) -> Result<(Connection<'a>, FirstPacket), Rejected> {
    let mut connection = Connection { stream, secured_by: None };
    let mut asked = EncryptionRequests::default();
    loop {
        let progress = attempt.progress.clone();
        match attempt.in_time(connection.next(acceptor, &mut asked, &progress)).await {
            Ok(Negotiation::Done(first)) => return Ok((connection, first)),
            Ok(Negotiation::Handshake(acceptor, head)) => {
                let secured = attempt.in_time(async { Ok(connection.secure(acceptor, head).await) }).await;
                connection = secured.unwrap_or_else(|stop| Err(stop.unsaid()))?;
                progress.made(Instant::now());
            }
            Err(stop) => return Err(connection.end(stop).await),
        }
    }
}

impl<'a> Connection<'a> {
    /// Ends it, in words if there are any.
    pub async fn end(self, stop: Stop) -> Rejected {
        match &stop {
            Stop::Gone | Stop::Broken(_) => close(self.stream, b"").await,
            Stop::Rejected(_, words) => close_with(self.stream, words).await,
        }
        stop.unsaid()
    }

    /// Reads on, and answers, until there is something to do. It runs at most four times: once for each kind of
    /// encryption, and for what comes then.
    async fn next(
        &mut self,
        acceptor: Option<&'a Acceptor>,
        asked: &mut EncryptionRequests,
        progress: &LoginProgress,
    ) -> Result<Negotiation<'a>, Stop> {
        loop {
            let word = exactly(&mut self.stream).await?;
            let is_first = !mem::replace(&mut asked.anything, true);
            if is_first && word[0] == HANDSHAKE {
                let Some(acceptor) = acceptor else {
                    // In plain words, to a client that waits for those of TLS, it would mean nothing.
                    let message = "it began with TLS, which is off here".to_owned();
                    return Err(Stop::Broken(LoginRejection { why: LoginFailure::Tls, message }));
                };
                return Ok(Negotiation::Handshake(acceptor, word.to_vec()));
            }
            let packet = body(&mut self.stream, startup::length(word)?).await?;
            progress.made(Instant::now());
            match startup::decode(&packet)? {
                Packet::Startup(packet) => return Ok(Negotiation::Done(FirstPacket::Startup(packet))),
                Packet::Cancel(key) => return Ok(Negotiation::Done(FirstPacket::Cancel(key))),
                Packet::SslRequest if self.secured_by.is_none() && !asked.tls => {
                    asked.tls = true;
                    let Some(acceptor) = acceptor else {
                        send(&mut self.stream, b"N").await?;
                        continue;
                    };
                    send(&mut self.stream, b"S").await?;
                    return Ok(Negotiation::Handshake(acceptor, Vec::new()));
                }
                Packet::GssEncRequest if self.secured_by.is_none() && !asked.gss => {
                    asked.gss = true;
                    send(&mut self.stream, b"N").await?;
                }
                Packet::SslRequest | Packet::GssEncRequest => {
                    return Err(ErrorFields::fatal("08P01", "encryption was asked for once too often").into());
                }
            }
        }
    }

    async fn secure(self, acceptor: &'a Acceptor, head: Vec<u8>) -> Result<Connection<'a>, Rejected> {
        let is_direct = !head.is_empty();
        match acceptor.accept(head, self.stream).await {
            Ok(Secured { stream, is_named }) => {
                let connection = Connection { stream, secured_by: Some(acceptor) };
                if is_direct && !is_named {
                    let words = ErrorFields::fatal(
                        "08P01",
                        "TLS without a request for it needs \"postgresql\" in ALPN",
                    );
                    return Err(connection.end(Stop::because(LoginFailure::Tls, words)).await);
                }
                Ok(connection)
            }
            Err(why) => {
                let message = format!("TLS handshake: {why}");
                Err(Rejected::Told(LoginRejection::in_words(LoginFailure::Tls, &message)))
            }
        }
    }
}
