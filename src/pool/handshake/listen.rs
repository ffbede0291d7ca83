//! The sockets that clients come to.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::connection::Stream;
use crate::target::pool::{Auth, Listen};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;
/// A client whose machine vanished is noticed after `KEEPALIVE_IDLE` and `KEEPALIVE_COUNT` intervals.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;

/// A socket that clients come to.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, file: SocketFile },
}

/// Binds. Must be called within a runtime. The error names the address and says what to do.
///
/// Everybody on the machine may connect to a Unix socket, as to PostgreSQL's, and has to prove who they are. Where
/// they are trusted instead, only owner and group may.
pub fn bind(listen: &Listen, auth: Auth) -> io::Result<Listener> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("{listen}: {}", words(&error, listen)));
    match listen {
        Listen::Tcp(address) => tcp(*address).map(|listener| Listener(Kind::Tcp(listener))),
        Listen::Unix(path) => unix(path, auth).map(Listener),
    }
    .map_err(told)
}

impl Listener {
    /// The next client, and what it is called in the log.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A client that is gone already is noticed when it is read from.
                let _: io::Result<()> = tune(&stream);
                Ok((Box::new(stream), peer.to_string()))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = named(&stream);
                Ok((Box::new(stream), peer))
            }
        }
    }

    /// Lets those connect from now on whom `bind` would, and hangs up on those who came before: they may be others.
    pub fn permit(&self, auth: Auth) -> io::Result<()> {
        let Kind::Unix { listener, file } = &self.0 else {
            return Ok(());
        };
        if !file.is_there() {
            // Nobody can connect; and what stands there is another's.
            return Ok(());
        }
        fs::set_permissions(&file.path, mode(auth))?;
        let listener = SockRef::from(listener);
        for _ in 0..=BACKLOG {
            match listener.accept() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where it really listens: port 0 has become another one.
    pub fn address(&self) -> io::Result<Listen> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Kind::Unix { file, .. } => Ok(Listen::Unix(file.path.clone())),
        }
    }
}

/// The file of a bound socket, removed when it is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: what stands there later may be another process's.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        SocketFile { path: path.to_owned(), identity: identity(path) }
    }

    fn is_there(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            // A file that stays behind is stale, and the next start replaces it.
            let _: io::Result<()> = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn unix(path: &Path, auth: Auth) -> io::Result<Kind> {
    let address = SockAddr::unix(path)?;
    remove_stale(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    let file = SocketFile::new(path);
    // Before anybody is listened to.
    fs::set_permissions(path, mode(auth))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Kind::Unix { listener: UnixListener::from_std(socket.into())?, file })
}

fn mode(auth: Auth) -> Permissions {
    Permissions::from_mode(match auth {
        Auth::Scram => 0o777,
        Auth::Trust => 0o660,
    })
}

/// A process that was killed leaves its socket's file behind. One that answers, or that is no socket, is left alone.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One whose queue is full would keep us waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// No delay for small answers, and an end for clients that vanished.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_COUNT);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn named(stream: &UnixStream) -> String {
    match stream.peer_cred() {
        Ok(peer) => match peer.pid() {
            Some(pid) => format!("unix pid {pid} uid {}", peer.uid()),
            None => format!("unix uid {}", peer.uid()),
        },
        Err(_) => "unix".to_owned(),
    }
}

/// What happened and what to do.
fn words(error: &io::Error, listen: &Listen) -> String {
    let is_unix = matches!(listen, Listen::Unix(_));
    let known = match error.kind() {
        io::ErrorKind::AddrInUse if is_unix => {
            "another process answers on this socket: stop it, or choose another path"
        }
        io::ErrorKind::AddrInUse => "another process listens there: stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::AlreadyExists => {
            "a file that is no socket stands there: remove it, or choose another path"
        }
        io::ErrorKind::NotFound => "its folder is not there: create it",
        io::ErrorKind::PermissionDenied if is_unix => {
            "permission denied: this user may not write to its folder"
        }
        io::ErrorKind::PermissionDenied => "permission denied: ports below 1024 need privileges",
        io::ErrorKind::InvalidInput if is_unix => "the path is too long: a socket's may have 107 bytes",
        _ => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests;
