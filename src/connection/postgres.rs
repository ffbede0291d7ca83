//! The real connector: reads the target's files, and hands on to TCP connect and login.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::attempt::Context;
use super::auth::ScramMemory;
use super::files::{Certificates, Contents};
use super::login::OpenSocket;
use super::password::{CommandPasswords, PrintedPassword};
use super::session::{PgSession, SessionRoute};
use super::tcp::{Candidates, Resolver};
use super::tls::Connectors;
use super::{ConnectPace, ConnectTimes, Connector, Fingerprint, Login, Prepared};
use crate::blocking::BlockingCalls;
use crate::reason::{Cause, Facts, Phase, table};
use crate::target::{Endpoint, Host, SslMode, Target, Tls};

/// Files on a network disk may hang.
const CALLS_AT_ONCE: usize = 32;
/// And are given up after that long.
const READING: Duration = Duration::from_secs(5);

/// Opens sessions with real servers. Clones share everything.
#[derive(Clone, Default)]
pub struct Postgres(Arc<PostgresShared>);

struct PostgresShared {
    connectors: Connectors,
    resolver: Resolver,
    /// For files, for building connectors, and for starting commands.
    calls: BlockingCalls,
    passwords: CommandPasswords,
    scram: ScramMemory,
    /// Keyed by chance at each start, so that a fingerprint tells nothing outside of this process.
    hasher: RandomState,
}

impl Postgres {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the server of a session to cancel what that has under way: `key` is its process id and its secret key. Over
    /// once the server has passed the request on; whether it came in time, the session tells.
    pub async fn cancel(
        &self,
        target: &Target,
        prepared: &Prepared,
        route: &SessionRoute,
        key: (i32, i32),
        deadline: Instant,
    ) -> Result<(), Facts> {
        self.0.context(target, prepared, deadline).cancel(route, key).await
    }
}

impl Default for PostgresShared {
    fn default() -> Self {
        PostgresShared {
            connectors: Connectors::default(),
            resolver: Resolver::default(),
            calls: BlockingCalls::new(CALLS_AT_ONCE),
            passwords: CommandPasswords::default(),
            scram: ScramMemory::default(),
            hasher: RandomState::new(),
        }
    }
}

impl PostgresShared {
    fn context<'a>(&'a self, target: &'a Target, prepared: &'a Prepared, deadline: Instant) -> Context<'a> {
        Context {
            endpoint: &prepared.endpoint,
            sockets: &prepared.sockets,
            connectors: &self.connectors,
            resolver: &self.resolver,
            calls: &self.calls,
            target,
            scram: &self.scram,
            role: target.tuning.role,
            pace: &prepared.pace,
            deadline,
        }
    }

    /// Files, then the TLS connector: what is wrong with them is known before any server is bothered.
    async fn prepare(&self, target: Arc<Target>) -> Result<Prepared, Cause> {
        let (endpoint, fingerprint) = self.read(Arc::clone(&target)).await?;
        let endpoint = endpoint?;
        let over_tcp = endpoint.hosts.iter().any(|host| matches!(host, Host::Tcp { .. }));
        if over_tcp && wants_tls(&endpoint.tls) {
            self.connectors.get(&endpoint.tls, &self.calls).await?;
        }
        let sockets = target.socket_tuning(&endpoint);
        Ok(Prepared {
            sockets,
            endpoint: Arc::new(endpoint),
            fingerprint,
            password_run: None,
            failed_renewal: None,
            pace: ConnectPace::default(),
        })
    }

    /// The connection string, and the hash of all that was read for it.
    async fn read(&self, target: Arc<Target>) -> Result<(Result<Endpoint, Cause>, Fingerprint), Cause> {
        let hasher = self.hasher.clone();
        let whose = Arc::clone(&target);
        let read = move || {
            let contents = Contents::read(&whose);
            let endpoint = contents.endpoint(&whose);
            let certificates =
                endpoint.as_ref().ok().and_then(|endpoint| Certificates::read(&endpoint.tls).ok());
            let fingerprint = Fingerprint(hasher.hash_one((contents.bytes(), certificates)));
            (endpoint, fingerprint)
        };
        if target.has_files() {
            Ok(self.calls.run_for(target.name.as_str(), read).await?)
        } else {
            Ok(read())
        }
    }
}

/// Whether it makes sense to have a connector ready. Where TLS is only taken if offered, and no file can be wrong, it
/// is built when the server has offered: OpenSSL at work takes 5 MB that most such servers, on loopback, never need.
fn wants_tls(tls: &Tls) -> bool {
    match tls.mode {
        SslMode::Disable => false,
        SslMode::Allow | SslMode::Prefer => tls.identity.is_some(),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => true,
    }
}

impl Connector for Postgres {
    type Socket = OpenSocket;
    type Session = PgSession;

    fn prepare(&self, target: Arc<Target>) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let prepared = timeout(READING, shared.prepare(target)).await;
            prepared
                .unwrap_or(Err(Cause::Local {
                    message: format!("reading the target's files took longer than {} s", READING.as_secs()),
                }))
                .map_err(|cause| Facts::new(Phase::Prepare, cause))
        }
    }

    fn fingerprint(&self, target: Arc<Target>) -> impl Future<Output = Fingerprint> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let read = timeout(READING, shared.read(target)).await;
            // What cannot be read in time counts as a change: the attempt that follows will say what is wrong.
            read.map_or_else(
                |_| Fingerprint::default(),
                |read| read.map(|(_, hash)| hash).unwrap_or_default(),
            )
        }
    }

    fn lacks_password(&self, target: &Target, prepared: &Prepared) -> bool {
        self.0.passwords.lack(target, &prepared.endpoint)
    }

    fn with_password(
        &self,
        target: Arc<Target>,
        prepared: Prepared,
    ) -> impl Future<Output = Result<Prepared, Facts>> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let printed = shared.passwords.get(&target, &prepared.endpoint, &shared.calls).await;
            match printed.map_err(|cause| Facts::new(Phase::Prepare, cause))? {
                Some(PrintedPassword { run, secret, failed_renewal }) => {
                    let endpoint = Endpoint { password: Some(secret), ..(*prepared.endpoint).clone() };
                    Ok(Prepared {
                        endpoint: Arc::new(endpoint),
                        password_run: Some(run),
                        failed_renewal,
                        ..prepared
                    })
                }
                None => Ok(prepared),
            }
        }
    }

    fn password_rejected(&self, target: &Target, prepared: &Prepared) -> bool {
        let run = prepared.password_run;
        run.is_some_and(|run| self.0.passwords.rejected(target, &prepared.endpoint, run))
    }

    fn another_password(&self, target: Arc<Target>) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move { shared.passwords.changed(&target, &shared.calls).await }
    }

    fn keep(&self, targets: &[Arc<Target>]) {
        self.0.passwords.keep(targets);
        self.0.scram.keep(targets);
    }

    fn tcp_connect(
        &self,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(OpenSocket, ConnectTimes), Facts>> + Send + 'static {
        let resolver = self.0.resolver.clone();
        async move {
            let mut candidates =
                Candidates::new(&prepared.endpoint, prepared.sockets, resolver, prepared.pace);
            let connected = candidates.next(deadline).await?;
            let times = ConnectTimes {
                resolve: connected.resolve,
                connect: connected.connect,
                peer: connected.address.peer(),
                unanswered: connected.unanswered,
            };
            Ok((OpenSocket { connected, candidates }, times))
        }
    }

    fn login(
        &self,
        socket: OpenSocket,
        target: Arc<Target>,
        prepared: Prepared,
        deadline: Instant,
    ) -> impl Future<Output = Result<(PgSession, Login), Facts>> + Send + 'static {
        let shared = Arc::clone(&self.0);
        // The states of TLS, startup and ping together are large; the supervisor's slots should not be.
        Box::pin(async move {
            let ended = shared.context(&target, &prepared, deadline).login(socket).await;
            if prepared.password_run.is_none() {
                return ended;
            }
            if !ended.as_ref().is_err_and(table::is_rejected_login) {
                shared.passwords.accepted(&target, &prepared.endpoint);
            }
            ended
                .map(|(session, mut login)| {
                    login.facts.failed_renewal.clone_from(&prepared.failed_renewal);
                    (session, login)
                })
                .map_err(|facts| Facts { printed_password: true, ..facts })
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postgres")
    }
}
