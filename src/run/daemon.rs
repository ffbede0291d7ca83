//! What HTTP may ask of the rest of the process.

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::http::{Daemon, ProbeOutcome};
use crate::status::board::Board;
use crate::status::process::ProcessStatus;
use crate::supervisor::gate::Gate;
use crate::supervisor::{ProofReply, ProofResult, Requests};

/// Somebody waits to hear how the reload went.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the run and the HTTP server share: the other side of [`Daemon`].
#[derive(Debug)]
pub struct Shared {
    /// Written by the run alone.
    pub process: watch::Sender<ProcessStatus>,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    pub reloads: mpsc::Sender<ReloadRequest>,
}

impl Daemon for Shared {
    fn process(&self) -> ProcessStatus {
        // The gate counts these by itself.
        let logins_in_flight = self.gate.logins_in_flight();
        ProcessStatus { logins_in_flight, ..self.process.borrow().clone() }
    }

    fn prove<'a>(&'a self, target: &'a str, deadline: Instant) -> BoxFuture<'a, Option<ProbeOutcome>> {
        Box::pin(async move {
            let within = deadline.saturating_duration_since(Instant::now());
            let proof = self.requests.prove(target, within).await?;
            Some(match proof {
                ProofReply::Ended(ProofResult::Proven) => {
                    let phases = self.board.subscribe(target)?.borrow().last_phases;
                    ProbeOutcome::Proven(phases.unwrap_or_default())
                }
                ProofReply::Ended(ProofResult::Failed(reason)) => ProbeOutcome::Failed(reason),
                ProofReply::Ended(ProofResult::Refused(because)) => ProbeOutcome::Held(because),
                ProofReply::Late => ProbeOutcome::TimedOut,
            })
        })
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let (request, told) = oneshot::channel();
            if self.reloads.try_send(request).is_err() {
                return Err("a reload is under way already, or the process is ending; try again".to_owned());
            }
            told.await.unwrap_or_else(|_| Err("the process is ending".to_owned()))
        })
    }
}
