//! The process as HTTP knows it: what is read of it, and who takes requests.

use tokio::sync::{mpsc, watch};

use super::lifecycle::{LifecycleRequest, ReloadRequest};
use crate::status::process::ProcessStatus;
use crate::supervisor::Requests;
use crate::supervisor::gate::Gate;

/// What answers are made of beside the board, and where requests go.
#[derive(Debug)]
pub struct ProcessHandle {
    /// Written by the run.
    pub status: watch::Receiver<ProcessStatus>,
    pub gate: Gate,
    /// To the targets' tasks.
    pub requests: Requests,
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// To the pools.
    pub lifecycle: mpsc::Sender<LifecycleRequest>,
}

impl ProcessHandle {
    /// As it is now. Each answer is made of one reading: two could be from before and after a reload.
    pub(super) fn read(&self) -> ProcessStatus {
        // The gate counts these by itself.
        let logins_in_flight = self.gate.logins_in_flight();
        ProcessStatus { logins_in_flight, ..self.status.borrow().clone() }
    }
}
