//! What a client was told of its statement, and what its session of now has: where tables, types or functions have changed
//! since, a session that prepares the text now has other types. A client that reads rows by what it was told must not be
//! given them: it gets the error that a server gives whose statement has changed under it.

use std::sync::Arc;

use super::edit::Edit;
use super::expect::{Answer, Expect, Refused};
use super::provide::Use;
use super::{Link, Pause, Statements};
use crate::pool::statements::{Described, Statement};
use crate::protocol::Frame;

/// Who wants to know what a statement takes and returns.
#[derive(Debug)]
pub enum Asker {
    /// The client, of what it calls so, and of that naming.
    Client { name: Box<[u8]>, stamp: u64 },
    /// The client, of what has no name in the catalog, or none at all.
    Untold,
    /// The pool.
    Pool,
}

impl Asker {
    pub fn answer(&self) -> Answer {
        match self {
            Asker::Client { .. } | Asker::Untold => Answer::Pass,
            Asker::Pool => Answer::Swallow,
        }
    }
}

impl Link {
    /// A Describe of a statement.
    pub(super) fn describe(
        &mut self,
        name: &[u8],
        frame: Frame,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let asker = match self.named(name, statements.client) {
            Some(named) => Asker::Client { name: name.into(), stamp: named.stamp },
            None => Asker::Untold,
        };
        match self.provide(name, edit, statements) {
            Use::AsItIs => {
                self.expected.push(Expect::Describe { statement: None, asker, parameters: None });
                self.from_client.pass(edit, frame.len);
            }
            Use::Of(statement) => {
                self.ask(&statement, asker, edit);
                edit.skip(frame.len);
            }
            Use::Refused(refused) => {
                self.refuse(refused, edit);
                edit.skip(frame.len);
            }
            Use::Later => {}
        }
    }

    /// What becomes of the use of a statement that the session has, or is sent, and of which the client was told that.
    pub(super) fn compare(
        &mut self,
        statement: Arc<Statement>,
        told: Described,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) -> Use {
        match statements.server.described(statement.id) {
            Some(described) if described == told => Use::Of(statement),
            Some(_) => {
                // Who prepares it again gets one with a name that no session knows.
                statements.catalog.forget(&statement);
                Use::Refused(Refused::Changed)
            }
            None => {
                self.ask(&statement, Asker::Pool, edit);
                edit.message(b'H', &[]);
                self.pause = Pause::Statement(statement.id);
                Use::Later
            }
        }
    }

    fn ask(&mut self, statement: &Statement, asker: Asker, edit: &mut Edit<'_, '_>) {
        edit.message(b'D', &[b"S", statement.server_name()]);
        self.expected.push(Expect::Describe { statement: Some(statement.id), asker, parameters: None });
    }
}
