//! Which version of TLS was agreed on: read from the ServerHello, because native-tls does not tell.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tap::Stream;

/// A ServerHello comes first and is far smaller.
const ENOUGH: usize = 4096;
const HANDSHAKE_RECORD: u8 = 22;
const SERVER_HELLO: u8 = 2;
const SUPPORTED_VERSIONS: u16 = 43;

/// A stream that keeps the first bytes that came, until they are asked for.
pub struct Sniffer {
    stream: Stream,
    received: Option<Vec<u8>>,
}

impl Sniffer {
    pub fn new(stream: Stream) -> Self {
        Sniffer { stream, received: Some(Vec::new()) }
    }

    /// The version that the server chose; stops listening.
    pub fn version(&mut self) -> Option<String> {
        let received = self.received.take()?;
        let name = match version_of(&received)? {
            0x0301 => "TLSv1.0",
            0x0302 => "TLSv1.1",
            0x0303 => "TLSv1.2",
            0x0304 => "TLSv1.3",
            _ => return None,
        };
        Some(name.to_owned())
    }
}

/// `None` where the bytes are no ServerHello. Since TLS 1.3 the version stands in an extension and the old place
/// says 1.2 for the sake of middleboxes.
fn version_of(bytes: &[u8]) -> Option<u16> {
    let mut record = HelloReader(bytes);
    if record.number(1)? != u32::from(HANDSHAKE_RECORD) {
        return None;
    }
    record.skip(4)?;
    if record.number(1)? != u32::from(SERVER_HELLO) {
        return None;
    }
    let length = record.number(3)?;
    let mut hello = HelloReader(record.take(length)?);
    let legacy = hello.number(2)? as u16;
    let random = 32;
    hello.skip(random)?;
    let session = hello.number(1)?;
    let cipher_and_compression = 3;
    hello.skip(session + cipher_and_compression)?;
    let Some(length) = hello.number(2) else {
        return Some(legacy);
    };
    let mut extensions = HelloReader(hello.take(length)?);
    while let Some(kind) = extensions.number(2) {
        let length = extensions.number(2)?;
        let mut body = HelloReader(extensions.take(length)?);
        if kind == u32::from(SUPPORTED_VERSIONS) {
            return Some(body.number(2)? as u16);
        }
    }
    Some(legacy)
}

struct HelloReader<'a>(&'a [u8]);

impl<'a> HelloReader<'a> {
    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: u32) -> Option<()> {
        self.take(length).map(|_| ())
    }

    /// A big-endian number of up to four bytes.
    fn number(&mut self, bytes: u32) -> Option<u32> {
        Some(self.take(bytes)?.iter().fold(0, |sum, b| sum << 8 | u32::from(*b)))
    }
}

impl AsyncRead for Sniffer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(received) = self.received.as_mut().filter(|received| received.len() < ENOUGH) {
            received.extend_from_slice(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sniffer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(legacy: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let mut body = legacy.to_vec();
        body.extend([7; 32]);
        body.extend([2, 0xaa, 0xbb]); // a session id
        body.extend([0x13, 0x02, 0]); // cipher, compression
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        let mut out = vec![22, 3, 3];
        out.extend((body.len() as u16 + 4).to_be_bytes());
        out.extend([2, 0, 0, body.len() as u8]);
        out.extend(body);
        out
    }

    #[test]
    fn the_extension_beats_the_old_place() {
        let key_share = [0, 51, 0, 2, 0, 29];
        let supported = [0, 43, 0, 2, 3, 4];
        let extensions = [key_share, supported].concat();
        assert_eq!(version_of(&hello([3, 3], &extensions)), Some(0x0304));
    }

    #[test]
    fn without_the_extension_the_old_place_counts() {
        assert_eq!(version_of(&hello([3, 3], &[0xff, 1, 0, 1, 0])), Some(0x0303));
        assert_eq!(version_of(&hello([3, 1], &[])), Some(0x0301));
    }

    #[test]
    fn what_is_no_hello_or_only_part_of_one_has_no_version() {
        let whole = hello([3, 3], &[0, 43, 0, 2, 3, 4]);
        for cut in 0..whole.len() {
            assert_eq!(version_of(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(version_of(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None);
        assert_eq!(version_of(&[21, 3, 3, 0, 2, 2, 40]), None, "an alert");
    }
}
