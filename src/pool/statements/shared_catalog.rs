//! The catalog of a pool, of which most of what passes needs nothing: it is locked when something does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Catalog;

/// A pool's catalog, as one client has it for a moment; nobody else has it from its first use to the end of that.
#[derive(Debug)]
pub struct SharedCatalog<'a> {
    all: &'a Mutex<Catalog>,
    held: Option<MutexGuard<'a, Catalog>>,
}

impl<'a> SharedCatalog<'a> {
    pub fn new(all: &'a Mutex<Catalog>) -> Self {
        SharedCatalog { all, held: None }
    }

    /// Nobody panics while holding the lock.
    pub fn lock(&mut self) -> &mut Catalog {
        self.held.get_or_insert_with(|| self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it was needed.
    #[cfg(test)]
    pub fn is_locked(&self) -> bool {
        self.held.is_some()
    }
}
