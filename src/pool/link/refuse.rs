//! Errors that name what the client named, and those that a server is made to give in our stead: what cannot be done
//! for a client must fail where it stands in the stream, and only a server can do that.

use super::edit::Edit;
use super::expect::{Expect, Refused};
use super::{Link, Statements};
use crate::pool::statements::{ClientStatements, STAND_IN};
use crate::protocol::{ErrorFields, Severity, backend, error_field, put};

impl Refused {
    fn fields(&self) -> ErrorFields<'_> {
        let fields = match self {
            Refused::Taken(name) => {
                let name = String::from_utf8_lossy(name);
                ErrorFields::fatal("42P05", format!("prepared statement \"{name}\" already exists"))
            }
            Refused::OverBudget => ErrorFields::fatal("53200", "the pool has no room for more prepared statements")
                .detail("Their texts are kept, so that they work on every session; together they take too much memory.")
                .hint("Close statements that are not needed, or use a pool in session mode."),
            Refused::Missing(name) => {
                let name = String::from_utf8_lossy(name);
                ErrorFields::fatal("26000", format!("prepared statement \"{name}\" does not exist"))
            }
            // PostgreSQL's own, to the function that reports it: drivers know it by that, and prepare anew.
            Refused::Changed => ErrorFields {
                routine: Some("RevalidateCachedQuery".into()),
                ..ErrorFields::fatal("0A000", "cached plan must not change result type")
            }
            .detail("Since this statement was described, its parameters or columns have got other types.")
            .hint("Prepare it again."),
            Refused::NoUnnamed => ErrorFields::fatal("26000", "unnamed prepared statement does not exist"),
        };
        fields.severity(Severity::Error)
    }
}

impl Link {
    /// Makes the server fail here, for that reason.
    pub(super) fn refuse(&mut self, refused: Refused, edit: &mut Edit<'_, '_>) {
        edit.message(b'B', &[b"\0", STAND_IN, b"\0\0\0\0\0\0\0"]);
        self.expected.push(Expect::Error(Box::new(refused)));
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
