//! Connections that have not logged in: how many there may be, and which one goes when one more comes.
//!
//! They have slots of their own, so that whoever says nothing takes nobody's place who has the password. Pure: time is
//! an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whoever is waited for less long is not displaced: it may have sent what has only not been read yet.
pub const GRACE: Duration = Duration::from_secs(2);

/// When a client last did its part of the handshake: connected, or sent a whole message. Single bytes do not count.
#[derive(Debug, Clone)]
pub struct LoginProgress(Arc<Mutex<Instant>>);

impl LoginProgress {
    pub fn new(now: Instant) -> Self {
        LoginProgress(Arc::new(Mutex::new(now)))
    }

    pub fn made(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which connections have not logged in.
#[derive(Debug)]
pub struct Pending<K, V> {
    connections: HashMap<K, (LoginProgress, V)>,
}

/// Whether there is a slot for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<K> {
    Free,
    /// This one has been silent for the longest time, and goes.
    InPlaceOf(K),
    /// None before then, unless one leaves.
    At(Instant),
}

impl<K, V> Default for Pending<K, V> {
    fn default() -> Self {
        Pending { connections: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Pending<K, V> {
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub fn enter(&mut self, key: K, progress: LoginProgress, slot: V) {
        self.connections.insert(key, (progress, slot));
    }

    pub fn leave(&mut self, key: K) -> Option<V> {
        self.connections.remove(&key).map(|(_, slot)| slot)
    }

    /// A slot for one more where there may be `limit`.
    pub fn admit(&self, limit: usize, now: Instant) -> Admission<K> {
        if self.connections.len() < limit { Admission::Free } else { self.displace(now) }
    }

    /// A slot for one more where none is free.
    pub fn displace(&self, now: Instant) -> Admission<K> {
        let last = self.connections.iter().map(|(key, (progress, _))| (*key, progress.last()));
        match last.min_by_key(|(_, last)| *last) {
            Some((key, last)) if now >= last + GRACE => Admission::InPlaceOf(key),
            Some((_, last)) => Admission::At(last + GRACE),
            None => Admission::At(now + GRACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(since: &[u64], base: Instant) -> (Pending<usize, ()>, Vec<LoginProgress>) {
        let mut pending = Pending::default();
        let progress: Vec<_> =
            since.iter().map(|millis| LoginProgress::new(base + Duration::from_millis(*millis))).collect();
        for (key, progress) in progress.iter().enumerate() {
            pending.enter(key, progress.clone(), ());
        }
        (pending, progress)
    }

    #[test]
    fn below_the_limit_there_is_room_and_nobody_goes() {
        let base = Instant::now();
        let (pending, _) = full(&[0, 1], base);
        assert_eq!(pending.admit(3, base + Duration::from_secs(60)), Admission::Free);
        assert_eq!(pending.admit(2, base + Duration::from_secs(60)), Admission::InPlaceOf(0));
    }

    #[test]
    fn the_one_that_was_silent_for_the_longest_time_goes_and_not_the_oldest() {
        let base = Instant::now();
        let (mut pending, progress) = full(&[0, 10, 20], base);
        progress[0].made(base + Duration::from_millis(30));
        let late = base + Duration::from_secs(5);
        assert_eq!(pending.admit(3, late), Admission::InPlaceOf(1));
        pending.leave(1);
        assert_eq!(pending.admit(3, late), Admission::Free);
        pending.enter(3, LoginProgress::new(late), ());
        assert_eq!(pending.admit(3, late), Admission::InPlaceOf(2));
    }

    #[test]
    fn a_crowd_that_comes_at_once_displaces_none_of_its_own() {
        let base = Instant::now();
        let (pending, _) = full(&[0, 10], base);
        assert_eq!(pending.admit(2, base + GRACE / 2), Admission::At(base + GRACE));
        assert_eq!(pending.admit(2, base + GRACE), Admission::InPlaceOf(0));
    }

    #[test]
    fn where_nobody_can_go_there_is_still_a_time_to_look_again() {
        let now = Instant::now();
        assert_eq!(Pending::<usize, ()>::default().displace(now), Admission::At(now + GRACE));
    }

    proptest! {
        /// Whatever the others do, who makes progress stays while somebody else is silent for longer.
        #[test]
        fn whoever_makes_progress_outlasts_the_silent(
            since in proptest::collection::vec(0_u64..5000, 2..40),
            active in 0_usize..40,
        ) {
            let base = Instant::now();
            let active = active % since.len();
            let (mut pending, progress) = full(&since, base);
            let mut now = base + Duration::from_secs(5);
            for _ in 1..since.len() {
                progress[active].made(now);
                now += GRACE;
                match pending.displace(now) {
                    Admission::InPlaceOf(key) => {
                        prop_assert_ne!(key, active);
                        pending.leave(key);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(pending.connections.len(), 1);
        }
    }
}
