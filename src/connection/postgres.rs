//! The real connector: reads the target's files, and hands on to knock and login.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::files::{Certificates, Contents};
use super::knock::{Address, Resolver, Route};
use super::login::{Door, Entry};
use super::session::PgSession;
use super::tls::Connectors;
use super::{Connector, Fingerprint, KnockTimes, Login, Prepared};
use crate::reason::{Cause, Facts, Phase};
use crate::target::{Endpoint, SslMode, Target};

/// Files on a network may hang.
const READING: Duration = Duration::from_secs(5);

/// Opens sessions with real servers. Clones share everything.
#[derive(Clone, Default)]
pub struct Postgres(Arc<Shared>);

#[derive(Default)]
struct Shared {
    connectors: Connectors,
    resolver: Resolver,
    /// Keyed by chance at each start, so that a fingerprint tells nothing outside of this process.
    hasher: RandomState,
}

impl Postgres {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    /// Files, then the TLS connector: what is wrong with them is known before any server is bothered.
    async fn prepare(&self, target: Arc<Target>) -> Result<Prepared, Cause> {
        let about = Arc::clone(&target);
        let (contents, endpoint) = spawn_blocking(move || {
            let contents = Contents::read(&about);
            let endpoint = contents.endpoint(&about);
            (contents, endpoint)
        })
        .await
        .map_err(|_| Cause::Internal)?;
        let endpoint = endpoint?;
        if endpoint.tls.mode != SslMode::Disable {
            self.connectors.get(&endpoint.tls).await?;
        }
        let fingerprint = self.hash(contents, Some(endpoint.clone())).await;
        Ok(Prepared {
            sockets: target.socket_tuning(&endpoint),
            endpoint: Arc::new(endpoint),
            fingerprint,
        })
    }

    async fn fingerprint(&self, target: Arc<Target>) -> Option<Fingerprint> {
        let read = move || {
            let contents = Contents::read(&target);
            let endpoint = contents.endpoint(&target).ok();
            (contents, endpoint)
        };
        let (contents, endpoint) = spawn_blocking(read).await.ok()?;
        Some(self.hash(contents, endpoint).await)
    }

    async fn hash(&self, contents: Contents, endpoint: Option<Endpoint>) -> Fingerprint {
        let hasher = self.hasher.clone();
        let hash = move || {
            let certificates = endpoint.and_then(|endpoint| Certificates::read(&endpoint.tls).ok());
            Fingerprint(hasher.hash_one((contents.bytes(), certificates)))
        };
        spawn_blocking(hash).await.unwrap_or_default()
    }
}

impl Connector for Postgres {
    type Door = Door;
    type Session = PgSession;

    fn prepare(&self, target: Arc<Target>) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let prepared = timeout(READING, shared.prepare(target)).await;
            prepared
                .unwrap_or(Err(Cause::Config {
                    message: format!(
                        "reading the target's files took longer than {} s",
                        READING.as_secs()
                    ),
                }))
                .map_err(|cause| Facts::new(Phase::Prepare, cause))
        }
    }

    fn fingerprint(&self, target: Arc<Target>) -> impl Future<Output = Fingerprint> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let read = timeout(READING, shared.fingerprint(target)).await;
            read.ok().flatten().unwrap_or_default()
        }
    }

    fn knock(
        &self,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Door, KnockTimes), Facts>> + Send + 'static {
        let resolver = self.0.resolver.clone();
        async move {
            let mut route = Route::new(&prepared.endpoint, prepared.sockets, resolver);
            let arrival = route.next(deadline).await?;
            let times = KnockTimes {
                resolve: arrival.resolve,
                connect: arrival.connect,
                peer: match arrival.address {
                    Address::Tcp(address) => Some(address),
                    Address::Unix(_) => None,
                },
            };
            Ok((Door { arrival, route }, times))
        }
    }

    fn login(
        &self,
        door: Door,
        target: Arc<Target>,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(PgSession, Login), Facts>> + Send + 'static {
        let shared = Arc::clone(&self.0);
        // The states of TLS, startup and ping together are large; the supervisor's slots should not be.
        Box::pin(async move {
            let entry = Entry {
                endpoint: &prepared.endpoint,
                sockets: &prepared.sockets,
                connectors: &shared.connectors,
                resolver: &shared.resolver,
                service: &target.service,
                role: target.tuning.role,
                deadline,
            };
            entry.login(door).await
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postgres")
    }
}
