//! Wires board, gate, supervisors and HTTP; applies a new configuration; drains.
//!
//! Listeners, signals and the way to read the configuration are given: tests and the demo give their own.

mod descriptors;
mod listen;
mod reload;
mod warned;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use self::reload::{Due, Reload};
use self::warned::Warned;
use crate::blocking::OneCall;
use crate::cli::WebArgs;
use crate::config::watch::Watch;
use crate::config::{Config, Problems};
use crate::connection::Postgres;
use crate::history_file::HistoryFile;
use crate::http::web::{Rules, RulesFile};
use crate::http::{
    self, App, ConnectionLimits, LifecycleAction, LifecycleRequest, ProcessHandle, Scope, Web, WebListener,
};
use crate::metrics::ProcessMetrics;
use crate::pool::{Deps, PoolRequest, Pools};
use crate::signals::Signals;
use crate::status::Moment;
use crate::status::board::Board;
use crate::status::process::ProcessStatus;
use crate::supervisor::Supervisor;
use crate::supervisor::gate::Gate;
use crate::target::pool::Listen;
pub use listen::bind;

/// How long HTTP goes on while `/readyz` already fails, so that a probe can see it before the listener is gone.
const LINGER: Duration = Duration::from_millis(300);
/// How long what is in flight over HTTP may take to end.
const HTTP_DRAIN: Duration = Duration::from_millis(700);
/// How long clients of pools may take to end their transactions.
const POOLS_DRAIN: Duration = Duration::from_secs(10);
/// How long the sessions may take to be closed.
const SESSIONS_DRAIN: Duration = Duration::from_millis(1500);
/// How long the last lines of the history file may take.
const HISTORY_DRAIN: Duration = Duration::from_secs(1);

/// Reads the configuration anew: the same way as at the start.
pub type Reread = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// Hears where the pools listen.
pub type OnStart = Box<dyn FnOnce(&[Listen]) + Send>;

/// What a run is made of.
pub struct RunSetup {
    pub config: Config,
    pub reread: Reread,
    /// Made before the configuration was read.
    pub watch: Watch,
    pub web: Web,
    /// Where `web` has its rules from, if from a file.
    pub rules_file: Option<RulesFile>,
    pub listeners: Vec<WebListener>,
    pub signals: Signals,
    /// Shown the board as soon as there is one: the demo watches it.
    pub board: Board,
    /// What keeps the board's history over restarts.
    pub history_file: Option<PathBuf>,
    /// Told where the pools listen, as soon as they do.
    pub on_start: OnStart,
    /// The log's counter, for `/metrics`.
    pub log_lines_dropped: IntCounter,
}

/// Why a run cannot begin.
#[derive(Debug)]
pub enum Error {
    Metrics(prometheus::Error),
    /// A thread, and whose.
    Thread(&'static str, io::Error),
    /// What the pools cannot listen on, or read.
    Pools(Vec<String>),
}

impl fmt::Debug for RunSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("targets", &self.config.targets.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Metrics(error) => write!(f, "the metrics cannot be set up: {error}"),
            Error::Thread(whose, error) => write!(f, "the thread of {whose} cannot start: {error}"),
            Error::Pools(problems) => f.write_str(&problems.join("\n")),
        }
    }
}

impl std::error::Error for Error {}

/// How HTTP is served, as the flags and the web config file say.
pub fn web(args: &WebArgs, rules_file: Option<&RulesFile>) -> Web {
    Web {
        telemetry_path: args.telemetry_path.to_string(),
        enable_lifecycle: args.enable_lifecycle,
        rules: rules_file.map(RulesFile::live).unwrap_or_default(),
        ..Web::default()
    }
}

/// Runs until told to end, then drains. True where everything ended in its time.
pub async fn run(setup: RunSetup) -> Result<bool, Error> {
    let started = Moment::now();
    let metrics = ProcessMetrics::new(setup.web.version, setup.log_lines_dropped);
    let metrics = metrics.map_err(Error::Metrics)?;
    let RunSetup {
        config, reread, mut watch, web, rules_file, listeners, mut signals, board, on_start, ..
    } = setup;
    let history_file = keep_history(setup.history_file, &board, started, &metrics)?;
    let (gate, connector) = (Gate::new(config.fleet), Postgres::default());
    let mut supervisor =
        Supervisor::new(connector.clone(), gate.clone(), board.clone(), fastrand::Rng::new());
    let descriptors = descriptors::raise();
    let shares = descriptors::shares(descriptors);
    let mut pools = Pools::new(Deps {
        connector,
        gate: gate.clone(),
        board: board.clone(),
        requests: supervisor.requests(),
        descriptors: Arc::new(Semaphore::new(shares.pools.min(Semaphore::MAX_PERMITS))),
    });
    let process = watch::Sender::new(ProcessStatus::new(&config.service, started.wall, rules_file.is_some()));
    let warned = Warned::default();
    announce(&config, &web.rules.get(), &listeners, &warned);
    warned.of_config(&config);
    warn_of_descriptors(&config, descriptors);
    watch.turn_to_others(reload::certificates(&config)).await;
    let listening = pools.apply(&config.targets).await.map_err(Error::Pools)?;
    supervisor.apply(&config.targets);
    on_start(&listening);
    // As many may wait as have a connection to ask by.
    let (reloads, mut reload_requests) = mpsc::channel(shares.http);
    let (lifecycle, mut lifecycle_requests) = mpsc::channel(shares.http);
    let handle = ProcessHandle {
        status: process.subscribe(),
        gate: gate.clone(),
        requests: supervisor.requests(),
        reloads,
        lifecycle,
    };
    let app = Arc::new(App::new(board, handle, metrics, web, started));
    let (close, closed) = watch::channel(false);
    let clients = ConnectionLimits { connections: shares.http, ..ConnectionLimits::default() };
    let server = serve(listeners, app, clients, closed)?;

    let mut reload =
        Reload { reread, watch, reading: OneCall::default(), web: rules_file, gate, process, warned };
    loop {
        let due = tokio::select! {
            biased;
            _ = signals.shutdown.wait_for(|told| *told) => break,
            changed = signals.reload.changed() => match changed {
                Ok(()) => Due::All(Vec::new()),
                // No more signals can come: the process is ending.
                Err(_) => break,
            },
            Some(request) = reload_requests.recv() => Due::All(vec![request]),
            due = reload.noticed() => due,
            () = forward(&mut lifecycle_requests, &pools) => continue,
            () = supervisor.tend() => continue,
        };
        let due = due.with(&mut reload_requests);
        tokio::select! {
            biased;
            _ = signals.shutdown.wait_for(|told| *told) => break,
            () = reload.follow(due, &mut supervisor, &mut pools) => {}
        }
    }
    // Whoever waits there is told that it is too late.
    drop((reload_requests, lifecycle_requests));
    let drained = drain(&reload.process, close, server, pools, supervisor).await;
    finish(history_file).await;
    Ok(drained)
}

/// Serves what is for probes on a thread of its own, all else here.
fn serve(
    listeners: Vec<WebListener>,
    app: Arc<App>,
    clients: ConnectionLimits,
    closed: watch::Receiver<bool>,
) -> Result<JoinHandle<usize>, Error> {
    let (for_probes, others) = listeners.into_iter().partition(|listener| listener.scope == Scope::Health);
    let probes = http::serve_apart(for_probes, app.clone(), ConnectionLimits::for_probes(), closed.clone());
    let probes = probes.map_err(|error| Error::Thread("the health address", error))?;
    Ok(tokio::spawn(async move {
        let cut = http::serve(others, app, clients, closed).await;
        // Gone where there are none.
        cut + probes.await.unwrap_or_default()
    }))
}

/// Passes on what operators ask of pools, in the order in which they asked. Ending it loses no request.
async fn forward(requests: &mut mpsc::Receiver<LifecycleRequest>, pools: &Pools) {
    loop {
        let room = pools.room().await;
        let Some(LifecycleRequest { pool, action, answer }) = requests.recv().await else {
            return std::future::pending().await;
        };
        let request = match action {
            LifecycleAction::Pause => PoolRequest::Pause,
            LifecycleAction::Resume => PoolRequest::Resume,
            LifecycleAction::Reconnect => PoolRequest::Reconnect,
        };
        room.request(&pool, request, answer);
    }
}

/// Not ready, stop accepting, let clients finish, stop the supervisors; each with its bound.
async fn drain(
    process: &watch::Sender<ProcessStatus>,
    close: watch::Sender<bool>,
    server: JoinHandle<usize>,
    pools: Pools,
    supervisor: Supervisor<Postgres>,
) -> bool {
    let begun = Instant::now();
    process.send_modify(|process| process.draining = true);
    sleep(LINGER).await;
    close.send_replace(true);
    let cut = match timeout(HTTP_DRAIN, server).await {
        Ok(Ok(cut)) => cut,
        Ok(Err(failure)) => {
            error!(%failure, "the HTTP server ended by itself");
            0
        }
        Err(_) => 1,
    };
    if cut > 0 {
        warn!(answers = cut, "HTTP answers were cut off");
    }
    let lost = pools.drain(POOLS_DRAIN).await;
    if lost > 0 {
        warn!(
            clients = lost,
            within_seconds = POOLS_DRAIN.as_secs_f64(),
            "clients of pools did not finish in time and were cut off"
        );
    }
    let stuck = supervisor.drain(SESSIONS_DRAIN).await;
    for target in &stuck {
        warn!(%target, within_seconds = SESSIONS_DRAIN.as_secs_f64(), "the session did not close in time");
    }
    info!(took_seconds = begun.elapsed().as_secs_f64(), "drained");
    stuck.is_empty() && lost == 0
}

/// Keeps what the board remembers over restarts, where there is a file for it.
fn keep_history(
    path: Option<PathBuf>,
    board: &Board,
    started: Moment,
    metrics: &ProcessMetrics,
) -> Result<Option<HistoryFile>, Error> {
    let start =
        |path| HistoryFile::start(path, board.history().clone(), started, metrics.history_file_writable());
    path.map(start).transpose().map_err(|error| Error::Thread("the history file", error))
}

/// Lets the history file have its last lines.
async fn finish(history_file: Option<HistoryFile>) {
    let Some(file) = history_file else { return };
    if !file.close(HISTORY_DRAIN).await {
        warn!(
            within_seconds = HISTORY_DRAIN.as_secs_f64(),
            "the last lines of the history file were not written in time"
        );
    }
}

fn announce(config: &Config, rules: &Rules, listeners: &[WebListener], warned: &Warned) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        targets = config.targets.len(),
        service = config.service,
        "starting"
    );
    warned.of_web(rules.warnings());
    for listener in listeners {
        match (listener.socket.local_addr(), listener.scope) {
            (Ok(address), Scope::All) => {
                let scheme = if rules.tls().is_some() { "https" } else { "http" };
                info!(%address, url = %url_of(scheme, address), "listening");
            }
            (Ok(address), Scope::Health) => {
                info!(%address, url = %url_of("http", address), serves = "health", "listening");
            }
            (Err(error), _) => warn!(%error, "a listener does not tell its address"),
        }
    }
    if rules.demand_certificates() && !listeners.iter().any(|listener| listener.scope == Scope::Health) {
        warn!(
            "probes of Kubernetes have no client certificate and will fail: give them a port of their own with \
             --web.health-listen-address"
        );
    }
}

fn warn_of_descriptors(config: &Config, descriptors: u64) {
    let pools = config.targets.iter().filter_map(|target| target.pool.as_ref());
    if let Some(told) = descriptors::too_many_clients(pools.map(|pool| pool.max_clients), descriptors) {
        warn!("{told}");
    }
}

/// What a person can open: an address that stands for all becomes this host's.
pub fn url_of(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}/", address.port())
    } else {
        format!("{scheme}://{address}/")
    }
}
