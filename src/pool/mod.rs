//! The door: applications connect here, and get a session that lives.
//!
//! A pool listens like PostgreSQL, knows one target, and shares that target's sessions among its clients. The supervised
//! session is its canary: it dials while the line is up, through the same connector and gate, and tells at once those
//! whom it can't serve. It knows the target's snapshot and asks the supervisor for a wake; neither of them knows it.
//!
//! All pools run on one thread of their own, so that a busy application delays no ping and no scrape.
//!
//! ```text
//! manager    starts, changes, ends pools        stock       idle sessions, waiting clients
//! reception  takes clients in                   server      a session, and what the pool asks of it
//! handshake/ TLS, startup, SCRAM                dial        opens one
//! login      until a client has logged in       wash        makes one fit for the next client
//! client     from there to its last byte        place       counts what is held
//! relay      bytes both ways                    cancel      sends a cancel request on
//! link/      what passes, what is changed       registry    who is connected, and their keys
//! statements prepared ones, over sessions       refusal     why there is no session
//! settings   what follows a client              reject      says so, message by message
//! keeper     opens, pings, replaces, refuses    certificate reads what is shown under TLS
//! wire, message                                 frames
//! ```

mod cancel;
mod certificate;
mod client;
mod dial;
pub mod handshake;
mod inspect;
mod keeper;
mod leftovers;
mod link;
mod login;
mod manager;
mod place;
mod ramp;
mod reception;
mod refusal;
mod registry;
mod reject;
mod relay;
mod server;
mod settings;
mod shared;
mod statements;
mod stock;
mod wash;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::error;

use self::certificate::Certificate;
pub use self::manager::Means;
use self::manager::{Manager, Told, Wanted};
use crate::config::reading::Reading;
use crate::target::Target;
use crate::target::pool::Pool;

/// Orders that wait; each is answered before the next is given.
const ORDERS: usize = 4;
/// How long the certificate files of all pools may take to be read.
const READING: Duration = Duration::from_secs(10);
/// How long the pools' thread may take to answer beyond what it is given.
const ANSWERING: Duration = Duration::from_secs(2);

/// All pools. Nothing runs until one is configured.
pub struct Pools {
    means: Means,
    /// To the pools' thread.
    orders: Option<mpsc::Sender<Told>>,
    reading: Reading<Vec<Wanted>>,
}

impl Pools {
    pub fn new(means: Means) -> Self {
        Pools { means, orders: None, reading: Reading::default() }
    }

    /// Makes the pools of `targets` the pools there are: unchanged ones keep sessions and clients. On an error, which
    /// says what cannot be listened on or read, nothing has changed.
    pub async fn apply(&mut self, targets: &[Arc<Target>]) -> Result<(), Vec<String>> {
        let wanted = self.wanted(targets).await.map_err(|message| vec![message])?;
        if wanted.is_empty() && self.orders.is_none() {
            return Ok(());
        }
        let orders = match &self.orders {
            Some(orders) => orders,
            None => {
                let started = start(self.means.clone())
                    .map_err(|error| vec![format!("the pools' thread cannot be started: {error}")])?;
                self.orders.insert(started)
            }
        };
        let (answer, answered) = oneshot::channel();
        let told = async {
            orders.send(Told::Apply { pools: wanted, answer }).await.ok()?;
            answered.await.ok()
        };
        match timeout(ANSWERING, told).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(vec!["the pools' thread has ended".to_owned()]),
            Err(_) => Err(vec![format!("the pools' thread has not answered within {ANSWERING:?}")]),
        }
    }

    /// The pools of these targets, with what is in their files.
    async fn wanted(&mut self, targets: &[Arc<Target>]) -> Result<Vec<Wanted>, String> {
        let pools: Vec<_> =
            targets.iter().filter_map(|target| Some((Arc::clone(target), target.pool.clone()?))).collect();
        if pools.is_empty() {
            return Ok(Vec::new());
        }
        let with_certificate = |(target, pool): (Arc<Target>, Arc<Pool>)| {
            let certificate: Certificate = certificate::read(&pool.tls);
            Wanted { target, pool, certificate }
        };
        let read = self.reading.run(move || pools.into_iter().map(with_certificate).collect());
        match timeout(READING, read).await {
            Ok(Ok(wanted)) => Ok(wanted),
            Ok(Err(failure)) => Err(format!("reading the pools' certificates failed: {failure}")),
            Err(_) => Err(format!(
                "the pools' certificates could not be read within {READING:?}: are they on a disk that hangs?"
            )),
        }
    }

    /// Lets clients finish their transactions, and ends. Returns how many had to be cut off.
    pub async fn drain(self, within: Duration) -> usize {
        let Some(orders) = self.orders else {
            return 0;
        };
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + within;
        let told = async {
            orders.send(Told::Drain { until, answer }).await.ok()?;
            answered.await.ok()
        };
        let Ok(cut) = timeout(within + ANSWERING, told).await else {
            error!("the pools' thread does not answer, and is not waited for any longer");
            return 1;
        };
        cut.unwrap_or_default()
    }
}

/// Starts the thread of all pools. It ends once it has drained, or when its orders' sender is gone.
fn start(means: Means) -> io::Result<mpsc::Sender<Told>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (orders, told) = mpsc::channel(ORDERS);
    let run = move || {
        runtime.block_on(Manager::new(means).run(told));
        // A resolver that hangs must not keep the process.
        runtime.shutdown_background();
    };
    Builder::new().name("pools".to_owned()).spawn(run)?;
    Ok(orders)
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("running", &self.orders.is_some()).finish_non_exhaustive()
    }
}
