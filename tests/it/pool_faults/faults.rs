//! What is done to the server, to its sessions and to clients of the pool, one fault after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::demo::postgres::{Cluster, Shutdown};
use pgtether::protocol::frontend::cancel_request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::client::Shared;
use super::idlers::Idlers;
use super::ledger::Outcome;
use super::operator::Operator;
use super::visitors;
use super::wire::Wire;
use super::{SIZE, USERS};
use crate::wire::{message, parse};

/// How long the server may take until it answers its superuser again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `pg_terminate_backend`.
    Terminate,
    /// A backend is killed as by the system: the server ends all sessions and recovers.
    Crash,
    RestartFast,
    RestartImmediate,
    /// One backend, or all processes, are stopped where they are, and go on later.
    HangOne,
    HangAll,
    /// A client is gone: in its login, between two transactions, in one, and in a copy; always in mid-message, or
    /// before it has read its answer.
    LeaveLogin,
    LeaveIdle,
    LeaveTransaction,
    LeaveCopy,
    /// A client's query is cancelled with its own key, with one of a session that is over, with one of nobody's.
    CancelOwn,
    CancelFormer,
    CancelInvented,
    /// A client says half a login or half a message, or reads no answer, and stays.
    Stall,
    /// A client ends its pipeline in a Flush, as psycopg does, and stays.
    FlushAndStay,
    /// A client sets what `pg_dump` sets, and leaves.
    Dump,
    /// The type of a column changes under prepared statements.
    Reshape,
    /// The configuration is loaded again, with another size of the pools.
    Reload,
    /// An operator pauses a pool for a while, in which the other faults go on; resumes one, whether it is paused or not;
    /// has all its sessions replaced.
    Pause,
    Resume,
    Reconnect,
}

/// What the faults are injected into, and the randomness that selects them.
pub struct Faults {
    pub cluster: Arc<Mutex<Cluster>>,
    /// Where clients connect to.
    pub urls: Vec<String>,
    /// Users of the sessions at the server, as a pattern.
    pub users: &'static str,
    pub shared: Arc<Shared>,
    pub dice: fastrand::Rng,
    /// The superuser's session, once it was needed, until it is lost.
    pub admin: Option<Client>,
    /// Clients that stay and do nothing more.
    pub idlers: Idlers,
    /// Of each kind of client that comes and is not checked otherwise: how many came, and how many could do what they came
    /// for.
    pub visits: BTreeMap<Kind, (usize, usize)>,
    /// There is none where clients connect to the server itself.
    pub operator: Option<Operator>,
}

impl Kind {
    /// Each kind and its share of a thousand.
    pub const SHARES: [(Kind, usize); 21] = [
        (Kind::Terminate, 180),
        (Kind::Crash, 6),
        (Kind::RestartFast, 7),
        (Kind::RestartImmediate, 7),
        (Kind::HangOne, 70),
        (Kind::HangAll, 20),
        (Kind::LeaveLogin, 50),
        (Kind::LeaveIdle, 90),
        (Kind::LeaveTransaction, 90),
        (Kind::LeaveCopy, 60),
        (Kind::CancelOwn, 120),
        (Kind::CancelFormer, 50),
        (Kind::CancelInvented, 30),
        (Kind::Stall, 50),
        (Kind::FlushAndStay, 40),
        (Kind::Dump, 40),
        (Kind::Reshape, 20),
        (Kind::Reload, 20),
        (Kind::Pause, 20),
        (Kind::Resume, 10),
        (Kind::Reconnect, 20),
    ];

    /// So many faults, each kind by its share and at least once, in an order by lot.
    pub fn deck(count: usize, dice: &mut fastrand::Rng) -> Vec<Kind> {
        let mut deck = Vec::new();
        for (kind, share) in Self::SHARES {
            deck.extend(std::iter::repeat_n(kind, (count * share / 1000).max(1)));
        }
        // What rounding took away.
        deck.resize(deck.len().max(count), Kind::Terminate);
        dice.shuffle(&mut deck);
        deck
    }
}

/// How often each kind is in a deck.
pub fn counts(deck: &[Kind]) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for kind in deck {
        *counts.entry(*kind).or_default() += 1;
    }
    counts
}

impl Faults {
    /// Does one, and waits until it is done: a server that was stopped runs again, but need not have recovered.
    pub async fn strike(&mut self, kind: Kind) {
        match kind {
            Kind::Terminate => self.terminate().await,
            Kind::Crash => self.crash().await,
            Kind::RestartFast => self.restart(Shutdown::Fast).await,
            Kind::RestartImmediate => self.restart(Shutdown::Immediate).await,
            Kind::HangOne => self.hang_one().await,
            Kind::HangAll => self.hang_all().await,
            Kind::LeaveLogin | Kind::LeaveIdle | Kind::LeaveTransaction | Kind::LeaveCopy => {
                // A pool that lets nobody in just now has seen a fault already.
                let _ = self.leave(kind).await;
            }
            Kind::CancelOwn => self.shared.clone().keys.cancel_one(&mut self.dice).await,
            Kind::CancelFormer => self.shared.clone().keys.cancel_former().await,
            Kind::CancelInvented => self.cancel_invented().await,
            Kind::Stall | Kind::FlushAndStay | Kind::Dump | Kind::Reshape => {
                let visit = match kind {
                    Kind::Stall => self.idlers.stall(&self.urls, &mut self.dice).await,
                    Kind::FlushAndStay => self.idlers.flush_and_stay(&self.urls, &mut self.dice).await,
                    Kind::Dump => visitors::dump(&self.urls, &mut self.dice).await,
                    _ => visitors::reshape(&self.urls, &mut self.dice).await,
                };
                self.count(kind, visit.is_ok());
            }
            Kind::Reload => {
                let size = self.dice.usize(SIZE / 2..=SIZE);
                if let Some(operator) = &self.operator {
                    operator.reload(size);
                }
            }
            Kind::Pause | Kind::Resume | Kind::Reconnect => self.operate(kind).await,
        }
    }

    /// Whoever came, and whether it could do what it came for.
    fn count(&mut self, kind: Kind, is_done: bool) {
        let (came, done) = self.visits.entry(kind).or_default();
        *came += 1;
        *done += usize::from(is_done);
    }

    async fn operate(&mut self, kind: Kind) {
        let (pool, lasts) = (self.dice.choice(USERS).unwrap(), Duration::from_millis(self.dice.u64(20..500)));
        let Some(operator) = &mut self.operator else { return };
        let is_done = match kind {
            Kind::Pause => return operator.pause(pool, lasts),
            Kind::Resume => operator.resume(pool).await,
            _ => operator.reconnect(pool).await,
        };
        self.count(kind, is_done);
    }

    /// What has been going on beside the faults, to its end.
    pub async fn end(&mut self) {
        self.idlers = Idlers::default();
        let pauses = match &mut self.operator {
            Some(operator) => operator.end().await,
            None => Vec::new(),
        };
        pauses.into_iter().for_each(|is_done| self.count(Kind::Pause, is_done));
    }

    async fn terminate(&mut self) {
        if let Some(pid) = self.victim().await {
            // The server may have gone down since it was asked: then the session is gone as well.
            let _ = self.admin(&format!("SELECT pg_terminate_backend({pid})")).await;
        }
    }

    async fn crash(&mut self) {
        if let Some(pid) = self.victim().await {
            // One that has ended meanwhile needs no signal.
            let _ = self.cluster.lock().unwrap().kill_backend(pid);
        }
    }

    async fn restart(&mut self, how: Shutdown) {
        let away = Duration::from_millis(self.dice.u64(0..300));
        let cluster = self.cluster.clone();
        let restart = spawn_blocking(move || {
            let mut cluster = cluster.lock().unwrap();
            cluster.stop(how)?;
            std::thread::sleep(away);
            cluster.start()
        });
        restart.await.unwrap().unwrap_or_else(|e| panic!("{how:?}: {e}"));
    }

    async fn hang_one(&mut self) {
        let Some(pid) = self.victim().await.map(Pid::from_raw) else { return };
        if kill(pid, Signal::SIGSTOP).is_ok() {
            sleep(Duration::from_millis(self.dice.u64(10..200))).await;
            let _ = kill(pid, Signal::SIGCONT);
        }
    }

    async fn hang_all(&mut self) {
        let lasts = Duration::from_millis(self.dice.u64(20..400));
        let cluster = self.cluster.clone();
        spawn_blocking(move || {
            let cluster = cluster.lock().unwrap();
            cluster.pause();
            std::thread::sleep(lasts);
            cluster.resume();
        })
        .await
        .unwrap();
    }

    async fn leave(&mut self, kind: Kind) -> Result<(), String> {
        let url = self.dice.choice(&self.urls).unwrap().clone();
        let mut last_words = match self.dice.u32(0..4) {
            0 => message(b'Q', b"SELECT 'half a question'\0"),
            1 => [parse("", "SELECT $1"), message(b'B', &[0; 40])].concat(),
            2 => [parse("gone", "SELECT $1"), message(b'D', b"Sgone\0")].concat(),
            _ => message(b'd', &[b'x'; 100_000]),
        };
        last_words.truncate(last_words.len() - 3);
        let mut wire = match kind {
            Kind::LeaveLogin => {
                last_words = vec![0, 0, 0, 80, 0, 3, 0, 0, b'u', b's'];
                Wire::silent(&url).await?
            }
            Kind::LeaveTransaction => self.in_transaction(&url).await?,
            Kind::LeaveCopy => {
                last_words = [message(b'd', b"a line\n"), message(b'd', b"one more\n")].concat();
                last_words.truncate(last_words.len() - self.dice.usize(0..6));
                let mut wire = Wire::open(&url, &[]).await?;
                wire.send(&message(b'Q', b"COPY spilled FROM STDIN\0")).await?;
                wire
            }
            _ => Wire::open(&url, &[]).await?,
        };
        if kind != Kind::LeaveCopy && self.dice.u32(0..4) == 0 {
            // All is said, but the answer will find nobody.
            last_words = message(b'Q', b"SELECT pg_sleep(0.05), repeat('x', 100000)\0");
        }
        wire.send(&last_words).await?;
        sleep(Duration::from_millis(self.dice.u64(0..10))).await;
        if self.dice.bool() {
            wire.reset();
        }
        Ok(())
    }

    /// With a transfer begun that must never be there.
    async fn in_transaction(&mut self, url: &str) -> Result<Wire, String> {
        let ledger = &self.shared.ledger;
        let transfer = ledger.begin(&mut self.dice);
        ledger.tell(transfer, Outcome::Refused);
        let (id, source, target, amount) = (transfer.id, transfer.source, transfer.target, transfer.amount);
        let row = format!("INSERT INTO transfers VALUES ({id}, {source}, {target}, {amount})");
        let account = source.min(target);
        let lock = format!("UPDATE accounts SET balance = balance + 1 WHERE id = {account}");
        Wire::open(url, &["BEGIN", &row, &lock]).await
    }

    async fn cancel_invented(&mut self) {
        let url = self.dice.choice(&self.urls).unwrap();
        let Some(to) = url.split(['@', '/']).nth(3) else { return };
        let request = cancel_request(self.dice.i32(..), &self.dice.i32(..).to_be_bytes());
        if let Ok(mut stream) = TcpStream::connect(to).await {
            // Half of one, now and then.
            let end = if self.dice.bool() { 16 } else { self.dice.usize(1..16) };
            let _ = stream.write_all(&request[..end]).await;
        }
    }

    /// One of the sessions at the server, by lot.
    async fn victim(&mut self) -> Option<i32> {
        let sql =
            format!("SELECT pid FROM pg_stat_activity WHERE usename LIKE '{}' ORDER BY pid", self.users);
        let pids = self.admin(&sql).await.unwrap_or_default();
        self.dice.choice(pids)
    }

    /// A superuser's query that returns numbers; waits for a server that is recovering.
    async fn admin(&mut self, sql: &str) -> Result<Vec<i32>, tokio_postgres::Error> {
        if self.admin.as_ref().is_none_or(Client::is_closed) {
            self.admin = Some(self.connect().await);
        }
        let Some(client) = &self.admin else { return Ok(Vec::new()) };
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        };
        Ok(client.simple_query(sql).await?.iter().filter_map(first).collect())
    }

    async fn connect(&self) -> Client {
        let conninfo = self.cluster.lock().unwrap().admin_conninfo();
        let begun = Instant::now();
        loop {
            match tokio_postgres::connect(&conninfo, NoTls).await {
                Ok((client, connection)) => {
                    // Ends with the server, or with the client.
                    tokio::spawn(connection);
                    return client;
                }
                Err(e) => assert!(begun.elapsed() < PATIENCE, "the server does not recover: {e:?}"),
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[test]
fn a_deck_holds_every_kind_and_is_the_same_under_the_same_seed() {
    for count in [1, 300, 10_000] {
        let deck = Kind::deck(count, &mut fastrand::Rng::with_seed(7));
        assert_eq!(deck, Kind::deck(count, &mut fastrand::Rng::with_seed(7)));
        assert!(deck.len() >= count && deck.len() <= count + Kind::SHARES.len(), "{}", deck.len());
        assert_eq!(counts(&deck).len(), Kind::SHARES.len());
    }
    assert_eq!(Kind::SHARES.iter().map(|(_, share)| share).sum::<usize>(), 1000);
}
