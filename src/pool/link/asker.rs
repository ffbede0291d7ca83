//! For whom a Describe is sent.

use crate::pool::statements::{ClientStatements, Described, Named};

/// Who wants to know what a statement takes and returns.
#[derive(Debug)]
pub enum Asker {
    /// The client, of what it calls so, and of that naming.
    Client { name: Box<[u8]>, stamp: u64 },
    /// The pool, since the client has a portal of that naming described, which tells it what the statement returns.
    Portal { name: Box<[u8]>, stamp: u64 },
    /// The client, of a portal of that naming without a name: the answer is the portal's.
    OwnPortal { stamp: u64 },
    /// The client, of what has no name in the catalog, or none at all.
    Untold,
    /// The pool, to compare it with what the client was told.
    Pool,
}

impl Asker {
    /// The client gets the answer.
    pub fn is_client(&self) -> bool {
        matches!(self, Asker::Client { .. } | Asker::OwnPortal { .. } | Asker::Untold)
    }

    /// The answer has come. It is of a naming that the client has, or of one that is about to be closed.
    pub fn tell<'a>(
        self,
        told: Described,
        client: &mut ClientStatements,
        mut closed: impl Iterator<Item = &'a mut Named>,
    ) {
        let (name, stamp, told) = match self {
            Asker::Client { name, stamp } => (name, stamp, told),
            Asker::Portal { name, stamp } => (name, stamp, told.of_portal()),
            Asker::OwnPortal { stamp } => (Box::default(), stamp, told),
            Asker::Untold | Asker::Pool => return,
        };
        if !client.tell(&name, stamp, told)
            && let Some(named) = closed.find(|named| named.stamp == stamp)
        {
            told.tell(&mut named.told);
        }
    }
}
