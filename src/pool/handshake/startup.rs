//! The first packets of a client, taken apart: what it asks for, and who it says it is.
//!
//! Pure: whole packets come in. Knows no socket, and not who may come in.

use std::collections::BTreeMap;

use super::CancelKey;
use super::options;
use crate::protocol::ErrorFields;
use crate::protocol::frontend::{CANCEL_REQUEST, GSS_ENC_REQUEST, SSL_REQUEST};

/// The longest packet without its length word: PostgreSQL's own limit.
const MAX_PACKET: usize = 10_000;
/// The newest minor version that is spoken here. 3.1 never existed.
const NEWEST_MINOR: u16 = 2;
const MAJOR: u16 = 3;

/// Settings that servers report, and that drivers set on each connection.
const COMMON: [&str; 7] = [
    "application_name",
    "client_encoding",
    "datestyle",
    "intervalstyle",
    "search_path",
    "standard_conforming_strings",
    "timezone",
];
/// Settings beside them: each is kept for the client, and set on each session that it gets.
const MAX_SETTINGS: usize = 32;

/// Options of the protocol itself; none is known so far.
const PROTOCOL_OPTION: &str = "_pq_.";

/// What a client begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    SslRequest,
    GssEncRequest,
    Cancel(CancelKey),
    Startup(StartupMessage),
}

/// A client's introduction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    pub startup: Startup,
    /// `_pq_.` options that the client must be told of. It must also be told when it asked for a minor version that is
    /// not `startup.minor`.
    pub unknown: Vec<String>,
    /// The minor version that it asked for.
    pub asked: u16,
}

/// Who a client is and what it wants its session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The minor version of the protocol that is spoken: 0 or 2.
    pub minor: u16,
    pub user: String,
    pub database: String,
    /// Settings for the session, those in `options` included. Names are in lower case, as PostgreSQL compares them.
    pub parameters: BTreeMap<String, String>,
}

impl StartupMessage {
    /// Whether NegotiateProtocolVersion has to be said.
    pub fn is_negotiated(&self) -> bool {
        self.asked != self.startup.minor || !self.unknown.is_empty()
    }
}

/// How many bytes follow this length word.
pub fn length(word: [u8; 4]) -> Result<usize, ErrorFields<'static>> {
    match usize::try_from(u32::from_be_bytes(word)).unwrap_or(usize::MAX).checked_sub(4) {
        Some(length @ 4..=MAX_PACKET) => Ok(length),
        _ => Err(ErrorFields::fatal("08P01", "invalid length of startup packet")
            .hint("This port speaks PostgreSQL's protocol and no other.")),
    }
}

/// Reads a packet, without its length word.
pub fn decode(packet: &[u8]) -> Result<Packet, ErrorFields<'static>> {
    let Some((code, rest)) = packet.split_first_chunk() else {
        return Err(malformed("the packet ends before its version"));
    };
    let code = u32::from_be_bytes(*code);
    let (major, minor) = ((code >> 16) as u16, code as u16);
    match code {
        SSL_REQUEST if rest.is_empty() => Ok(Packet::SslRequest),
        GSS_ENC_REQUEST if rest.is_empty() => Ok(Packet::GssEncRequest),
        CANCEL_REQUEST => cancel(rest).map(Packet::Cancel),
        _ if major == MAJOR => startup_message(minor, rest).map(Packet::Startup),
        _ => Err(ErrorFields::fatal("0A000", format!("unsupported frontend protocol {major}.{minor}"))
            .detail(format!("Spoken here are {MAJOR}.0 and {MAJOR}.{NEWEST_MINOR}."))),
    }
}

fn cancel(rest: &[u8]) -> Result<CancelKey, ErrorFields<'static>> {
    match rest.split_first_chunk() {
        Some((process_id, secret)) if (4..=256).contains(&secret.len()) => {
            Ok(CancelKey { process_id: i32::from_be_bytes(*process_id), secret: secret.to_vec() })
        }
        _ => Err(ErrorFields::fatal("08P01", "invalid length of cancel request")),
    }
}

fn startup_message(asked: u16, rest: &[u8]) -> Result<StartupMessage, ErrorFields<'static>> {
    let (mut user, mut database, mut switches) = (String::new(), String::new(), String::new());
    let (mut named, mut unknown) = (BTreeMap::new(), Vec::new());
    for (name, value) in pairs(rest)? {
        match name.as_str() {
            "user" => user = value,
            "database" => database = value,
            "options" => switches = value,
            "replication" if is_off(&value) => {}
            "replication" => return Err(replication()),
            _ if name.starts_with(PROTOCOL_OPTION) => unknown.push(name),
            _ => drop(named.insert(name.to_ascii_lowercase(), value)),
        }
    }
    if user.is_empty() {
        return Err(ErrorFields::fatal("28000", "no PostgreSQL user name specified in startup packet"));
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    // As in PostgreSQL, a setting with a name of its own beats the same one in `options`.
    let mut parameters = options::parse(&switches)?;
    parameters.extend(named);
    let others = parameters.keys().filter(|name| !COMMON.contains(&name.as_str())).count();
    if others > MAX_SETTINGS {
        return Err(too_many(others));
    }
    let minor = if asked < NEWEST_MINOR { 0 } else { NEWEST_MINOR };
    Ok(StartupMessage { startup: Startup { minor, user, database, parameters }, unknown, asked })
}

/// Names and values up to the empty name, which must be the end. What is no UTF-8 is read as well as it can be: it
/// is compared with names that are, or shown.
fn pairs(mut rest: &[u8]) -> Result<Vec<(String, String)>, ErrorFields<'static>> {
    let mut pairs = Vec::new();
    loop {
        match text(&mut rest)? {
            name if !name.is_empty() => pairs.push((name, text(&mut rest)?)),
            _ if rest.is_empty() => return Ok(pairs),
            _ => return Err(malformed("expected terminator as last byte")),
        }
    }
}

fn text(rest: &mut &[u8]) -> Result<String, ErrorFields<'static>> {
    let Some(end) = rest.iter().position(|&byte| byte == 0) else {
        return Err(malformed("a text has no end"));
    };
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = &rest[end + 1..];
    Ok(text)
}

/// PostgreSQL's ways to write `false`: any beginning of these words that can mean nothing else.
fn is_off(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0"
}

fn too_many(settings: usize) -> ErrorFields<'static> {
    let message = format!("a client may set {MAX_SETTINGS} settings when it connects, not {settings}");
    ErrorFields::fatal("54000", message)
        .hint("Set them with ALTER ROLE or ALTER DATABASE, or with SET LOCAL in each transaction.")
}

fn replication() -> ErrorFields<'static> {
    ErrorFields::fatal("0A000", "replication connections are not pooled")
        .hint("Connect to the database directly for replication.")
}

fn malformed(detail: &'static str) -> ErrorFields<'static> {
    ErrorFields::fatal("08P01", format!("invalid startup packet layout: {detail}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::frontend::{VERSION_3, startup};

    /// Without its length word.
    fn packet(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
        startup(version, pairs).split_off(4)
    }

    fn read(version: u32, pairs: &[(&str, &str)]) -> Result<StartupMessage, ErrorFields<'static>> {
        match decode(&packet(version, pairs))? {
            Packet::Startup(packet) => Ok(packet),
            other => panic!("no startup: {other:?}"),
        }
    }

    fn refused(version: u32, pairs: &[(&str, &str)]) -> (String, String) {
        let error = read(version, pairs).unwrap_err();
        (error.sqlstate.to_string(), error.message.into_owned())
    }

    #[test]
    fn a_client_is_who_it_says_and_its_settings_are_kept() {
        let pairs =
            [("user", "app"), ("database", "orders"), ("application_name", "Kö"), ("TimeZone", "UTC")];
        let packet = read(VERSION_3, &pairs).unwrap();
        let startup = &packet.startup;
        assert_eq!((startup.user.as_str(), startup.database.as_str(), startup.minor), ("app", "orders", 0));
        let kept: Vec<_> = startup.parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(kept, [("application_name", "Kö"), ("timezone", "UTC")]);
        assert!(!packet.is_negotiated());
    }

    #[test]
    fn a_database_that_is_not_named_is_called_like_the_user() {
        for pairs in [&[("user", "app")][..], &[("user", "app"), ("database", "")]] {
            assert_eq!(read(VERSION_3, pairs).unwrap().startup.database, "app");
        }
    }

    #[test]
    fn whoever_names_no_user_is_refused() {
        for pairs in [&[("database", "orders")][..], &[("user", "")], &[]] {
            assert_eq!(refused(VERSION_3, pairs).0, "28000");
        }
    }

    #[test]
    fn a_setting_of_its_own_beats_the_same_one_in_options() {
        let pairs =
            [("user", "a"), ("application_name", "own"), ("options", "-c Application_Name=other -c a.b=1")];
        let parameters = read(VERSION_3, &pairs).unwrap().startup.parameters;
        assert_eq!((parameters["application_name"].as_str(), parameters["a.b"].as_str()), ("own", "1"));
        assert_eq!(parameters.len(), 2);
    }

    #[test]
    fn only_so_many_settings_come_with_a_client_wherever_they_stand() {
        let own: Vec<String> = (0..MAX_SETTINGS).map(|i| format!("app.s{i}")).collect();
        let mut pairs =
            vec![("user", "a"), ("TimeZone", "UTC"), ("search_path", "s"), ("application_name", "n")];
        pairs.extend(own.iter().map(|name| (name.as_str(), "1")));
        assert_eq!(read(VERSION_3, &pairs).unwrap().startup.parameters.len(), MAX_SETTINGS + 3);
        pairs.push(("options", "-c app.s0=2"));
        assert!(read(VERSION_3, &pairs).is_ok(), "the same one again");
        *pairs.last_mut().unwrap() = ("options", "-c app.another=2");
        let (sqlstate, message) = refused(VERSION_3, &pairs);
        assert_eq!(sqlstate, "54000");
        assert!(message.contains("32") && message.contains("33"), "{message}");
    }

    #[test]
    fn the_version_that_is_spoken_is_the_best_of_ours_that_the_client_knows() {
        for (asked, spoken, negotiated) in
            [(0, 0, false), (1, 0, true), (2, 2, false), (3, 2, true), (9999, 2, true)]
        {
            let packet = read(VERSION_3 | asked, &[("user", "a")]).unwrap();
            assert_eq!((packet.startup.minor, packet.is_negotiated()), (spoken, negotiated), "3.{asked}");
        }
    }

    #[test]
    fn unknown_options_of_the_protocol_are_told_and_no_settings() {
        let packet = read(VERSION_3, &[("_pq_.new", "1"), ("user", "a"), ("_pq_.other", "")]).unwrap();
        assert_eq!(packet.unknown, ["_pq_.new", "_pq_.other"]);
        assert!(packet.is_negotiated() && packet.startup.parameters.is_empty());
    }

    #[test]
    fn another_major_version_is_refused_by_its_number() {
        for (version, text) in
            [(0x0002_0000, "2.0"), (0x0004_0001, "4.1"), (0, "0.0"), (0x04d2_162d, "1234.5677")]
        {
            let (sqlstate, message) = refused(version, &[("user", "a")]);
            assert_eq!(
                (sqlstate, message.as_str()),
                ("0A000".to_owned(), &*format!("unsupported frontend protocol {text}"))
            );
        }
    }

    #[test]
    fn replication_is_refused_unless_it_is_off() {
        for on in ["database", "true", "on", "1", "yes", "", "o", "nonsense"] {
            assert_eq!(refused(VERSION_3, &[("user", "a"), ("replication", on)]).0, "0A000", "{on:?}");
        }
        for off in ["false", "F", "off", "0", "no", "n"] {
            let packet = read(VERSION_3, &[("user", "a"), ("replication", off)]).unwrap();
            assert!(packet.startup.parameters.is_empty(), "{off:?}");
        }
    }

    #[test]
    fn requests_without_a_user_are_known_by_their_code() {
        assert_eq!(decode(&SSL_REQUEST.to_be_bytes()), Ok(Packet::SslRequest));
        assert_eq!(decode(&GSS_ENC_REQUEST.to_be_bytes()), Ok(Packet::GssEncRequest));
    }

    #[test]
    fn a_request_for_tls_with_something_behind_it_is_none() {
        assert!(decode(&[&SSL_REQUEST.to_be_bytes()[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_cancel_request_has_a_key_of_4_to_256_bytes() {
        for length in [4, 32, 256] {
            let body = [&CANCEL_REQUEST.to_be_bytes()[..], &7_i32.to_be_bytes(), &vec![3; length]].concat();
            let key = CancelKey { process_id: 7, secret: vec![3; length] };
            assert_eq!(decode(&body), Ok(Packet::Cancel(key)));
        }
        for length in [0, 3, 257] {
            let body = [&CANCEL_REQUEST.to_be_bytes()[..], &[0; 4], &vec![3; length]].concat();
            assert_eq!(decode(&body).unwrap_err().sqlstate, "08P01");
        }
        assert!(decode(&CANCEL_REQUEST.to_be_bytes()).is_err());
    }

    #[test]
    fn a_packet_is_at_most_as_long_as_postgresqls() {
        assert_eq!(length(8_u32.to_be_bytes()), Ok(4));
        assert_eq!(length(10_004_u32.to_be_bytes()), Ok(10_000));
        for wrong in [0, 3, 4, 7, 10_005, u32::MAX] {
            assert!(length(wrong.to_be_bytes()).is_err(), "{wrong}");
        }
        assert!(length(*b"GET ").is_err());
    }

    #[test]
    fn a_packet_cut_anywhere_is_refused() {
        let whole = packet(VERSION_3, &[("user", "app"), ("database", "orders")]);
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]).unwrap_err().sqlstate, "08P01", "cut at {cut}");
        }
        assert!(decode(&[&whole[..], b"x"].concat()).is_err(), "bytes behind the end");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
            let _ = decode(&[&VERSION_3.to_be_bytes()[..], &bytes].concat());
        }

        #[test]
        fn what_was_packed_is_unpacked(
            user in "[^\0]{1,20}",
            database in "[^\0]{1,20}",
            settings in proptest::collection::btree_map("x\\.[a-z_.]{1,8}", "[^\0]{0,20}", 0..6),
        ) {
            let mut pairs = vec![("database", database.as_str()), ("user", user.as_str())];
            pairs.extend(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let startup = read(VERSION_3, &pairs).unwrap().startup;
            prop_assert_eq!((startup.user, startup.database, startup.parameters), (user, database, settings));
        }
    }
}
