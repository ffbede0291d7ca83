//! One attempt on one socket: TLS if asked for, startup, first ping. Knows nothing of other addresses.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{
    ChannelBinding as Binding, Config, SslMode as Ssl, SslNegotiation as Negotiation,
};

use super::auth::ScramMemory;
use super::facts::{io_cause, scrub_word};
use super::ping::PingQuery;
use super::session::{PgSession, SessionRoute};
use super::tap::{AlreadyNegotiated, Stream, Tap};
use super::tcp::{Address, Resolver};
use super::tls::{self, Connectors};
use super::{ConnectPace, Login, Session, SessionEvent, SessionFacts};
use crate::blocking::BlockingCalls;
use crate::protocol::frontend;
use crate::reason::{Cause, Facts, LoginTls, Phase};
use crate::target::{
    ChannelBinding, Endpoint, Host, Role, SessionAttrs, SocketTuning, SslNegotiation, Target,
};

/// Everything that the attempts of one login have in common.
pub struct Context<'a> {
    pub endpoint: &'a Endpoint,
    pub sockets: &'a SocketTuning,
    pub connectors: &'a Connectors,
    pub resolver: &'a Resolver,
    pub calls: &'a BlockingCalls,
    pub target: &'a Target,
    pub scram: &'a ScramMemory,
    pub role: Role,
    pub pace: &'a ConnectPace,
    pub deadline: Instant,
}

/// How TLS is asked for on one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Plain,
    /// TLS if the server has it.
    Offer,
    Demand,
}

/// One try, with all that it needs.
pub struct SocketLogin<'a> {
    pub context: &'a Context<'a>,
    /// What the server must be.
    pub attrs: SessionAttrs,
    /// The host's position in the connection string.
    pub host: usize,
    pub address: &'a Address,
    pub ask: Ask,
    pub until: Instant,
}

/// A stream that is ready for startup, and what TLS cost and showed.
struct SecuredStream {
    tap: Tap,
    took: Option<Duration>,
    version: Option<&'static str>,
    expiry: Option<SystemTime>,
}

impl SocketLogin<'_> {
    pub async fn run(self, socket: Stream) -> Result<(PgSession, Login), Facts> {
        let secured = self.secure(socket).await?;
        let began = Instant::now();
        let mut session = self.startup(&secured).await?;
        let startup = began.elapsed();
        let answer = timeout_at(self.until, async {
            session.ask(PingQuery::for_role(self.context.role, self.attrs));
            session.event().await
        });
        let (ping, role) = match answer.await {
            Ok(SessionEvent::Pong { took, role }) => (took, role),
            Ok(SessionEvent::PingFailed(facts)) => {
                let _ = timeout_at(self.until, session.close()).await;
                return Err(match facts.cause {
                    // A server that does not fit is no server for us: the login failed, not its ping.
                    wrong @ Cause::WrongRole { .. } => Facts::new(Phase::Startup, wrong),
                    cause => Facts::new(Phase::Ping, cause),
                });
            }
            Ok(SessionEvent::Lost(facts)) => return Err(facts),
            Err(_) => return Err(Facts::new(Phase::Ping, Cause::Timeout)),
        };
        session.hold_to(self.attrs);
        let Context { target, endpoint, scram, .. } = self.context;
        secured.tap.observed(|observed| scram.logged_in(target, endpoint, self.host, observed));
        let facts = SessionFacts { role, ..self.facts(&secured) };
        let login = Login { tls: secured.took, startup, ping, detour: Duration::ZERO, facts };
        Ok((session, login))
    }

    /// Asks the server to cancel what another session, with that process id and key, has under way. Over once the server
    /// has closed: then it has passed the request on.
    pub async fn cancel(self, socket: Stream, (process_id, key): (i32, i32)) -> Result<(), Facts> {
        let secured = self.secure(socket).await?;
        let Some(mut stream) = secured.tap.take_stream() else {
            return Ok(());
        };
        let request = frontend::cancel_request(process_id, &key.to_be_bytes());
        let asked = async {
            stream.write_all(&request).await?;
            stream.flush().await?;
            // There is no answer but the end, however it comes.
            let _ = stream.read(&mut [0; 1]).await;
            Ok(())
        };
        within(self.until, Phase::Startup, async { asked.await.map_err(|error| io_cause(&error)) }).await
    }

    /// TLS, where asked for and had.
    async fn secure(&self, mut socket: Stream) -> Result<SecuredStream, Facts> {
        let demand = self.context.scram.demand(self.context.target, self.context.endpoint, self.host);
        let plain = |socket| SecuredStream {
            tap: Tap::new(socket, None, demand),
            took: None,
            version: None,
            expiry: None,
        };
        if self.ask == Ask::Plain {
            return Ok(plain(socket));
        }
        let endpoint = self.context.endpoint;
        let hidden = endpoint.secret_to_hide();
        let tls = &endpoint.tls;
        let began = Instant::now();
        if tls.negotiation == SslNegotiation::Postgres {
            let request = tls::request(&mut socket, hidden.as_ref());
            if !within(self.until, Phase::Tls, request).await? {
                return match self.ask {
                    Ask::Demand => Err(Facts::new(Phase::Tls, Cause::TlsRefused)),
                    Ask::Offer | Ask::Plain => Ok(plain(socket)),
                };
            }
        }
        let requested = began.elapsed();
        let connector = self.context.connectors.get(tls, self.context.calls);
        let connector = within(self.until, Phase::Prepare, connector).await?;
        let began = Instant::now();
        let name = self.verified_name();
        let handshake = tls::handshake(connector, socket, &name, tls);
        let under = within(self.until, Phase::Tls, handshake).await?;
        Ok(SecuredStream {
            tap: Tap::new(under.stream, under.end_point, demand),
            took: Some(requested + began.elapsed()),
            version: Some(under.version),
            expiry: under.expiry,
        })
    }

    async fn startup(&self, secured: &SecuredStream) -> Result<PgSession, Facts> {
        let tap = &secured.tap;
        let config = self.config();
        let hidden = self.context.endpoint.secret_to_hide();
        let join = async {
            let joined = config.connect_raw(tap.clone(), AlreadyNegotiated).await;
            joined.map_err(|error| tap.cause(&error, hidden.as_ref()))
        };
        let login_tls = match (&self.address, secured.took, self.ask) {
            (Address::Unix(_), _, _) | (_, Some(_), _) => LoginTls::Used,
            (Address::Tcp(_), None, Ask::Plain) => LoginTls::NotAsked,
            (Address::Tcp(_), None, Ask::Offer | Ask::Demand) => LoginTls::NotOffered,
        };
        let noted = |mut facts: Facts| {
            if let Cause::Server { words, .. } = &mut facts.cause {
                words.tls = login_tls;
            }
            facts
        };
        let (client, connection) = within(self.until, Phase::Startup, join).await.map_err(noted)?;
        let route =
            SessionRoute { host: self.host, address: self.address.clone(), secured: secured.took.is_some() };
        Ok(PgSession::new(client, connection, tap.clone(), self.attrs, hidden, route))
    }

    fn config(&self) -> Config {
        let endpoint = self.context.endpoint;
        let mut config = Config::new();
        config
            .user(&endpoint.user)
            .dbname(&endpoint.database)
            .application_name(endpoint.application_name.as_deref().unwrap_or(&self.context.target.service))
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
    fn verified_name(&self) -> String {
        match (self.context.endpoint.hosts.get(self.host), self.address) {
            (Some(Host::Tcp { name, .. }), _) if !name.is_empty() => {
                name.strip_suffix('.').unwrap_or(name).to_owned()
            }
            (_, Address::Tcp(address)) => address.ip().to_string(),
            (_, Address::Unix(path)) => path.display().to_string(),
        }
    }

    fn facts(&self, secured: &SecuredStream) -> SessionFacts {
        let hidden = self.context.endpoint.secret_to_hide();
        secured.tap.observed(|observed| {
            let server_version = observed.parameters.get("server_version").map_or("", String::as_str);
            let backend_pid = observed.key.map(|(id, _)| id);
            SessionFacts {
                pooler: pooler(server_version, backend_pid),
                server_version: scrub_word(server_version, hidden.as_ref()),
                tls_version: secured.version.map(str::to_owned),
                certificate_expiry: secured.expiry,
                peer: self.address.peer(),
                backend_pid,
                role: Role::Any,
                failed_renewal: None,
            }
        })
    }
}

async fn within<T>(
    until: Instant,
    phase: Phase,
    work: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Facts> {
    let done = timeout_at(until, work).await;
    done.unwrap_or(Err(Cause::Timeout)).map_err(|cause| Facts::new(phase, cause))
}

/// A pooler shows itself by its console's version, or by a process id that no process has: the kernel's limit is
/// 2²², and poolers make up their keys.
fn pooler(server_version: &str, backend_pid: Option<i32>) -> Option<&'static str> {
    const PID_MAX_LIMIT: i32 = 1 << 22;
    if server_version.ends_with("/bouncer") {
        return Some("pgbouncer");
    }
    backend_pid.is_some_and(|pid| !(1..=PID_MAX_LIMIT).contains(&pid)).then_some("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pooler_is_known_by_what_no_server_would_say() {
        assert_eq!(pooler("15.18 (Debian 15.18-1)", Some(4_194_304)), None);
        assert_eq!(pooler("15.18", None), None);
        assert_eq!(pooler("15.18", Some(4_194_305)), Some("unknown"));
        assert_eq!(pooler("15.18", Some(-7)), Some("unknown"));
        assert_eq!(pooler("1.18.0/bouncer", Some(-7)), Some("pgbouncer"));
    }
}
