//! A client between transactions, without a session: what asks nothing of a server is answered here.
//!
//! Pure: bytes in, bytes out.

use crate::pool::statements::{ClientStatements, Unnamed};
use crate::protocol::{Frame, Violation, backend, put, text};

/// So much of a message is waited for before there is a session for it.
const ENOUGH: usize = 1 << 16;

/// What such a client has sent so far.
#[derive(Debug, Default)]
pub struct Idle {
    /// Of a message that needs no session: so much is still to come.
    skip: usize,
}

/// What follows from what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextMessage {
    /// Nothing yet.
    More,
    /// The bytes begin with a message that needs a session.
    Asks,
    Terminate,
}

impl Idle {
    /// Takes off `bytes` what needs no session; answers go to `out`.
    pub fn read(
        &mut self,
        bytes: &mut &[u8],
        statements: &mut ClientStatements,
        out: &mut Vec<u8>,
    ) -> Result<NextMessage, Violation> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = &bytes[skipped..];
            let Some(frame) = Frame::read(bytes)? else {
                return Ok(NextMessage::More);
            };
            match frame.tag {
                b'X' => return Ok(NextMessage::Terminate),
                // Data of a COPY that has failed was still on its way.
                b'd' | b'c' | b'f' => {}
                b'H' if frame.len == Frame::HEADER => {}
                b'S' if frame.len == Frame::HEADER => backend::ready_for_query(out, b'I'),
                _ if !frame.is_clients() => return Err(Violation::unknown(frame)),
                // Whoever stops in the middle of a message holds no session.
                _ if bytes.len() < frame.len.min(ENOUGH) => return Ok(NextMessage::More),
                b'C' if bytes.get(Frame::HEADER..frame.len).is_some_and(|body| close(body, statements)) => {
                    put(out, b'3', &[]);
                }
                _ => return Ok(NextMessage::Asks),
            }
            self.skip = frame.len;
        }
    }
}

/// Close of a statement, or of a portal, which does not outlive its transaction. False for what a server would refuse.
fn close(body: &[u8], statements: &mut ClientStatements) -> bool {
    let Some((kind @ (b'S' | b'P'), rest)) = body.split_first() else {
        return false;
    };
    let Some((name, b"")) = text(rest) else {
        return false;
    };
    match (kind, name) {
        (b'S', b"") => statements.drop_unnamed(Unnamed::None),
        (b'S', name) => drop(statements.remove(name)),
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::statements::{Budget, Catalog};

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, tag, &[body]);
        out
    }

    /// What follows, what is left unread and what is answered.
    fn read(
        idle: &mut Idle,
        statements: &mut ClientStatements,
        bytes: &[u8],
    ) -> (NextMessage, Vec<u8>, Vec<u8>) {
        let (mut rest, mut out) = (bytes, Vec::new());
        let next = idle.read(&mut rest, statements, &mut out).unwrap();
        (next, rest.to_vec(), out)
    }

    #[test]
    fn what_asks_nothing_of_a_server_is_answered_without_one() {
        let mut statements = ClientStatements::new(&Budget::default());
        for (bytes, answer) in [
            (message(b'H', b""), vec![]),
            (message(b'S', b""), message(b'Z', b"I")),
            (message(b'C', b"Sname\0"), message(b'3', b"")),
            (message(b'C', b"P\0"), message(b'3', b"")),
            (message(b'd', b"late data"), vec![]),
            (message(b'c', b""), vec![]),
        ] {
            // Whole, and a byte at a time.
            let mut idle = Idle::default();
            let whole = bytes.repeat(2);
            assert_eq!(
                read(&mut idle, &mut statements, &whole),
                (NextMessage::More, vec![], answer.repeat(2))
            );
            let (mut have, mut answers) = (Vec::new(), Vec::new());
            for byte in whole {
                have.push(byte);
                let (next, rest, out) = read(&mut idle, &mut statements, &have);
                assert_eq!(next, NextMessage::More);
                have = rest;
                answers.extend(out);
            }
            assert_eq!((answers, have), (answer.repeat(2), vec![]));
        }
    }

    #[test]
    fn a_closed_statement_is_its_clients_no_more() {
        let (mut statements, mut catalog) = (ClientStatements::new(&Budget::default()), Catalog::default());
        statements.insert(b"a", catalog.intern(b"select 1\0\0\0", 0).unwrap()).unwrap();
        statements.set_unnamed(b"select 2\0\0\0");
        let mut idle = Idle::default();
        read(&mut idle, &mut statements, &message(b'C', b"Pa\0"));
        assert!(statements.get(b"a").is_some());
        read(&mut idle, &mut statements, &message(b'C', b"Sa\0"));
        assert!(statements.get(b"a").is_none() && matches!(statements.unnamed(), Unnamed::Kept(_)));
        read(&mut idle, &mut statements, &message(b'C', b"S\0"));
        assert!(matches!(statements.unnamed(), Unnamed::None));
    }

    #[test]
    fn what_asks_something_is_left_for_a_server() {
        let mut statements = ClientStatements::new(&Budget::default());
        for asks in [
            message(b'Q', b"select 1\0"),
            message(b'P', b"\0select 1\0\0\0"),
            message(b'B', b"\0\0\0\0\0\0\0\0"),
            message(b'D', b"Sa\0"),
            message(b'E', b"\0\0\0\0\0"),
            // A server says what is wrong with these.
            message(b'S', b"x"),
            message(b'H', b"x"),
            message(b'C', b"S"),
            message(b'C', b"Xa\0"),
            message(b'C', b"Sa\0b"),
        ] {
            let bytes = [message(b'H', b""), asks.clone(), message(b'S', b"")].concat();
            let left = [asks, message(b'S', b"")].concat();
            assert_eq!(
                read(&mut Idle::default(), &mut statements, &bytes),
                (NextMessage::Asks, left, vec![]),
                "{}",
                bytes.escape_ascii()
            );
        }
        let bye = [message(b'S', b""), message(b'X', b"")].concat();
        assert_eq!(read(&mut Idle::default(), &mut statements, &bye).0, NextMessage::Terminate);
    }

    #[test]
    fn a_message_in_parts_takes_no_session_before_much_of_it_is_there() {
        let mut statements = ClientStatements::new(&Budget::default());
        let long = message(b'Q', &[b'x'; 3 * ENOUGH]);
        let next = |have: usize| {
            read(&mut Idle::default(), &mut ClientStatements::new(&Budget::default()), &long[..have])
        };
        assert_eq!(next(ENOUGH - 1), (NextMessage::More, long[..ENOUGH - 1].to_vec(), vec![]));
        assert_eq!(next(ENOUGH).0, NextMessage::Asks);
        let unknown = message(b'p', b"secret");
        let mut rest = &unknown[..];
        let refused = Idle::default().read(&mut rest, &mut statements, &mut Vec::new()).unwrap_err();
        assert_eq!(refused.sqlstate, "08P01");
    }
}
