//! What is served: paths, limits and formats. It reads the board and asks the [`Daemon`]; it knows no database, and
//! but for `/probe` nothing here waits for one.
//!
//! [`serve`] takes bound listeners and the word to stop; [`routes`] says which path means what.

mod api;
mod connections;
mod kubernetes;
mod lifecycle;
mod negotiate;
mod origin;
mod page;
mod probe;
mod reply;
mod routes;
mod server;
mod socket;
#[cfg(test)]
mod tests;
pub mod web;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use connections::ConnectionLimits;
pub use lifecycle::{LifecycleAction, LifecycleRequest};
pub use server::{Accept, WebListener, serve, serve_apart};

use crate::metrics::ProcessMetrics;
use crate::reason::Reason;
use crate::status::board::Board;
use crate::status::process::ProcessStatus;
use crate::status::{Because, Moment, Phases};

/// Everything that the answers are made of.
#[derive(Debug)]
pub struct App {
    board: Board,
    daemon: Arc<dyn Daemon>,
    /// To the pools.
    lifecycle: mpsc::Sender<LifecycleRequest>,
    metrics: Arc<ProcessMetrics>,
    web: Web,
    started: Moment,
    /// How long the last scrape was: the next one is about as long.
    scrape_size: AtomicUsize,
}

impl App {
    /// For a process that started at `started`.
    pub fn new(
        board: Board,
        daemon: Arc<dyn Daemon>,
        lifecycle: mpsc::Sender<LifecycleRequest>,
        metrics: Arc<ProcessMetrics>,
        web: Web,
        started: Moment,
    ) -> Self {
        App { board, daemon, lifecycle, metrics, web, started, scrape_size: AtomicUsize::new(0) }
    }
}

/// What flags say of the web side.
#[derive(Debug, Clone)]
pub struct Web {
    /// `--web.telemetry-path`.
    pub telemetry_path: String,
    /// `--web.enable-lifecycle`.
    pub enable_lifecycle: bool,
    /// `--web.config.file`.
    pub rules: web::Live,
    pub version: &'static str,
}

impl Default for Web {
    fn default() -> Self {
        Web {
            telemetry_path: "/metrics".to_owned(),
            enable_lifecycle: false,
            rules: web::Live::default(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every path.
    All,
    /// `/livez`, `/readyz` and `/health` alone: `--web.health-listen-address`.
    Health,
}

/// What HTTP asks of the rest of the process.
pub trait Daemon: fmt::Debug + Send + Sync + 'static {
    /// What is known of the process, read at once.
    fn process(&self) -> ProcessStatus;

    /// Proves a login to `target` now and tells how it went, at `deadline` at the latest; `None` where there is no
    /// such target.
    fn prove<'a>(&'a self, target: &'a str, deadline: Instant) -> BoxFuture<'a, Option<ProbeOutcome>>;

    /// Reads the configuration anew. The error is a line for the client, without secrets.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// How a proof that `/probe` asked for has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProbeOutcome {
    Proven(Phases),
    Failed(Reason),
    /// Not tried, because something asks for patience.
    Held(Because),
    /// No end before the deadline.
    TimedOut,
}
