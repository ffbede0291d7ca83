//! What the tests of paths and of the server share: an app, and the process around it that does as it is told.

mod asking;
mod bodies;
mod checks;
mod conversations;
mod crowds;
mod events;
mod guarded;
mod lifecycle;
mod origin;
mod page;
mod paths;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::*;
use crate::metrics::{self, ProcessMetrics};
use crate::reason::Reason;
use crate::status::TargetStatus;
use crate::status::process::ProcessStatus;
use crate::supervisor::driver::Request;
use crate::supervisor::gate::{Gate, GuardLimits};
use crate::supervisor::{ProofResult, Requests};

/// The process around the app, under the test's control.
#[derive(Debug)]
struct Outside {
    status: watch::Sender<ProcessStatus>,
    /// So many requests to reload were answered.
    reloads: AtomicUsize,
    /// So many proofs were asked for.
    proofs: AtomicUsize,
    /// A proof of `slow` ends when told; of `deaf` never.
    finish: Notify,
    proving: Notify,
}

impl Outside {
    /// Answers all requests to reload.
    async fn reload(self: Arc<Self>, mut requests: mpsc::Receiver<ReloadRequest>, bad_file: Option<String>) {
        while let Some(request) = requests.recv().await {
            self.reloads.fetch_add(1, Ordering::Relaxed);
            // Whoever asked may have gone.
            let _ = request.send(bad_file.clone().map_or(Ok(()), Err));
        }
    }

    /// Answers as the task of the target of that name.
    async fn prove(self: Arc<Self>, name: String, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            let (Request::Prove(answer) | Request::TryNow(answer)) = request else { continue };
            self.proofs.fetch_add(1, Ordering::Relaxed);
            self.proving.notify_one();
            match name.as_str() {
                "slow" => self.finish.notified().await,
                "deaf" => std::future::pending().await,
                _ => {}
            }
            let result =
                if name == "rejected" { ProofResult::Failed(Reason::Auth) } else { ProofResult::Proven };
            let _ = answer.send(result);
        }
    }
}

/// What an app is made of, to be changed before it is.
struct Plan {
    statuses: Vec<TargetStatus>,
    /// What a reload fails with.
    bad_file: Option<String>,
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
            bad_file: None,
            telemetry_path: "/metrics",
            enable_lifecycle: false,
            lifecycle: mpsc::channel(1).0,
            started: Moment::now(),
            rules: web::Live::default(),
        }
    }

    fn build(self) -> (Arc<App>, Arc<Outside>) {
        let outside = Arc::new(Outside {
            status: watch::Sender::new(ProcessStatus::new("image <editor>", SystemTime::UNIX_EPOCH, false)),
            reloads: AtomicUsize::new(0),
            proofs: AtomicUsize::new(0),
            finish: Notify::new(),
            proving: Notify::new(),
        });
        let queues = self.statuses.iter().map(|status| {
            let (sender, queue) = mpsc::channel(1);
            tokio::spawn(outside.clone().prove(status.name.to_string(), queue));
            (status.name.clone(), sender)
        });
        let requests = Requests::to(queues);
        let (reloads, reload_requests) = mpsc::channel(1);
        tokio::spawn(outside.clone().reload(reload_requests, self.bad_file));
        let limits = GuardLimits {
            logins_in_flight: 100,
            connects_per_second: 100,
            connects_per_host_per_second: 100,
        };
        let process = ProcessHandle {
            status: outside.status.subscribe(),
            gate: Gate::new(limits),
            requests,
            reloads,
            lifecycle: self.lifecycle,
        };
        let board = Board::default();
        board.replace(self.statuses.into_iter().map(|status| Arc::new(watch::Sender::new(status))).collect());
        let dropped = metrics::log_lines_dropped().unwrap();
        let metrics = ProcessMetrics::new("0.1.0", dropped).unwrap();
        let web = Web {
            telemetry_path: self.telemetry_path.to_owned(),
            enable_lifecycle: self.enable_lifecycle,
            rules: self.rules,
            version: "0.1.0",
        };
        (Arc::new(App::new(board, process, metrics, web, self.started)), outside)
    }
}
