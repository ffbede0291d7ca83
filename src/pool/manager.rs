//! All pools of the process: starts, changes and ends them as the configuration says. Runs on the pools' own thread.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::greet::{Acceptor, Listener, bind};
use super::keeper::{Keeper, Stage};
use super::reception;
use super::shared::{Shared, Terms};
use crate::connection::Postgres;
use crate::status::board::Board;
use crate::supervisor::Requests;
use crate::supervisor::gate::Gate;
use crate::target::pool::{ClientTls, Listen, Pool};
use crate::target::{Target, TargetName};

/// What the manager is told.
pub enum Order {
    /// This is the list now. Answered with what is wrong; then nothing has changed.
    Apply { targets: Vec<Arc<Target>>, answer: oneshot::Sender<Result<(), Vec<String>>> },
    /// End all of them by then. Answered with the number of clients that were cut off.
    Drain { until: Instant, answer: oneshot::Sender<usize> },
}

/// What every pool works with.
#[derive(Debug, Clone)]
pub struct Means {
    pub connector: Postgres,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
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
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Apply { targets, answer }) => _ = answer.send(self.apply(&targets)),
                    Some(Order::Drain { until, answer }) => {
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

    fn apply(&mut self, targets: &[Arc<Target>]) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let mut ready = Vec::new();
        for target in targets {
            if let Some(pool) = &target.pool {
                match self.prepare(target, pool) {
                    Ok(pool) => ready.push(pool),
                    Err(message) => wrong.push(format!("the pool of \"{}\": {message}", target.name)),
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        // A socket may have been another pool's, or the same one's under another `auth`.
        for Ready { terms, listener } in &ready {
            listener.admit(terms.pool.auth).map_err(|error| {
                let (name, listen) = (&terms.target.name, &terms.pool.listen);
                vec![format!(
                    "the pool of \"{name}\": {listen}: who may connect there cannot be set: {error}"
                )]
            })?;
        }
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
    fn prepare(&self, target: &Arc<Target>, pool: &Arc<Pool>) -> Result<Ready, String> {
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
            (_, ClientTls::Files { cert, key }, _) => {
                let read =
                    |path| std::fs::read(path).map_err(|error| format!("{}: {error}", Path::display(path)));
                let acceptor = Acceptor::from_pem(&read(cert)?, &read(key)?);
                Some(Arc::new(acceptor.map_err(|error| format!("{}: {error}", cert.display()))?))
            }
        };
        let terms = Terms { target: Arc::clone(target), pool: Arc::clone(pool), acceptor };
        Ok(Ready { terms: Arc::new(terms), listener })
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
        self.start(name, pool);
    }

    /// Its clients finish their transactions; that may last.
    fn leave(&mut self, pool: Running) {
        pool.stage.send_replace(Stage::Leaving);
        self.leaving.retain(|stage| !stage.is_closed());
        self.leaving.push(pool.stage);
    }

    fn start(&mut self, name: TargetName, pool: Ready) {
        let Ready { terms, listener } = pool;
        info!(target = %name, listen = %terms.pool.listen, mode = terms.pool.mode.as_str(), size = terms.pool.size, "pooling");
        let (terms, told) = watch::channel(terms);
        let (stage, heard) = watch::channel(Stage::Open);
        let task = self.tasks.spawn(run(self.means.clone(), told, Arc::clone(&listener), heard)).id();
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
            self.start(name, pool);
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

/// How long it may take to drop what was not gone in time.
const CUTTING: Duration = Duration::from_millis(500);

/// One pool, from its first client to its last. Returns how many were cut off.
async fn run(
    means: Means,
    terms: watch::Receiver<Arc<Terms>>,
    listener: Arc<Listener>,
    stage: watch::Receiver<Stage>,
) -> usize {
    let Means { connector, gate, board, requests } = means;
    let (chore, chores) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(terms.clone(), connector, chore));
    let keeper =
        Keeper { shared: Arc::clone(&shared), gate, board, requests, terms, chores, stage: stage.clone() };
    let (cut, ()) = tokio::join!(reception::run(shared, listener, stage), keeper.run());
    cut
}
