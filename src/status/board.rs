//! The board: one slot a target, written by its supervisor, read by everybody.
//!
//! The board owns the senders, so that a task that panics cannot freeze what people see.

use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use super::{Moment, TargetStatus, View};

/// A target's place on the board.
pub type Slot = Arc<watch::Sender<TargetStatus>>;

/// All targets, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<RwLock<Arc<Vec<Slot>>>>);

impl Board {
    /// The slots as they are now; a reload replaces the list, never changes it.
    pub fn slots(&self) -> Arc<Vec<Slot>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Shows this list from now on.
    pub fn replace(&self, mut slots: Vec<Slot>) {
        slots.sort_by(|a, b| a.borrow().name.cmp(&b.borrow().name));
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(slots);
    }

    /// The slot of the target with that name.
    pub fn get(&self, name: &str) -> Option<Slot> {
        self.slots().iter().find(|slot| slot.borrow().name.as_str() == name).cloned()
    }

    /// All targets as they are at `now`, held still while `read` looks at them. It must not take long: the writers wait.
    pub fn look<T>(&self, now: Moment, read: impl FnOnce(&[View<'_>]) -> T) -> T {
        let slots = self.slots();
        let held: Vec<_> = slots.iter().map(|slot| slot.borrow()).collect();
        let views: Vec<_> = held.iter().map(|status| View::new(status, now)).collect();
        read(&views)
    }

    /// The targets whose loop is overdue.
    pub fn overdue(&self, now: Moment) -> Vec<String> {
        let late = |slot: &Slot| {
            let status = slot.borrow();
            View::new(&status, now).stalled().then(|| status.name.to_string())
        };
        self.slots().iter().filter_map(late).collect()
    }
}
