//! From an accepted socket to a proven session: TLS as `sslmode` says, startup, first ping; on to the next host
//! where `target_session_attrs` asks for another server.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{
    ChannelBinding as Binding, Config, SslMode as Ssl, SslNegotiation as Negotiation,
};

use super::facts::{cause, more_telling};
use super::knock::{Address, Arrival, Resolver, Route, connect};
use super::session::{Outcome, PgSession};
use super::standing::{Question, wanted};
use super::tap::{AlreadyNegotiated, Stream, Tap};
use super::tls::{self, Connectors};
use super::{Login, Session, SessionFacts};
use crate::reason::{Cause, Facts, Phase};
use crate::target::{
    ChannelBinding, Endpoint, Host, Role, SessionAttrs, SocketTuning, SslMode, SslNegotiation,
};

/// An accepted socket, not logged in yet, and the addresses that were not tried.
#[derive(Debug)]
pub struct Door {
    pub arrival: Arrival,
    pub route: Route,
}

/// Everything that the attempts of one login have in common.
pub struct Entry<'a> {
    pub endpoint: &'a Endpoint,
    pub sockets: &'a SocketTuning,
    pub connectors: &'a Connectors,
    pub resolver: &'a Resolver,
    /// `application_name` where the connection string names none.
    pub service: &'a str,
    pub role: Role,
    pub deadline: Instant,
}

/// How TLS is asked for on one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Plain,
    /// TLS if the server has it.
    Offer,
    Demand,
}

struct Secured {
    tap: Tap,
    took: Option<Duration>,
    version: Option<String>,
    expiry: Option<std::time::SystemTime>,
}

impl Entry<'_> {
    pub async fn login(self, door: Door) -> Result<(PgSession, Login), Facts> {
        let attrs = self.endpoint.session;
        let first = self.walk(attrs, Some(door.arrival), door.route).await;
        match (attrs, first) {
            // No standby anywhere: any server will do.
            (
                SessionAttrs::PreferStandby,
                Err(Facts {
                    cause: Cause::WrongRole { .. },
                    ..
                }),
            ) => {
                let again = Route::new(self.endpoint, self.sockets.clone(), self.resolver.clone());
                self.walk(SessionAttrs::Any, None, again).await
            }
            (_, first) => first,
        }
    }

    /// The first server on the way that fits. A server that refuses us ends the search, as in libpq; one that
    /// hangs, hangs up, is starting or has another role does not.
    async fn walk(
        &self,
        attrs: SessionAttrs,
        mut here: Option<Arrival>,
        mut route: Route,
    ) -> Result<(PgSession, Login), Facts> {
        let mut failed: Option<Facts> = None;
        loop {
            let arrival = match here.take() {
                Some(arrival) => Ok(arrival),
                None => route.next(self.deadline).await,
            };
            let facts = match arrival {
                Err(facts) => facts,
                Ok(arrival) => {
                    let (host, until) = (arrival.host, route.share(self.deadline, 1));
                    match self.enter(attrs, arrival, until).await {
                        Ok(entered) => return Ok(entered),
                        Err(facts) => {
                            if ends_the_search(&facts) {
                                return Err(facts);
                            }
                            if speaks_for_the_host(&facts) {
                                route.skip(host);
                            }
                            facts
                        }
                    }
                }
            };
            let most = more_telling(failed.take(), facts);
            if route.is_empty() {
                return Err(most);
            }
            failed = Some(most);
        }
    }

    /// One address; twice where the mode knows two ways and the server refused the first.
    async fn enter(
        &self,
        attrs: SessionAttrs,
        arrival: Arrival,
        until: Instant,
    ) -> Result<(PgSession, Login), Facts> {
        let Arrival {
            socket,
            host,
            address,
            ..
        } = arrival;
        let (first, second) = ways(self.endpoint.tls.mode, &address);
        let facts = match self.attempt(attrs, socket, host, &address, first, until).await {
            Ok(entered) => return Ok(entered),
            Err(facts) => facts,
        };
        let Some(second) = second.filter(|_| refused_this_way(first, &facts)) else {
            return Err(facts);
        };
        let Ok(socket) = connect(&address, self.sockets, until).await else {
            return Err(facts);
        };
        match self.attempt(attrs, socket, host, &address, second, until).await {
            Err(Facts {
                cause: Cause::TlsRefused,
                ..
            }) => Err(facts),
            other => other,
        }
    }

    async fn attempt(
        &self,
        attrs: SessionAttrs,
        socket: Stream,
        host: usize,
        address: &Address,
        ask: Ask,
        until: Instant,
    ) -> Result<(PgSession, Login), Facts> {
        let secured = self.secure(socket, host, address, ask, until).await?;
        let began = Instant::now();
        let mut session = self.startup(&secured.tap, attrs, until).await?;
        let startup = began.elapsed();
        let answer = timeout_at(until, async {
            session.ask(Question::for_role(self.role, attrs));
            session.outcome().await
        });
        let (ping, role) = match answer.await {
            Ok(Outcome::Answered { took, answer }) => (took, answer.role()),
            Ok(Outcome::Failed(Facts {
                cause: Cause::WrongRole { .. },
                ..
            })) => {
                session.close().await;
                let wanted = wanted(attrs).to_owned();
                return Err(Facts::new(Phase::Startup, Cause::WrongRole { wanted }));
            }
            Ok(Outcome::Failed(facts)) => {
                session.close().await;
                return Err(facts);
            }
            Ok(Outcome::Lost(facts)) => return Err(facts),
            Err(_) => return Err(Facts::new(Phase::Ping, Cause::Timeout)),
        };
        let login = Login {
            tls: secured.took,
            startup,
            ping,
            facts: facts_of(&secured, address),
            role,
        };
        Ok((session, login))
    }

    /// TLS, where asked for and had.
    async fn secure(
        &self,
        mut socket: Stream,
        host: usize,
        address: &Address,
        ask: Ask,
        until: Instant,
    ) -> Result<Secured, Facts> {
        let plain = |socket| Secured {
            tap: Tap::new(socket, None),
            took: None,
            version: None,
            expiry: None,
        };
        if ask == Ask::Plain {
            return Ok(plain(socket));
        }
        let tls = &self.endpoint.tls;
        let connector = timeout_at(until, self.connectors.get(tls))
            .await
            .unwrap_or(Err(Cause::Timeout))
            .map_err(|cause| Facts::new(Phase::Prepare, cause))?;
        let began = Instant::now();
        let negotiate = async {
            if tls.negotiation == SslNegotiation::Postgres
                && !tls::request(&mut socket, self.endpoint.password.as_ref()).await?
            {
                return match ask {
                    Ask::Demand => Err(Cause::TlsRefused),
                    Ask::Offer | Ask::Plain => Ok(plain(socket)),
                };
            }
            let under = tls::handshake(connector, socket, &self.verified_name(host, address), tls).await?;
            Ok(Secured {
                tap: Tap::new(under.stream, under.end_point),
                took: Some(began.elapsed()),
                version: under.version,
                expiry: under.expiry,
            })
        };
        timeout_at(until, negotiate)
            .await
            .unwrap_or(Err(Cause::Timeout))
            .map_err(|cause| Facts::new(Phase::Tls, cause))
    }

    async fn startup(&self, tap: &Tap, attrs: SessionAttrs, until: Instant) -> Result<PgSession, Facts> {
        let config = self.config();
        let password = self.endpoint.password.as_ref();
        let joined = timeout_at(until, config.connect_raw(tap.clone(), AlreadyNegotiated)).await;
        let failed = |cause| Facts::new(Phase::Startup, cause);
        let (client, connection) = joined
            .map_err(|_| failed(Cause::Timeout))?
            .map_err(|error| failed(cause(tap, &error, password)))?;
        Ok(PgSession::new(
            client,
            connection,
            tap.clone(),
            attrs,
            password.cloned(),
        ))
    }

    fn config(&self) -> Config {
        let endpoint = self.endpoint;
        let mut config = Config::new();
        config
            .user(&endpoint.user)
            .dbname(&endpoint.database)
            .application_name(endpoint.application_name.as_deref().unwrap_or(self.service))
            // Makes tokio-postgres take our stream as its TLS stream, whatever it is.
            .ssl_mode(Ssl::Require)
            .ssl_negotiation(Negotiation::Direct)
            .channel_binding(match endpoint.channel_binding {
                ChannelBinding::Disable => Binding::Disable,
                ChannelBinding::Prefer => Binding::Prefer,
                ChannelBinding::Require => Binding::Require,
            });
        if let Some(options) = &endpoint.options {
            config.options(options);
        }
        if let Some(password) = &endpoint.password {
            config.password(password.expose());
        }
        config
    }

    /// What the certificate must name: the host as written, without the dot that roots it; else the address.
    fn verified_name(&self, host: usize, address: &Address) -> String {
        match (self.endpoint.hosts.get(host), address) {
            (Some(Host::Tcp { name, .. }), _) if !name.is_empty() => {
                name.strip_suffix('.').unwrap_or(name).to_owned()
            }
            (_, Address::Tcp(address)) => address.ip().to_string(),
            (_, Address::Unix(path)) => path.display().to_string(),
        }
    }
}

/// The ways to try on one address: libpq's meaning of `sslmode`, which Unix sockets ignore.
fn ways(mode: SslMode, address: &Address) -> (Ask, Option<Ask>) {
    match (mode, address) {
        (SslMode::Disable, _) | (_, Address::Unix(_)) => (Ask::Plain, None),
        (SslMode::Allow, _) => (Ask::Plain, Some(Ask::Demand)),
        (SslMode::Prefer, _) => (Ask::Offer, Some(Ask::Plain)),
        (SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull, _) => (Ask::Demand, None),
    }
}

/// Whether the other way may fare better. A rejected password (28P01) would be rejected again, and counted.
fn refused_this_way(ask: Ask, facts: &Facts) -> bool {
    let by_the_rules = facts.sqlstate() == Some("28000");
    match ask {
        Ask::Plain => by_the_rules,
        Ask::Offer => by_the_rules || (facts.phase == Phase::Tls && facts.cause != Cause::Timeout),
        Ask::Demand => false,
    }
}

fn ends_the_search(facts: &Facts) -> bool {
    match &facts.cause {
        Cause::Timeout | Cause::Closed | Cause::Io { .. } | Cause::WrongRole { .. } => false,
        Cause::Server { sqlstate, .. } => sqlstate != "57P03",
        _ => true,
    }
}

/// Another address of the same host would say the same.
fn speaks_for_the_host(facts: &Facts) -> bool {
    matches!(facts.cause, Cause::WrongRole { .. } | Cause::Server { .. })
}

fn facts_of(secured: &Secured, address: &Address) -> SessionFacts {
    secured.tap.saw(|saw| {
        let server_version = saw.parameters.get("server_version").cloned().unwrap_or_default();
        let backend_pid = saw.key.map(|(id, _)| id);
        SessionFacts {
            pooler: pooler(&server_version, backend_pid),
            server_version,
            tls_version: secured.version.clone(),
            certificate_expiry: secured.expiry,
            peer: match address {
                Address::Tcp(address) => Some(*address),
                Address::Unix(_) => None,
            },
            backend_pid,
        }
    })
}

/// A pooler shows itself by its version, or by a process id that no process has: the kernel's limit is 2²².
fn pooler(server_version: &str, backend_pid: Option<i32>) -> Option<&'static str> {
    const PID_MAX_LIMIT: i32 = 1 << 22;
    let version = server_version.to_ascii_lowercase();
    match () {
        () if version.contains("bouncer") => Some("pgbouncer"),
        () if version.contains("pgcat") => Some("pgcat"),
        () if version.contains("pgdog") => Some("pgdog"),
        () if version.contains("supavisor") => Some("supavisor"),
        () if version.contains("odyssey") => Some("odyssey"),
        () if backend_pid.is_some_and(|pid| !(1..=PID_MAX_LIMIT).contains(&pid)) => Some("unknown"),
        () => None,
    }
}
