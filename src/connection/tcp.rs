//! Finding a server that takes the socket: names, addresses, and the options of the socket.
//!
//! The [`Candidates`] are tried one by one, by the TCP connect and, where a server does not fit, by the login. Knows
//! nothing of TLS or PostgreSQL's protocol.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::facts::{config, io_cause, more_telling};
use super::tap::Stream;
use super::{ConnectPace, TcpConnects};
use crate::blocking::BlockingCalls;
use crate::reason::{Cause, Facts, Phase};
use crate::target::{Endpoint, Host, LoadBalance, SocketTuning};

/// A resolver that does not answer keeps a call for half a minute.
const RESOLVING_AT_ONCE: usize = 64;

/// Asks the system's resolver off the runtime's thread; nothing is cached here.
#[derive(Debug, Clone)]
pub struct Resolver(BlockingCalls);

/// How many addresses one attempt tries: a name may have thousands.
const MAX_ADDRESSES: usize = 16;

/// The addresses that are left to try.
#[derive(Debug)]
pub struct Candidates {
    left: VecDeque<Candidate>,
    shuffle: bool,
    sockets: SocketTuning,
    resolver: Resolver,
    pace: ConnectPace,
    tried: usize,
}

/// Where a socket was accepted.
pub struct Connected {
    pub socket: Stream,
    /// The host's position in the connection string.
    pub host: usize,
    pub address: Address,
    /// What this and the candidates before it took.
    pub resolve: Duration,
    pub connect: Duration,
    /// Addresses that were tried in vain before.
    pub unanswered: u32,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    /// Starts with a NUL byte where it is abstract.
    Unix(PathBuf),
}

#[derive(Debug)]
enum Candidate {
    Name { host: usize, name: String, port: u16 },
    Address { host: usize, address: Address },
}

impl Address {
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Resolver(BlockingCalls::new(RESOLVING_AT_ONCE))
    }
}

impl Resolver {
    async fn addresses(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, Cause> {
        let ask = move || (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        match self.0.run(ask).await? {
            Ok(found) if found.is_empty() => {
                Err(Cause::Dns { message: "the name has no address".to_owned() })
            }
            Ok(found) => Ok(found),
            Err(error) => Err(match io_cause(&error) {
                local @ Cause::Local { .. } => local,
                _ => Cause::Dns { message: error.to_string() },
            }),
        }
    }
}

impl Candidates {
    pub fn new(endpoint: &Endpoint, sockets: SocketTuning, resolver: Resolver, pace: ConnectPace) -> Self {
        let shuffle = endpoint.load_balance == LoadBalance::Random;
        let mut left: Vec<Candidate> = endpoint.hosts.iter().enumerate().map(candidate).collect();
        if shuffle {
            fastrand::shuffle(&mut left);
        }
        Candidates { left: left.into(), shuffle, sockets, resolver, pace, tried: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// When the next candidate's part of the time is over, if so many candidates, itself included, share what is left.
    pub fn share(&self, deadline: Instant, present: usize) -> Instant {
        let now = Instant::now();
        let untried = self.left.len().min(MAX_ADDRESSES.saturating_sub(self.tried));
        let sharing = u32::try_from(untried + present).unwrap_or(u32::MAX).max(1);
        now + deadline.saturating_duration_since(now) / sharing
    }

    /// Leaves out the other addresses of a host.
    pub fn skip(&mut self, host: usize) {
        self.left
            .retain(|candidate| !matches!(candidate, Candidate::Address { host: of, .. } if *of == host));
    }

    /// The next address that takes a socket; else the failure that tells most, with none left.
    pub async fn next(&mut self, deadline: Instant) -> Result<Connected, Facts> {
        let mut failed = None;
        let (mut resolve, mut connect, mut unanswered) = (Duration::ZERO, Duration::ZERO, 0);
        loop {
            let until = self.share(deadline, 0);
            let Some(candidate) = self.left.pop_front() else {
                break;
            };
            let begun = Instant::now();
            let result = match candidate {
                Candidate::Name { host, name, port } => {
                    let found = self.resolve(host, name, port, until).await;
                    resolve += begun.elapsed();
                    found
                }
                Candidate::Address { host, address } => {
                    let opened = self.connect(&address, until).await;
                    connect += begun.elapsed();
                    match opened {
                        Ok(socket) => {
                            return Ok(Connected { socket, host, address, resolve, connect, unanswered });
                        }
                        Err(facts) => {
                            unanswered += 1;
                            Err(facts)
                        }
                    }
                }
            };
            if let Err(facts) = result {
                failed = Some(more_telling(failed, facts));
            }
        }
        Err(failed.unwrap_or(Facts::new(Phase::Resolve, config("no host to connect to"))))
    }

    /// One address of the few that an attempt tries.
    async fn connect(&mut self, address: &Address, until: Instant) -> Result<Stream, Facts> {
        self.tried += 1;
        if self.tried == MAX_ADDRESSES {
            self.left.clear();
        }
        match self.tried {
            1 => connect(address, &self.sockets, until, &self.pace.made).await,
            _ => self.connect_again(address, until).await,
        }
    }

    /// One more TCP connect of this attempt.
    pub async fn connect_again(&self, address: &Address, until: Instant) -> Result<Stream, Facts> {
        let waited = timeout_at(until, self.pace.next()).await;
        waited.map_err(|_| Facts::new(Phase::Connect, Cause::Timeout))?;
        connect(address, &self.sockets, until, &self.pace.made).await
    }

    async fn resolve(&mut self, host: usize, name: String, port: u16, until: Instant) -> Result<(), Facts> {
        let found = timeout_at(until, self.resolver.addresses(name, port)).await;
        let mut found =
            found.unwrap_or(Err(Cause::Timeout)).map_err(|cause| Facts::new(Phase::Resolve, cause))?;
        if self.shuffle {
            fastrand::shuffle(&mut found);
        }
        found.truncate(MAX_ADDRESSES);
        for address in found.into_iter().rev() {
            self.left.push_front(Candidate::Address { host, address: Address::Tcp(address) });
        }
        Ok(())
    }
}

/// Opens one socket, and counts it when it is sent for.
pub async fn connect(
    address: &Address,
    tuning: &SocketTuning,
    until: Instant,
    made: &TcpConnects,
) -> Result<Stream, Facts> {
    let opened = timeout_at(until, async {
        Ok::<Stream, Cause>(match address {
            Address::Tcp(address) => Box::new(connect_tcp(*address, tuning, made).await?),
            Address::Unix(path) => {
                made.add();
                Box::new(UnixStream::connect(path).await.map_err(|e| io_cause(&e))?)
            }
        })
    });
    opened.await.unwrap_or(Err(Cause::Timeout)).map_err(|cause| Facts::new(Phase::Connect, cause))
}

/// The options are set before the connect, so that TCP_USER_TIMEOUT bounds it too.
async fn connect_tcp(
    address: SocketAddr,
    tuning: &SocketTuning,
    made: &TcpConnects,
) -> Result<TcpStream, Cause> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| io_cause(&e))?;
    tune(&SockRef::from(&socket), tuning).map_err(|e| Cause::Local {
        message: format!("the system refuses the socket's options (keepalives, tcp_user_timeout): {e}"),
    })?;
    made.add();
    socket.connect(address).await.map_err(|e| io_cause(&e))
}

fn tune(socket: &SockRef<'_>, tuning: &SocketTuning) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(tuning.keepalives.is_some())?;
    if let Some(keepalives) = tuning.keepalives {
        // Linux takes whole seconds up to 32767 and 127 probes.
        let seconds = |wanted: Duration| wanted.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        let params = TcpKeepalive::new()
            .with_time(seconds(keepalives.idle))
            .with_interval(seconds(keepalives.interval))
            .with_retries(keepalives.count.clamp(1, 127));
        socket.set_tcp_keepalive(&params)?;
    }
    if let Some(limit) = tuning.tcp_user_timeout {
        let limit = limit.clamp(Duration::from_millis(1), Duration::from_millis(i32::MAX as u64));
        socket.set_tcp_user_timeout(Some(limit))?;
    }
    Ok(())
}

fn candidate((host, at): (usize, &Host)) -> Candidate {
    let literal = |name: &str| name.parse::<IpAddr>().ok();
    match at {
        Host::Unix { dir, port } => {
            Candidate::Address { host, address: Address::Unix(socket_path(dir, *port)) }
        }
        Host::Tcp { name, hostaddr, port } => match hostaddr.or_else(|| literal(name)) {
            Some(address) => {
                Candidate::Address { host, address: Address::Tcp(SocketAddr::new(address, *port)) }
            }
            None => Candidate::Name { host, name: name.clone(), port: *port },
        },
    }
}

/// libpq's name for a socket; `@` marks an abstract one, which the system marks with a NUL byte.
fn socket_path(dir: &std::path::Path, port: u16) -> PathBuf {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let path = dir.join(format!(".s.PGSQL.{port}"));
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    if let Some(first @ b'@') = bytes.first_mut() {
        *first = 0;
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests;
