//! Why a client gets no session, in words that it can act on.

use std::borrow::Cow;
use std::time::Duration;

use super::core::Rejection;
use crate::protocol::{ErrorFields, Severity, backend};
use crate::reason::Reason;
use crate::status::pool::CheckoutFailure;

/// What is told to a client that gets no session, and what it is counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `None` where the client itself is the matter.
    pub why: Option<CheckoutFailure>,
    sqlstate: &'static str,
    message: String,
    hint: Cow<'static, str>,
}

impl Refusal {
    /// Of a pool of so many sessions with that target.
    pub fn new(name: &str, size: u32, why: Rejection) -> Self {
        match why {
            Rejection::Busy { waited } => Self::busy(name, size, waited),
            Rejection::Down { reason, remedy, permanent, waited, next } => {
                let remedy = remedy.unwrap_or("Try again; pgtether's status page shows what is the matter.");
                Self::down(name, reason, remedy, permanent, waited, next)
            }
            Rejection::Paused { waited } => Self::paused(name, waited),
            Rejection::Draining => Self::draining(),
        }
    }

    /// The target is not available.
    fn down(
        name: &str,
        reason: Option<Reason>,
        remedy: &'static str,
        permanent: bool,
        waited: Duration,
        next: Option<Duration>,
    ) -> Self {
        let why = if permanent { CheckoutFailure::Permanent } else { CheckoutFailure::Down };
        let word = reason.map_or("no session yet", Reason::as_str);
        let message = match waited.as_secs() {
            0 => format!("no session with \"{name}\": the database is not available ({word})"),
            waited => format!(
                "no session with \"{name}\" within {waited} s: the database is not available ({word})"
            ),
        };
        // Rounded up: who comes then is not too early.
        let next = next.map(|next| next.as_millis().div_ceil(1000));
        let hint = match next {
            Some(next) if next > 0 => Cow::Owned(format!("{remedy} The next attempt is in {next} s.")),
            _ => Cow::Borrowed(remedy),
        };
        Self::ours(Some(why), "57P03", message, hint)
    }

    /// All sessions are in other clients' hands.
    fn busy(name: &str, size: u32, waited: Duration) -> Self {
        let message = format!(
            "no session with \"{name}\" within {} s: all {size} of its pool are in use",
            waited.as_secs()
        );
        let hint = "Shorten transactions, or raise the pool's size or wait_timeout.";
        Self::ours(Some(CheckoutFailure::Busy), "57P03", message, hint)
    }

    fn paused(name: &str, waited: Duration) -> Self {
        let message = format!("no session with \"{name}\" within {} s: its pool is paused", waited.as_secs());
        let hint = "Try again later: whoever paused it will resume it (POST /-/pools/NAME/resume).";
        Self::ours(Some(CheckoutFailure::Paused), "57P03", message, hint)
    }

    /// The pool is ending.
    pub fn draining() -> Self {
        let hint = "Connect again: its successor will answer.";
        Self::ours(
            Some(CheckoutFailure::Draining),
            "57P01",
            "pgtether is shutting down this pool".to_owned(),
            hint,
        )
    }

    /// The client has changed its mind while it waited. In PostgreSQL's words: drivers look for them.
    pub fn cancelled() -> Self {
        let hint = "It was waiting for a session of the pool.";
        Self::ours(None, "57014", "canceling statement due to user request".to_owned(), hint)
    }

    fn ours(
        why: Option<CheckoutFailure>,
        sqlstate: &'static str,
        message: String,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        Refusal { why, sqlstate, message, hint: hint.into() }
    }

    /// As an ErrorResponse.
    pub fn write(&self, out: &mut Vec<u8>, severity: Severity) {
        let fields = ErrorFields::fatal(self.sqlstate, self.message.as_str()).severity(severity);
        backend::error(out, &fields.hint(&*self.hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_what_mends_this_failure() {
        let of = |remedy| {
            let waited = Duration::from_secs(3);
            let why =
                Rejection::Down { reason: Some(Reason::Tls), remedy, permanent: true, waited, next: None };
            let mut message = Vec::new();
            Refusal::new("db", 1, why).write(&mut message, Severity::Fatal);
            String::from_utf8_lossy(&message).into_owned()
        };
        let told = of(Some("Renew the certificate."));
        assert!(told.contains("HRenew the certificate.\0") && told.contains("(tls)"), "{told}");
        assert!(of(None).contains("status page"));
    }
}
