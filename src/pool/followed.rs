//! A value that is seldom replaced and read all the time: a lock is taken only where it was replaced.

use std::sync::Arc;

use tokio::sync::watch;

/// The present value, as one reader knows it.
pub struct Followed<T> {
    latest: Arc<T>,
    changes: watch::Receiver<Arc<T>>,
}

impl<T> Followed<T> {
    pub fn new(value: &watch::Sender<Arc<T>>) -> Self {
        let mut changes = value.subscribe();
        let latest = Arc::clone(&changes.borrow_and_update());
        Followed { latest, changes }
    }

    pub fn get(&mut self) -> &Arc<T> {
        // Whoever replaces it may be gone: then it stays as it is.
        if self.changes.has_changed().unwrap_or_default() {
            self.latest = Arc::clone(&self.changes.borrow_and_update());
        }
        &self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_followed_by_each_reader_and_stays_when_nobody_replaces_it_any_more() {
        let value = watch::Sender::new(Arc::new(1));
        let (mut first, mut second) = (Followed::new(&value), Followed::new(&value));
        assert_eq!((**first.get(), **second.get()), (1, 1));
        value.send_replace(Arc::new(2));
        assert_eq!((**first.get(), **first.get()), (2, 2));
        value.send_replace(Arc::new(3));
        assert_eq!((**first.get(), **second.get(), **Followed::new(&value).get()), (3, 3, 3));
        drop(value);
        assert_eq!(**first.get(), 3);
    }
}
