//! What HTTP may ask of the rest of the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::http::{Daemon, LastRead, ProbeOutcome};
use crate::status::board::Board;
use crate::supervisor::gate::Gate;
use crate::supervisor::{ProofReply, ProofResult, Requests};

/// Somebody waits to hear how the reload went.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What the run and the HTTP server share: the other side of [`Daemon`].
#[derive(Debug)]
pub struct Shared {
    /// `service` of the configuration that is in force.
    pub service: RwLock<Arc<str>>,
    /// Whether the drain has begun.
    pub leaving: AtomicBool,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    pub reloads: mpsc::Sender<ReloadRequest>,
    /// How the configuration was last read, and the web config file, if there is one.
    pub config: RwLock<LastRead>,
    pub web_config: RwLock<Option<LastRead>>,
}

impl Shared {
    /// Takes another configuration's `service`.
    pub fn set_service(&self, service: &str) {
        *self.service.write().unwrap_or_else(PoisonError::into_inner) = service.into();
    }

    pub fn set_config(&self, read: LastRead) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = read;
    }

    pub fn set_web_config(&self, read: LastRead) {
        *self.web_config.write().unwrap_or_else(PoisonError::into_inner) = Some(read);
    }
}

impl Daemon for Shared {
    fn service(&self) -> Arc<str> {
        self.service.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn logins_in_flight(&self) -> usize {
        self.gate.logins_in_flight()
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

    fn config(&self) -> LastRead {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn web_config(&self) -> Option<LastRead> {
        self.web_config.read().unwrap_or_else(PoisonError::into_inner).clone()
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
