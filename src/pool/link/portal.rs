//! Portals of statements of whose rows their client was told nothing yet: to describe such a portal tells it of them.
//!
//! A portal's own description is not what is compared: what a plan returns may have other modifiers than its statement.
//! So the session is asked about the statement, where it has not told yet.

use std::sync::Arc;

use super::asker::Asker;
use super::edit::Edit;
use super::give_up::{LONGEST_NAME, MOST_PORTALS};
use super::provide::Has;
use super::{Link, Statements, TransactionStatus};
use crate::pool::statements::Statement;

/// See the module.
#[derive(Debug, Default)]
pub struct Telling {
    portals: Vec<Untold>,
    /// The naming for which the session was asked last, while its answer may be to come: it is asked once in a pipeline.
    asked: Option<u64>,
}

/// A portal of a naming of which the client was told nothing.
#[derive(Debug)]
struct Untold {
    portal: Box<[u8]>,
    name: Box<[u8]>,
    stamp: u64,
    statement: Arc<Statement>,
}

impl Telling {
    fn take(&mut self, portal: &[u8]) -> Option<Untold> {
        let at = self.portals.iter().position(|known| *known.portal == *portal)?;
        Some(self.portals.swap_remove(at))
    }

    /// The portal is gone, or another one.
    pub fn drop_portal(&mut self, portal: &[u8]) {
        self.portals.retain(|known| *known.portal != *portal);
    }

    /// All that was asked is answered.
    pub fn answered(&mut self, transaction: TransactionStatus) {
        self.asked = None;
        if transaction == TransactionStatus::Idle {
            self.portals.clear();
        }
    }
}

impl Link {
    /// A portal is bound to what the client calls so, and was told nothing of.
    pub(super) fn tells_by(&mut self, portal: &[u8], name: &[u8], stamp: u64, statement: &Arc<Statement>) {
        let Telling { portals, asked } = &mut **self.telling.get_or_insert_default();
        if *asked != Some(stamp) && portals.len() < MOST_PORTALS && portal.len() <= LONGEST_NAME {
            let statement = Arc::clone(statement);
            portals.push(Untold { portal: portal.into(), name: name.into(), stamp, statement });
        }
    }

    /// The client has a portal described, which is what follows.
    pub(super) fn describe_portal(
        &mut self,
        portal: &[u8],
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let Some(Untold { name, stamp, statement, .. }) =
            self.telling.as_mut().and_then(|telling| telling.take(portal))
        else {
            return;
        };
        match self.has(statement.id, statements) {
            Has::Yes(Some(told)) => {
                Asker::Portal { name, stamp }.tell(told, statements.client, std::iter::empty());
            }
            Has::Yes(None) => {
                self.telling.get_or_insert_default().asked = Some(stamp);
                self.ask(&statement, Asker::Portal { name, stamp }, edit);
            }
            // Given up since, though its portal is there.
            Has::No | Has::Perhaps | Has::Awaited => {}
        }
    }
}
