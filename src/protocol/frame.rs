//! The frames of PostgreSQL's protocol: one byte of type, four of length, a body. Only headers are read here; what a
//! body means is its reader's.

use std::borrow::Cow;

/// No message is longer, in either direction: PostgreSQL's own limit for the largest of them.
const LONGEST: usize = 0x3fff_ffff;

/// The frame that stands at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    /// Of the whole message, its type included.
    pub len: usize,
}

/// A peer does not keep to the protocol; what it says of it is free of what the peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub sqlstate: &'static str,
    pub message: Cow<'static, str>,
}

impl Violation {
    /// A message of a type that no client sends.
    pub fn unknown(frame: Frame) -> Self {
        Self::new(format!("a client sent a message of type 0x{:02x}", frame.tag))
    }

    /// SQLSTATE 08P01.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Violation { sqlstate: "08P01", message: message.into() }
    }
}

impl Frame {
    /// A header's size.
    pub const HEADER: usize = 5;

    /// The frame that `bytes` begin with; `None` while its header is not whole.
    pub fn read(bytes: &[u8]) -> Result<Option<Frame>, Violation> {
        let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<{ Self::HEADER }>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=LONGEST).contains(&len) {
            return Err(Violation::new(format!("a message of type 0x{tag:02x} announces {len} bytes")));
        }
        Ok(Some(Frame { tag, len: len + 1 }))
    }

    /// Whether its type is one that a client sends once it is let in.
    pub fn is_clients(self) -> bool {
        matches!(
            self.tag,
            b'Q' | b'F' | b'S' | b'P' | b'B' | b'D' | b'C' | b'E' | b'H' | b'd' | b'c' | b'f' | b'X'
        )
    }
}

/// What is left of `bytes` once a text that ends in NUL is taken off; `None` where there is no NUL.
pub fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// One message with that body.
pub fn message(tag: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, tag, body);
    out
}

/// Appends a message with that body.
pub fn put(out: &mut Vec<u8>, tag: u8, body: &[&[u8]]) {
    let len = 4 + body.iter().map(|part| part.len()).sum::<usize>();
    out.push(tag);
    out.extend_from_slice(&length(len));
    for part in body {
        out.extend_from_slice(part);
    }
}

/// Appends a message whose body is what `write` appends.
pub(super) fn put_with(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend([0; 4]);
    write(out);
    let length = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&length);
}

/// A text ends at its first NUL: what follows would be read as the next field.
pub(super) fn text_and_nul(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().take_while(|&byte| byte != 0));
    out.push(0);
}

/// What is written is far below the limit of a length.
pub(super) fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_once_it_is_whole_and_a_length_that_none_has_is_refused() {
        assert_eq!(Frame::read(b"Q\0\0\0"), Ok(None));
        assert_eq!(Frame::read(b"Q\0\0\0\x0c"), Ok(Some(Frame { tag: b'Q', len: 13 })));
        for length in [[0, 0, 0, 3], [0xff; 4], [0x40, 0, 0, 0]] {
            let bytes = [&[b'Q'][..], &length].concat();
            assert!(Frame::read(&bytes).is_err(), "{length:?}");
        }
    }

    #[test]
    fn a_message_that_was_put_is_the_frame_that_is_read() {
        let out = message(b'P', &[b"name\0", b"select 1\0", &[0, 0]]);
        assert_eq!(Frame::read(&out), Ok(Some(Frame { tag: b'P', len: out.len() })));
        assert_eq!(text(&out[5..]), Some((&b"name"[..], &b"select 1\0\0\0"[..])));
    }
}
