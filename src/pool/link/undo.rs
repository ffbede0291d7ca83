//! What is taken back of a client's names where the server has skipped what named or closed something.

use super::Statements;
use crate::pool::statements::{Named, Unnamed};

/// What was noted of the client's names when a message was sent, and is not so if the server skipped it after an error.
#[derive(Debug)]
pub enum NameUndo {
    /// `before` is what had the name till then, where that was about to be given up.
    Named {
        name: Box<[u8]>,
        stamp: u64,
        before: Option<Named>,
    },
    Closed {
        name: Box<[u8]>,
        named: Named,
    },
    /// The statement without a name was to be another one. What it was before is not kept.
    Unnamed,
}

/// The last first: what was noted twice becomes what it was at the beginning.
pub fn take_back(skipped: Vec<NameUndo>, statements: &mut Statements<'_>) {
    for undo in skipped.into_iter().rev() {
        match undo {
            NameUndo::Named { name, stamp, before } => {
                statements.client.take_back(&name, stamp);
                before.into_iter().for_each(|before| statements.client.restore(&name, before));
            }
            NameUndo::Closed { name, named } => statements.client.restore(&name, named),
            NameUndo::Unnamed => statements.client.drop_unnamed(Unnamed::None),
        }
    }
}
