//! What the tests of paths and of the server share: an app whose daemon does as it is told.

mod conversations;
mod crowds;
mod guarded;
mod lifecycle;
mod origin;
mod paths;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::*;
use crate::metrics::{self, ProcessMetrics};
use crate::status::TargetStatus;

/// A daemon under the test's control.
#[derive(Debug, Default)]
struct Scripted {
    leaving: AtomicBool,
    /// What a reload fails with.
    bad_file: Option<String>,
    reloads: AtomicUsize,
    /// How many documents were made.
    asked: AtomicUsize,
    /// A proof of `slow` ends when told; of `deaf` never; `missing` does not exist.
    finish: Notify,
    proving: Notify,
    last_patience: std::sync::Mutex<Option<Duration>>,
}

impl Daemon for Scripted {
    fn process(&self) -> ProcessStatus {
        self.asked.fetch_add(1, Ordering::Relaxed);
        ProcessStatus {
            draining: self.leaving.load(Ordering::Relaxed),
            logins_in_flight: 3,
            ..ProcessStatus::new("image <editor>", SystemTime::UNIX_EPOCH, false)
        }
    }

    fn prove<'a>(&'a self, target: &'a str, deadline: Instant) -> BoxFuture<'a, Option<ProbeOutcome>> {
        *self.last_patience.lock().unwrap() = Some(deadline - Instant::now());
        Box::pin(async move {
            self.proving.notify_one();
            match target {
                "missing" => return None,
                "slow" => self.finish.notified().await,
                "deaf" => std::future::pending().await,
                _ => {}
            }
            Some(ProbeOutcome::Proven(Phases::default()))
        })
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { self.bad_file.clone().map_or(Ok(()), Err) })
    }
}

/// What an app is made of, to be changed before it is.
struct Plan {
    statuses: Vec<TargetStatus>,
    daemon: Scripted,
    telemetry_path: &'static str,
    enable_lifecycle: bool,
    /// Nobody is there to ask of pools, unless a test is.
    lifecycle: mpsc::Sender<LifecycleRequest>,
    started: Moment,
    rules: web::Live,
}

impl Plan {
    fn new(statuses: Vec<TargetStatus>) -> Self {
        Plan {
            statuses,
            daemon: Scripted::default(),
            telemetry_path: "/metrics",
            enable_lifecycle: false,
            lifecycle: mpsc::channel(1).0,
            started: Moment::now(),
            rules: web::Live::default(),
        }
    }

    fn build(self) -> (Arc<App>, Arc<Scripted>) {
        let board = Board::default();
        board.replace(self.statuses.into_iter().map(|status| Arc::new(watch::Sender::new(status))).collect());
        let daemon = Arc::new(self.daemon);
        let dropped = metrics::log_lines_dropped().unwrap();
        let metrics = Arc::new(ProcessMetrics::new("0.1.0", self.started.wall, dropped).unwrap());
        let web = Web {
            telemetry_path: self.telemetry_path.to_owned(),
            enable_lifecycle: self.enable_lifecycle,
            rules: self.rules,
            version: "0.1.0",
        };
        let app = App::new(board, daemon.clone(), self.lifecycle, metrics, web, self.started);
        (Arc::new(app), daemon)
    }
}
