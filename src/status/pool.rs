//! What is known of a target's pool: who is connected, which sessions there are, how long clients waited.
//!
//! The pool's thread writes it as it goes, with no lock between it and a scrape: each number is true by itself, and two
//! of them may be a client apart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::Histogram;
use super::login::LoginFailures;
use crate::target::pool::{Listen, Mode, Pool};

/// `pool_wait_duration_seconds`: 1 ms to 60 s.
pub const WAIT: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0];
/// `pool_query_duration_seconds`: 0.1 ms to 60 s.
pub const QUERY: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientState {
    /// Not yet let in: TLS, startup, password.
    Login,
    /// Let in, and between transactions.
    Idle,
    /// Needs a session, and there is none yet.
    Waiting,
    /// Has a session.
    Active,
}

/// What a server session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// Being opened.
    Login,
    /// Ready for the next client.
    Idle,
    /// Pinged, rolled back or reset: not ready for a client just now.
    Testing,
    /// A client has it.
    Active,
}

/// Why a client got no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckoutFailure {
    /// All sessions were in use until its `wait_timeout`.
    Busy,
    /// The target did not come back within its `wait_timeout`, or is not expected to.
    Down,
    /// The target's failure needs somebody to change something.
    Permanent,
    /// An operator has paused the pool for longer than its `wait_timeout`.
    Paused,
    /// The pool is ending.
    Draining,
}

/// One pool: which it is, and its numbers.
#[derive(Debug)]
pub struct PoolStatus {
    listen: Listen,
    mode: Mode,
    clients: [AtomicU64; ClientState::ALL.len()],
    servers: [AtomicU64; ServerState::ALL.len()],
    checkouts: AtomicU64,
    failures: [AtomicU64; CheckoutFailure::ALL.len()],
    resets: AtomicU64,
    waits: Durations<{ WAIT.len() }>,
    queries: Durations<{ QUERY.len() }>,
    pub login_failures: LoginFailures,
    size: AtomicU64,
    max_clients: AtomicU64,
}

/// A histogram that one thread writes and others read.
#[derive(Debug)]
struct Durations<const N: usize> {
    buckets: [AtomicU64; N],
    count: AtomicU64,
    micros: AtomicU64,
}

impl ClientState {
    /// In the order of the series that show them.
    pub const ALL: [ClientState; 4] =
        [ClientState::Login, ClientState::Idle, ClientState::Waiting, ClientState::Active];

    /// The word in metrics and on the page.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientState::Login => "login",
            ClientState::Idle => "idle",
            ClientState::Waiting => "waiting",
            ClientState::Active => "active",
        }
    }
}

impl ServerState {
    /// In the order of the series that show them.
    pub const ALL: [ServerState; 4] =
        [ServerState::Login, ServerState::Idle, ServerState::Testing, ServerState::Active];

    /// The word in metrics and on the page.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServerState::Login => "login",
            ServerState::Idle => "idle",
            ServerState::Testing => "testing",
            ServerState::Active => "active",
        }
    }
}

impl CheckoutFailure {
    /// In the order of the series that show them.
    pub const ALL: [CheckoutFailure; 5] = [
        CheckoutFailure::Busy,
        CheckoutFailure::Down,
        CheckoutFailure::Permanent,
        CheckoutFailure::Paused,
        CheckoutFailure::Draining,
    ];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckoutFailure::Busy => "busy",
            CheckoutFailure::Down => "down",
            CheckoutFailure::Permanent => "permanent",
            CheckoutFailure::Paused => "paused",
            CheckoutFailure::Draining => "draining",
        }
    }
}

impl PoolStatus {
    /// A pool that nothing has happened to. Where it listens and its mode stay: another address is another pool.
    pub fn new(pool: &Pool) -> Self {
        PoolStatus {
            listen: pool.listen.clone(),
            mode: pool.mode,
            clients: Default::default(),
            servers: Default::default(),
            checkouts: AtomicU64::default(),
            failures: Default::default(),
            resets: AtomicU64::default(),
            waits: Durations::default(),
            queries: Durations::default(),
            login_failures: LoginFailures::default(),
            size: AtomicU64::new(pool.size.into()),
            max_clients: AtomicU64::new(pool.max_clients.into()),
        }
    }

    /// Where clients connect.
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// For how long a client keeps a session.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The limits that it now has.
    pub fn set_limits(&self, size: u32, max_clients: u32) {
        self.size.store(size.into(), Relaxed);
        self.max_clients.store(max_clients.into(), Relaxed);
    }

    /// A client came (`from` is `None`), went (`to` is `None`), or does something else now.
    pub fn client_moved(&self, from: Option<ClientState>, to: Option<ClientState>) {
        shift(&self.clients, from.map(|s| s as usize), to.map(|s| s as usize));
    }

    /// So many server sessions do each of [`ServerState::ALL`].
    pub fn set_servers(&self, counts: [usize; ServerState::ALL.len()]) {
        for (gauge, count) in self.servers.iter().zip(counts) {
            gauge.store(count as u64, Relaxed);
        }
    }

    /// A client got a session after that long.
    pub fn checked_out(&self, waited: Duration) {
        self.checkouts.fetch_add(1, Relaxed);
        self.waits.observe(&WAIT, waited);
    }

    /// A client got none.
    pub fn checkout_failed(&self, why: CheckoutFailure) {
        self.failures[why as usize].fetch_add(1, Relaxed);
    }

    /// What a client had left on its session was removed.
    pub fn was_reset(&self) {
        self.resets.fetch_add(1, Relaxed);
    }

    /// A server has answered a query after that long.
    pub fn answered(&self, took: Duration) {
        self.queries.observe(&QUERY, took);
    }

    /// How many clients do that now.
    pub fn clients(&self, state: ClientState) -> u64 {
        self.clients[state as usize].load(Relaxed)
    }

    /// How many server sessions do that now.
    pub fn servers(&self, state: ServerState) -> u64 {
        self.servers[state as usize].load(Relaxed)
    }

    /// Sessions handed to clients.
    pub fn checkouts(&self) -> u64 {
        self.checkouts.load(Relaxed)
    }

    /// Clients that got none.
    pub fn checkout_failures(&self, why: CheckoutFailure) -> u64 {
        self.failures[why as usize].load(Relaxed)
    }

    /// Sessions that were cleaned of what a client had left on them.
    pub fn resets(&self) -> u64 {
        self.resets.load(Relaxed)
    }

    /// How long clients waited for the sessions they got.
    pub fn waits(&self) -> Histogram<{ WAIT.len() }> {
        self.waits.read()
    }

    /// How long queries took, from the question to ReadyForQuery.
    pub fn queries(&self) -> Histogram<{ QUERY.len() }> {
        self.queries.read()
    }

    /// `size` of the configuration.
    pub fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    /// `max_clients` of the configuration.
    pub fn max_clients(&self) -> u64 {
        self.max_clients.load(Relaxed)
    }
}

fn shift(gauges: &[AtomicU64], from: Option<usize>, to: Option<usize>) {
    if let Some(from) = from {
        gauges[from].fetch_sub(1, Relaxed);
    }
    if let Some(to) = to {
        gauges[to].fetch_add(1, Relaxed);
    }
}

impl<const N: usize> Default for Durations<N> {
    fn default() -> Self {
        Durations {
            buckets: [const { AtomicU64::new(0) }; N],
            count: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Durations<N> {
    fn observe(&self, bounds: &[f64; N], took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = bounds.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// The buckets are read first: their sum is never above the count.
    #[allow(clippy::cast_precision_loss)]
    fn read(&self) -> Histogram<N> {
        let buckets = std::array::from_fn(|i| self.buckets[i].load(Relaxed));
        let count = self.count.load(Relaxed).max(buckets.iter().sum());
        Histogram { buckets, count, sum: self.micros.load(Relaxed) as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::status::sample;

    #[test]
    fn a_new_pool_has_its_limits_and_nothing_else() {
        let pool = PoolStatus::new(&sample::pool());
        assert_eq!((pool.size(), pool.max_clients()), (10, 1000));
        assert_eq!((pool.listen().to_string().as_str(), pool.mode()), ("127.0.0.1:6432", Mode::Transaction));
        assert_eq!(ClientState::ALL.map(|state| pool.clients(state)), [0; 4]);
        assert_eq!(ServerState::ALL.map(|state| pool.servers(state)), [0; 4]);
        assert_eq!((pool.waits().count, pool.queries().count, pool.checkouts()), (0, 0, 0));
        pool.set_limits(3, 7);
        assert_eq!((pool.size(), pool.max_clients()), (3, 7));
    }

    #[test]
    fn sessions_are_shown_by_what_they_do() {
        let pool = PoolStatus::new(&sample::pool());
        pool.set_servers([1, 2, 3, 4]);
        assert_eq!(ServerState::ALL.map(|state| pool.servers(state)), [1, 2, 3, 4]);
    }

    #[test]
    fn what_lies_above_the_last_bound_is_in_the_count_alone() {
        let pool = PoolStatus::new(&sample::pool());
        for millis in [0, 1, 2, 60_000, 60_001] {
            pool.checked_out(Duration::from_millis(millis));
        }
        let waits = pool.waits();
        assert_eq!(waits.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((waits.count, waits.sum, pool.checkouts()), (5, 120.004, 5));
    }

    #[test]
    fn states_and_reasons_stand_where_their_numbers_are() {
        assert!(ClientState::ALL.iter().enumerate().all(|(i, state)| *state as usize == i));
        assert!(ServerState::ALL.iter().enumerate().all(|(i, state)| *state as usize == i));
        assert!(CheckoutFailure::ALL.iter().enumerate().all(|(i, why)| *why as usize == i));
    }

    proptest! {
        /// Clients come, change and go, each from where it was.
        #[test]
        fn gauges_that_move_in_pairs_never_pass_zero(moves in prop::collection::vec((0_usize..8, 0_usize..5), 0..200)) {
            let pool = PoolStatus::new(&sample::pool());
            let mut clients = [None; 8];
            for (who, to) in moves {
                let to = ClientState::ALL.get(to).copied();
                pool.client_moved(clients[who], to);
                clients[who] = to;
                for state in ClientState::ALL {
                    let there = clients.iter().filter(|client| **client == Some(state)).count();
                    prop_assert_eq!(pool.clients(state), there as u64);
                }
            }
        }

        #[test]
        fn no_scrape_sees_more_in_the_buckets_than_in_the_count(micros in prop::collection::vec(any::<u32>(), 0..100)) {
            let pool = PoolStatus::new(&sample::pool());
            for micros in &micros {
                pool.answered(Duration::from_micros((*micros).into()));
                let seen = pool.queries();
                prop_assert!(seen.buckets.iter().sum::<u64>() <= seen.count);
            }
            let sum: u64 = micros.iter().map(|micros| u64::from(*micros)).sum();
            prop_assert_eq!(pool.queries().count, micros.len() as u64);
            prop_assert_eq!(pool.queries().sum, sum as f64 / 1e6);
        }
    }
}
