//! Why a client gets no session, in words that it can act on.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{self, Severity, Words};
use crate::reason::Reason;
use crate::status::pool::CheckoutFailure;
use crate::status::{Attempt, Because, Line, TargetStatus};

/// What is told to a client that gets no session, and what it is counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `None` where the client itself is the matter.
    pub why: Option<CheckoutFailure>,
    sqlstate: &'static str,
    message: String,
    hint: Cow<'static, str>,
}

/// When a client that waits can hope for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// As soon as one is free or opened.
    Soon,
    /// Not before then: nothing is tried until that moment.
    NotBefore(Instant),
    /// Not before somebody changes something.
    Never,
}

impl Prospect {
    pub fn of(status: &TargetStatus) -> Self {
        match (&status.line, &status.attempt) {
            (Line::Lost { .. }, Attempt::Waiting { because: Because::SlowLane, .. }) => Prospect::Never,
            // A knock that is let in brings the attempt forward.
            (Line::Lost { .. }, Attempt::Waiting { until, knock, .. }) => {
                let next = knock.map_or(until.mono, |knock| knock.mono.min(until.mono));
                Prospect::NotBefore(next.into())
            }
            _ => Prospect::Soon,
        }
    }
}

impl Refusal {
    /// The target can't be had, until `reason` is dealt with or, where it will be by itself, until too late.
    pub fn down(name: &str, reason: Option<Reason>, for_good: bool, waited: Duration) -> Self {
        let why = if for_good { CheckoutFailure::Permanent } else { CheckoutFailure::Down };
        let word = reason.map_or("no session yet", Reason::as_str);
        let message = match waited.as_secs() {
            0 => format!("no session with \"{name}\": the database is not available ({word})"),
            waited => format!(
                "no session with \"{name}\" within {waited} s: the database is not available ({word})"
            ),
        };
        let hint =
            reason.map_or("Try again; pgtether's status page shows what is the matter.", Reason::remedy);
        Self::ours(Some(why), "57P03", message, hint)
    }

    /// All sessions are in other clients' hands.
    pub fn busy(name: &str, size: u32, waited: Duration) -> Self {
        let message = format!(
            "no session with \"{name}\" within {} s: all {size} of its pool are in use",
            waited.as_secs()
        );
        let hint = "Shorten transactions, or raise the pool's size or wait_timeout.";
        Self::ours(Some(CheckoutFailure::Busy), "57P03", message, hint)
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
        let words = Words {
            severity,
            sqlstate: self.sqlstate,
            message: Cow::Borrowed(&self.message),
            detail: None,
            hint: Some(Cow::Borrowed(&self.hint)),
        };
        message::error(out, &words);
    }
}
