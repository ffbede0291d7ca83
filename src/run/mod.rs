//! Wires board, gate, supervisors and HTTP; applies a new configuration; drains.
//!
//! Listeners, signals and the way to read the configuration are given: tests and the demo give their own.

mod daemon;
mod descriptors;
mod listen;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use self::daemon::{ReloadRequest, Shared};
use crate::config::{Config, Problems};
use crate::connection::Postgres;
use crate::http::{self, App, Door, Limits, Web};
use crate::metrics::ProcessMetrics;
use crate::signals::Signals;
use crate::status::Moment;
use crate::status::board::Board;
use crate::supervisor::Supervisor;
use crate::supervisor::gate::Gate;
pub use listen::bind;

/// How long HTTP goes on while `/readyz` already fails, so that a probe can see it before the listener is gone.
const LINGER: Duration = Duration::from_millis(300);
/// How long what is in flight over HTTP may take to end.
const HTTP_DRAIN: Duration = Duration::from_millis(700);
/// How long the sessions may take to be closed.
const SESSIONS_DRAIN: Duration = Duration::from_millis(1500);
/// How long the configuration may take to be read anew; no target's task is looked after meanwhile.
const READING: Duration = Duration::from_secs(10);
/// Requests to reload that wait; more are told that one is under way.
const RELOADS: usize = 4;

/// Reads the configuration anew: the same way as at the start.
pub type Reread = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// What a run is made of.
pub struct Setup {
    pub config: Config,
    pub reread: Reread,
    pub web: Web,
    pub doors: Vec<Door>,
    pub signals: Signals,
    /// Shown the board as soon as there is one: the demo watches it.
    pub board: Board,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("targets", &self.config.targets.len()).finish_non_exhaustive()
    }
}

/// Runs until told to end, then drains. True where everything ended in its time.
pub async fn run(setup: Setup) -> prometheus::Result<bool> {
    let Setup { config, reread, web, doors, mut signals, board } = setup;
    let started = Moment::now();
    let metrics = Arc::new(ProcessMetrics::new(web.version, started.wall)?);
    let gate = Gate::new(config.fleet);
    let mut supervisor =
        Supervisor::new(Postgres::default(), gate.clone(), board.clone(), fastrand::Rng::new());
    let (ask, mut asked) = mpsc::channel::<ReloadRequest>(RELOADS);
    let shared = Arc::new(Shared {
        service: RwLock::new(config.service.as_str().into()),
        leaving: AtomicBool::new(false),
        gate: gate.clone(),
        board: board.clone(),
        requests: supervisor.requests(),
        reloads: ask,
    });
    announce(&config, &doors);
    supervisor.apply(&config.targets);
    let app = Arc::new(App::new(board, shared.clone(), metrics.clone(), web, started));
    let (close, closed) = watch::channel(false);
    let clients = Limits { connections: descriptors::for_clients(descriptors::raise()), ..Limits::default() };
    let server = tokio::spawn(http::serve(doors, app, clients, closed));

    let reload = Reload { reread, gate, metrics, shared: shared.clone() };
    loop {
        let request = tokio::select! {
            biased;
            _ = signals.shutdown.wait_for(|told| *told) => break,
            changed = signals.reload.changed() => match changed {
                Ok(()) => None,
                // No more signals can come: the process is ending.
                Err(_) => break,
            },
            Some(request) = asked.recv() => Some(request),
            () = supervisor.tend() => continue,
        };
        let outcome = tokio::select! {
            biased;
            _ = signals.shutdown.wait_for(|told| *told) => break,
            outcome = reload.now(&mut supervisor) => outcome,
        };
        if let Some(request) = request {
            // Whoever asked may have hung up; the configuration is applied all the same.
            let _ = request.send(outcome);
        }
    }
    Ok(drain(&shared, close, server, supervisor).await)
}

/// Not ready, stop accepting, stop the supervisors; each with its bound.
async fn drain(
    shared: &Shared,
    close: watch::Sender<bool>,
    server: JoinHandle<usize>,
    supervisor: Supervisor<Postgres>,
) -> bool {
    let begun = Instant::now();
    shared.leaving.store(true, Ordering::Relaxed);
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
    let stuck = supervisor.drain(SESSIONS_DRAIN).await;
    for target in &stuck {
        warn!(%target, within = ?SESSIONS_DRAIN, "the session did not close in time");
    }
    info!(took = ?begun.elapsed(), "drained");
    stuck.is_empty()
}

/// What a reload touches.
struct Reload {
    reread: Reread,
    gate: Gate,
    metrics: Arc<ProcessMetrics>,
    shared: Arc<Shared>,
}

impl Reload {
    /// Reads the configuration and applies it; a bad one changes nothing. The error says what is wrong, without secrets.
    async fn now(&self, supervisor: &mut Supervisor<Postgres>) -> Result<(), String> {
        let reread = self.reread.clone();
        // The file is read on a thread that may wait for a disk.
        let read = timeout(READING, tokio::task::spawn_blocking(move || reread())).await;
        let problems = match read {
            Err(_) => format!(
                "the configuration could not be read within {READING:?}: is it on a disk that hangs, or a pipe?"
            ),
            Ok(Ok(Ok(config))) => {
                warn_of(&config);
                self.gate.set_limits(config.fleet);
                self.shared.set_service(&config.service);
                supervisor.apply(&config.targets);
                self.metrics.reload_succeeded(Moment::now().wall);
                info!(targets = config.targets.len(), "configuration reloaded");
                return Ok(());
            }
            Ok(Ok(Err(problems))) => problems.to_string(),
            Ok(Err(failure)) => format!("reading the configuration failed: {failure}"),
        };
        self.metrics.reload_failed();
        for problem in problems.lines() {
            error!(problem, "the new configuration is refused, the old one goes on");
        }
        Err(problems)
    }
}

fn announce(config: &Config, doors: &[Door]) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        targets = config.targets.len(),
        service = config.service,
        "starting"
    );
    warn_of(config);
    for door in doors {
        match door.listener.local_addr() {
            Ok(address) => info!(%address, url = %url_of(address), "listening"),
            Err(error) => warn!(%error, "a listener does not tell its address"),
        }
    }
}

fn warn_of(config: &Config) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// What a person can open: an address that stands for all becomes this host's.
fn url_of(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}/", address.port())
    } else {
        format!("http://{address}/")
    }
}
