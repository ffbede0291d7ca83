//! Why a statement of a client is refused, and what it is told.

use crate::protocol::{ErrorFields, Severity};

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client has that name already.
    Taken(Box<[u8]>),
    /// It has too many, or all of them together take too much memory.
    OverBudget,
    /// It has no statement without a name.
    NoUnnamed,
    /// It has none of that name, any more.
    Missing(Box<[u8]>),
    /// The session has other types for it than the client was told.
    Changed,
}

impl Refused {
    pub fn fields(&self) -> ErrorFields<'_> {
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
