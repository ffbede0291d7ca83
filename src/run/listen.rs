//! Binds what `--web.listen-address` names.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::cli::ListenAddress;

/// Connections that the kernel keeps for us while we are busy: as many as it does by itself (net.core.somaxconn). A
/// client that finds the queue full waits for a second at the least.
const BACKLOG: i32 = 4096;

/// Binds one address. Must be called within a runtime.
pub fn bind(address: &ListenAddress) -> io::Result<TcpListener> {
    let socket = match address {
        ListenAddress::All { port } => all(*port)?,
        ListenAddress::Ip(address) => one(*address)?,
        ListenAddress::Name { host, port } => named(host, *port)?,
    };
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// One socket for both families; IPv4 alone where the machine has no IPv6.
fn all(port: u16) -> io::Result<Socket> {
    one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
    })
}

fn named(host: &str, port: u16) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match one(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn one(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
