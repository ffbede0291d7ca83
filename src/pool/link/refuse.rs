//! Errors that name what the client named, and those for what cannot be done for a client: that must fail where it stands
//! in the stream.

use super::batch::BatchProgress;
use super::edit::Edit;
use super::expect::Expect;
use super::provide::stand_in;
use super::refused::Refused;
use super::{Copy, Link, Statements, TransactionStatus};
use crate::pool::statements::{ClientStatements, STAND_IN};
use crate::protocol::{backend, error_field, put};

impl Link {
    /// Fails here, for that reason. Where something may be undone by that, a server is made to fail; where nothing is, the
    /// client is told in place of an answer, so that no server logs an error.
    pub(super) fn refuse(&mut self, refused: Refused, edit: &mut Edit<'_, '_>) {
        let refused = Box::new(refused);
        if !self.fails_for_nothing() {
            edit.message(b'B', &[b"\0", STAND_IN, b"\0\0\0\0\0\0\0"]);
            self.expected.push(Expect::Error(refused));
            return;
        }
        stand_in(edit);
        edit.message(b'H', &[]);
        self.expected.push(Expect::Refused(refused));
        // What follows up to the Sync is read over.
        self.batch.progress = BatchProgress::Failed;
    }

    /// An error here undoes nothing: no transaction is open, and nothing is executed that would begin one.
    pub(super) fn fails_for_nothing(&self) -> bool {
        let is_alone = self.transaction == TransactionStatus::Idle && self.expected.ready() == 0;
        is_alone && !self.batch.executes && self.copy == Copy::No
    }

    /// What the client is told in place of a CloseComplete that has come, if anything.
    pub(super) fn refusal_to_tell(&mut self) -> Option<Vec<u8>> {
        let refused = self.expected.take_refused()?;
        let mut out = Vec::new();
        backend::error(&mut out, &refused.fields());
        Some(out)
    }

    /// What the client is told in place of an ErrorResponse with that body, if anything.
    pub(super) fn error_to_tell(&self, body: &[u8], statements: &Statements<'_>) -> Option<Vec<u8>> {
        if !self.renames || !names_a_statement(body) {
            return None;
        }
        let mut out = Vec::new();
        match self.expected.refused() {
            Some(refused) if contains(body, STAND_IN) => backend::error(&mut out, &refused.fields()),
            _ => put(&mut out, b'E', &[&with_names(body, statements.client)?]),
        }
        Some(out)
    }
}

/// Whether an ErrorResponse says that a statement of the catalog is there and should not be, or should be and is not: SQL
/// that nobody reads has made or dropped it.
pub fn is_surprised(body: &[u8]) -> bool {
    let ours = |message: &[u8]| contains(message, PREFIX) && !contains(message, STAND_IN);
    matches!(error_field(body, b'C'), Some(b"42P05" | b"26000")) && error_field(body, b'M').is_some_and(ours)
}

const PREFIX: &[u8] = b"pgtether_";

/// Errors about a prepared statement: it is there, it is not, its parameters are others.
fn names_a_statement(body: &[u8]) -> bool {
    matches!(error_field(body, b'C'), Some(b"42P05" | b"26000" | b"08P01")) && contains(body, PREFIX)
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// The body with the client's names in place of ours; `None` where it names none of the client's statements.
fn with_names(body: &[u8], client: &ClientStatements) -> Option<Vec<u8>> {
    let mut named = Vec::with_capacity(body.len());
    let (mut rest, mut found) = (body, false);
    while let Some(at) = rest.windows(PREFIX.len()).position(|window| window == PREFIX) {
        let (before, ours) = rest.split_at(at);
        let digits = ours[PREFIX.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ours, behind) = ours.split_at(PREFIX.len() + digits);
        let id = str::from_utf8(&ours[PREFIX.len()..]).ok().and_then(|id| id.parse().ok());
        let name = id.and_then(|id: u64| client.name_of(id));
        found |= name.is_some();
        named.extend_from_slice(before);
        named.extend_from_slice(name.unwrap_or(ours));
        rest = behind;
    }
    named.extend_from_slice(rest);
    found.then_some(named)
}
