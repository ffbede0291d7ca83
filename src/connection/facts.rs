//! What happened, as facts: from the operating system's errors, the server's words and our own phase.
//!
//! The one place where a peer's text becomes ours, so the place where passwords are scrubbed from it.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use nix::errno::Errno;
use openssl::ssl;

use super::scanner::Observed;
use super::spellings::SecretSpellings;
use crate::printable;
use crate::protocol::ErrorFields;
use crate::reason::{Cause, Facts, LoginTls, Phase, ServerWords, Verbatim};
use crate::target::{REDACTED, Secret};

const PASSWORD_REQUESTS: [u32; 3] = [3, 5, 10];

/// Why a conversation ended, or an answer in it was an error. What the server said counts most, then how the stream
/// ended; `error` is tokio-postgres's view, which comes last because it hides both.
pub fn cause(
    observed: &Observed,
    ended: Option<&Cause>,
    error: &tokio_postgres::Error,
    password: Option<&Secret>,
) -> Cause {
    if let Some(fields) = observed.error.as_ref().or(observed.farewell.as_ref()) {
        return server(fields.clone(), password);
    }
    if let Some(ended) = ended {
        return scrubbed(ended.clone(), password);
    }
    let asked = observed.authentication;
    if password.is_none() && asked.is_some_and(|code| PASSWORD_REQUESTS.contains(&code)) {
        return Cause::Config {
            message:
                "the server asks for a password and none is configured: put it into the connection string, or \
                      name a password_file or a password_command"
                    .to_owned(),
        };
    }
    let text = spelled_out(error);
    if text.contains("channel binding") {
        return Cause::tls(
            "the server did not bind the login to the TLS channel, as channel_binding=require demands",
        );
    }
    if text.contains("unsupported authentication method") || text.contains("unsupported SASL mechanism") {
        return Cause::Config {
            message:
                "the server wants a login method that pgtether does not speak (Kerberos, GSSAPI, SSPI or an \
                      unknown one): let pg_hba.conf offer scram-sha-256 to this user"
                    .to_owned(),
        };
    }
    Cause::Protocol { message: scrub(&text, password) }
}

/// What the server reports, fit to be shown.
pub fn server(fields: ErrorFields<'_>, password: Option<&Secret>) -> Cause {
    let shown = |text: &str| scrub(text, password);
    let words = ServerWords {
        detail: fields.detail.as_deref().map(shown).filter(|text| !text.is_empty()),
        hint: fields.hint.as_deref().map(shown).filter(|text| !text.is_empty()),
        routine: fields.routine.as_deref().map(|name| scrub_word(name, password)),
        tls: LoginTls::Used,
        verbatim: None,
    };
    let message = shown(&fields.message);
    let as_it_came = scrub(&fields.message, None);
    let words = ServerWords { verbatim: (message != as_it_came).then(|| Verbatim::new(as_it_came)), ..words };
    Cause::Server { sqlstate: fields.sqlstate.to_string(), message, words: Box::new(words) }
}

/// What an error of a stream means: ours, the network's, TLS's, or simply the end.
pub fn io_cause(error: &io::Error) -> Cause {
    if let Some(os) = error.raw_os_error() {
        return os_cause(error.kind(), os);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Cause::Closed;
    }
    match error.get_ref() {
        Some(inner) => tls_cause(inner),
        None => Cause::Io { kind: error.kind(), os: None },
    }
}

/// What an error of the TLS library means. A peer that hangs up in the middle of TLS has closed, not failed at TLS.
pub fn tls_cause(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(os) = here.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return os_cause(io::Error::from_raw_os_error(os).kind(), os);
        }
        next = here.source();
    }
    let said = error.downcast_ref::<ssl::Error>().and_then(plain_tls);
    let message = printable::message(&said.unwrap_or_else(|| error.to_string()));
    if message.to_ascii_lowercase().contains("unexpected eof") {
        return Cause::Closed;
    }
    Cause::tls(message)
}

/// What OpenSSL says, without the names of its files and functions: the reason of the first error on its stack.
fn plain_tls(error: &ssl::Error) -> Option<String> {
    error.ssl_error()?.errors().first()?.reason().map(str::to_owned)
}

/// Errors that tell of this machine rather than of the other.
fn os_cause(kind: io::ErrorKind, os: i32) -> Cause {
    let local = match Errno::from_raw(os) {
        Errno::EMFILE => "this process has no file descriptors left (raise ulimit -n)",
        Errno::ENFILE => "this machine has no file descriptors left (fs.file-max)",
        Errno::ENOBUFS | Errno::ENOMEM => "this machine has no memory left for a socket",
        Errno::EADDRNOTAVAIL => {
            "this machine has no local address or port left to reach it from (net.ipv4.ip_local_port_range)"
        }
        Errno::EAFNOSUPPORT => "this machine does not speak that address family (IPv6 switched off?)",
        _ => return Cause::Io { kind, os: Some(os) },
    };
    Cause::Local { message: local.to_owned() }
}

pub fn config(message: impl Into<String>) -> Cause {
    Cause::Config { message: message.into() }
}

/// The failure that tells most: the one that got furthest; of equals the later one.
pub fn more_telling(before: Option<Facts>, now: Facts) -> Facts {
    let reach = |facts: &Facts| match (&facts.cause, facts.phase) {
        (Cause::WrongRole { .. }, _) => 7,
        (_, Phase::Prepare) => 0,
        (_, Phase::Resolve) => 1,
        (_, Phase::Connect) => 2,
        (_, Phase::Tls) => 3,
        (_, Phase::Startup) => 4,
        (_, Phase::Ping) => 5,
        (_, Phase::Idle) => 6,
    };
    match before {
        Some(before) if reach(&before) > reach(&now) => before,
        _ => now,
    }
}

/// A peer's message, fit to be shown: without the password in any spelling that it may have there.
pub fn scrub(text: &str, password: Option<&Secret>) -> String {
    printable::message(&without(password, text))
}

/// The same of a short word, such as the server's version.
pub fn scrub_word(text: &str, password: Option<&Secret>) -> String {
    printable::word(&without(password, text))
}

fn without<'t>(password: Option<&Secret>, text: &'t str) -> Cow<'t, str> {
    password.map_or(Cow::Borrowed(text), |password| redact(text, password).into())
}

/// Takes the password out of a text in every spelling that it may have there.
pub fn redact(text: &str, password: &Secret) -> String {
    redact_all(text, [password.expose()])
}

/// The same of several secrets at once.
pub fn redact_all<'s>(text: &str, secrets: impl IntoIterator<Item = &'s [u8]>) -> String {
    let spellings: Vec<SecretSpellings<'_>> =
        secrets.into_iter().filter(|secret| !secret.is_empty()).map(SecretSpellings::of).collect();
    // Once through the text: what was put in place of a password is not read again.
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        // The longest, or a shorter spelling would leave the rest of a longer one behind.
        match spellings.iter().filter_map(|of_one| of_one.longest_at(rest)).max() {
            Some(length) => {
                clean.push_str(REDACTED);
                rest = &rest[length..];
            }
            None => {
                clean.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    clean
}

fn scrubbed(cause: Cause, password: Option<&Secret>) -> Cause {
    match cause {
        Cause::Protocol { message } => Cause::Protocol { message: scrub(&message, password) },
        Cause::Tls { message, certificate_expiry } => {
            Cause::Tls { message: scrub(&message, password), certificate_expiry }
        }
        other => other,
    }
}

/// tokio-postgres keeps the cause out of its own text.
fn spelled_out(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use openssl::base64::encode_block;
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::reason::{Reason, table};

    #[test]
    fn errors_of_our_own_machine_are_told_from_the_networks() {
        for local in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::EADDRNOTAVAIL] {
            let cause = io_cause(&io::Error::from_raw_os_error(local as i32));
            assert!(matches!(cause, Cause::Local { .. }), "{local}: {cause:?}");
        }
        for remote in [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ETIMEDOUT, Errno::EHOSTUNREACH] {
            let cause = io_cause(&io::Error::from_raw_os_error(remote as i32));
            assert!(matches!(cause, Cause::Io { os: Some(os), .. } if os == remote as i32), "{cause:?}");
        }
    }

    #[test]
    fn the_failure_that_got_furthest_tells_most() {
        let failed = |phase, cause| Facts::new(phase, cause);
        let refused = failed(Phase::Connect, Cause::Closed);
        let unresolved = failed(Phase::Resolve, Cause::Timeout);
        let role = failed(Phase::Startup, Cause::WrongRole { wanted: "primary".into() });
        let hung = failed(Phase::Ping, Cause::Timeout);
        assert_eq!(more_telling(None, unresolved.clone()), unresolved);
        assert_eq!(more_telling(Some(refused.clone()), unresolved), refused);
        assert_eq!(more_telling(Some(role.clone()), hung), role);
        let later = failed(Phase::Connect, Cause::Timeout);
        assert_eq!(more_telling(Some(refused), later.clone()), later);
    }

    #[test]
    fn a_sqlstate_that_is_none_is_not_passed_on() {
        let fields = ErrorFields::fatal("my password", "so\r\nwhat\u{7}");
        let expected = Cause::server("XX000", "so what");
        assert_eq!(server(fields, None), expected);
    }

    #[test]
    fn detail_and_hint_are_carried_bounded_and_scrubbed_like_the_message() {
        let long = "x".repeat(5000);
        let fields = ErrorFields::fatal("57P03", "no").detail("Hot standby\u{1b}[31m mode sesame").hint(long);
        let shown = Facts::new(Phase::Startup, server(fields, Some(&Secret::new("sesame")))).to_string();
        let start = "no (SQLSTATE 57P03), DETAIL: Hot standby [31m mode <redacted>, HINT: xxx";
        assert!(shown.starts_with(start) && shown.chars().count() < 800, "{shown}");
        let plain = Facts::new(Phase::Startup, server(ErrorFields::fatal("57P03", "no"), None)).to_string();
        assert_eq!(plain, "no (SQLSTATE 57P03)");
    }

    #[test]
    fn openssl_s_files_and_functions_are_not_shown() {
        let stack = openssl::x509::X509::from_pem(b"no certificate").unwrap_err();
        assert!(stack.to_string().contains(".c:"), "{stack}");
        let cause = tls_cause(&ssl::Error::from(stack));
        assert_eq!(cause, Cause::tls("no start line"));
    }

    #[test]
    fn a_password_at_the_cut_is_gone_before_the_cut() {
        let text = format!("{}sesame-open", "x".repeat(printable::MESSAGE - 3));
        let shown = scrub(&text, Some(&Secret::new("sesame-open")));
        assert!(shown.ends_with("x<r…"), "{shown}");
    }

    #[test]
    fn a_password_inside_of_the_marker_leaves_one_marker_for_each_place() {
        for (password, text, shown) in [
            ("act", "contact the administrator", "cont<redacted> the administrator"),
            ("red", "redred", "<redacted><redacted>"),
            ("<redacted>", "a <redacted>", "a <redacted>"),
        ] {
            assert_eq!(scrub(text, Some(&Secret::new(password))), shown);
        }
    }

    #[test]
    fn the_reason_is_decided_from_the_words_as_they_came_whatever_the_password_is() {
        let fields = || ErrorFields::fatal("08P01", "database \"orders\" does not exist");
        for password in ["database", "orders", "exist"] {
            let facts = Facts::new(Phase::Startup, server(fields(), Some(&Secret::new(password))));
            assert_eq!(table::diagnose(&facts).reason, Reason::DatabaseMissing, "{password}");
            assert!(!format!("{facts} {facts:?}").contains(password), "{facts:?}");
        }
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_password_survives(
            password in "\\PC{1,30}",
            before in "\\PC{0,40}",
            after in "\\PC{0,40}",
        ) {
            // A password inside of the mark itself can't be told from it.
            prop_assume!(!"<redacted>".contains(&password));
            let secret = Secret::new(password.as_bytes());
            let encoded = percent_encode(password.as_bytes(), NON_ALPHANUMERIC).to_string();
            let base64 = encode_block(password.as_bytes());
            for spelling in [&password, &encoded, &encoded.to_ascii_lowercase(), &base64] {
                let shown = scrub(&format!("{before} {spelling} {after}"), Some(&secret));
                prop_assert!(!shown.contains(password.as_str()), "{shown:?}");
            }
        }
    }
}
