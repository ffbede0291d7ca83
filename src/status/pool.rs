//! What is known of a target's pool at one moment: who is connected, which sessions there are, how long clients waited.
//!
//! The pool writes it in its slot on the [`board`](super::board); whoever looks at the board gets a copy, of which no two
//! numbers are from different moments.

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
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStatus {
    /// Where clients connect. That and the mode stay: with another one it is another pool.
    pub listen: Listen,
    /// For how long a client keeps a session.
    pub mode: Mode,
    /// `size` of the configuration.
    pub size: u64,
    /// `max_clients` of the configuration.
    pub max_clients: u64,
    /// An operator has paused it.
    pub paused: bool,
    clients: [u64; ClientState::ALL.len()],
    servers: [u64; ServerState::ALL.len()],
    /// Sessions handed to clients.
    pub checkouts: u64,
    failures: [u64; CheckoutFailure::ALL.len()],
    /// Sessions that were cleaned of what a client had left on them.
    pub resets: u64,
    /// How long clients waited for the sessions they got.
    pub waits: Histogram<{ WAIT.len() }>,
    /// How long queries took, from the question to ReadyForQuery.
    pub queries: Histogram<{ QUERY.len() }>,
    pub login_failures: LoginFailures,
    /// Clients that were disconnected because the session they had was lost.
    pub disconnects: u64,
}

/// Who waits for longer has noticed it.
const LONG: f64 = 0.1;

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
    /// A pool that nothing has happened to.
    pub fn new(pool: &Pool) -> Self {
        PoolStatus {
            listen: pool.listen.clone(),
            mode: pool.mode,
            size: pool.size.into(),
            max_clients: pool.max_clients.into(),
            paused: false,
            clients: Default::default(),
            servers: Default::default(),
            checkouts: 0,
            failures: Default::default(),
            resets: 0,
            waits: Histogram::default(),
            queries: Histogram::default(),
            login_failures: LoginFailures::default(),
            disconnects: 0,
        }
    }

    /// A client came (`from` is `None`), went (`to` is `None`), or does something else now.
    pub fn client_moved(&mut self, from: Option<ClientState>, to: Option<ClientState>) {
        if let Some(from) = from {
            self.clients[from as usize] -= 1;
        }
        if let Some(to) = to {
            self.clients[to as usize] += 1;
        }
    }

    /// So many server sessions do each of [`ServerState::ALL`].
    pub fn set_servers(&mut self, counts: [usize; ServerState::ALL.len()]) {
        self.servers = counts.map(|count| count as u64);
    }

    /// A client got a session after that long.
    pub fn checked_out(&mut self, waited: Duration) {
        self.checkouts += 1;
        self.waits.observe(&WAIT, waited);
    }

    /// Clients that got a session, but waited for more than 0.1 s.
    pub fn waited_long(&self) -> u64 {
        let short = WAIT.iter().zip(&self.waits.buckets).filter(|(bound, _)| **bound <= LONG);
        self.waits.count - short.map(|(_, count)| count).sum::<u64>()
    }

    /// A client got none.
    pub fn checkout_failed(&mut self, why: CheckoutFailure) {
        self.failures[why as usize] += 1;
    }

    /// A server has answered a query after that long.
    pub fn answered(&mut self, took: Duration) {
        self.queries.observe(&QUERY, took);
    }

    /// How many clients do that now.
    pub fn clients(&self, state: ClientState) -> u64 {
        self.clients[state as usize]
    }

    /// How many server sessions do that now.
    pub fn servers(&self, state: ServerState) -> u64 {
        self.servers[state as usize]
    }

    /// Clients that got no session.
    pub fn checkout_failures(&self, why: CheckoutFailure) -> u64 {
        self.failures[why as usize]
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
        assert_eq!((pool.size, pool.max_clients, pool.paused), (10, 1000, false));
        assert_eq!((pool.listen.to_string().as_str(), pool.mode), ("127.0.0.1:6432", Mode::Transaction));
        assert_eq!(ClientState::ALL.map(|state| pool.clients(state)), [0; 4]);
        assert_eq!(ServerState::ALL.map(|state| pool.servers(state)), [0; 4]);
        assert_eq!((pool.waits.count, pool.queries.count, pool.checkouts, pool.resets), (0, 0, 0, 0));
    }

    #[test]
    fn sessions_are_shown_by_what_they_do() {
        let mut pool = PoolStatus::new(&sample::pool());
        pool.set_servers([1, 2, 3, 4]);
        assert_eq!(ServerState::ALL.map(|state| pool.servers(state)), [1, 2, 3, 4]);
    }

    #[test]
    fn what_lies_above_the_last_bound_is_in_the_count_alone() {
        let mut pool = PoolStatus::new(&sample::pool());
        for millis in [0, 1, 2, 60_000, 60_001] {
            pool.checked_out(Duration::from_millis(millis));
        }
        assert_eq!(pool.waits.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((pool.waits.count, pool.checkouts), (5, 5));
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
            let mut pool = PoolStatus::new(&sample::pool());
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
    }
}
