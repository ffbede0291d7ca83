//! The clients that are connected: what each holds, how to reach it, and the key that its cancel requests must show.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use openssl::memcmp;
use tokio::time::Instant;

use super::handshake::CancelKey;
use super::server::Backend;

/// Protocol 3.0's keys have 4 bytes; 3.2 has up to 256, and PostgreSQL itself uses 32.
const SHORT: usize = 4;
const LONG: usize = 32;
/// Each cancel request is a connection of its own to the server, past the guard. One may have come before the query that
/// it is meant for, so that a second one is sent beside it; a third has nothing to add.
const CANCELS: usize = 2;

/// All clients of a pool.
#[derive(Debug)]
pub struct Registry {
    clients: Mutex<HashMap<i32, Arc<Entry>>>,
    /// What times are counted from.
    epoch: Instant,
}

/// One client, as others see it.
pub struct Entry {
    pub process_id: i32,
    secret: Vec<u8>,
    /// The session that it has, and asks something of.
    holds: Mutex<Option<Arc<Backend>>>,
    signal: AtomicU8,
    /// It was asked to stop waiting for a session.
    cancelled: AtomicBool,
    /// Of its task, which it has for good.
    waker: Waker,
    /// Since when the server owes it an answer and has said nothing, in milliseconds after the epoch, plus 1; 0 where
    /// nothing is owed.
    silent_since: AtomicU64,
}

/// What a client's task is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientSignal {
    GoOn,
    /// Leave at the end of the transaction.
    Leave,
    /// Its server hangs: give it up.
    Cut,
    /// Leave at once.
    End,
}

/// A client's entry, taken out when dropped.
#[derive(Debug)]
pub struct Registered {
    pub entry: Arc<Entry>,
    registry: Arc<Registry>,
}

impl ClientSignal {
    /// The one that is kept as that number.
    fn of(number: u8) -> Self {
        let all = [ClientSignal::GoOn, ClientSignal::Leave, ClientSignal::Cut];
        all.into_iter().find(|signal| *signal as u8 == number).unwrap_or(ClientSignal::End)
    }
}

impl Registry {
    pub fn new() -> Arc<Self> {
        Arc::new(Registry { clients: Mutex::default(), epoch: Instant::now() })
    }

    /// A client of protocol 3.`minor`, whose task is woken by `waker` when it is told something; `None` where the system
    /// has no randomness to make a key of.
    pub fn enter(self: &Arc<Self>, minor: u16, waker: Waker) -> Option<Registered> {
        let mut secret = vec![0; if minor < 2 { SHORT } else { LONG }];
        openssl::rand::rand_bytes(&mut secret).ok()?;
        let mut clients = self.clients();
        let process_id = std::iter::repeat_with(|| fastrand::i32(1..))
            .find(|process_id| !clients.contains_key(process_id))?;
        let entry = Arc::new(Entry {
            process_id,
            secret,
            holds: Mutex::default(),
            signal: AtomicU8::new(0),
            cancelled: AtomicBool::new(false),
            waker,
            silent_since: AtomicU64::new(0),
        });
        clients.insert(process_id, Arc::clone(&entry));
        Some(Registered { entry, registry: Arc::clone(self) })
    }

    /// The session of the client whose key this is, if it has one and is not cancelled already. Nobody else can be told
    /// to use it while the returned request is under way.
    pub fn cancel(&self, key: &CancelKey) -> Option<Cancelling> {
        let entry = self.clients().get(&key.process_id).cloned()?;
        if entry.secret.len() != key.secret.len() || !memcmp::eq(&entry.secret, &key.secret) {
            return None;
        }
        let holds = entry.holds();
        if holds.is_none() {
            entry.cancelled.store(true, Ordering::Release);
            entry.waker.wake_by_ref();
        }
        holds.as_ref().filter(|backend| backend.cancels() < CANCELS).map(Cancelling::new)
    }

    /// Tells all clients the same.
    pub fn tell_all(&self, signal: ClientSignal) {
        for entry in self.clients().values() {
            entry.tell(signal);
        }
    }

    /// Cuts off the clients whose servers have owed an answer for that long without a word.
    pub fn cut_silent(&self, longer_than: Duration, now: Instant) -> usize {
        let limit =
            self.millis(now).saturating_sub(u64::try_from(longer_than.as_millis()).unwrap_or(u64::MAX));
        let clients = self.clients();
        let silent = clients.values().filter(|entry| {
            let since = entry.silent_since.load(Ordering::Relaxed);
            since != 0 && since < limit
        });
        silent.filter(|entry| entry.tell(ClientSignal::Cut)).count()
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Nobody panics while holding the lock.
    fn clients(&self) -> MutexGuard<'_, HashMap<i32, Arc<Entry>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// The server owes an answer and was last heard now; or it owes none.
    pub fn owed(&self, owed: bool, now: Instant) {
        let since = if owed { self.registry.millis(now) } else { 0 };
        self.entry.silent_since.store(since, Ordering::Relaxed);
    }
}

impl Entry {
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// What it has now.
    pub fn hold(&self, backend: Option<Arc<Backend>>) {
        *self.holds() = backend;
        self.silent_since.store(0, Ordering::Relaxed);
    }

    /// It begins to wait: what was cancelled before is over.
    pub fn begins_to_wait(&self) {
        self.cancelled.store(false, Ordering::Release);
    }

    /// Whether its waiting was cancelled; its task is woken when it is.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// What it was told last; its task is woken when that changes.
    pub fn signal(&self) -> ClientSignal {
        ClientSignal::of(self.signal.load(Ordering::Acquire))
    }

    /// Whether that is news to it: what it was told before counts on where it asks for more.
    fn tell(&self, signal: ClientSignal) -> bool {
        let before = self.signal.fetch_max(signal as u8, Ordering::AcqRel);
        self.waker.wake_by_ref();
        ClientSignal::of(before) < signal
    }

    fn holds(&self) -> MutexGuard<'_, Option<Arc<Backend>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cancel request under way; its session waits for its end.
#[derive(Debug)]
pub struct Cancelling(pub Arc<Backend>);

impl Cancelling {
    pub fn new(backend: &Arc<Backend>) -> Self {
        backend.cancel_begins();
        Cancelling(Arc::clone(backend))
    }
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        self.0.cancel_ends();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.clients().remove(&self.entry.process_id);
    }
}

/// Without the secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
