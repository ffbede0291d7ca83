//! How much memory the prepared statements of a pool may take: their texts and their names, over all clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A quarter of the 128 MiB that the Helm chart gives the whole process (`resources.limits.memory`).
const BYTES: usize = 32 << 20;

/// A pool's budget; clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// What something takes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(BYTES)
    }
}

impl Budget {
    pub fn new(most: usize) -> Self {
        Budget { used: Arc::default(), most }
    }

    /// `None` where that is more than is left.
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let mut charge = self.nothing();
        charge.change(bytes).then_some(charge)
    }

    pub fn nothing(&self) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Charge {
    /// Takes that much from now on; false, and nothing has changed, where that is more than is left. All of a pool
    /// runs on one thread: nobody comes in between.
    pub fn change(&mut self, bytes: usize) -> bool {
        let others = self.budget.used.load(Ordering::Relaxed) - self.bytes;
        let fits = bytes <= self.bytes || others + bytes <= self.budget.most;
        if fits {
            self.budget.used.store(others + bytes, Ordering::Relaxed);
            self.bytes = bytes;
        }
        fits
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_given_back_and_no_more_than_there_is_can_be_had() {
        let budget = Budget::new(100);
        let mut one = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none());
        let two = budget.charge(40).unwrap();
        assert!(!one.change(61) && one.bytes() == 60);
        assert!(one.change(10) && budget.used() == 50);
        drop(two);
        assert!(one.change(100));
        drop(one);
        assert_eq!(budget.used(), 0);
    }
}
