//! What a server sends, appended to a buffer: the few messages that do not come from the database itself.

use super::fields::{ErrorFields, Severity, fields};
use super::frame::{length, put_with, text_and_nul};
use super::frontend::VERSION_3;

/// `AuthenticationRequest`'s kinds.
const OK: i32 = 0;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// ErrorResponse.
pub fn error(out: &mut Vec<u8>, fields: &ErrorFields<'_>) {
    put_with(out, b'E', |out| fields.write(out));
}

/// NoticeResponse.
pub fn notice(out: &mut Vec<u8>, fields: &ErrorFields<'_>) {
    put_with(out, b'N', |out| fields.write(out));
}

/// A server's ErrorResponse, whose body this is, with another severity.
pub fn error_again(out: &mut Vec<u8>, body: &[u8], severity: Severity) {
    put_with(out, b'E', |out| {
        for (kind, value) in fields(body) {
            out.push(kind);
            match kind {
                b'S' | b'V' => out.extend_from_slice(severity.as_str().as_bytes()),
                _ => out.extend_from_slice(value),
            }
            out.push(0);
        }
        out.push(0);
    });
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, OK, b"");
}

/// AuthenticationSASL: which mechanisms a client may choose from, the preferred one first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    let mut list = Vec::new();
    for mechanism in mechanisms {
        text_and_nul(&mut list, mechanism);
    }
    list.push(0);
    authentication(out, SASL, &list);
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, challenge: &str) {
    authentication(out, SASL_CONTINUE, challenge.as_bytes());
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut Vec<u8>, outcome: &str) {
    authentication(out, SASL_FINAL, outcome.as_bytes());
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    put_with(out, b'S', |out| {
        text_and_nul(out, name);
        text_and_nul(out, value);
    });
}

/// BackendKeyData: what a cancel request has to name.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: i32, key: &[u8]) {
    put_with(out, b'K', |out| {
        out.extend(process_id.to_be_bytes());
        out.extend(key);
    });
}

/// ReadyForQuery, with the state of the transaction: `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    put_with(out, b'Z', |out| out.push(status));
}

/// NegotiateProtocolVersion: the newest minor version that is spoken here, and which options are unknown.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, minor: u32, unknown: &[String]) {
    put_with(out, b'v', |out| {
        // The whole version, although the protocol's description names the minor one: that is what PostgreSQL sends
        // and libpq reads.
        out.extend((VERSION_3 | minor).to_be_bytes());
        out.extend(length(unknown.len()));
        for option in unknown {
            text_and_nul(out, option);
        }
    });
}

fn authentication(out: &mut Vec<u8>, kind: i32, data: &[u8]) {
    put_with(out, b'R', |out| {
        out.extend(kind.to_be_bytes());
        out.extend(data);
    });
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use postgres_protocol::message::backend::Message;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(&mut out);
        out.split_off(6)
    }

    /// As tokio-postgres reads it, to the last byte.
    fn read(write: impl FnOnce(&mut Vec<u8>)) -> Message {
        let mut bytes = BytesMut::from(written(write).as_slice());
        let message = Message::parse(&mut bytes).unwrap().unwrap();
        assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
        message
    }

    #[test]
    fn an_error_has_the_fields_that_were_given_and_no_others() {
        let fields = ErrorFields::fatal("57P03", "down");
        assert_eq!(written(|out| error(out, &fields)), b"E\0\0\0\x20SFATAL\0VFATAL\0C57P03\0Mdown\0\0");
        let fields = fields.severity(Severity::Error).detail("why").hint("wait");
        assert_eq!(
            written(|out| error(out, &fields)),
            b"E\0\0\0\x2bSERROR\0VERROR\0C57P03\0Mdown\0Dwhy\0Hwait\0\0"
        );
    }

    #[test]
    fn a_servers_error_is_said_again_with_another_severity_and_all_else_as_it_was() {
        let body = b"SFEHLER\0VERROR\0C22023\0Mnot \xff UTF-8\0\0";
        let again = written(|out| error_again(out, body, Severity::Fatal));
        assert_eq!(again, b"E\0\0\0\x27SFATAL\0VFATAL\0C22023\0Mnot \xff UTF-8\0\0");
        let cut_off = written(|out| error_again(out, &body[..10], Severity::Fatal));
        assert_eq!(cut_off, b"E\0\0\0\x0cSFATAL\0\0");
    }

    #[test]
    fn a_nul_in_a_text_does_not_begin_another_field() {
        let fields = ErrorFields::fatal("08P01", "cut\0C00000");
        let bytes = written(|out| error(out, &fields));
        assert!(bytes.ends_with(b"\0Mcut\0\0"), "{}", bytes.escape_ascii());
    }

    #[test]
    fn what_a_login_says_is_read_as_it_was_meant() {
        assert!(matches!(read(authentication_ok), Message::AuthenticationOk));
        assert!(matches!(
            read(|out| authentication_sasl(out, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])),
            Message::AuthenticationSasl(_)
        ));
        let Message::AuthenticationSaslContinue(body) = read(|out| authentication_sasl_continue(out, "r=x"))
        else {
            panic!("another message");
        };
        assert_eq!(body.data(), b"r=x");
        let Message::AuthenticationSaslFinal(body) = read(|out| authentication_sasl_final(out, "v=y")) else {
            panic!("another message");
        };
        assert_eq!(body.data(), b"v=y");
    }

    #[test]
    fn what_follows_a_login_is_read_as_it_was_meant() {
        let Message::ParameterStatus(body) = read(|out| parameter_status(out, "TimeZone", "UTC")) else {
            panic!("another message");
        };
        assert_eq!((body.name().unwrap(), body.value().unwrap()), ("TimeZone", "UTC"));
        let Message::BackendKeyData(body) =
            read(|out| backend_key_data(out, 7, &0x0102_0304_i32.to_be_bytes()))
        else {
            panic!("another message");
        };
        assert_eq!((body.process_id(), body.secret_key()), (7, 0x0102_0304));
        let Message::ReadyForQuery(body) = read(|out| ready_for_query(out, b'T')) else {
            panic!("another message");
        };
        assert_eq!(body.status(), b'T');
    }

    #[test]
    fn a_long_cancel_key_is_written_whole() {
        let bytes = written(|out| backend_key_data(out, 1, &[9; 32]));
        assert_eq!(bytes[..9], [b'K', 0, 0, 0, 40, 0, 0, 0, 1]);
        assert_eq!(bytes[9..], [9; 32]);
    }

    #[test]
    fn an_older_version_is_offered_as_libpq_reads_it() {
        let unknown = ["_pq_.a".to_owned(), "_pq_.b".to_owned()];
        assert_eq!(
            written(|out| negotiate_protocol_version(out, 2, &unknown)),
            b"v\0\0\0\x1a\0\x03\0\x02\0\0\0\x02_pq_.a\0_pq_.b\0"
        );
    }
}
