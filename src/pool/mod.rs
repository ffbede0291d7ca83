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
//! greet/     TLS, startup, SCRAM                dial        opens one
//! client     from its first byte to its last    wash        makes one fit for the next client
//! relay      bytes both ways                    cancel      sends a cancel request on
//! link/      what passes, what is changed       registry    who is connected, and their keys
//! statements prepared ones, over sessions       refusal     why there is no session
//! settings   what follows a client              apology     says so, message by message
//! keeper     opens, pings, replaces, refuses    wire, message   frames
//! ```

mod apology;
mod cancel;
mod client;
mod dial;
pub mod greet;
mod keeper;
mod link;
mod manager;
pub mod message;
mod place;
mod ramp;
mod reception;
mod refusal;
mod registry;
mod relay;
mod server;
mod settings;
mod shared;
mod statements;
mod stock;
mod wash;
mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use self::manager::Means;
use self::manager::{Manager, Order};
use crate::target::Target;

/// Orders that wait; each is answered before the next is given.
const ORDERS: usize = 4;

/// All pools. Nothing runs until one is configured.
pub struct Pools {
    means: Means,
    thread: Option<Thread>,
}

struct Thread {
    orders: mpsc::Sender<Order>,
    handle: JoinHandle<()>,
}

impl Pools {
    pub fn new(means: Means) -> Self {
        Pools { means, thread: None }
    }

    /// Makes the pools of `targets` the pools there are: unchanged ones keep sessions and clients. On an error, which
    /// says what cannot be listened on or read, nothing has changed.
    pub async fn apply(&mut self, targets: &[Arc<Target>]) -> Result<(), Vec<String>> {
        let wanted: Vec<_> = targets.iter().filter(|target| target.pool.is_some()).cloned().collect();
        if wanted.is_empty() && self.thread.is_none() {
            return Ok(());
        }
        let thread = match &self.thread {
            Some(thread) => thread,
            None => {
                let started = Thread::start(self.means.clone())
                    .map_err(|error| vec![format!("the pools' thread cannot be started: {error}")])?;
                self.thread.insert(started)
            }
        };
        let (answer, answered) = oneshot::channel();
        let told = thread.orders.send(Order::Apply { targets: wanted, answer }).await;
        match (told, answered.await) {
            (Ok(()), Ok(outcome)) => outcome,
            _ => Err(vec!["the pools' thread has ended".to_owned()]),
        }
    }

    /// Lets clients finish their transactions, and ends. Returns how many had to be cut off.
    pub async fn drain(self, within: Duration) -> usize {
        let Some(Thread { orders, handle }) = self.thread else {
            return 0;
        };
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + within;
        if orders.send(Order::Drain { until, answer }).await.is_err() {
            return 0;
        }
        let cut = answered.await.unwrap_or_default();
        // It has nothing left to do.
        drop(handle);
        cut
    }
}

impl Thread {
    fn start(means: Means) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, told) = mpsc::channel(ORDERS);
        let run = move || {
            runtime.block_on(Manager::new(means).run(told));
            // A resolver that hangs must not keep the process.
            runtime.shutdown_background();
        };
        let handle = Builder::new().name("pools".to_owned()).spawn(run)?;
        Ok(Thread { orders, handle })
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("running", &self.thread.is_some()).finish_non_exhaustive()
    }
}
