//! What a client sends: the packets that come before it is let in, and the few messages that are written here.

use super::frame::{message, text_and_nul};

/// Version 3.0 of the protocol, as a startup packet begins; a minor version is added.
pub const VERSION_3: u32 = 3 << 16;
/// What stands in the version's place where the packet is no startup.
pub const CANCEL_REQUEST: u32 = 80_877_102;
pub const SSL_REQUEST: u32 = 80_877_103;
pub const GSS_ENC_REQUEST: u32 = 80_877_104;

/// A packet without a type, the first of a connection: its length, its code, and what follows.
pub fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

/// StartupMessage with these parameters, such as `user`.
pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (name, value) in parameters {
        text_and_nul(&mut rest, name);
        text_and_nul(&mut rest, value);
    }
    rest.push(0);
    packet(version, &rest)
}

/// CancelRequest, for the session that has this process id and key.
pub fn cancel_request(process_id: i32, key: &[u8]) -> Vec<u8> {
    packet(CANCEL_REQUEST, &[&process_id.to_be_bytes()[..], key].concat())
}

/// Query, in the simple protocol.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"])
}

/// Terminate: the client leaves.
pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use postgres_protocol::message::frontend as judge;

    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn packets_and_messages_are_those_of_other_clients() {
        let parameters = [("user", "app"), ("database", "orders")];
        let theirs = written(|out| judge::startup_message(parameters, out).unwrap());
        assert_eq!(startup(VERSION_3, &parameters), theirs);
        assert_eq!(packet(SSL_REQUEST, b""), written(judge::ssl_request));
        assert_eq!(packet(GSS_ENC_REQUEST, b""), [0, 0, 0, 8, 4, 210, 22, 48]);
        assert_eq!(
            cancel_request(-7, &42_i32.to_be_bytes()),
            written(|out| judge::cancel_request(-7, 42, out))
        );
        assert_eq!(query("SELECT 1"), written(|out| judge::query("SELECT 1", out).unwrap()));
        assert_eq!(terminate(), written(judge::terminate));
    }
}
