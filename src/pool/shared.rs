//! What the clients of a pool and its driver share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::client_slot::ClientSlots;
use super::core::{CoreConfig, Rejection, SessionId};
use super::driver::{PoolDriver, Work};
use super::followed::Followed;
use super::handshake::{Acceptor, CancelKey, Verifier};
use super::registry::{ClientSignal, Registry};
use super::rejection::{FailureDetails, Refusal};
use super::settings::Spellings;
use super::statements::{Catalog, SharedCatalog};
use crate::connection::{Connector, Postgres, Prepared};
use crate::reason::{Facts, remedy, table};
use crate::status::board::PoolSlot;
use crate::status::pool::PoolStatus;
use crate::target::pool::{Auth, Mode, Pool};
use crate::target::{Endpoint, Target, TargetName};

/// How long what was read of a target's files counts, for clients that log in.
const FRESH: Duration = Duration::from_secs(1);

/// One pool.
pub struct Shared {
    pub name: TargetName,
    pub status: Arc<PoolSlot>,
    /// For how long a client keeps a session. Another mode is another pool.
    pub mode: Mode,
    pub driver: PoolDriver,
    pub clients: Arc<ClientSlots>,
    pub registry: Arc<Registry>,
    pub connector: Postgres,
    config: watch::Sender<Arc<PoolConfig>>,
    catalog: Mutex<Catalog>,
    spellings: Mutex<Spellings>,
    identity: Mutex<Option<(Instant, Arc<ClientIdentity>)>>,
    failures: Mutex<FailureDetails>,
    /// Clients are let in by what was read last, because it cannot be read any more.
    is_outdated: AtomicBool,
    stage: watch::Sender<PoolStage>,
}

/// How far the end of a pool has come, for those who serve its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolStage {
    Open,
    /// Clients leave at the end of their transactions.
    Leaving,
    /// All is dropped.
    Over,
}

/// What the configuration says of it; replaced by a reload.
pub struct PoolConfig {
    pub target: Arc<Target>,
    /// The target's, which it has.
    pub pool: Arc<Pool>,
    pub acceptor: Option<Arc<Acceptor>>,
}

/// Who a client must be.
#[derive(Clone)]
pub struct ClientIdentity {
    pub auth: Auth,
    pub acceptor: Option<Arc<Acceptor>>,
    /// User and database.
    pub endpoint: Arc<Endpoint>,
    pub verifier: Option<Arc<Verifier>>,
    pub demand_tls: bool,
    /// Read for these.
    config: Arc<PoolConfig>,
}

impl Shared {
    /// With the two ends for the driver's task.
    pub fn new(
        config: Arc<PoolConfig>,
        connector: Postgres,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Work>, mpsc::UnboundedReceiver<SessionId>) {
        let (name, mode) = (config.target.name.clone(), config.pool.mode);
        let status = Arc::new(PoolSlot::new(PoolStatus::new(&config.pool)));
        let (driver, work, closed) = PoolDriver::new(
            config.for_core(),
            Arc::clone(&config.target),
            Arc::clone(&status),
            fastrand::Rng::new(),
        );
        let shared = Shared {
            name,
            mode,
            status,
            driver,
            clients: Arc::default(),
            registry: Registry::new(),
            connector,
            config: watch::Sender::new(config),
            catalog: Mutex::default(),
            spellings: Mutex::default(),
            identity: Mutex::default(),
            failures: Mutex::default(),
            is_outdated: AtomicBool::new(false),
            stage: watch::channel(PoolStage::Open).0,
        };
        (Arc::new(shared), work, closed)
    }

    pub fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// For who looks at it all the time.
    pub fn follow_config(&self) -> Followed<PoolConfig> {
        Followed::new(&self.config)
    }

    /// A reload: counts from here on, for those who wait, too.
    pub fn configure(&self, config: Arc<PoolConfig>) {
        self.status.change(|status| {
            (status.size, status.max_clients) = (config.pool.size.into(), config.pool.max_clients.into());
        });
        self.config.send_replace(Arc::clone(&config));
        self.driver.configure(config.for_core(), &config.target);
    }

    /// How far the end of the pool has come.
    pub fn stage(&self) -> watch::Receiver<PoolStage> {
        self.stage.subscribe()
    }

    /// Lets the clients finish their transactions; who waits is told to come again.
    pub fn drain(&self) {
        self.stage.send_if_modified(|stage| {
            let begins = *stage == PoolStage::Open;
            *stage = PoolStage::Leaving.max(*stage);
            begins
        });
        self.driver.drain();
        self.registry.tell_all(ClientSignal::Leave);
    }

    /// Drops everything; clients are told so.
    pub fn end(&self) {
        self.stage.send_replace(PoolStage::Over);
        self.registry.tell_all(ClientSignal::End);
    }

    pub fn catalog(&self) -> SharedCatalog<'_> {
        SharedCatalog::new(&self.catalog)
    }

    pub fn with_spellings<T>(&self, f: impl FnOnce(&mut Spellings) -> T) -> T {
        f(&mut held(&self.spellings))
    }

    /// Why nobody can be served for now, where that is known beforehand.
    pub fn refuses_all(&self) -> Option<Refusal> {
        self.driver.rejects_all().map(|why| self.refusal(why))
    }

    /// What a client is told.
    pub fn refusal(&self, why: Rejection) -> Refusal {
        Refusal::new(self.name.as_str(), self.config().pool.size, why, &held(&self.failures))
    }

    pub fn with_failures<T>(&self, f: impl FnOnce(&mut FailureDetails) -> T) -> T {
        f(&mut held(&self.failures))
    }

    /// Asks the server to cancel what the client with that key has under way, and waits until that is done.
    pub async fn cancel(&self, key: &CancelKey) {
        if let Some(cancelling) = self.registry.cancel(key) {
            let (done, is_done) = oneshot::channel();
            self.driver.cancel(cancelling, done);
            // It is dropped and not sent.
            let _: Result<(), _> = is_done.await;
        }
    }

    /// Who a client that came under these config must be, as the target's files have it now; as they had it last while
    /// they can't be read.
    pub async fn auth_policy(&self, config: &Arc<PoolConfig>) -> Result<Arc<ClientIdentity>, Facts> {
        let known =
            held(&self.identity).clone().filter(|(_, identity)| Arc::ptr_eq(&identity.config, config));
        if let Some((read, identity)) = &known
            && (!config.target.secret_may_change() || read.elapsed() < FRESH)
        {
            return Ok(Arc::clone(identity));
        }
        match self.prepare(config).await {
            Ok(prepared) => {
                if self.is_outdated.swap(false, Ordering::Relaxed) {
                    info!(target = %self.name, "what clients' passwords are compared with can be read again");
                }
                self.driver.locate(&config.target, &prepared.endpoint);
                Ok(self.learn(config, &prepared))
            }
            Err(facts) => {
                let (_, identity) = known.ok_or_else(|| facts.clone())?;
                if !self.is_outdated.swap(true, Ordering::Relaxed) {
                    let reason = table::diagnose(&facts).reason;
                    let remedy = remedy(reason, &facts);
                    warn!(
                        target = %self.name, %reason, detail = %facts, remedy,
                        "clients log in with the password that was read last: it cannot be read any more"
                    );
                }
                Ok(identity)
            }
        }
    }

    /// What a client's password is compared with, too, where it is.
    async fn prepare(&self, config: &PoolConfig) -> Result<Prepared, Facts> {
        let prepared = self.connector.prepare(Arc::clone(&config.target)).await?;
        match config.pool.auth {
            Auth::Scram => self.connector.with_password(Arc::clone(&config.target), prepared).await,
            Auth::Trust => Ok(prepared),
        }
    }

    /// Takes what was read of the target's files.
    pub fn learn(&self, config: &Arc<PoolConfig>, prepared: &Prepared) -> Arc<ClientIdentity> {
        let endpoint = &prepared.endpoint;
        let mut known = held(&self.identity);
        let verifier = match &*known {
            Some((_, known)) if known.endpoint.password == endpoint.password => known.verifier.clone(),
            _ => endpoint.password.as_ref().and_then(|password| Verifier::new(password).ok()).map(Arc::new),
        };
        let identity = Arc::new(ClientIdentity {
            auth: config.pool.auth,
            acceptor: config.acceptor.clone(),
            endpoint: Arc::clone(endpoint),
            verifier,
            demand_tls: !config.pool.listen.is_local(),
            config: Arc::clone(config),
        });
        *known = Some((Instant::now(), Arc::clone(&identity)));
        identity
    }
}

impl PoolConfig {
    fn for_core(&self) -> CoreConfig {
        CoreConfig { pool: Arc::clone(&self.pool), tuning: Arc::clone(&self.target.tuning) }
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
