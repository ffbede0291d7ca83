//! `/health`: what people and uptime checkers are told, in two vocabularies, as a projection of snapshots.
//!
//! A target's [`Status`] follows from its state and from whether it is required; the whole is as bad as its worst
//! target. What a server said is repeated only to those who may see targets. Knows nothing of HTTP but the two status
//! codes.

mod draft;
mod plain;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use crate::status::{State, View};

/// How things stand, the worst last.
///
/// No word but the first contains `healthy`: keyword monitors look for substrings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Healthy,
    Degraded,
    Starting,
    Failing,
}

impl Status {
    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Starting => "starting",
            Status::Failing => "failing",
        }
    }

    /// The HTTP status code.
    pub const fn code(self) -> u16 {
        match self {
            Status::Healthy | Status::Degraded => 200,
            Status::Starting | Status::Failing => 503,
        }
    }

    /// What `view` means for the whole. A target that is not required only degrades it.
    pub fn of(view: &View<'_>, required: bool) -> Status {
        let at_worst = |status| if required { status } else { Status::Degraded };
        match view.state() {
            State::Up | State::Sleeping => Status::Healthy,
            State::Degraded if view.status.held().is_some_and(|held| held.role.is_err()) => {
                at_worst(Status::Failing)
            }
            State::Degraded => Status::Degraded,
            State::Down if view.in_reconnect_grace() => Status::Degraded,
            State::Down => at_worst(Status::Failing),
            State::Starting => at_worst(Status::Starting),
        }
    }

    /// As bad as the worst target; `starting` where no target is known yet.
    pub fn overall(views: &[View<'_>]) -> Status {
        let each = |view: &View<'_>| Status::of(view, view.status.tuning.required);
        views.iter().map(each).max().unwrap_or(Status::Starting)
    }
}

/// Whether a database can be talked to, the worst last. `disconnected` would contain `connected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    Connected,
    Sleeping,
    Unreachable,
}

impl Reach {
    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reach::Connected => "connected",
            Reach::Sleeping => "sleeping",
            Reach::Unreachable => "unreachable",
        }
    }

    /// Whether a database in this state can be talked to.
    pub const fn of(state: State) -> Reach {
        match state {
            State::Up | State::Degraded => Reach::Connected,
            State::Sleeping => Reach::Sleeping,
            State::Starting | State::Down => Reach::Unreachable,
        }
    }
}

/// The two ways to say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// `healthy`, `degraded`, `starting`, `failing`: the document that was there from the beginning, and more.
    Plain,
    /// `pass`, `warn`, `fail`: draft-inadarei-api-health-check.
    Draft,
}

impl Vocabulary {
    /// The media type of its documents.
    pub const fn content_type(self) -> &'static str {
        match self {
            Vocabulary::Plain => "application/json",
            Vocabulary::Draft => "application/health+json",
        }
    }
}

/// Who speaks, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    pub service: &'a str,
    pub version: &'a str,
    /// Whether each target is told of, or only the whole.
    pub details: bool,
}

/// A document, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub status: Status,
    pub body: Vec<u8>,
}

/// `/health`.
///
/// # Errors
/// Never with the types here; serde's signature has one.
pub fn of_all(
    speaker: Speaker<'_>,
    views: &[View<'_>],
    vocabulary: Vocabulary,
) -> serde_json::Result<Document> {
    let judge = |view| Judged { view, status: Status::of(view, view.status.tuning.required) };
    let targets: Vec<Judged<'_>> = views.iter().map(judge).collect();
    let required: Vec<&View<'_>> = views.iter().filter(|view| view.status.tuning.required).collect();
    // Where nothing is required, the old document's `database` speaks for the worst of all.
    let spoken_for = if required.is_empty() { views.iter().collect() } else { required };
    write(speaker, Status::overall(views), &targets, &spoken_for, vocabulary)
}

/// `/health/NAME`: who asks for one target wants to know of it, so here it counts as required.
///
/// # Errors
/// As [`of_all`].
pub fn of_one(speaker: Speaker<'_>, view: &View<'_>, vocabulary: Vocabulary) -> serde_json::Result<Document> {
    let status = Status::of(view, true);
    write(speaker, status, &[Judged { view, status }], &[view], vocabulary)
}

/// RFC 3339 in UTC to the millisecond; `None` for times that no calendar has.
pub fn rfc3339(at: SystemTime) -> Option<String> {
    let at = jiff::Timestamp::try_from(at).ok()?;
    Some(format!("{at:.3}"))
}

/// A target, and what it means for the document.
struct Judged<'a> {
    view: &'a View<'a>,
    status: Status,
}

fn write(
    speaker: Speaker<'_>,
    status: Status,
    targets: &[Judged<'_>],
    spoken_for: &[&View<'_>],
    vocabulary: Vocabulary,
) -> serde_json::Result<Document> {
    let body = match vocabulary {
        Vocabulary::Plain => serde_json::to_string(&plain::document(speaker, status, targets, spoken_for))?,
        Vocabulary::Draft => serde_json::to_string(&draft::document(speaker, status, targets))?,
    };
    // A service or a target may be named `healthy`. While all is not, JSON's escape keeps the word from the eyes of
    // monitors that look for substrings, and changes no value. Nothing else in the document can contain it.
    let body = match status {
        Status::Healthy => body,
        _ => body.replace("healthy", r"h\u0065althy"),
    };
    Ok(Document { status, body: body.into_bytes() })
}

/// Three decimals are enough for people, and keep documents short.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
