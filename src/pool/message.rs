//! What a server says, as bytes appended to a buffer: the few messages that do not come from the database itself.
//!
//! Pure: knows no socket, and nothing of why something is said.

use std::borrow::Cow;

use super::wire::text;

/// `AuthenticationRequest`'s kinds.
const OK: i32 = 0;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;
/// The major version of the protocol, as it stands in front of the minor one.
const MAJOR: u32 = 3 << 16;

/// What an error does to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The session goes on.
    Error,
    /// It is over.
    Fatal,
}

/// An error, in words for people and a code for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words<'a> {
    pub severity: Severity,
    pub sqlstate: &'static str,
    pub message: Cow<'a, str>,
    pub detail: Option<Cow<'a, str>>,
    pub hint: Option<Cow<'a, str>>,
}

impl<'a> Words<'a> {
    /// An error that ends the session.
    pub fn fatal(sqlstate: &'static str, message: impl Into<Cow<'a, str>>) -> Self {
        Words { severity: Severity::Fatal, sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub fn detail(self, detail: impl Into<Cow<'a, str>>) -> Self {
        Words { detail: Some(detail.into()), ..self }
    }

    pub fn hint(self, hint: impl Into<Cow<'a, str>>) -> Self {
        Words { hint: Some(hint.into()), ..self }
    }
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// ErrorResponse.
pub fn error(out: &mut Vec<u8>, words: &Words<'_>) {
    let severity = words.severity.as_str();
    let fields = [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(words.sqlstate)),
        (b'M', Some(words.message.as_ref())),
        (b'D', words.detail.as_deref()),
        (b'H', words.hint.as_deref()),
    ];
    frame(out, b'E', |out| {
        for (field, text) in fields {
            if let Some(text) = text {
                out.push(field);
                text_and_nul(out, text);
            }
        }
        out.push(0);
    });
}

/// A server's ErrorResponse, whose body this is, with another severity.
pub fn error_again(out: &mut Vec<u8>, mut body: &[u8], severity: Severity) {
    frame(out, b'E', |out| {
        while let Some((field, rest)) = body.split_first()
            && let Some((value, next)) = text(rest)
        {
            out.push(*field);
            match field {
                b'S' | b'V' => text_and_nul(out, severity.as_str()),
                _ => {
                    out.extend_from_slice(value);
                    out.push(0);
                }
            }
            body = next;
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
    frame(out, b'S', |out| {
        text_and_nul(out, name);
        text_and_nul(out, value);
    });
}

/// BackendKeyData: what a cancel request has to name.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: i32, key: &[u8]) {
    frame(out, b'K', |out| {
        out.extend(process_id.to_be_bytes());
        out.extend(key);
    });
}

/// ReadyForQuery, with the state of the transaction: `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    frame(out, b'Z', |out| out.push(status));
}

/// NegotiateProtocolVersion: the newest minor version that is spoken here, and which options are unknown.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, minor: u32, unknown: &[String]) {
    frame(out, b'v', |out| {
        // The whole version, although the protocol's description names the minor one: that is what PostgreSQL sends
        // and libpq reads.
        out.extend((MAJOR | minor).to_be_bytes());
        out.extend(length(unknown.len()));
        for option in unknown {
            text_and_nul(out, option);
        }
    });
}

fn authentication(out: &mut Vec<u8>, kind: i32, data: &[u8]) {
    frame(out, b'R', |out| {
        out.extend(kind.to_be_bytes());
        out.extend(data);
    });
}

/// One message: its tag, its length and what `body` appends.
fn frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend([0; 4]);
    body(out);
    let length = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&length);
}

/// Everything here is some kilobytes long.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// A text ends at its first NUL: what follows would be read as the next field.
fn text_and_nul(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().take_while(|&byte| byte != 0));
    out.push(0);
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
        let words = Words::fatal("57P03", "down");
        assert_eq!(written(|out| error(out, &words)), b"E\0\0\0\x20SFATAL\0VFATAL\0C57P03\0Mdown\0\0");
        let words = Words { severity: Severity::Error, ..words }.detail("why").hint("wait");
        assert_eq!(
            written(|out| error(out, &words)),
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
        let words = Words::fatal("08P01", "cut\0C00000");
        let bytes = written(|out| error(out, &words));
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
