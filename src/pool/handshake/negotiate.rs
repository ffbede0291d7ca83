//! The beginning of a conversation: protected or not, and the first packet that means something.

use std::mem;

use bytes::Bytes;

use super::startup::{self, Packet, StartupMessage};
use super::tls::{Acceptor, HANDSHAKE, Secured};
use super::wire::{Stop, body, close, exactly, send};
use super::{CancelKey, Rejected};
use crate::connection::Stream;
use crate::protocol::{ErrorFields, backend};

/// A client's stream, and what protects it.
pub struct Connection<'a> {
    pub stream: Stream,
    /// `None` for a plain one.
    pub secured_by: Option<&'a Acceptor>,
}

/// What a client came for.
#[derive(Debug)]
pub enum Request {
    Startup(StartupMessage),
    Cancel(CancelKey),
}

/// What the next packets lead to.
enum Step<'a> {
    Done(Request),
    /// The client waits for the handshake, of which these bytes have been read already.
    Handshake(&'a Acceptor, Bytes),
}

/// What a client has asked for already: each of it once.
#[derive(Default)]
struct Asked {
    anything: bool,
    tls: bool,
    gss: bool,
}

/// Reads up to the first packet that means something, shaking hands on the way if the client wishes.
pub async fn negotiate(
    stream: Stream,
    acceptor: Option<&Acceptor>,
) -> Result<(Connection<'_>, Request), Rejected> {
    let mut connection = Connection { stream, secured_by: None };
    let mut asked = Asked::default();
    loop {
        match connection.next(acceptor, &mut asked).await {
            Ok(Step::Done(first)) => return Ok((connection, first)),
            Ok(Step::Handshake(acceptor, head)) => connection = connection.secure(acceptor, head).await?,
            Err(stop) => return Err(connection.end(stop).await),
        }
    }
}

impl<'a> Connection<'a> {
    /// Ends it, in words if there are any.
    pub async fn end(self, stop: Stop) -> Rejected {
        match stop {
            Stop::Gone => {
                close(self.stream, b"").await;
                Rejected::Gone
            }
            Stop::Broken(why) => {
                close(self.stream, b"").await;
                Rejected::Told(why)
            }
            Stop::Rejected(words) => {
                self.reject(&words).await;
                let ErrorFields { message, detail, .. } = *words;
                Rejected::Told(detail.map_or(message.to_string(), |detail| format!("{message}: {detail}")))
            }
        }
    }

    pub async fn reject(self, words: &ErrorFields<'_>) {
        let mut out = Vec::new();
        backend::error(&mut out, words);
        close(self.stream, &out).await;
    }

    /// Reads on, and answers, until there is something to do. It runs at most four times: once for each kind of
    /// encryption, and for what comes then.
    async fn next(&mut self, acceptor: Option<&'a Acceptor>, asked: &mut Asked) -> Result<Step<'a>, Stop> {
        loop {
            let word = exactly(&mut self.stream).await?;
            let is_first = !mem::replace(&mut asked.anything, true);
            if is_first && word[0] == HANDSHAKE {
                let Some(acceptor) = acceptor else {
                    // In plain words, to a client that waits for those of TLS, it would mean nothing.
                    return Err(Stop::Broken("it began with TLS, which is off here".to_owned()));
                };
                return Ok(Step::Handshake(acceptor, Bytes::copy_from_slice(&word)));
            }
            match startup::decode(&body(&mut self.stream, startup::length(word)?).await?)? {
                Packet::Startup(packet) => return Ok(Step::Done(Request::Startup(packet))),
                Packet::Cancel(key) => return Ok(Step::Done(Request::Cancel(key))),
                Packet::SslRequest if self.secured_by.is_none() && !asked.tls => {
                    asked.tls = true;
                    let Some(acceptor) = acceptor else {
                        send(&mut self.stream, b"N").await?;
                        continue;
                    };
                    send(&mut self.stream, b"S").await?;
                    return Ok(Step::Handshake(acceptor, Bytes::new()));
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

    async fn secure(self, acceptor: &'a Acceptor, head: Bytes) -> Result<Connection<'a>, Rejected> {
        let is_direct = !head.is_empty();
        match acceptor.accept(head, self.stream).await {
            Ok(Secured { stream, is_named }) => {
                let connection = Connection { stream, secured_by: Some(acceptor) };
                if is_direct && !is_named {
                    let words = ErrorFields::fatal(
                        "08P01",
                        "TLS without a request for it needs \"postgresql\" in ALPN",
                    );
                    return Err(connection.end(words.into()).await);
                }
                Ok(connection)
            }
            Err(why) => Err(Rejected::Told(format!("TLS handshake: {why}"))),
        }
    }
}
