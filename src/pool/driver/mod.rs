//! Acts out what the core decides. It has the servers that no client has, and the clients' ends of the queue.
//!
//! A client that comes while a session is idle gets it in the same call, and so does the session that it gives back go
//! straight to the next client: one lock, no other task. What takes time (open, test, reset, close) is [`Work`] for the
//! pool's task, which reports what came of it.

mod idle_watch;
mod pool_session;
mod reports;
mod returns;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slotmap::SecondaryMap;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::idle_watch::IdleWatch;
pub use self::pool_session::PoolSession;
use self::returns::{Leftover, Parked};
use super::core::{
    ClientId, Core, CoreConfig, PoolAction, PoolEvent, PoolPhase, PoolRequest, Rejection, SessionId,
};
use super::link::Left;
use super::registry::Cancelling;
use super::server::Server;
use super::session_slot::SessionSlot;
use crate::status::board::PoolSlot;
use crate::status::pool::ServerState;
use crate::target::{Endpoint, Target};

/// What a waiting client gets.
pub type Grant<S = Server> = Result<Box<S>, Rejection>;

/// How a client's need is met.
#[derive(Debug)]
pub enum Acquired<S = Server> {
    Now(Grant<S>),
    Later(oneshot::Receiver<Grant<S>>),
}

/// What takes time.
pub enum Work<S = Server> {
    Open {
        slot: SessionSlot,
        urgent: bool,
    },
    Test(Box<S>),
    Reset {
        server: Box<S>,
        left: Left,
        reset: bool,
        patient: bool,
    },
    Close {
        server: Box<S>,
        hangs: bool,
    },
    CutSilent(Duration),
    Wake,
    /// Whoever asked for it hears of its end: `done` is dropped.
    Cancel {
        cancelling: Cancelling,
        done: oneshot::Sender<()>,
    },
}

/// The sessions of one pool, and who waits for one.
pub struct PoolDriver<S = Server> {
    inner: Mutex<Inner<S>>,
    status: Arc<PoolSlot>,
    work: mpsc::UnboundedSender<Work<S>>,
    closed: mpsc::UnboundedSender<SessionId>,
    /// Tells the task that it is due earlier than it knows.
    earlier: Notify,
    paused: watch::Sender<Option<usize>>,
}

struct Inner<S> {
    core: Core,
    /// The servers that no client and no work has.
    parked: SecondaryMap<SessionId, Parked<S>>,
    granted: BTreeMap<ClientId, oneshot::Sender<Grant<S>>>,
    location: Destination,
    dice: fastrand::Rng,
    /// Of the sessions that nobody has.
    watch: IdleWatch,
    /// What the gauges show.
    shown: [usize; ServerState::ALL.len()],
    /// See [`Core::paused`].
    paused: Option<usize>,
    /// When the task reports the time next.
    due: Option<Instant>,
}

/// Where sessions lead: as it is configured, and as the target's files had it last.
struct Destination {
    target: Arc<Target>,
    endpoint: Option<Arc<Endpoint>>,
}

impl<S: PoolSession> PoolDriver<S> {
    /// With the two ends for its task.
    pub fn new(
        spec: CoreConfig,
        target: Arc<Target>,
        status: Arc<PoolSlot>,
        dice: fastrand::Rng,
    ) -> (Self, mpsc::UnboundedReceiver<Work<S>>, mpsc::UnboundedReceiver<SessionId>) {
        let (work, works) = mpsc::unbounded_channel();
        let (closed, closings) = mpsc::unbounded_channel();
        let inner = Inner {
            core: Core::new(spec),
            parked: SecondaryMap::new(),
            granted: BTreeMap::new(),
            location: Destination { target, endpoint: None },
            dice,
            watch: IdleWatch::default(),
            shown: Default::default(),
            paused: None,
            due: None,
        };
        let (inner, earlier, paused) = (Mutex::new(inner), Notify::new(), watch::channel(None).0);
        (PoolDriver { inner, status, work, closed, earlier, paused }, works, closings)
    }

    /// A session for a client that has waited since then, or begins to.
    pub fn acquire(&self, client: ClientId, since: Option<Instant>) -> Acquired<S> {
        let now = now();
        let mut inner = self.inner();
        self.pass_over_ended(&mut inner, now);
        let mut granted = None;
        self.step(&mut inner, PoolEvent::Waits { client, since: since.unwrap_or(now) }, now, |to, grant| {
            if to == client {
                _ = granted.insert(grant)
            }
        });
        if let Some(grant) = granted {
            return Acquired::Now(grant);
        }
        let (grant, later) = oneshot::channel();
        inner.granted.insert(client, grant);
        if inner.due.is_some_and(|due| inner.core.due(now) < due) {
            self.earlier.notify_one();
        }
        Acquired::Later(later)
    }

    /// The client does not wait any more. What it was given and has not taken comes back.
    pub fn leave_queue(&self, client: ClientId, later: &mut oneshot::Receiver<Grant<S>>) {
        let mut inner = self.inner();
        inner.granted.remove(&client);
        self.happen(&mut inner, PoolEvent::Leaves(client), now());
        drop(inner);
        later.close();
        if let Ok(Ok(server)) = later.try_recv() {
            self.give_back(server);
        }
    }

    pub fn cancel(&self, cancelling: Cancelling, done: oneshot::Sender<()>) {
        let _ = self.work.send(Work::Cancel { cancelling, done });
    }

    /// A new configuration.
    pub fn configure(&self, spec: CoreConfig, target: &Arc<Target>) {
        let mut inner = self.inner();
        let moved = !inner.location.target.is_same_location(target);
        inner.location.target = Arc::clone(target);
        if moved {
            inner.location.endpoint = None;
            self.happen(&mut inner, PoolEvent::Moved, now());
        }
        self.happen(&mut inner, PoolEvent::Configured(spec), now());
    }

    /// What the target's files lead to now. Returns the generation of sessions that are opened with it: where it was
    /// read for another configuration, that of no session.
    pub fn locate(&self, target: &Arc<Target>, endpoint: &Arc<Endpoint>) -> u64 {
        let mut inner = self.inner();
        if !Arc::ptr_eq(&inner.location.target, target) && !inner.location.target.is_same_location(target) {
            return 0;
        }
        let before = inner.location.endpoint.replace(Arc::clone(endpoint));
        if before.is_some_and(|before| !before.is_same_location(endpoint)) {
            self.happen(&mut inner, PoolEvent::Moved, now());
        }
        inner.core.generation()
    }

    /// What an operator asks for.
    pub fn request(&self, request: PoolRequest) {
        self.happen(&mut self.inner(), PoolEvent::Requested(request), now());
        // The next attempt to open a session may have come with it.
        self.earlier.notify_one();
    }

    /// How many sessions a paused pool still has; `None` while it is not paused.
    pub fn paused(&self) -> watch::Receiver<Option<usize>> {
        self.paused.subscribe()
    }

    pub fn drain(&self) {
        self.happen(&mut self.inner(), PoolEvent::Drain, now());
    }

    pub fn clients_gone(&self) {
        self.happen(&mut self.inner(), PoolEvent::ClientsGone, now());
        // The end may have come with it.
        self.earlier.notify_one();
    }

    /// What sessions that are begun now belong to.
    pub fn generation(&self) -> u64 {
        self.inner().core.generation()
    }

    pub fn phase(&self) -> PoolPhase {
        self.inner().core.phase()
    }

    /// How often a session is to be pinged, where that is less than it is configured.
    pub fn ping_every(&self) -> Option<Duration> {
        self.inner().core.ping_every()
    }

    /// Why a client that logs in now cannot be served.
    pub fn rejects_all(&self) -> Option<Rejection> {
        self.inner().core.rejects_all(now())
    }

    /// Whether a client that logs in now is let in only once a session was had.
    pub fn is_unproven(&self) -> bool {
        self.inner().core.is_unproven()
    }

    /// Why a client whose time is over got no session.
    pub fn too_late(&self, waited: Duration) -> Rejection {
        self.inner().core.too_late(waited, now())
    }

    /// Tells the core of something that no client waits for in this call.
    fn happen(&self, inner: &mut Inner<S>, event: PoolEvent, now: Instant) {
        self.step(inner, event, now, |_, _| {});
    }

    /// One step of the core, and what follows from it. A grant for which no client waits goes to `here`.
    fn step(
        &self,
        inner: &mut Inner<S>,
        event: PoolEvent,
        now: Instant,
        mut here: impl FnMut(ClientId, Grant<S>),
    ) {
        let dice = inner.dice.f64();
        inner.core.on(event, now, dice);
        while let Some(action) = inner.core.next_action() {
            let (client, grant) = match action {
                PoolAction::HandOver { client, session } => match inner.parked.remove(session) {
                    Some(Parked { server, .. }) => (client, Ok(server)),
                    None => continue,
                },
                PoolAction::Reject { client, why } => (client, Err(why)),
                other => {
                    self.begin(inner, other);
                    continue;
                }
            };
            match inner.granted.remove(&client) {
                // A client that has gone says so itself, and takes back what it was given.
                Some(waiter) => _ = waiter.send(grant),
                None => here(client, grant),
            }
        }
        let counts = inner.core.counts();
        if counts != inner.shown {
            inner.shown = counts;
            self.status.change(|pool| pool.set_servers(counts));
        }
        let paused = inner.core.paused();
        if paused != inner.paused {
            inner.paused = paused;
            self.status.change(|pool| pool.paused = paused.is_some());
            self.paused.send_replace(paused);
        }
    }

    /// Nobody does it once the task has ended; then sessions are closed by being dropped.
    fn begin(&self, inner: &mut Inner<S>, action: PoolAction) {
        let mut parked = |session| inner.parked.remove(session);
        let work = match action {
            PoolAction::Open { session, urgent } => {
                Some(Work::Open { slot: SessionSlot::new(session, self.closed.clone()), urgent })
            }
            PoolAction::Test(session) => parked(session).map(|parked| Work::Test(parked.server)),
            PoolAction::Reset(session) => parked(session).map(|parked| match parked.leftover {
                Leftover::Unfinished { left, reset, patient } => {
                    Work::Reset { server: parked.server, left, reset, patient }
                }
                Leftover::Nothing | Leftover::Hangs => Work::Close { server: parked.server, hangs: false },
            }),
            PoolAction::Close(session) => parked(session).map(|parked| {
                let hangs = matches!(parked.leftover, Leftover::Hangs);
                Work::Close { server: parked.server, hangs }
            }),
            PoolAction::CutSilent(longer_than) => Some(Work::CutSilent(longer_than)),
            PoolAction::Wake => Some(Work::Wake),
            PoolAction::HandOver { .. } | PoolAction::Reject { .. } => None,
        };
        if let Some(work) = work {
            let _ = self.work.send(work);
        }
    }

    /// A session that has just ended, which the task may not have heard of yet, is not handed out.
    fn pass_over_ended(&self, inner: &mut Inner<S>, now: Instant) {
        while inner.watch.has_news()
            && let Some(last) = inner.core.idle().last().copied()
            && let Some(parked) = inner.parked.get_mut(last)
            && inner.watch.has_ended(&mut *parked.server)
        {
            self.happen(inner, PoolEvent::Ended(last), now);
        }
    }

    /// Nobody panics while holding the lock.
    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<S> fmt::Debug for PoolDriver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolDriver").finish_non_exhaustive()
    }
}
