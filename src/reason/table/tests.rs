mod poolers;
mod waits;

use proptest::prelude::*;

use super::*;
use crate::reason::{LoginTls, ServerWords};
use Class::{Local, Permanent, Starting, Transient};
use Phase::{Connect, Idle, Ping, Prepare, Resolve, Startup};

fn diagnosed(phase: Phase, sqlstate: &str, message: &str) -> Diagnosis {
    let (sqlstate, message) = (sqlstate.to_owned(), message.to_owned());
    diagnose(&Facts::new(phase, Cause::server(sqlstate, message)))
}

/// Asserts each row: phase, SQLSTATE, message, and what they mean.
fn assert_rows(rows: &[(Phase, &str, &str, Reason, Class)]) {
    for (phase, sqlstate, message, reason, class) in rows {
        let found = diagnosed(*phase, sqlstate, message);
        assert_eq!((found.reason, found.class), (*reason, *class), "{phase:?} {sqlstate} {message}");
    }
}

#[test]
#[rustfmt::skip]
fn a_servers_own_codes_mean_what_postgresql_says() {
    assert_rows(&[
        (Idle, "57P01", "terminating connection due to administrator command", Reason::Shutdown, Transient),
        (Ping, "57P01", "Abbruch der Verbindung", Reason::Shutdown, Transient),
        (Idle, "57P02", "terminating connection because of crash", Reason::Crash, Transient),
        (Idle, "57P01", "terminating connection due to unexpected postmaster exit", Reason::Crash, Transient),
        (Startup, "57P03", "the database system is starting up", Reason::StartingUp, Starting),
        (Startup, "57P03", "the database system is in recovery mode", Reason::Crash, Starting),
        (Startup, "57P03", "the database system is not yet accepting connections", Reason::StartingUp, Starting),
        (Startup, "57P03", "the database system is shutting down", Reason::Shutdown, Starting),
        (Idle, "57P04", "database was dropped", Reason::DatabaseMissing, Permanent),
        (Idle, "57P05", "terminating connection due to idle-session timeout", Reason::IdleTimeout, Transient),
        (Ping, "25P03", "idle in transaction session timeout", Reason::QueryFailed, Transient),
        (Ping, "25P04", "terminating connection due to transaction timeout", Reason::QueryFailed, Transient),
        (Idle, "25P03", "idle in transaction session timeout", Reason::Other, Transient),
        (Ping, "57014", "canceling statement due to statement timeout", Reason::QueryFailed, Transient),
        (Startup, "57014", "canceling authentication due to timeout", Reason::Timeout, Transient),
        (Startup, "53300", "sorry, too many clients already", Reason::Capacity, Class::Capacity),
        (Startup, "53300", "remaining connection slots are reserved for roles", Reason::Capacity, Class::Capacity),
        (Startup, "53300", "too many connections for role \"app\"", Reason::Capacity, Class::Capacity),
        (Startup, "53100", "could not write init file: No space left on device", Reason::Resources, Class::Capacity),
        (Ping, "53100", "could not extend file", Reason::Resources, Class::Capacity),
        (Startup, "53200", "out of memory", Reason::Resources, Class::Capacity),
        (Ping, "53200", "out of memory", Reason::Resources, Class::Capacity),
        (Startup, "53000", "could not fork new process for connection", Reason::Resources, Class::Capacity),
        (Startup, "53400", "configuration limit exceeded", Reason::Config, Permanent),
        (Startup, "28P01", "password authentication failed for user \"app\"", Reason::Auth, Permanent),
        (Startup, "28000", "role \"app\" does not exist", Reason::Auth, Permanent),
        (Startup, "28000", "role \"app\" is not permitted to log in", Reason::Auth, Permanent),
        (Startup, "28000", "PAM authentication failed for user \"app\"", Reason::Auth, Permanent),
        (Startup, "3D000", "database \"app\" does not exist", Reason::DatabaseMissing, Permanent),
        (Startup, "42501", "permission denied for database \"app\"", Reason::Auth, Permanent),
        (Startup, "55000", "database \"app\" is not currently accepting connections", Reason::Blocked, Permanent),
        (Startup, "42704", "unrecognized configuration parameter \"nope\"", Reason::Config, Permanent),
        (Startup, "22023", "invalid value for parameter \"client_encoding\"", Reason::Config, Permanent),
        (Startup, "0A000", "unsupported frontend protocol", Reason::Config, Permanent),
        (Startup, "3F000", "no schema has been selected", Reason::Config, Permanent),
        (Ping, "3F000", "no schema has been selected", Reason::QueryFailed, Permanent),
        (Ping, "42501", "permission denied for function pg_is_in_recovery", Reason::QueryFailed, Permanent),
        (Ping, "42704", "type does not exist", Reason::QueryFailed, Permanent),
        (Ping, "42P01", "relation does not exist", Reason::QueryFailed, Permanent),
        (Ping, "42601", "syntax error", Reason::QueryFailed, Permanent),
        (Ping, "25006", "cannot execute INSERT in a read-only transaction", Reason::WrongRole, Transient),
        (Ping, "40001", "could not serialize access", Reason::QueryFailed, Transient),
        (Ping, "40P01", "deadlock detected", Reason::QueryFailed, Transient),
        (Ping, "55P03", "canceling statement due to lock timeout", Reason::QueryFailed, Transient),
        (Ping, "58030", "could not read block", Reason::QueryFailed, Transient),
        (Ping, "XX001", "invalid page in block", Reason::QueryFailed, Transient),
        (Startup, "58030", "could not open file", Reason::Other, Transient),
        (Startup, "XX000", "cache lookup failed", Reason::Other, Transient),
        (Ping, "XX000", "cache lookup failed", Reason::QueryFailed, Transient),
    ]);
}

/// As a server with lc_messages = de_DE says it.
#[test]
fn the_routine_tells_a_crash_from_an_administrator_in_any_language() {
    let rows = [
        (
            "ProcessInterrupts",
            "breche Verbindung ab aufgrund von Anweisung des Administrators",
            Reason::Shutdown,
        ),
        ("secure_read", "breche Verbindung ab wegen unerwartetem Ende des Postmasters", Reason::Crash),
    ];
    for (routine, message, reason) in rows {
        let words = ServerWords { routine: Some(routine.to_owned()), ..ServerWords::default() };
        let (sqlstate, message) = ("57P01".to_owned(), message.to_owned());
        let cause = Cause::Server { sqlstate, message, words: Box::new(words) };
        assert_eq!(diagnose(&Facts::new(Idle, cause)).reason, reason, "{routine}");
    }
}

/// As a server says it, also with lc_messages = de_DE: no word tells whether the connection had TLS, nor whether the server has it.
#[test]
fn a_rejection_by_pg_hba_is_about_tls_where_the_connection_had_none_but_could_have() {
    let rows = [
        ("ClientAuthentication", LoginTls::NotAsked, Reason::Tls),
        ("ClientAuthentication", LoginTls::NotOffered, Reason::Auth),
        ("ClientAuthentication", LoginTls::Used, Reason::Auth),
        ("InitializeSessionUserId", LoginTls::NotAsked, Reason::Auth),
    ];
    let messages = [
        "pg_hba.conf lehnt Verbindung ab für Host »127.0.0.1«",
        "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"app\", database \"app\", no encryption",
    ];
    for (message, (routine, tls, reason)) in
        messages.into_iter().flat_map(|message| rows.map(|row| (message, row)))
    {
        // The words of a server in English would do for other routines.
        if routine != "ClientAuthentication" && message.contains("no encryption") {
            continue;
        }
        let words = ServerWords { routine: Some(routine.to_owned()), tls, ..ServerWords::default() };
        let message = message.to_owned();
        let cause = Cause::Server { sqlstate: "28000".to_owned(), message, words: Box::new(words) };
        let found = diagnose(&Facts::new(Startup, cause));
        assert_eq!((found.reason, found.class), (reason, Permanent), "{routine} {tls:?}");
    }
}

#[test]
#[rustfmt::skip]
fn transport_codes_are_the_word_of_something_in_between() {
    assert_rows(&[
        (Ping, "08000", "connection exception", Reason::Pooler, Transient),
        (Startup, "08001", "unable to establish connection", Reason::Pooler, Transient),
        (Ping, "08003", "connection does not exist", Reason::Pooler, Transient),
        (Ping, "08006", "server closed the connection unexpectedly", Reason::Pooler, Transient),
        (Startup, "08004", "connection rejected", Reason::Blocked, Permanent),
        (Startup, "08P01", "invalid length of startup packet", Reason::Pooler, Transient),
    ]);
}

#[test]
fn a_rejection_by_pg_hba_is_about_tls_where_the_connection_had_none() {
    let entry = "no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"app\"";
    let rejects = "pg_hba.conf rejects connection for host \"10.0.0.1\", user \"app\", database \"app\"";
    assert_rows(&[
        (Startup, "28000", &format!("{entry}, no encryption"), Reason::Tls, Permanent),
        (Startup, "28000", &format!("{entry}, SSL off"), Reason::Tls, Permanent),
        (Startup, "28000", &format!("{rejects}, no encryption"), Reason::Tls, Permanent),
        (Startup, "28000", &format!("{entry}, SSL encryption"), Reason::Auth, Permanent),
        (Startup, "28000", &format!("{rejects}, SSL on"), Reason::Auth, Permanent),
        (Startup, "28000", entry, Reason::Auth, Permanent),
        (Startup, "08P01", entry, Reason::Auth, Permanent),
        (Startup, "08P01", rejects, Reason::Auth, Permanent),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_name_in_a_message_decides_nothing_where_the_code_does() {
    assert_rows(&[
        (Startup, "3D000", "database \"query_wait_timeout\" does not exist", Reason::DatabaseMissing, Permanent),
        (Startup, "28P01", "password authentication failed for user \"no such database\"", Reason::Auth, Permanent),
        (Startup, "53300", "too many connections for role \"quota exceeded\"", Reason::Capacity, Class::Capacity),
    ]);
}

#[test]
#[rustfmt::skip]
fn the_operating_systems_errors_mean_what_they_say() {
    let rows = [
        (Connect, Errno::ECONNREFUSED, Reason::Refused, Transient),
        (Connect, Errno::ENOENT, Reason::Refused, Transient),
        (Connect, Errno::EHOSTUNREACH, Reason::Unreachable, Transient),
        (Connect, Errno::ENETUNREACH, Reason::Unreachable, Transient),
        (Connect, Errno::ENETDOWN, Reason::Unreachable, Transient),
        (Connect, Errno::ETIMEDOUT, Reason::Timeout, Transient),
        (Idle, Errno::ETIMEDOUT, Reason::Timeout, Transient),
        (Ping, Errno::ECONNRESET, Reason::Reset, Transient),
        (Startup, Errno::ECONNABORTED, Reason::Reset, Transient),
        (Ping, Errno::EPIPE, Reason::Reset, Transient),
        (Connect, Errno::EAGAIN, Reason::Capacity, Class::Capacity),
        (Connect, Errno::EADDRNOTAVAIL, Reason::Local, Local),
        (Connect, Errno::EMFILE, Reason::Local, Local),
        (Connect, Errno::ENFILE, Reason::Local, Local),
        (Connect, Errno::ENOBUFS, Reason::Local, Local),
        (Connect, Errno::ENOMEM, Reason::Local, Local),
        (Prepare, Errno::EMFILE, Reason::Local, Local),
        (Connect, Errno::EACCES, Reason::Config, Permanent),
        (Connect, Errno::EPERM, Reason::Unreachable, Transient),
        (Connect, Errno::ENOTDIR, Reason::Config, Permanent),
        (Prepare, Errno::ENOENT, Reason::Config, Permanent),
        (Prepare, Errno::EISDIR, Reason::Config, Permanent),
        (Connect, Errno::EIO, Reason::Other, Transient),
    ];
    for (phase, errno, reason, class) in rows {
        let error = io::Error::from_raw_os_error(errno as i32);
        let os = error.raw_os_error();
        let found = diagnose(&Facts::new(
            phase,
            Cause::Io {
                kind: error.kind(),
                os,
            },
        ));
        assert_eq!((found.reason, found.class), (reason, class), "{phase:?} {errno}");
    }
    let eof = Cause::Io {
        kind: io::ErrorKind::UnexpectedEof,
        os: None,
    };
    assert_eq!(diagnose(&Facts::new(Idle, eof)), diagnosis(Reason::Closed, Transient));
}

#[test]
#[rustfmt::skip]
fn what_we_saw_ourselves_needs_no_table() {
    let message = String::new;
    let rows = [
        (Resolve, Cause::Dns { message: message() }, Reason::Dns, Transient),
        (Idle, Cause::Closed, Reason::Closed, Transient),
        (Connect, Cause::Timeout, Reason::Timeout, Transient),
        (Phase::Tls, Cause::TlsRefused, Reason::Tls, Permanent),
        (Startup, Cause::Protocol { message: message() }, Reason::Protocol, Transient),
        (Ping, Cause::WrongRole { wanted: message() }, Reason::WrongRole, Transient),
        (Prepare, Cause::Config { message: message() }, Reason::Config, Permanent),
        (Connect, Cause::Local { message: message() }, Reason::Local, Local),
        (Idle, Cause::Internal, Reason::Internal, Local),
    ];
    for (phase, cause, reason, class) in rows {
        assert_eq!(diagnose(&Facts::new(phase, cause)), diagnosis(reason, class));
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_permanent_and_a_handshake_cut_off_is_not() {
    let rows = [
        ("certificate verify failed: self-signed certificate", Permanent),
        ("certificate verify failed: certificate has expired", Permanent),
        ("certificate verify failed: hostname mismatch", Permanent),
        ("tlsv1 alert protocol version", Permanent),
        ("unexpected EOF", Transient),
        ("Connection reset by peer (os error 104)", Transient),
    ];
    for (message, class) in rows {
        let found = diagnose(&Facts::new(Phase::Tls, Cause::tls(message)));
        assert_eq!(found, diagnosis(Reason::Tls, class));
    }
}

/// Every row of both tables, as a server would say it.
fn all_rows() -> Vec<(String, String)> {
    let by_code = codes::rows().map(|(code, _)| (format!("{code:0<5}"), String::new()));
    let by_words = texts::messages().map(|message| ("XX000".to_owned(), message));
    by_code.chain(by_words).collect()
}

#[test]
fn each_family_exports_what_its_rows_can_tell() {
    for (sqlstate, message) in all_rows() {
        let at_login = diagnosed(Startup, &sqlstate, &message).reason;
        // Nothing is idle before it is logged in.
        let known = Reason::CONNECT.contains(&at_login) || at_login == Reason::IdleTimeout;
        assert!(known, "no attempt fails by {at_login}: {sqlstate} {message}");
        let first_ping = diagnosed(Ping, &sqlstate, &message).reason;
        let known = Reason::CONNECT.contains(&first_ping) || first_ping == Reason::IdleTimeout;
        assert!(known, "no first ping fails by {first_ping}: {sqlstate} {message}");
        for phase in [Ping, Idle] {
            let held = diagnosed(phase, &sqlstate, &message).reason;
            // Settings are refused at the login, and a session of the wrong role lives.
            let known =
                Reason::DISCONNECT.contains(&held) || matches!(held, Reason::Config | Reason::WrongRole);
            assert!(known, "no session is lost by {held}: {sqlstate} {message}");
        }
    }
    // What the server, PgCat and PgDog answer to a ping without ending the session.
    for (sqlstate, message) in [
        ("42501", ""),
        ("57014", ""),
        ("53200", ""),
        ("25006", ""),
        ("58000", "could not get connection from the pool - AllServersDown"),
        ("58000", "checkout timeout"),
        ("08P01", "sync without parse"),
    ] {
        let reason = diagnosed(Ping, sqlstate, message).reason;
        assert!(Reason::PING.contains(&reason), "no ping fails by {reason}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let rows = prop::sample::select(texts::messages().collect::<Vec<_>>());
    let notice = Just("server login has been failing, cached error: ".to_owned());
    let parts = prop_oneof![rows, notice, any::<String>()];
    prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat())
}

fn any_cause() -> impl Strategy<Value = Cause> {
    let code = prop_oneof!["[0-9A-Z]{5}", "(08|28|42|53|57|58|XX)[0P]0[0-9]", any::<String>()];
    prop_oneof![
        8 => (code, any_text()).prop_map(|(sqlstate, message)| Cause::server(sqlstate, message)),
        2 => any_text().prop_map(Cause::tls),
        2 => any::<i32>().prop_map(|os| {
            let kind = io::Error::from_raw_os_error(os).kind();
            Cause::Io { kind, os: Some(os) }
        }),
        1 => Just(Cause::Closed),
    ]
}

proptest! {
    #[test]
    fn nothing_that_a_peer_says_makes_it_panic_or_wait_for_more_than_minutes(
        cause in any_cause(),
        phase in prop::sample::select(vec![Prepare, Resolve, Connect, Phase::Tls, Startup, Ping, Idle]),
    ) {
        let found = diagnose(&Facts::new(phase, cause));
        prop_assert!(found.at_least <= Duration::from_secs(120));
    }

    /// Servers differ in how they write; case is not what decides.
    #[test]
    fn case_decides_nothing(message in any_text()) {
        let upper = message.to_ascii_uppercase();
        prop_assert_eq!(diagnosed(Startup, "XX000", &message), diagnosed(Startup, "XX000", &upper));
    }
}

#[test]
fn what_a_refused_certificate_is_called_does_not_change_what_it_means() {
    let message = "certificate verify failed (hostname mismatch): the certificate is for \"geoffrey.example\", not for \"db\"";
    let refused = Facts::new(Phase::Tls, Cause::tls(message));
    assert_eq!(diagnose(&refused), diagnosis(Reason::Tls, Class::Permanent));
}
