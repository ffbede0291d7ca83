//! What was sent since the last Sync: it succeeds or fails apart from what follows.

use super::KEPT;
use crate::pool::statements::Under;

/// See the module.
#[derive(Debug, Default)]
pub struct Batch {
    pub progress: BatchProgress,
    /// The statements that the session was sent, and those that had to go for them.
    pub sent: Vec<(u64, Under)>,
    pub evicted: Vec<u64>,
    /// The stamp of the first of the client's namings.
    pub named: Option<u64>,
    /// All statements are given up that were named before this naming.
    pub wipes_before: Option<u64>,
    /// A portal is executed.
    pub executes: bool,
    /// A portal is to be described whose answer is not waited for.
    pub describes_portal: bool,
}

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchProgress {
    /// Nothing was asked by the extended protocol.
    #[default]
    NotBegun,
    /// Something was. `has_unnamed` where the client has prepared a statement without a name, or was given its own again.
    Open { has_unnamed: bool },
    /// The server has failed, and reads over everything up to the Sync.
    Failed,
}

impl BatchProgress {
    /// Something was asked.
    pub fn begin(&mut self) {
        if *self == BatchProgress::NotBegun {
            *self = BatchProgress::Open { has_unnamed: false };
        }
    }
}

impl Batch {
    pub fn is_open(&self) -> bool {
        self.progress != BatchProgress::NotBegun
    }

    pub fn has_failed(&self) -> bool {
        self.progress == BatchProgress::Failed
    }

    pub fn has_unnamed(&self) -> bool {
        self.progress == BatchProgress::Open { has_unnamed: true }
    }

    /// Notes whether the session has the client's statement without a name; of no use where it reads over what follows.
    pub fn set_unnamed(&mut self, now: bool) {
        if let BatchProgress::Open { has_unnamed } = &mut self.progress {
            *has_unnamed = now;
        }
    }

    /// Under which settings the session was sent that statement, if it was.
    pub fn has_sent(&self, id: u64) -> Option<Under> {
        self.sent.iter().find(|(sent, _)| *sent == id).map(|(_, under)| *under)
    }

    pub fn shrink(&mut self) {
        self.sent.shrink_to(KEPT);
        self.evicted.shrink_to(KEPT);
    }

    /// Keeps the memory of its lists.
    pub fn clear(&mut self) {
        let Batch { progress, sent, evicted, named, wipes_before, executes, describes_portal } = self;
        sent.clear();
        evicted.clear();
        (*progress, *named, *wipes_before) = (BatchProgress::NotBegun, None, None);
        (*executes, *describes_portal) = (false, false);
    }
}
