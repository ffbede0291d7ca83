//! Takes in a pool's clients, and waits for them at its end.
//!
//! Connections that have not logged in have slots of their own: they take none of `max_clients`, and where they are too
//! many, the one that has been silent for the longest time goes.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, warn};

use super::client::serve;
use super::client_slot::{ClientSlot, ClientSlots};
use super::handshake::pending::{Admission, LoginProgress, Pending};
use super::handshake::tally::Tally;
use super::handshake::{Authenticated, Listener, LoginRejection, Penalties};
use super::login::{ClientLogin, LoggedIn};
use super::shared::{PoolStage, Shared};
use crate::connection::Stream;
use crate::policy::accept::{AcceptFailure, AcceptFailures};
use crate::protocol::ErrorFields;
use crate::status::login::LoginFailure;

/// For clients that are cut off at the end of the pool to be told so.
const GOODBYE: Duration = Duration::from_millis(300);
/// Connections that have not logged in, at the most.
const PENDING: usize = 512;

/// One pool's connections.
struct Reception {
    shared: Arc<Shared>,
    stage: watch::Receiver<PoolStage>,
    /// What is left of the process's descriptors for clients of pools.
    descriptors: Arc<Semaphore>,
    /// One that was accepted and waits for a slot.
    next: Option<AcceptedClient>,
    pending: Pending<Id, PendingSlot>,
    slots: Arc<ClientSlots>,
    accept_failures: AcceptFailures,
    /// Nobody is accepted before then.
    resumes: Option<Instant>,
    logins: JoinSet<LoggedIn>,
    clients: JoinSet<Option<LoginRejection>>,
    penalties: Arc<Mutex<Penalties>>,
    tally: Tally,
}

struct AcceptedClient {
    stream: Stream,
    peer: String,
    descriptor: Option<OwnedSemaphorePermit>,
}

/// A connection that has not logged in.
struct PendingSlot {
    task: AbortHandle,
    descriptor: Option<OwnedSemaphorePermit>,
}

/// Until the pool ends and its clients have gone. Returns how many had to be cut off.
pub async fn run(
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    descriptors: Arc<Semaphore>,
    stage: watch::Receiver<PoolStage>,
) -> usize {
    let mut reception = Reception {
        shared,
        stage,
        descriptors,
        next: None,
        pending: Pending::default(),
        slots: Arc::default(),
        accept_failures: AcceptFailures::default(),
        resumes: None,
        logins: JoinSet::new(),
        clients: JoinSet::new(),
        penalties: Arc::default(),
        tally: Tally::default(),
    };
    reception.accept(&listener).await;
    drop(listener);
    reception.drain().await
}

impl Reception {
    /// Until the pool ends.
    async fn accept(&mut self, listener: &Listener) {
        let mut stage = self.stage.clone();
        loop {
            let now = Instant::now();
            let retry_at = self.take_in(now);
            self.warn(now);
            self.resumes = self.resumes.filter(|at| *at > now);
            let due = retry_at.into_iter().chain(self.tally.due(now)).chain(self.resumes).min();
            let is_open = self.next.is_none() && self.resumes.is_none();
            tokio::select! {
                biased;
                () = reaches(&mut stage, PoolStage::Leaving) => return,
                () = self.ended() => {}
                () = wait(due) => {}
                accepted = listener.accept(), if is_open => match accepted {
                    Ok((stream, peer)) => {
                        self.accept_failures.accepted();
                        self.next = Some(AcceptedClient { stream, peer, descriptor: None });
                    }
                    Err(error) => self.not_accepted(&error, Instant::now()),
                },
            }
        }
    }

    fn not_accepted(&mut self, error: &io::Error, now: Instant) {
        match self.accept_failures.failed(error, now.into_std()) {
            AcceptFailure::ClientGone => debug!(%error, "a client left before it was accepted"),
            AcceptFailure::NoRoom { pause, log } => {
                if log {
                    warn!(target = %self.shared.name, %error, "the pool cannot take in clients");
                }
                // It frees a descriptor, if that is what is lacking.
                if let Admission::InPlaceOf(silent) = self.pending.displace(now) {
                    self.displace(silent);
                }
                self.resumes = Some(now + pause);
            }
        }
    }

    /// Lets clients finish. Returns how many had to be cut off.
    async fn drain(mut self) -> usize {
        let mut stage = self.stage.clone();
        self.next = None;
        while !self.logins.is_empty() || !self.clients.is_empty() {
            tokio::select! {
                biased;
                () = reaches(&mut stage, PoolStage::Over) => break,
                () = self.ended() => {}
            }
        }
        let cut = self.clients.len();
        // They say so themselves, and end TLS as it should be ended.
        let _ = timeout(GOODBYE, async {
            while !self.clients.is_empty() {
                self.ended().await;
            }
        })
        .await;
        self.logins.shutdown().await;
        self.clients.shutdown().await;
        cut
    }

    /// A task has ended. Never returns while there is none.
    async fn ended(&mut self) {
        tokio::select! {
            Some(ended) = self.clients.join_next(), if !self.clients.is_empty() => match ended {
                Ok(rejection) => self.count(rejection),
                Err(failure) => self.crashed(&failure),
            },
            Some(ended) = self.logins.join_next_with_id(), if !self.logins.is_empty() => match ended {
                Ok((id, end)) => {
                    let descriptor = self.pending.leave(id).and_then(|slot| slot.descriptor);
                    match end {
                        LoggedIn::Client(client, peer) => self.admit(client, &peer, descriptor),
                        LoggedIn::Nobody(rejection) => self.count(rejection),
                    }
                }
                Err(failure) => {
                    self.pending.leave(failure.id());
                    self.crashed(&failure);
                }
            },
            else => pending().await,
        }
    }

    /// Gives the one that waits a slot; if there is none, tells when there may be one.
    fn take_in(&mut self, now: Instant) -> Option<Instant> {
        let mut next = self.next.take()?;
        if next.descriptor.is_none() {
            next.descriptor = Arc::clone(&self.descriptors).try_acquire_owned().ok();
        }
        let admission = match next.descriptor {
            Some(_) => self.pending.admit(PENDING, now),
            None if self.pending.is_empty() => Admission::Free,
            None => self.pending.displace(now),
        };
        match admission {
            Admission::Free => {}
            Admission::InPlaceOf(silent) => {
                let descriptor = self.displace(silent);
                next.descriptor = next.descriptor.or(descriptor);
            }
            Admission::At(then) => {
                self.next = Some(next);
                return Some(then);
            }
        }
        self.begin(next, now);
        None
    }

    fn begin(&mut self, next: AcceptedClient, now: Instant) {
        let AcceptedClient { stream, peer, descriptor } = next;
        let shared = Arc::clone(&self.shared);
        let progress = LoginProgress::new(now);
        let login = ClientLogin {
            config: shared.config(),
            shared,
            stream,
            peer,
            progress: progress.clone(),
            penalties: Arc::clone(&self.penalties),
            stage: self.stage.clone(),
        };
        let slot = ClientSlot::take(&self.slots, &self.shared.status);
        let is_served = descriptor.is_some();
        let task = self.logins.spawn(async move {
            let _slot = slot;
            match is_served {
                true => login.run().await,
                false => login.reject(LoginFailure::Descriptors, no_descriptor()).await,
            }
        });
        self.pending.enter(task.id(), progress, PendingSlot { task, descriptor });
    }

    /// One that has proven who it is.
    fn admit(&mut self, client: Box<Authenticated>, peer: &str, descriptor: Option<OwnedSemaphorePermit>) {
        let shared = Arc::clone(&self.shared);
        let most = shared.config().pool.max_clients;
        if shared.clients.held() < most as usize {
            let slot = ClientSlot::take(&shared.clients, &shared.status);
            debug!(target = %shared.name, peer, user = client.startup.user, "a client is let in");
            self.clients.spawn(async move {
                let _descriptor = descriptor;
                serve(shared, slot, client).await
            });
            return;
        }
        let message = format!("the pool of \"{}\" has its {most} clients already", shared.name);
        let words = ErrorFields::fatal("53300", message)
            .hint("Close idle connections, or raise the pool's max_clients.");
        let progress = LoginProgress::new(Instant::now());
        let task = self.logins.spawn(async move {
            LoggedIn::Nobody(Some(client.reject(LoginFailure::MaxClients, &words).await))
        });
        self.pending.enter(task.id(), progress, PendingSlot { task, descriptor });
    }

    /// Hangs up on a silent one. Its descriptor is free.
    fn displace(&mut self, silent: Id) -> Option<OwnedSemaphorePermit> {
        let PendingSlot { task, descriptor } = self.pending.leave(silent)?;
        task.abort();
        let message = "it was silent for too long when another client came".to_owned();
        self.count(Some(LoginRejection { why: LoginFailure::Displaced, message }));
        descriptor
    }

    fn count(&mut self, rejection: Option<LoginRejection>) {
        if let Some(rejection) = rejection {
            self.shared.status.change(|pool| pool.login_failures.count(rejection.why));
            self.tally.add(rejection);
        }
    }

    fn warn(&mut self, now: Instant) {
        if let Some(summary) = self.tally.take(now) {
            let (clients, last) = (summary.total(), &summary.last);
            warn!(target = %self.shared.name, clients, reasons = %summary, last, "clients could not log in");
        }
    }

    fn crashed(&self, failure: &JoinError) {
        if !failure.is_cancelled() {
            error!(target = %self.shared.name, %failure, "a client's task has crashed; please report this");
        }
    }
}

async fn reaches(stage: &mut watch::Receiver<PoolStage>, wanted: PoolStage) {
    _ = stage.wait_for(|stage| *stage >= wanted).await;
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

fn no_descriptor() -> ErrorFields<'static> {
    ErrorFields::fatal("53300", "the process has as many clients as it has file descriptors for")
        .hint("Close idle connections, or raise pgtether's limit of open files.")
}
