//! All pools of the process: starts, changes and ends them as the configuration says. Runs on the pools' own thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info};

use super::certificate::Certificate;
use super::handshake::{Acceptor, Listener, bind};
use super::keeper::{Keeper, Stage};
use super::reception;
use super::shared::{Shared, Terms};
use crate::connection::Postgres;
use crate::status::board::Board;
use crate::supervisor::Requests;
use crate::supervisor::gate::Gate;
use crate::target::pool::{Auth, ClientTls, Listen, Pool};
use crate::target::{Target, TargetName};

/// How long it may take to drop what was not gone in time.
const CUTTING: Duration = Duration::from_millis(500);
/// A pool that crashed is started again after that long: it may crash at once, and the others share its thread.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// What the manager is told.
pub enum Told {
    /// These are the pools now. Answered with what is wrong; then nothing has changed.
    Apply { pools: Vec<Wanted>, answer: oneshot::Sender<Result<(), Vec<String>>> },
    /// End all of them by then. Answered with the number of clients that were cut off.
    Drain { until: Instant, answer: oneshot::Sender<usize> },
}

/// A pool that is to be.
pub struct Wanted {
    pub target: Arc<Target>,
    pub pool: Arc<Pool>,
    pub certificate: Certificate,
}

/// What every pool works with.
#[derive(Debug, Clone)]
pub struct Means {
    pub connector: Postgres,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    /// For clients of all pools.
    pub descriptors: Arc<Semaphore>,
}

pub struct Manager {
    means: Means,
    running: HashMap<TargetName, Running>,
    /// Those that take in nobody any more and wait for their last client.
    leaving: Vec<watch::Sender<Stage>>,
    /// Each pool, until its last client has gone; those that are replaced, too.
    tasks: JoinSet<usize>,
    names: HashMap<Id, TargetName>,
    cut: usize,
}

/// A pool that takes in clients.
struct Running {
    task: Id,
    listener: Arc<Listener>,
    terms: watch::Sender<Arc<Terms>>,
    stage: watch::Sender<Stage>,
}

/// A pool of the new list, with all that can go wrong behind it.
struct Ready {
    terms: Arc<Terms>,
    listener: Arc<Listener>,
}

impl Manager {
    pub fn new(means: Means) -> Self {
        Manager {
            means,
            running: HashMap::new(),
            leaving: Vec::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
            cut: 0,
        }
    }

    /// Until told to drain, or until nobody is left to tell.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Told>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Told::Apply { pools, answer }) => _ = answer.send(self.apply(pools)),
                    Some(Told::Drain { until, answer }) => {
                        let cut = self.drain(until).await;
                        let _ = answer.send(cut);
                        return;
                    }
                    None => return,
                },
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
            }
        }
    }

    fn apply(&mut self, pools: Vec<Wanted>) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let mut ready = Vec::new();
        for pool in pools {
            let name = pool.target.name.clone();
            match self.prepare(pool) {
                Ok(pool) => ready.push(pool),
                Err(message) => wrong.push(format!("the pool of \"{name}\": {message}")),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.permit(&ready).map_err(|message| vec![message])?;
        let goes_on = |name: &TargetName| ready.iter().any(|pool| pool.terms.target.name == *name);
        let gone: Vec<_> = self.running.extract_if(|name, _| !goes_on(name)).collect();
        for (_, running) in gone {
            self.leave(running);
        }
        for pool in ready {
            self.put(pool);
        }
        Ok(())
    }

    /// The socket and the certificate.
    fn prepare(&self, wanted: Wanted) -> Result<Ready, String> {
        let Wanted { target, pool, certificate } = wanted;
        let certificate = certificate?;
        let known = self.running.values().find(|running| running.terms.borrow().pool.listen == pool.listen);
        let listener = match known {
            Some(running) => Arc::clone(&running.listener),
            None => Arc::new(bind(&pool.listen, pool.auth).map_err(|error| error.to_string())?),
        };
        let same_tls = known
            .map(|running| running.terms.borrow().clone())
            .filter(|terms| terms.pool.tls == ClientTls::SelfSigned && pool.tls == ClientTls::SelfSigned);
        let acceptor = match (&pool.listen, &pool.tls, same_tls) {
            (_, _, Some(terms)) => terms.acceptor.clone(),
            (Listen::Unix(_), _, _) | (_, ClientTls::Off, _) => None,
            (_, ClientTls::SelfSigned, _) => {
                Some(Arc::new(Acceptor::self_signed().map_err(|e| e.to_string())?))
            }
            (_, ClientTls::Files { .. }, _) => certificate,
        };
        let terms = Terms { target, pool, acceptor };
        Ok(Ready { terms: Arc::new(terms), listener })
    }

    /// Who may connect to the sockets that stay: before anybody is let in by the new terms, and all of it or nothing.
    fn permit(&self, ready: &[Ready]) -> Result<(), String> {
        let mut changed: Vec<(&Listener, Auth)> = Vec::new();
        for Ready { terms, listener } in ready {
            let same = |running: &&Running| Arc::ptr_eq(&running.listener, listener);
            let before = self.running.values().find(same).map(|running| running.terms.borrow().pool.auth);
            let Some(before) = before.filter(|before| *before != terms.pool.auth) else {
                continue;
            };
            if let Err(error) = listener.permit(terms.pool.auth) {
                for (listener, before) in changed {
                    // The reload is refused either way, and says why.
                    let _: std::io::Result<()> = listener.permit(before);
                }
                let (name, listen) = (&terms.target.name, &terms.pool.listen);
                return Err(format!("the pool of \"{name}\": {listen}: {error}"));
            }
            changed.push((listener, before));
        }
        Ok(())
    }

    /// Changes the pool that is there, or starts one in its place.
    fn put(&mut self, pool: Ready) {
        let name = pool.terms.target.name.clone();
        if let Some(running) = self.running.get(&name) {
            let before = running.terms.borrow().pool.clone();
            // What a client relies on while it is connected.
            if before.listen == pool.terms.pool.listen && before.mode == pool.terms.pool.mode {
                running.terms.send_replace(pool.terms);
                return;
            }
        }
        if let Some(before) = self.running.remove(&name) {
            self.leave(before);
        }
        self.start(name, pool, Duration::ZERO);
    }

    /// Its clients finish their transactions; that may last.
    fn leave(&mut self, pool: Running) {
        pool.stage.send_replace(Stage::Leaving);
        self.leaving.retain(|stage| !stage.is_closed());
        self.leaving.push(pool.stage);
    }

    fn start(&mut self, name: TargetName, pool: Ready, after: Duration) {
        let Ready { terms, listener } = pool;
        info!(target = %name, listen = %terms.pool.listen, mode = terms.pool.mode.as_str(), size = terms.pool.size, "pooling");
        let (terms, told) = watch::channel(terms);
        let (stage, heard) = watch::channel(Stage::Open);
        let pool = run(self.means.clone(), told, Arc::clone(&listener), heard);
        let begins = async move {
            sleep(after).await;
            pool.await
        };
        let task = self.tasks.spawn(begins).id();
        self.names.insert(task, name.clone());
        self.running.insert(name, Running { task, listener, terms, stage });
    }

    /// A pool that ended unasked has crashed: a new one takes its place.
    fn ended(&mut self, ended: Result<(Id, usize), JoinError>) {
        let (id, failure) = match ended {
            Ok((id, cut)) => {
                self.cut += cut;
                (id, None)
            }
            Err(failure) => (failure.id(), Some(failure)),
        };
        let Some(name) = self.names.remove(&id) else {
            return;
        };
        if let Some(running) = self.running.get(&name).filter(|running| running.task == id) {
            error!(target = %name, ?failure, "the pool ended by itself and is started again; please report this");
            let pool =
                Ready { terms: running.terms.borrow().clone(), listener: Arc::clone(&running.listener) };
            self.start(name, pool, RESTART_AFTER);
        }
    }

    async fn drain(mut self, until: Instant) -> usize {
        for (_, running) in std::mem::take(&mut self.running) {
            self.leave(running);
        }
        if timeout_at(until, self.all_ended()).await.is_err() {
            for stage in &self.leaving {
                stage.send_replace(Stage::Over);
            }
            let _ = timeout_at(until + CUTTING, self.all_ended()).await;
        }
        self.cut
    }

    async fn all_ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.cut += ended.unwrap_or_default();
        }
    }
}

/// One pool, from its first client to its last. Returns how many were cut off.
async fn run(
    means: Means,
    terms: watch::Receiver<Arc<Terms>>,
    listener: Arc<Listener>,
    stage: watch::Receiver<Stage>,
) -> usize {
    let Means { connector, gate, board, requests, descriptors } = means;
    let (chore, chores) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(terms.clone(), connector, chore));
    let keeper =
        Keeper { shared: Arc::clone(&shared), gate, board, requests, terms, chores, stage: stage.clone() };
    let (cut, ()) = tokio::join!(reception::run(shared, listener, descriptors, stage), keeper.run());
    cut
}
