//! One client on one server session: what passes between them, what is changed on the way, and when the session is
//! free again.
//!
//! Headers are read, and the few messages that matter; all else passes as bytes, a message in parts as it comes. Knows
//! no sockets and no clocks: bytes in, bytes out. What is kept and what is added is bounded: where too much is to be
//! sent or to be answered, the link pauses, and no more is read of its client.
//!
//! Renaming prepared statements must not disturb the order of answers. So nothing is answered here: where a client's
//! Parse or Close has nothing to do on the server, a Close of a name that no server knows goes in its place, whose
//! answer comes at the right moment and is passed on as what the client waits for.

mod answers;
mod asked;
mod asker;
mod batch;
mod edit;
mod expect;
mod give_up;
mod idle;
mod portal;
mod provide;
mod refuse;
mod refused;
mod rename;
mod script;
mod session_unnamed;
mod simple;
mod startup_settings;
#[cfg(test)]
mod tests;
mod undo;
mod unnamed;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::answers::Reports;
use self::batch::Batch;
pub use self::edit::Edited;
use self::edit::Flow;
use self::expect::Expected;
pub use self::idle::{Idle, NextMessage};
use self::portal::Portals;
use self::provide::Sending;
use self::startup_settings::StartupSettings;
use self::upload::Upload;
use super::leftovers::Hints;
use super::statements::{ClientStatements, ServerStatements, SharedCatalog, Statement, Under};
use crate::protocol::put;

/// Names of portals and statements, and what else is read of a message, are no longer.
const LONGEST_READ: usize = 1 << 16;

/// So many entries of its lists a client keeps memory for while it has no session.
const KEPT: usize = 16;

/// The state between a client and its session.
#[derive(Debug)]
pub struct Link {
    /// Whether named statements are kept over sessions.
    renames: bool,
    from_client: Flow,
    from_server: Flow,
    expected: Expected,
    batch: Batch,
    /// So many ReadyForQuery are to come until all statements that were prepared before have been given up.
    wiping: usize,
    /// The statements of the catalog that are in use just now.
    bound: Vec<Arc<Statement>>,
    portals: Portals,
    /// Of the last ReadyForQuery.
    transaction: TransactionStatus,
    copy: Copy,
    session: SessionFate,
    /// What the client may have left on the session.
    hints: Hints,
    /// The settings of the moment.
    under: Under,
    startup_settings: StartupSettings,
    /// Tables, types or functions were changed in the transaction.
    changed: bool,
    pause: Pause,
    /// A long text that the client sends, and one that is sent for it.
    upload: Option<Box<Upload>>,
    sending: Option<Sending>,
}

/// What a ReadyForQuery tells of the session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// There is none.
    Idle,
    Open,
    /// It takes nothing but its end.
    Failed,
}

/// COPY data from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    No,
    /// The server takes it.
    In,
    /// The server does not want it any more; what is on its way is read over.
    Failed,
}

/// What has become of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SessionFate {
    Good,
    /// What it has is not what is known of it.
    Stale,
    /// The server has said why it ends the session.
    Ended,
}

/// Why nothing more is taken of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    No,
    /// The server has to take what is there first.
    Full,
    /// The server has to answer first: whether it has a statement, the one without a name, or just anything.
    Statement(u64),
    Unnamed,
    Answers,
}

/// What the link works on beside the bytes.
#[derive(Debug)]
pub struct Statements<'a> {
    pub catalog: SharedCatalog<'a>,
    pub client: &'a mut ClientStatements,
    pub server: &'a mut ServerStatements,
    /// Tells apart the settings that the server understands a text under.
    pub settings: u64,
    /// What the client asked for when it connected.
    pub asked: &'a BTreeMap<String, String>,
}

/// What the client's bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    More,
    /// The client says goodbye; what follows is not read.
    Terminate,
}

/// What a session that its client has left needs before another may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: it is between transactions.
    Clean,
    /// It waits inside a transaction.
    InTransaction,
    /// It still works for the client that has gone; so many ReadyForQuery are to come.
    Busy { ready: usize, synced: bool },
    /// A message was cut off in its middle, or COPY data is waited for: nobody can go on from here.
    Broken,
}

impl Link {
    pub fn new(renames: bool) -> Self {
        Link {
            renames,
            from_client: Flow::default(),
            from_server: Flow::default(),
            expected: Expected::default(),
            batch: Batch::default(),
            wiping: 0,
            bound: Vec::new(),
            portals: Portals::default(),
            transaction: TransactionStatus::Idle,
            copy: Copy::No,
            session: SessionFate::Good,
            hints: Hints::default(),
            under: Under::default(),
            startup_settings: StartupSettings::Kept,
            changed: false,
            pause: Pause::No,
            upload: None,
            sending: None,
        }
    }

    /// The client has got another session. The memory that was needed is kept.
    pub fn begin(&mut self) {
        let Link {
            renames: _,
            from_client,
            from_server,
            expected,
            batch,
            wiping,
            bound,
            portals,
            transaction,
            copy,
            session,
            hints,
            under,
            startup_settings,
            changed,
            pause,
            upload,
            sending,
        } = self;
        from_client.clear();
        from_server.clear();
        expected.clear();
        batch.clear();
        bound.clear();
        *portals = Portals::default();
        (*hints, *under) = (Hints::default(), Under::default());
        (*wiping, *changed) = (0, false);
        (*transaction, *copy, *pause) = (TransactionStatus::Idle, Copy::No, Pause::No);
        (*session, *startup_settings) = (SessionFate::Good, StartupSettings::Kept);
        (*upload, *sending) = (None, None);
    }

    /// Gives back what only large pipelines need.
    pub fn shrink(&mut self) {
        self.expected.shrink();
        self.batch.shrink();
        self.bound.shrink_to(KEPT);
        self.portals = Portals::default();
    }

    /// Nothing is under way and no transaction is open: another client may have the session.
    pub fn is_free(&self) -> bool {
        self.transaction == TransactionStatus::Idle
            && !self.awaits_answer()
            && self.copy != Copy::In
            && self.between_messages()
    }

    /// Neither side has sent a part of a message only, or sent what is not dealt with yet.
    fn between_messages(&self) -> bool {
        self.from_client.between_messages() && self.sending.is_none() && self.from_server.between_messages()
    }

    /// The server owes an answer, or the client a Sync.
    pub fn awaits_answer(&self) -> bool {
        self.batch.is_open() || !self.expected.is_empty()
    }

    /// The server owes an answer for which it needs nothing more of the client: neither a Sync nor COPY data.
    pub fn is_still_answered(&self) -> bool {
        self.expected.ready() > 0 && self.copy != Copy::In
    }

    /// A transaction is open, and its client has nothing under way.
    pub fn is_idle_in_transaction(&self) -> bool {
        self.transaction != TransactionStatus::Idle
            && !self.awaits_answer()
            && self.copy != Copy::In
            && self.between_messages()
    }

    /// The client has sent the beginning of a message whose rest does not come.
    pub fn awaits_rest(&self) -> bool {
        !self.from_client.between_messages() && self.pause == Pause::No
    }

    /// The session is to be closed: somebody would be told of a statement that is there, or is not.
    pub fn is_stale(&self) -> bool {
        self.session == SessionFate::Stale
    }

    /// What the client may have left on the session since this was asked last.
    pub fn take_hints(&mut self) -> Hints {
        std::mem::take(&mut self.hints)
    }

    /// The client keeps the session and waits, and the session may have lost settings that it asked for.
    pub fn has_reset(&self) -> bool {
        let is_due = self.startup_settings.are_due(self.transaction, !self.renames);
        is_due && self.copy != Copy::In && !self.awaits_answer() && self.between_messages()
    }

    /// The session has them again.
    pub fn is_restored(&mut self) {
        self.startup_settings.restored();
    }

    /// The client leaves a transaction in which it has changed tables, types or functions; what others have prepared
    /// meanwhile is by what was there before, or was to be.
    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// The server has told why it ends the session; the client has it.
    pub fn was_told(&self) -> bool {
        self.session == SessionFate::Ended
    }

    /// The client can be told something: no message to it is half-way.
    pub fn can_tell(&self) -> bool {
        self.from_server.between_messages()
    }

    /// In what state the client leaves the session.
    pub fn left(&self) -> Left {
        if self.was_told() || self.copy == Copy::In || !self.between_messages() {
            Left::Broken
        } else if !self.awaits_answer() {
            match self.transaction {
                TransactionStatus::Idle => Left::Clean,
                TransactionStatus::Open | TransactionStatus::Failed => Left::InTransaction,
            }
        } else {
            let synced = !self.batch.is_open() && !self.expected.ends_open();
            Left::Busy { ready: self.expected.ready() + usize::from(!synced), synced }
        }
    }

    /// Nothing more is to be read of the client.
    pub fn is_paused(&self) -> bool {
        self.pause != Pause::No
    }

    /// Whether it goes on with what it has, once all that was for the server is sent.
    pub fn resumes(&self) -> bool {
        match self.pause {
            Pause::No => false,
            Pause::Full => true,
            Pause::Statement(id) => self.wiping == 0 && !self.expected.concerns(id),
            Pause::Unnamed => self.expected.unnamed.is_known().is_some(),
            Pause::Answers => !self.expected.is_full(),
        }
    }
}

impl TransactionStatus {
    /// Of a ReadyForQuery with that body. What no server tells is taken for what lets nobody else have the session.
    fn read(body: &[u8]) -> Self {
        match body.first() {
            Some(b'I') => TransactionStatus::Idle,
            Some(b'E') => TransactionStatus::Failed,
            _ => TransactionStatus::Open,
        }
    }
}
