//! Portals of statements of whose rows their client was told nothing yet: to describe such a portal tells it of them.
//!
//! Of a statement with a name, a portal's own description is not what is compared: what a plan returns may have other
//! modifiers than its statement. So the session is asked about the statement, where it has not told yet. Drivers prepare
//! one without a name for each use, which is to cost nothing more: of those, the portal's description is read.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::asker::Asker;
use super::edit::Edit;
use super::expect::{Expect, ParsedAs};
use super::provide::Has;
use super::script::GiveUp;
use super::{Link, Statements, TransactionStatus};
use crate::pool::statements::{Statement, Unnamed};

/// So many portals of a kind are known of at a time, with names no longer than servers have.
pub const MOST_PORTALS: usize = 64;
const LONGEST_NAME: usize = 63;

/// What is known of a session's portals.
#[derive(Debug, Default)]
pub struct Portals {
    /// The naming without a name that the portal without a name is of, if its client was told nothing: as most drivers
    /// have it.
    plain: Option<NonZeroU64>,
    /// What few have.
    more: Option<Box<MorePortals>>,
}

#[derive(Debug, Default)]
struct MorePortals {
    /// They give up statements when they are executed.
    giving_up: Vec<(Box<[u8]>, GiveUp)>,
    untold: Vec<Untold>,
    /// The naming for which the session was asked last, while its answer may be to come: it is asked once in a pipeline.
    asked: Option<u64>,
}

/// A portal of a naming of which the client was told nothing.
#[derive(Debug)]
struct Untold {
    portal: Box<[u8]>,
    name: Box<[u8]>,
    stamp: u64,
    /// Of a naming with a name.
    statement: Option<Arc<Statement>>,
}

impl Portals {
    /// How many of them give up statements.
    pub fn giving_up(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.giving_up.len())
    }

    /// What an execution of that portal gives up.
    pub fn gives_up(&self, portal: &[u8]) -> Option<GiveUp> {
        let giving_up = &self.more.as_ref()?.giving_up;
        giving_up.iter().find(|(known, _)| **known == *portal).map(|(_, given_up)| given_up.clone())
    }

    /// Whether one more can be known.
    pub fn have_room(&self, portal: &[u8]) -> bool {
        self.giving_up() < MOST_PORTALS && portal.len() <= LONGEST_NAME
    }

    /// The portal is another from now on, or gone.
    pub fn bind(&mut self, portal: &[u8], given_up: Option<GiveUp>) {
        if portal.is_empty() {
            self.plain = None;
        }
        if let Some(more) = &mut self.more {
            more.untold.retain(|known| *known.portal != *portal);
            more.giving_up.retain(|(known, _)| **known != *portal);
        }
        if let Some(given_up) = given_up {
            self.more.get_or_insert_default().giving_up.push((portal.into(), given_up));
        }
    }

    fn take(&mut self, portal: &[u8]) -> Option<Untold> {
        if portal.is_empty()
            && let Some(stamp) = self.plain.take()
        {
            let (portal, name, stamp) = (Box::default(), Box::default(), stamp.get());
            return Some(Untold { portal, name, stamp, statement: None });
        }
        let untold = &mut self.more.as_mut()?.untold;
        let at = untold.iter().position(|known| *known.portal == *portal)?;
        Some(untold.swap_remove(at))
    }

    /// All that was asked is answered.
    pub fn answered(&mut self, transaction: TransactionStatus) {
        let ends = transaction == TransactionStatus::Idle;
        if ends {
            self.plain = None;
        }
        if let Some(more) = &mut self.more {
            more.asked = None;
            if ends {
                more.untold.clear();
            }
        }
    }
}

impl Link {
    /// A portal is bound to what the client calls so, which is that one of the catalog, if it is one. Where too many are
    /// known, its client will be told as soon as that is so, whether it asks or not.
    pub(super) fn tells_by(
        &mut self,
        portal: &[u8],
        name: &[u8],
        statement: Option<&Arc<Statement>>,
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let client = &*statements.client;
        let (stamp, is_told) = match self.named(name, client) {
            _ if name.is_empty() => (client.unnamed_stamp(), client.unnamed_told().is_some()),
            Some(named) => (named.stamp, named.told.is_some()),
            None => return,
        };
        if is_told {
            return;
        }
        if portal.is_empty() && name.is_empty() {
            self.portals.plain = NonZeroU64::new(stamp);
            return;
        }
        let MorePortals { untold, asked, .. } = &mut **self.portals.more.get_or_insert_default();
        if *asked == Some(stamp) {
            return;
        }
        let statement = statement.filter(|_| !name.is_empty()).map(Arc::clone);
        let one = Untold { portal: portal.into(), name: name.into(), stamp, statement };
        if untold.len() < MOST_PORTALS && portal.len() <= LONGEST_NAME {
            untold.push(one);
        } else {
            self.ask_for_portal(one, edit, statements);
        }
    }

    /// The client has a portal described, which is what follows.
    pub(super) fn describe_portal(
        &mut self,
        portal: &[u8],
        edit: &mut Edit<'_, '_>,
        statements: &mut Statements<'_>,
    ) {
        let untold = self.portals.take(portal);
        // Which answer is of which portal is known as long as none comes that is not waited for.
        if let Some(Untold { stamp, statement: None, .. }) = untold
            && !self.batch.describes_portal
        {
            let (asker, parameters) = (Asker::OwnPortal { stamp }, Some(Box::default()));
            self.expected.push(Expect::Describe { what: ParsedAs::Nothing, asker, parameters });
            return;
        }
        self.batch.describes_portal = true;
        if let Some(untold) = untold {
            self.ask_for_portal(untold, edit, statements);
        }
    }

    fn ask_for_portal(&mut self, untold: Untold, edit: &mut Edit<'_, '_>, statements: &mut Statements<'_>) {
        let Untold { name, stamp, statement, .. } = untold;
        let statement = match statements.client.unnamed() {
            _ if statement.is_some() => statement,
            // It is another one by now.
            _ if stamp != statements.client.unnamed_stamp() => return,
            Unnamed::Prepared(statement) => Some(Arc::clone(statement)),
            Unnamed::None | Unnamed::Kept(_) | Unnamed::Long(_) | Unnamed::NotKept => None,
        };
        let asker = Asker::Portal { name, stamp };
        let Some(statement) = statement else {
            if self.batch.has_unnamed() || self.expected.unnamed.is_known() == Some(true) {
                self.portals.more.get_or_insert_default().asked = Some(stamp);
                self.ask_unnamed(asker, edit);
            }
            return;
        };
        match self.has(statement.id, false, statements) {
            Has::Yes(Some(told)) => {
                asker.tell(told, statements.client, std::iter::empty());
            }
            Has::Yes(None) => {
                self.portals.more.get_or_insert_default().asked = Some(stamp);
                self.ask(&statement, asker, edit);
            }
            // Given up since, though its portal is there.
            Has::No | Has::Perhaps | Has::Awaited => {}
        }
    }
}
