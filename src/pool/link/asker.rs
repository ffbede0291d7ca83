//! For whom a Describe is sent.

use crate::pool::statements::{ClientStatements, Described};

/// Who wants to know what a statement takes and returns.
#[derive(Debug)]
pub enum Asker {
    /// The client, of what it calls so, and of that naming.
    Client { name: Box<[u8]>, stamp: u64 },
    /// The pool, since the client has a portal of that naming described, which tells it what the statement returns.
    Portal { name: Box<[u8]>, stamp: u64 },
    /// The client, of what has no name in the catalog, or none at all.
    Untold,
    /// The pool, to compare it with what the client was told.
    Pool,
}

impl Asker {
    /// The answer has come.
    pub fn tell(self, told: Described, client: &mut ClientStatements) {
        match self {
            Asker::Client { name, stamp } => client.tell(&name, stamp, told),
            Asker::Portal { name, stamp } => client.tell_of_portal(&name, stamp, told),
            Asker::Untold | Asker::Pool => {}
        }
    }
}
