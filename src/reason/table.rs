//! What facts mean, as tables: SQLSTATEs in [`codes`], the words of servers, poolers and providers in [`texts`].
//!
//! A SQLSTATE decides, unless poolers send the same one for everything: PgBouncer says nearly all with 08P01, Neon's
//! proxy with XX000, PgCat and PgDog with 58000. There, and where a row of the texts says so, the words decide. It
//! judges one failure by itself: idle time, provider and policy are the supervisor's context.

mod codes;
mod languages;
mod texts;

use std::io;
use std::time::Duration;

pub use languages::is_cold_standby;
use nix::errno::Errno;

use super::{Cause, Class, Diagnosis, Facts, LoginTls, Phase, Reason, ServerWords, is_refused_certificate};

/// Whether the server rejects the user or the password.
pub fn is_rejected_login(facts: &Facts) -> bool {
    diagnose(facts).reason == Reason::Auth
}

/// What these facts mean, taken by themselves.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    match &facts.cause {
        Cause::Server { sqlstate, message, words } => by_routine(sqlstate, words).unwrap_or_else(|| {
            server(facts.phase, sqlstate, words.verbatim.as_ref().map_or(message, |words| &words.0))
        }),
        Cause::Io { kind, os } => io(facts.phase, *kind, *os),
        Cause::Dns { .. } => diagnosis(Reason::Dns, Class::Transient),
        Cause::Closed => diagnosis(Reason::Closed, Class::Transient),
        Cause::Timeout => diagnosis(Reason::Timeout, Class::Transient),
        Cause::TlsRefused => diagnosis(Reason::Tls, Class::Permanent),
        Cause::Tls { message, .. } => tls(message),
        Cause::Protocol { .. } => diagnosis(Reason::Protocol, Class::Transient),
        Cause::WrongRole { .. } => diagnosis(Reason::WrongRole, Class::Transient),
        Cause::Config { .. } => diagnosis(Reason::Config, Class::Permanent),
        // The service that gives out tokens may be back soon; the server, which the breaker is for, has no part in it.
        Cause::Command { .. } => diagnosis(Reason::PasswordCommand, Class::Local),
        Cause::Local { .. } => diagnosis(Reason::Local, Class::Local),
        Cause::Internal => diagnosis(Reason::Internal, Class::Local),
    }
}

const fn diagnosis(reason: Reason, class: Class) -> Diagnosis {
    Diagnosis { reason, class, at_least: Duration::ZERO }
}

/// Where a SQLSTATE says too little, the server's function that reported it decides: no locale translates its name.
fn by_routine(sqlstate: &str, words: &ServerWords) -> Option<Diagnosis> {
    match (sqlstate, words.routine.as_deref()?) {
        // A rejection by pg_hba.conf is about TLS where the connection had none but could have.
        ("28000", "ClientAuthentication") => {
            let reason = if words.tls == LoginTls::NotAsked { Reason::Tls } else { Reason::Auth };
            Some(diagnosis(reason, Class::Permanent))
        }
        // An administrator's SQLSTATE, but these report it where they wait and the postmaster is gone.
        ("57P01", "secure_read" | "secure_write") => Some(diagnosis(Reason::Crash, Class::Transient)),
        _ => None,
    }
}

/// An ErrorResponse.
fn server(phase: Phase, sqlstate: &str, message: &str) -> Diagnosis {
    let message = message.to_ascii_lowercase();
    if let Some(cached) = texts::failing_login(&message) {
        return failing_login(cached);
    }
    languages::find(sqlstate, &message)
        .or_else(|| texts::find(sqlstate, &message))
        .or_else(|| codes::find(sqlstate))
        .unwrap_or_else(|| codes::fallback(phase, sqlstate))
}

/// PgBouncer does not try its server again before `server_login_retry` (15 s) is over, and tells everybody who asks
/// the error that it keeps from the last try. Only its words: the SQLSTATE is PgBouncer's own.
fn failing_login(cached: Option<&str>) -> Diagnosis {
    const SERVER_LOGIN_RETRY: Duration = Duration::from_secs(15);
    let found = cached.and_then(|cached| texts::find("", cached));
    let found = found.unwrap_or(diagnosis(Reason::Pooler, Class::Transient));
    Diagnosis { at_least: found.at_least.max(SERVER_LOGIN_RETRY), ..found }
}

/// The operating system's word on a socket, or on a file where the phase is `Prepare`.
fn io(phase: Phase, kind: io::ErrorKind, os: Option<i32>) -> Diagnosis {
    use io::ErrorKind as Kind;
    match os.map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS) => {
            return diagnosis(Reason::Local, Class::Local);
        }
        // A firewall on this machine, whose kind is a missing permission's too.
        Some(Errno::EPERM) if phase == Phase::Connect => {
            return diagnosis(Reason::Unreachable, Class::Transient);
        }
        _ => {}
    }
    if phase == Phase::Prepare {
        return diagnosis(Reason::Config, Class::Permanent);
    }
    match kind {
        // A Unix socket's file is missing while its server is down.
        Kind::ConnectionRefused | Kind::NotFound => diagnosis(Reason::Refused, Class::Transient),
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            diagnosis(Reason::Unreachable, Class::Transient)
        }
        Kind::TimedOut => diagnosis(Reason::Timeout, Class::Transient),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            diagnosis(Reason::Reset, Class::Transient)
        }
        Kind::UnexpectedEof => diagnosis(Reason::Closed, Class::Transient),
        // A Unix socket answers so when its server's queue is full.
        Kind::WouldBlock => diagnosis(Reason::Capacity, Class::Capacity),
        // All local ports to that address are in use.
        Kind::AddrNotAvailable | Kind::OutOfMemory => diagnosis(Reason::Local, Class::Local),
        // A Unix socket that this user may not open, or no socket at all.
        Kind::PermissionDenied | Kind::InvalidInput | Kind::NotADirectory => {
            diagnosis(Reason::Config, Class::Permanent)
        }
        Kind::InvalidData => diagnosis(Reason::Protocol, Class::Transient),
        _ => diagnosis(Reason::Other, Class::Transient),
    }
}

/// A certificate that is not trusted today is not trusted in a second either; a handshake that was cut off may be.
fn tls(message: &str) -> Diagnosis {
    const CUT_OFF: &[&str] = &["eof", "reset by peer", "broken pipe", "connection closed", "timed out"];
    let message = message.to_ascii_lowercase();
    let cut_off = !is_refused_certificate(&message) && CUT_OFF.iter().any(|words| message.contains(words));
    let class = if cut_off { Class::Transient } else { Class::Permanent };
    diagnosis(Reason::Tls, class)
}

#[cfg(test)]
mod tests;
