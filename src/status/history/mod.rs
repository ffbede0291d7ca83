//! What was: each change of a target's state, and for how long it was up. The snapshot has only what is.
//!
//! The targets' tasks write it, and only when something has changed; whoever reads it computes what is told up to now.
//! Who keeps it in a file takes what is new from a queue, and waits for it on a thread of its own.

mod change;
mod memory;
mod recall;
mod uptime;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use change::{PoolCost, ReasonSet, StateChange};
pub use memory::{AFTER_REMOVAL, DatedChange, IN_ALL, Memory, Observation, PER_TARGET, SLOTS};
pub use recall::Recollection;
pub use uptime::{MEMORY, SPANS, UptimeKind, UptimeSpan, UptimeSpans, WINDOWS};

use super::Moment;
use crate::target::TargetName;

/// So many news wait to be written, at the most. Whoever was too slow for them writes all anew.
const QUEUE: usize = 10_000;

/// The memory of all targets. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<SharedHistory>);

#[derive(Debug, Default)]
struct SharedHistory {
    all: Mutex<HistoryState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct HistoryState {
    memory: Memory,
    /// Where somebody keeps it in a file.
    queue: Option<News>,
    /// Nothing more is to come.
    is_over: bool,
}

/// What is new since it was taken last.
#[derive(Debug, Default)]
pub struct News {
    /// When it was, of whom, and what: `None` where the target is configured no more.
    pub items: Vec<(Moment, TargetName, Option<Arc<StateChange>>)>,
    /// There was more than fits.
    pub has_gap: bool,
    /// Nothing more is to come.
    pub is_over: bool,
}

impl News {
    fn add(&mut self, item: (Moment, TargetName, Option<Arc<StateChange>>)) {
        if self.items.len() < QUEUE {
            self.items.push(item);
        } else {
            self.has_gap = true;
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && !self.has_gap
    }
}

impl History {
    /// A step of a target's task is over.
    pub fn observe(&self, name: &TargetName, seen: &Observation<'_>, now: Moment, cost: Option<PoolCost>) {
        let mut kept = self.kept();
        let changes = kept.memory.observe(name, seen, now, cost);
        if let Some(queue) = &mut kept.queue
            && !changes.is_empty()
        {
            changes.into_iter().for_each(|(at, change)| queue.add((at, name.clone(), Some(change))));
            self.0.changed.notify_all();
        }
    }

    /// Only these targets go on.
    pub fn keep(&self, configured: impl Fn(&TargetName) -> bool, now: Moment) {
        let mut kept = self.kept();
        let ended = kept.memory.keep(configured, now);
        if let Some(queue) = &mut kept.queue {
            ended.into_iter().for_each(|name| queue.add((now, name, None)));
            self.0.changed.notify_all();
        }
    }

    /// Shows it. It must not take long: the targets' tasks wait.
    pub fn look<T>(&self, read: impl FnOnce(&Memory) -> T) -> T {
        read(&self.kept().memory)
    }

    /// From now on, what is new waits to be taken.
    pub fn follow(&self) {
        self.kept().queue = Some(News::default());
    }

    /// Waits for something new, but no longer than `wait`, and takes it.
    pub fn news(&self, wait: Duration) -> News {
        let is_quiet =
            |kept: &mut HistoryState| !kept.is_over && kept.queue.as_ref().is_none_or(News::is_empty);
        let woken = self.0.changed.wait_timeout_while(self.kept(), wait, is_quiet);
        let mut kept = woken.unwrap_or_else(PoisonError::into_inner).0;
        let is_over = kept.is_over;
        News { is_over, ..kept.queue.replace(News::default()).unwrap_or_default() }
    }

    /// A copy of all of it, which has all news: none of them waits any more.
    pub fn copy(&self) -> Memory {
        let mut kept = self.kept();
        kept.queue = Some(News::default());
        kept.memory.clone()
    }

    /// Puts what was before what is.
    pub fn prepend(&self, former: Memory, now: Moment) {
        self.kept().memory.prepend(former, now);
    }

    /// Nothing more is to come.
    pub fn finish(&self) {
        self.kept().is_over = true;
        self.0.changed.notify_all();
    }

    fn kept(&self) -> MutexGuard<'_, HistoryState> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
