//! All pools of the process: starts, changes and ends them as the configuration says. Runs on the pools' own thread.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::Id;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info};

use super::certificate::Certificate;
use super::core::{PoolPhase, PoolRequest};
use super::handshake::{Acceptor, Listener, bind};
use super::reception;
use super::shared::{PoolConfig, PoolStage, Shared};
use super::work::{OpeningLog, Task};
use crate::connection::Postgres;
use crate::status::board::Board;
use crate::supervisor::Requests;
use crate::supervisor::gate::Gate;
use crate::target::pool::{Auth, ClientTls, Listen, Pool};
use crate::target::{Target, TargetName};
use crate::tasks::{Crashes, NamedTasks, TaskEnd};

/// How long it may take to drop what was not gone in time.
const CUTTING: Duration = Duration::from_millis(500);

/// What the manager is to do.
pub enum PoolCommand {
    /// These are the pools now, once the caller says so. Answered with what is wrong; then nothing has changed.
    Apply { pools: Vec<WantedPool>, prepared: oneshot::Sender<Result<Commit, Vec<String>>> },
    /// What an operator asks of the pool of that name.
    Request { name: TargetName, request: PoolRequest, answer: oneshot::Sender<PoolReply> },
    /// End all of them by then. Answered with the number of clients that were cut off.
    Drain { until: Instant, answer: oneshot::Sender<usize> },
}

/// What an operator hears: how many sessions the pool still has while it is paused, or that there is no such pool.
pub type PoolReply = Option<watch::Receiver<Option<usize>>>;

/// The caller's part of a change that can go wrong no more. Dropping it takes everything back: a caller that has not
/// waited for so long is not surprised by the change later.
#[derive(Debug)]
pub struct Commit {
    /// Where the pools listen, in the caller's order: port 0 has become a real one.
    pub listening: Vec<Listen>,
    pub go: oneshot::Sender<()>,
    pub done: oneshot::Receiver<()>,
}

/// A pool that is to be.
pub struct WantedPool {
    pub target: Arc<Target>,
    pub pool: Arc<Pool>,
    pub certificate: Certificate,
}

/// What every pool works with.
#[derive(Debug, Clone)]
pub struct Deps {
    pub connector: Postgres,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    /// For clients of all pools.
    pub descriptors: Arc<Semaphore>,
}

pub struct Manager {
    deps: Deps,
    running: HashMap<TargetName, Running>,
    /// Those that take in nobody any more and wait for their last client.
    leaving: Vec<Weak<Shared>>,
    /// Each pool, until its last client has gone; those that are replaced, too.
    tasks: NamedTasks<TargetName, usize>,
    cut: usize,
}

/// A pool that takes in clients.
struct Running {
    task: Id,
    listener: Arc<Listener>,
    shared: Arc<Shared>,
}

/// A pool of the new list, with all that can go wrong behind it.
struct Ready {
    config: Arc<PoolConfig>,
    listener: Arc<Listener>,
}

/// Who might connect to a socket until now.
type Permitted = (Arc<Listener>, Auth);

impl Manager {
    pub fn new(deps: Deps) -> Self {
        Manager { deps, running: HashMap::new(), leaving: Vec::new(), tasks: NamedTasks::default(), cut: 0 }
    }

    /// Until told to drain, or until nobody is left to tell.
    pub async fn run(mut self, mut commands: mpsc::Receiver<PoolCommand>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(PoolCommand::Apply { pools, prepared }) => self.apply(pools, prepared).await,
                    Some(PoolCommand::Request { name, request, answer }) => self.request(&name, request, answer),
                    Some(PoolCommand::Drain { until, answer }) => {
                        let cut = self.drain(until).await;
                        let _ = answer.send(cut);
                        return;
                    }
                    None => return,
                },
                Some(end) = self.tasks.next_end() => self.ended(end),
            }
        }
    }

    fn request(&self, name: &TargetName, request: PoolRequest, answer: oneshot::Sender<PoolReply>) {
        // Whoever asked has been told that it was not done.
        if answer.is_closed() {
            return;
        }
        let reply = self.running.get(name).map(|running| {
            let driver = &running.shared.driver;
            driver.request(request);
            debug!(target = %name, ?request, "an operator's request");
            driver.paused()
        });
        let _ = answer.send(reply);
    }

    /// Prepares, tells the caller, and changes what there is where the caller still wants it.
    async fn apply(
        &mut self,
        pools: Vec<WantedPool>,
        prepared: oneshot::Sender<Result<Commit, Vec<String>>>,
    ) {
        let (ready, permitted) = match self.prepare_all(pools) {
            Ok(prepared) => prepared,
            Err(wrong) => {
                let _ = prepared.send(Err(wrong));
                return;
            }
        };
        let ((go, gone), (finished, done)) = (oneshot::channel(), oneshot::channel());
        // Where the caller is gone, so is its end of `gone`.
        let listening = ready.iter().map(|pool| pool.config.pool.listen.clone()).collect();
        let _ = prepared.send(Ok(Commit { listening, go, done }));
        if gone.await.is_err() {
            return take_back(permitted);
        }
        let goes_on = |name: &TargetName| ready.iter().any(|pool| pool.config.target.name == *name);
        let gone: Vec<_> = self.running.extract_if(|name, _| !goes_on(name)).collect();
        for (_, running) in gone {
            self.leave(&running);
        }
        for pool in ready {
            self.put(pool);
        }
        let _ = finished.send(());
    }

    /// All that can go wrong.
    fn prepare_all(&self, pools: Vec<WantedPool>) -> Result<(Vec<Ready>, Vec<Permitted>), Vec<String>> {
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
        let permitted = self.permit(&ready).map_err(|message| vec![message])?;
        Ok((ready, permitted))
    }

    /// The socket and the certificate.
    fn prepare(&self, spec: WantedPool) -> Result<Ready, String> {
        let WantedPool { target, pool, certificate } = spec;
        let certificate = certificate?;
        let known = self.running.values().find(|running| running.shared.config().pool.listen == pool.listen);
        let listener = match known {
            Some(running) => Arc::clone(&running.listener),
            None => Arc::new(bind(&pool.listen, pool.auth).map_err(|error| error.to_string())?),
        };
        let pool = match listener.address() {
            Ok(listen) if listen != pool.listen => Arc::new(Pool { listen, ..Pool::clone(&pool) }),
            Ok(_) => pool,
            Err(error) => return Err(error.to_string()),
        };
        let same_tls = known
            .map(|running| running.shared.config())
            .filter(|config| config.pool.tls == ClientTls::SelfSigned && pool.tls == ClientTls::SelfSigned);
        let acceptor = match (&pool.listen, &pool.tls, same_tls) {
            (_, _, Some(config)) => config.acceptor.clone(),
            (Listen::Unix(_), _, _) | (_, ClientTls::Off, _) => None,
            (_, ClientTls::SelfSigned, _) => {
                Some(Arc::new(Acceptor::self_signed().map_err(|e| e.to_string())?))
            }
            (_, ClientTls::Files { .. }, _) => certificate,
        };
        let config = PoolConfig { target, pool, acceptor };
        Ok(Ready { config: Arc::new(config), listener })
    }

    /// Who may connect to the sockets that stay: before anybody is let in by the new configuration, and all of it or
    /// nothing. Returns what it was.
    fn permit(&self, ready: &[Ready]) -> Result<Vec<Permitted>, String> {
        let mut changed: Vec<Permitted> = Vec::new();
        for Ready { config, listener } in ready {
            let same = |running: &&Running| Arc::ptr_eq(&running.listener, listener);
            let before = self.running.values().find(same).map(|running| running.shared.config().pool.auth);
            let Some(before) = before.filter(|before| *before != config.pool.auth) else {
                continue;
            };
            if let Err(error) = listener.permit(config.pool.auth) {
                take_back(changed);
                let (name, listen) = (&config.target.name, &config.pool.listen);
                return Err(format!("the pool of \"{name}\": {listen}: {error}"));
            }
            changed.push((Arc::clone(listener), before));
        }
        Ok(changed)
    }

    /// Changes the pool that is there, or starts one in its place.
    fn put(&mut self, pool: Ready) {
        let name = pool.config.target.name.clone();
        if let Some(running) = self.running.get(&name) {
            let before = running.shared.config().pool.clone();
            // What a client relies on while it is connected.
            if before.listen == pool.config.pool.listen && before.mode == pool.config.pool.mode {
                return running.shared.configure(pool.config);
            }
        }
        let before = self.running.remove(&name);
        let paused = before.as_ref().is_some_and(Running::is_paused);
        if let Some(before) = before {
            self.leave(&before);
        }
        self.start(name, pool, Crashes::default(), paused);
    }

    /// Its clients finish their transactions; that may last.
    fn leave(&mut self, pool: &Running) {
        pool.shared.drain();
        self.leaving.retain(|shared| shared.strong_count() > 0);
        self.leaving.push(Arc::downgrade(&pool.shared));
    }

    /// `paused` where the pool in whose place it comes was: only an operator ends that.
    fn start(&mut self, name: TargetName, pool: Ready, crashes: Crashes, paused: bool) {
        let Ready { config, listener } = pool;
        info!(target = %name, listen = %config.pool.listen, mode = config.pool.mode.as_str(), size = config.pool.size, "pooling");
        let Deps { connector, gate, board, requests, descriptors } = self.deps.clone();
        let (shared, work, closed) = Shared::new(config, connector);
        if paused {
            shared.driver.request(PoolRequest::Pause);
        }
        let shown = board.show_pool(name.clone(), Arc::clone(&shared.status));
        let task = Task {
            shared: Arc::clone(&shared),
            gate,
            board,
            requests,
            work,
            closed,
            log: OpeningLog::default(),
        };
        let pool = run(task, Arc::clone(&listener), descriptors);
        let mut stage = shared.stage();
        let task = self.tasks.start(name.clone(), crashes, |pause| async move {
            let _until_it_ends = shown;
            let leaves = async { _ = stage.wait_for(|stage| *stage > PoolStage::Open).await };
            let _ = timeout(pause, leaves).await;
            pool.await
        });
        self.running.insert(name, Running { task, listener, shared });
    }

    /// A pool that ended unasked has crashed: a new one takes its place.
    fn ended(&mut self, end: TaskEnd<TargetName, usize>) {
        let cause = end.cause();
        self.cut += end.result.unwrap_or_default();
        if let Some(running) = self.running.get(&end.name).filter(|running| running.task == end.id) {
            let restart_in_seconds = end.crashes.pause().as_secs_f64();
            error!(target = %end.name, cause, restart_in_seconds, "the pool ended by itself and is started again; please report this");
            let pool = Ready { config: running.shared.config(), listener: Arc::clone(&running.listener) };
            let paused = running.is_paused();
            self.start(end.name, pool, end.crashes, paused);
        }
    }

    async fn drain(mut self, until: Instant) -> usize {
        for (_, running) in std::mem::take(&mut self.running) {
            self.leave(&running);
        }
        let mut cut = self.cut;
        let mut over = |end: TaskEnd<_, usize>| cut += end.result.unwrap_or_default();
        let within = until.saturating_duration_since(Instant::now());
        if !self.tasks.drain(within, &mut over).await.is_empty() {
            self.leaving.iter().filter_map(Weak::upgrade).for_each(|shared| shared.end());
            for name in self.tasks.drain(CUTTING, &mut over).await {
                error!(target = %name, "the pool did not end in time; please report this");
            }
        }
        cut
    }
}

impl Running {
    fn is_paused(&self) -> bool {
        self.shared.driver.phase() == PoolPhase::Paused
    }
}

/// One pool, from its first client to its last. Returns how many were cut off.
async fn run(task: Task, listener: Arc<Listener>, descriptors: Arc<Semaphore>) -> usize {
    let shared = Arc::clone(&task.shared);
    let clients = async {
        let cut = reception::run(Arc::clone(&shared), listener, descriptors, shared.stage()).await;
        shared.driver.clients_gone();
        cut
    };
    let (cut, ()) = tokio::join!(clients, task.run());
    cut
}

/// The change is refused either way, and says why.
fn take_back(permitted: Vec<Permitted>) {
    for (listener, before) in permitted {
        let _: std::io::Result<()> = listener.permit(before);
    }
}
