//! What is served: paths, limits and formats. It reads the board and the process's snapshot, and sends requests to the
//! supervisor and to the run; it knows no database, and but for `/probe` nothing here waits for one.
//!
//! [`serve`] takes bound listeners and the word to stop; [`routes`] says which path means what.

mod api;
mod badge;
mod connections;
mod discovery;
mod events;
mod kubernetes;
mod lifecycle;
mod lifecycle_log;
mod negotiate;
mod origin;
mod page;
mod probe;
mod process;
mod reply;
mod routes;
mod server;
mod socket;
#[cfg(test)]
mod tests;
pub mod web;

use std::sync::atomic::AtomicUsize;

pub use connections::ConnectionLimits;
pub use lifecycle::{LifecycleAction, LifecycleRequest, ReloadRequest};
pub use process::ProcessHandle;
pub use server::{Accept, WebListener, serve, serve_apart};

use self::lifecycle_log::LifecycleLog;
use crate::metrics::ProcessMetrics;
use crate::status::board::Board;
use crate::status::{Moment, View};

/// Everything that the answers are made of.
#[derive(Debug)]
pub struct App {
    board: Board,
    process: ProcessHandle,
    metrics: ProcessMetrics,
    web: Web,
    started: Moment,
    /// How long the last scrape was: the next one is about as long.
    scrape_size: AtomicUsize,
    lifecycle_log: LifecycleLog,
}

impl App {
    /// For a process that started at `started`.
    pub fn new(
        board: Board,
        process: ProcessHandle,
        metrics: ProcessMetrics,
        web: Web,
        started: Moment,
    ) -> Self {
        App {
            board,
            process,
            metrics,
            web,
            started,
            scrape_size: AtomicUsize::new(0),
            lifecycle_log: LifecycleLog::default(),
        }
    }

    /// Where an operator can ask for an attempt of that target, if anywhere and of use.
    fn reconnect_path(&self, view: &View<'_>) -> Option<String> {
        (self.web.enable_lifecycle && view.is_worth_a_try())
            .then(|| format!("/-/targets/{}/reconnect", view.status.name))
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
