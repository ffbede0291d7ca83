//! Why a client gets no session, in words that it can act on.

use std::borrow::Cow;
use std::time::Duration;

use super::core::Rejection;
use crate::protocol::{ErrorFields, Severity, backend};
use crate::reason::Reason;
use crate::status::Failure;
use crate::status::pool::CheckoutFailure;

/// What was seen of the failures that keep clients waiting: of the target's, and of the pool's own logins.
#[derive(Debug, Default)]
pub struct FailureDetails {
    target: Option<FailureDetail>,
    opening: Option<FailureDetail>,
}

/// The words of one failure, free of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureDetail {
    pub reason: Reason,
    pub remedy: &'static str,
    pub detail: String,
}

impl FailureDetails {
    /// The target's snapshot has changed.
    pub fn follow(&mut self, failure: Option<&Failure>) {
        let is_known = match (&self.target, failure) {
            (Some(known), Some(failure)) => known.reason == failure.reason && known.detail == failure.detail,
            (known, failure) => known.is_none() && failure.is_none(),
        };
        if !is_known {
            self.target = failure.map(|failure| {
                let Failure { reason, remedy, detail, .. } = failure.clone();
                FailureDetail { reason, remedy, detail }
            });
        }
    }

    /// A session could not be opened.
    pub fn note_opening(&mut self, reason: Reason, remedy: &'static str, detail: String) {
        self.opening = Some(FailureDetail { reason, remedy, detail });
    }

    /// What is known of a failure for that reason: the target's first, which is the newer one where both have it.
    fn of(&self, reason: Reason) -> Option<&FailureDetail> {
        [&self.target, &self.opening].into_iter().flatten().find(|known| known.reason == reason)
    }
}

/// What is told to a client that gets no session, and what it is counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `None` where the client itself is the matter.
    pub why: Option<CheckoutFailure>,
    sqlstate: &'static str,
    message: String,
    /// What the server or the system said.
    detail: Option<String>,
    hint: Cow<'static, str>,
}

impl Refusal {
    /// Of a pool of so many sessions with that target.
    pub fn new(name: &str, size: u32, why: Rejection, details: &FailureDetails) -> Self {
        match why {
            Rejection::Busy { waited } => Self::busy(name, size, waited),
            Rejection::Down { reason, remedy, permanent, waited, next } => {
                let known = reason.and_then(|reason| details.of(reason));
                let remedy = known
                    .map(|known| known.remedy)
                    .or(remedy)
                    .unwrap_or("Try again; pgtether's status page shows what is the matter.");
                let refusal = Self::down(name, reason, remedy, permanent, waited, next);
                Refusal { detail: known.map(|known| known.detail.clone()), ..refusal }
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
        Refusal { why, sqlstate, message, detail: None, hint: hint.into() }
    }

    /// As an ErrorResponse.
    pub fn write(&self, out: &mut Vec<u8>, severity: Severity) {
        let fields = ErrorFields::fatal(self.sqlstate, self.message.as_str()).severity(severity);
        let fields = match &self.detail {
            Some(detail) => fields.detail(detail.as_str()),
            None => fields,
        };
        backend::error(out, &fields.hint(&*self.hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn the_hint_is_what_mends_this_failure() {
        let of = |remedy| {
            let waited = Duration::from_secs(3);
            let why =
                Rejection::Down { reason: Some(Reason::Tls), remedy, permanent: true, waited, next: None };
            let mut message = Vec::new();
            Refusal::new("db", 1, why, &FailureDetails::default()).write(&mut message, Severity::Fatal);
            String::from_utf8_lossy(&message).into_owned()
        };
        let told = of(Some("Renew the certificate."));
        assert!(told.contains("HRenew the certificate.\0") && told.contains("(tls)"), "{told}");
        assert!(of(None).contains("status page"));
    }

    #[test]
    fn a_client_is_told_what_was_said_of_the_failure_that_keeps_it_waiting() {
        let now = sample::moment();
        let mut details = FailureDetails::default();
        details.note_opening(Reason::Capacity, "Free some.", "too many clients already".to_owned());
        details.follow(Some(&Failure::new(
            now,
            Reason::Config,
            "the server asked for less than SCRAM".to_owned(),
        )));
        let told = |details: &FailureDetails, reason| {
            let why = Rejection::Down {
                reason: Some(reason),
                remedy: Some(reason.remedy()),
                permanent: true,
                waited: Duration::ZERO,
                next: None,
            };
            let mut message = Vec::new();
            Refusal::new("db", 1, why, details).write(&mut message, Severity::Fatal);
            String::from_utf8_lossy(&message).into_owned()
        };
        let config = told(&details, Reason::Config);
        assert!(config.contains("Dthe server asked for less than SCRAM\0"), "{config}");
        assert!(config.contains(&format!("H{}", Reason::Config.remedy())), "{config}");
        let full = told(&details, Reason::Capacity);
        assert!(full.contains("Dtoo many clients already\0") && full.contains("HFree some."), "{full}");
        let other = told(&details, Reason::Refused);
        assert!(
            !other.contains("SCRAM") && !other.contains("many"),
            "of another failure nothing is known: {other}"
        );
        details.follow(None);
        assert!(!told(&details, Reason::Config).contains("SCRAM"), "it is over");
    }
}
