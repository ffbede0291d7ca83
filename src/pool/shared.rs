//! What a pool's clients and its keeper share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::handshake::{Acceptor, CancelKey, Verifier};
use super::keeper::{Chore, Prospect};
use super::place::Places;
use super::refusal::Refusal;
use super::registry::Registry;
use super::relay::Limits;
use super::server::{Backend, Server};
use super::settings::Spellings;
use super::statements::Catalog;
use super::stock::Stock;
use crate::connection::{Connector, Postgres, Prepared};
use crate::reason::Facts;
use crate::status::TargetStatus;
use crate::status::board::Slot;
use crate::status::pool::PoolStatus;
use crate::target::pool::{Auth, Pool};
use crate::target::{Endpoint, IdlePolicy, Target, TargetName};

/// How long what was read of a target's files counts, for clients that log in.
const FRESH: Duration = Duration::from_secs(1);
/// A session that was quiet for longer is tested before it is used, where no ping tests it meanwhile.
const QUIET: Duration = Duration::from_secs(15);
/// How late a ping may be before its session counts as quiet for long.
const LATE: Duration = Duration::from_secs(5);

/// One pool.
pub struct Shared {
    pub name: TargetName,
    pub status: Arc<PoolStatus>,
    pub stock: Stock,
    pub sessions: Arc<Places>,
    pub clients: Arc<Places>,
    pub registry: Arc<Registry>,
    pub connector: Postgres,
    /// Wakes the keeper.
    pub nudge: Arc<Notify>,
    terms: watch::Receiver<Arc<Terms>>,
    catalog: Mutex<Catalog>,
    spellings: Mutex<Spellings>,
    identity: Mutex<Option<(Instant, Arc<Identity>)>>,
    /// When the line was last in trouble: what was not heard of since is in doubt.
    trouble: Mutex<Instant>,
    slot: Mutex<Option<Slot>>,
    chores: mpsc::UnboundedSender<Chore>,
    leaving: AtomicBool,
}

/// What the configuration says of it; replaced by a reload.
pub struct Terms {
    pub target: Arc<Target>,
    /// The target's, which it has.
    pub pool: Arc<Pool>,
    pub acceptor: Option<Arc<Acceptor>>,
}

/// Who a client must be.
#[derive(Clone)]
pub struct Identity {
    pub auth: Auth,
    pub acceptor: Option<Arc<Acceptor>>,
    /// User and database.
    pub endpoint: Arc<Endpoint>,
    pub verifier: Option<Arc<Verifier>>,
    pub demand_tls: bool,
    /// Read for these.
    terms: Arc<Terms>,
}

impl Shared {
    pub fn new(
        terms: watch::Receiver<Arc<Terms>>,
        connector: Postgres,
        chores: mpsc::UnboundedSender<Chore>,
    ) -> Self {
        let (name, pool) = {
            let terms = terms.borrow();
            (terms.target.name.clone(), Arc::clone(&terms.pool))
        };
        let nudge = Arc::new(Notify::new());
        let status = Arc::new(PoolStatus::new(&pool));
        Shared {
            name,
            status,
            stock: Stock::new(Arc::clone(&nudge)),
            sessions: Places::new(Arc::clone(&nudge)),
            // The keeper has nothing to do when one leaves.
            clients: Arc::default(),
            registry: Registry::new(),
            connector,
            nudge,
            terms,
            catalog: Mutex::default(),
            spellings: Mutex::default(),
            identity: Mutex::default(),
            trouble: Mutex::new(Instant::now()),
            slot: Mutex::default(),
            chores,
            leaving: AtomicBool::new(false),
        }
    }

    pub fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.borrow())
    }

    /// How long a client that comes now waits for a session.
    pub fn wait_timeout(&self) -> Duration {
        self.terms.borrow().pool.wait_timeout
    }

    /// What clients that stop are allowed.
    pub fn limits(&self) -> Limits {
        Limits::new(&self.terms.borrow().pool)
    }

    pub fn with_catalog<T>(&self, f: impl FnOnce(&mut Catalog) -> T) -> T {
        f(&mut held(&self.catalog))
    }

    pub fn with_spellings<T>(&self, f: impl FnOnce(&mut Spellings) -> T) -> T {
        f(&mut held(&self.spellings))
    }

    /// Something that is not a client's business any more. Nobody does it once the keeper has ended; then sessions are
    /// closed by being dropped.
    pub fn chore(&self, chore: Chore) {
        let _ = self.chores.send(chore);
    }

    /// A session that is ready for the next client.
    pub fn give_back(&self, server: Server) {
        if server.backend.is_retired() || self.is_leaving() || self.is_stranger(&server.backend) {
            self.chore(Chore::Close(server));
        } else if server.backend.is_being_cancelled() {
            self.chore(Chore::wash(server));
        } else if let Some(ended) = self.stock.put(server) {
            self.chore(Chore::Close(ended));
        }
    }

    /// Whether it leads elsewhere than the configuration says now, or than the file says that the configuration names.
    pub fn is_stranger(&self, backend: &Backend) -> bool {
        let terms = self.terms.borrow();
        if !Arc::ptr_eq(&backend.target, &terms.target) && !backend.target.is_same_location(&terms.target) {
            return true;
        }
        held(&self.identity).as_ref().is_some_and(|(_, identity)| {
            Arc::ptr_eq(&identity.terms, &terms)
                && !Arc::ptr_eq(&identity.endpoint, &backend.endpoint)
                && !identity.endpoint.is_same_location(&backend.endpoint)
        })
    }

    /// Whether it must be asked before a client may have it.
    pub fn is_doubtful(&self, server: &Server) -> bool {
        let heard = server.heard;
        if heard < *held(&self.trouble) {
            return true;
        }
        let tuning = &self.terms.borrow().target.tuning;
        let quiet = match tuning.idle_policy {
            IdlePolicy::KeepAwake => tuning.ping.interval + LATE,
            IdlePolicy::LetSleep => QUIET,
        };
        heard.elapsed() > quiet
    }

    /// One that was in doubt gave no answer: the others that are have likely gone the same way, and a new session is had
    /// sooner than each of them is asked.
    pub fn close_doubtful(&self) {
        let doubtful = self.stock.take_where(|server| self.is_doubtful(server));
        doubtful.into_iter().for_each(|server| self.chore(Chore::Close(server)));
    }

    pub fn in_trouble(&self, at: Instant) {
        *held(&self.trouble) = at;
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub fn set_slot(&self, slot: Slot) {
        *held(&self.slot) = Some(slot);
    }

    /// The target's snapshot, once there is one.
    pub fn with_target<T>(&self, look: impl FnOnce(&TargetStatus) -> T) -> Option<T> {
        let slot = held(&self.slot).clone()?;
        let status = slot.borrow();
        Some(look(&status))
    }

    /// Why nobody can be served for now, where that is known beforehand.
    pub fn refuses_all(&self) -> Option<Refusal> {
        if self.is_leaving() {
            return Some(Refusal::draining());
        }
        self.with_target(|status| {
            (Prospect::of(status) == Prospect::Never)
                .then(|| Refusal::down(self.name.as_str(), status.reason(), true, Duration::ZERO))
        })?
    }

    /// Why a client is not waited with any longer, whom no session has answered.
    pub fn too_late(&self, waited: Duration) -> Refusal {
        let reason = self.with_target(TargetStatus::reason).flatten();
        Refusal::down(self.name.as_str(), reason, false, waited)
    }

    /// Asks the server to cancel what the client with that key has under way, and waits until that is done.
    pub async fn cancel(&self, key: &CancelKey) {
        if let Some(cancelling) = self.registry.cancel(key) {
            let (done, is_done) = oneshot::channel();
            self.chore(Chore::Cancel { cancelling, done });
            // It is dropped and not sent.
            let _: Result<(), _> = is_done.await;
        }
    }

    /// Who a client that came under these terms must be, as the target's files have it now; as they had it last while
    /// they can't be read.
    pub async fn auth_policy(&self, terms: &Arc<Terms>) -> Result<Arc<Identity>, Facts> {
        let known = held(&self.identity).clone().filter(|(_, identity)| Arc::ptr_eq(&identity.terms, terms));
        if let Some((read, identity)) = &known
            && (!terms.target.has_files() || read.elapsed() < FRESH)
        {
            return Ok(Arc::clone(identity));
        }
        match self.connector.prepare(Arc::clone(&terms.target)).await {
            Ok(prepared) => Ok(self.learn(terms, &prepared)),
            Err(facts) => known.map(|(_, identity)| identity).ok_or(facts),
        }
    }

    /// Takes what was read of the target's files.
    pub fn learn(&self, terms: &Arc<Terms>, prepared: &Prepared) -> Arc<Identity> {
        let endpoint = &prepared.endpoint;
        let mut known = held(&self.identity);
        let verifier = match &*known {
            Some((_, known)) if known.endpoint.password == endpoint.password => known.verifier.clone(),
            _ => endpoint.password.as_ref().and_then(|password| Verifier::new(password).ok()).map(Arc::new),
        };
        let identity = Arc::new(Identity {
            auth: terms.pool.auth,
            acceptor: terms.acceptor.clone(),
            endpoint: Arc::clone(endpoint),
            verifier,
            demand_tls: !terms.pool.listen.is_local(),
            terms: Arc::clone(terms),
        });
        *known = Some((Instant::now(), Arc::clone(&identity)));
        identity
    }
}

/// Nobody panics while holding one of these locks.
fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}
