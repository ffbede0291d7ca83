//! The protocol by hand: what no driver would send.

use std::time::Duration;

use native_tls::TlsConnector;
use pgtether::connection::Stream;
use pgtether::protocol::Frame;
use pgtether::protocol::frontend::{self, SSL_REQUEST, VERSION_3, packet};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;
use crate::wire::{Message, error_field, kinds};

/// A message whose length says what we like.
pub fn framed(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
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
        plain.send(&packet(SSL_REQUEST, b"")).await;
        assert_eq!(plain.stream.read_u8().await.unwrap(), b'S', "no TLS");
        let trusting = TlsConnector::builder().danger_accept_invalid_certs(true).build().unwrap();
        let connector = tokio_native_tls::TlsConnector::from(trusting);
        let stream = connector.connect("localhost", plain.stream).await.unwrap();
        Raw { stream: Box::new(stream), read: Vec::new() }
    }

    /// Logs in where no password is asked for.
    pub async fn login(port: u16, user: &str, database: &str) -> Raw {
        Raw::login_asking(port, &[("user", user), ("database", database)]).await
    }

    /// Logs in with these startup parameters, where no password is asked for.
    pub async fn login_asking(port: u16, parameters: &[(&str, &str)]) -> Raw {
        let mut raw = Raw::connect(port).await;
        raw.send(&frontend::startup(VERSION_3, parameters)).await;
        let answers = raw.until_ready().await;
        assert!(kinds(&answers).ends_with('Z'), "no login: {:?}", error_field(&answers, b'M'));
        raw
    }

    /// Sends what the other side still takes.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(SOON, self.stream.write_all(bytes)).await.expect("the other side reads no more");
    }

    /// The next message, or `None` at the end of the connection.
    pub async fn message(&mut self) -> Option<Message> {
        timeout(SOON, self.next()).await.expect("no answer")
    }

    /// All messages up to ReadyForQuery; the transaction's state of that is the last one's body.
    pub async fn until_ready(&mut self) -> Vec<Message> {
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
    pub async fn until_closed(&mut self) -> Vec<Message> {
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

    /// What reads its answers, and what it writes by at the same time.
    pub fn halves(self) -> (Raw, impl AsyncWrite + Unpin) {
        let (reader, writer) = tokio::io::split(self.stream);
        let stream = Box::new(tokio::io::join(reader, tokio::io::empty()));
        (Raw { stream, read: self.read }, writer)
    }

    /// Says that nothing more will come.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Whether nothing comes for a moment: neither an answer nor the end.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.next()).await.is_err()
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = Frame::read(&self.read).expect("a length that none has")
                && self.read.len() >= frame.len
            {
                let message: Vec<u8> = self.read.drain(..frame.len).collect();
                return Some((frame.tag, message[Frame::HEADER..].to_vec()));
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
