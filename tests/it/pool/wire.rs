//! The protocol by hand: what no driver would send.

use std::time::Duration;

use native_tls::TlsConnector;
use pgtether::connection::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;

/// A message of a client: its type, its length, its body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    framed(kind, 4 + body.len() as i32, body)
}

/// A message whose length says what we like.
pub fn framed(kind: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[kind], length.to_be_bytes().as_slice(), body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(&[sql]))
}

/// Strings, each with its final zero.
pub fn text(strings: &[&str]) -> Vec<u8> {
    strings.iter().flat_map(|s| [s.as_bytes(), b"\0"].concat()).collect()
}

/// A message without a type: the first of a connection.
pub fn opening(code: u32, body: &[u8]) -> Vec<u8> {
    let length = 8 + body.len() as u32;
    [length.to_be_bytes().as_slice(), &code.to_be_bytes(), body].concat()
}

pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let parameters = text(&["user", user, "database", database]);
    opening(0x0003_0000, &[&parameters, b"\0".as_slice()].concat())
}

/// A connection on which bytes go out as they are.
pub struct Raw {
    stream: Stream,
    read: Vec<u8>,
}

impl Raw {
    pub async fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // Pieces go out as they are.
        stream.set_nodelay(true).unwrap();
        Raw { stream: Box::new(stream), read: Vec::new() }
    }

    /// A connection under TLS, whoever is at the other end.
    pub async fn tls(port: u16) -> Raw {
        let mut plain = Raw::connect(port).await;
        plain.send(&opening(80_877_103, b"")).await;
        assert_eq!(plain.stream.read_u8().await.unwrap(), b'S', "no TLS");
        let trusting = TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let connector = tokio_native_tls::TlsConnector::from(trusting);
        let stream = connector.connect("localhost", plain.stream).await.unwrap();
        Raw { stream: Box::new(stream), read: Vec::new() }
    }

    /// Logs in where no password is asked for.
    pub async fn login(port: u16, user: &str, database: &str) -> Raw {
        let mut raw = Raw::connect(port).await;
        raw.send(&startup(user, database)).await;
        raw.until_ready().await;
        raw
    }

    /// Sends what the other side still takes.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(SOON, self.stream.write_all(bytes)).await.expect("the other side reads no more");
    }

    /// The next message, or `None` at the end of the connection.
    pub async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(SOON, self.next()).await.expect("no answer")
    }

    /// All messages up to ReadyForQuery; the transaction's state of that is the last one's body.
    pub async fn until_ready(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        loop {
            let next = self.message().await;
            let (kind, body) = next.unwrap_or_else(|| panic!("closed after {:?}", kinds(&seen)));
            seen.push((kind, body));
            if kind == b'Z' {
                return seen;
            }
        }
    }

    /// All that comes until the other side closes, which it has to.
    pub async fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        while let Some(message) = self.message().await {
            seen.push(message);
        }
        seen
    }

    /// All bytes that come until the other side closes, which it has to.
    pub async fn drained(mut self) -> Vec<u8> {
        let rest = async {
            let mut bytes = std::mem::take(&mut self.read);
            let _ = self.stream.read_to_end(&mut bytes).await;
            bytes
        };
        timeout(SOON, rest).await.expect("the connection stays open")
    }

    /// All bytes that come until the other side closes, which it has to do as its protocol wants it: TLS by a message of
    /// its own.
    pub async fn closed_properly(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.read);
        let closed = timeout(SOON, self.stream.read_to_end(&mut bytes)).await.expect("it stays open");
        closed.unwrap_or_else(|e| panic!("the connection breaks off: {e}"));
        bytes
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Whether nothing comes for a moment: neither an answer nor the end.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.next()).await.is_err()
    }

    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((&kind, rest)) = self.read.split_first()
                && let Some((length, rest)) = rest.split_first_chunk::<4>()
            {
                let body = u32::from_be_bytes(*length) as usize - 4;
                if rest.len() >= body {
                    let message = (kind, rest[..body].to_vec());
                    self.read.drain(..5 + body);
                    return Some(message);
                }
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// The types of messages, to compare and to print.
pub fn kinds(messages: &[(u8, Vec<u8>)]) -> String {
    messages.iter().map(|(kind, _)| char::from(*kind)).collect()
}

/// A field of the last ErrorResponse, such as `C` for its SQLSTATE.
pub fn error_field(messages: &[(u8, Vec<u8>)], field: u8) -> Option<String> {
    let (_, body) = messages.iter().rev().find(|(kind, _)| *kind == b'E')?;
    let wanted = body.split(|byte| *byte == 0).find(|part| part.first() == Some(&field))?;
    Some(String::from_utf8_lossy(&wanted[1..]).into_owned())
}
