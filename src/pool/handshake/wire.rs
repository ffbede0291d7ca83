//! Packets and messages of a client that is not in yet, read to their last byte and no further.
//!
//! Nothing is ever read ahead. So no plain byte can be taken for a protected one when TLS begins in between
//! (CVE-2021-23222), and nothing has to be handed on but the stream. Knows nothing of what the messages mean.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::tls::{is_end, why};
use super::{LoginRejection, Rejected};
use crate::connection::Stream;
use crate::protocol::{ErrorFields, backend};
use crate::status::login::LoginFailure;

/// The longest answer to a password request: PostgreSQL's own limit for SASL.
const MAX_ANSWER: usize = 1024;
/// A refusal is a courtesy: nobody may keep us longer with it, or with more than that.
const FAREWELL: Duration = Duration::from_secs(1);
const MAX_UNREAD: u64 = 64 * 1024;

/// Why a conversation ends before the client is in.
#[derive(Debug)]
pub enum Stop {
    /// The client is gone, and nobody needs to know.
    Gone,
    /// It cannot be told, and this is why.
    Broken(LoginRejection),
    /// It has to be told.
    Rejected(LoginFailure, Box<ErrorFields<'static>>),
}

impl Stop {
    /// Where the client cannot be told.
    pub fn unsaid(self) -> Rejected {
        match self {
            Stop::Gone => Rejected::Gone,
            Stop::Broken(rejection) => Rejected::Told(rejection),
            Stop::Rejected(why, words) => Rejected::Told(LoginRejection::new(why, &words)),
        }
    }

    /// The client has to be told in these words.
    pub fn because(why: LoginFailure, words: ErrorFields<'static>) -> Self {
        Stop::Rejected(why, Box::new(words))
    }
}

/// ErrorFields about what a client has sent.
impl From<ErrorFields<'static>> for Stop {
    fn from(words: ErrorFields<'static>) -> Self {
        let why = match &*words.sqlstate {
            "0A000" => LoginFailure::Unsupported,
            "54000" => LoginFailure::Setting,
            "XX000" => LoginFailure::Config,
            _ => LoginFailure::Protocol,
        };
        Stop::because(why, words)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match why(&error) {
            Some(message) if !is_end(&error) => {
                Stop::Broken(LoginRejection::in_words(LoginFailure::Tls, &format!("TLS: {message}")))
            }
            _ => Stop::Gone,
        }
    }
}

pub async fn exactly<const N: usize>(stream: &mut Stream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// So many bytes; the caller has checked the number.
pub async fn body(stream: &mut Stream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The client's answer to a password request.
pub async fn answer(stream: &mut Stream) -> Result<Vec<u8>, Stop> {
    let [tag, length @ ..] = exactly::<5>(stream).await?;
    if tag != b'p' {
        let message = format!("expected SASL response, got message type \"{}\"", tag.escape_ascii());
        return Err(ErrorFields::fatal("08P01", message).into());
    }
    match usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).checked_sub(4) {
        Some(length @ ..=MAX_ANSWER) => Ok(body(stream, length).await?),
        _ => Err(ErrorFields::fatal("08P01", "invalid length of SASL response").into()),
    }
}

pub async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Tells why, and closes.
pub async fn close_with(stream: Stream, words: &ErrorFields<'_>) {
    let mut out = Vec::new();
    backend::error(&mut out, words);
    close(stream, &out).await;
}

/// Says the last words, if there are any, and closes so that the client can read them: TLS ends with its own message
/// (libpq takes anything else for an attack), and a socket that is closed while something lies unread in it is reset,
/// and a reset takes the last words with it.
pub async fn close(mut stream: Stream, last_words: &[u8]) {
    let farewell = async {
        send(&mut stream, last_words).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_UNREAD), &mut tokio::io::sink()).await
    };
    // However it ends, it ends.
    let _: Result<io::Result<u64>, _> = timeout(FAREWELL, farewell).await;
}
