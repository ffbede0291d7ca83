//! A session that is logged in as any other, and then spoken to in bytes: for clients that die in the middle of a
//! message, and for those that all give the same name to different statements.

use std::net::TcpStream as Blocking;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

use super::session::LIMIT;
use crate::wire::{Message, read_message};

/// See the module. Dropping it closes the socket without a word.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    /// Logs in and runs these statements.
    pub async fn open(url: &str, first: &[&str]) -> Result<Wire, String> {
        let opening = async {
            let config: Config = url.parse().map_err(|e| format!("{url}: {e}"))?;
            let socket = Self::connect(&config).await?;
            let (client, mut connection) =
                config.connect_raw(socket.login, NoTls).await.map_err(|e| e.to_string())?;
            for sql in first {
                tokio::select! {
                    ended = client.batch_execute(sql) => ended.map_err(|e| e.to_string())?,
                    ended = &mut connection => return Err(format!("{sql}: {ended:?}")),
                }
            }
            // From here on the driver must not be asked again: it would say goodbye.
            Ok(Wire { stream: socket.own })
        };
        timeout(LIMIT, opening).await.map_err(|_| "no login".to_owned())?
    }

    /// Only connects: nothing is said yet.
    pub async fn silent(url: &str) -> Result<Wire, String> {
        let config: Config = url.parse().map_err(|e| format!("{url}: {e}"))?;
        Ok(Wire { stream: Self::connect(&config).await?.own })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = timeout(LIMIT, self.stream.write_all(bytes)).await;
        sent.map_err(|_| "cannot send".to_owned())?.map_err(|e| e.to_string())
    }

    /// All messages up to ReadyForQuery.
    pub async fn until_ready(&mut self) -> Result<Vec<Message>, String> {
        let mut messages = Vec::new();
        let reading = async {
            loop {
                let message = read_message(&mut self.stream).await?;
                let is_last = message.0 == b'Z';
                messages.push(message);
                if is_last {
                    return Ok::<_, std::io::Error>(());
                }
            }
        };
        timeout(LIMIT, reading).await.map_err(|_| "hung".to_owned())?.map_err(|e| e.to_string())?;
        Ok(messages)
    }

    /// Ends it by a reset, as a machine that lost its power and came back does.
    pub fn reset(self) {
        // Only a hint to the kernel: without it, it is an orderly end.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    async fn connect(config: &Config) -> Result<Socket, String> {
        let [Host::Tcp(host)] = config.get_hosts() else { return Err("one host by TCP, please".to_owned()) };
        let to = (host.clone(), config.get_ports()[0]);
        let connecting = async {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            // Two handles of one socket: one for the driver that logs in, one for us.
            let own: Blocking = stream.into_std()?;
            let login = TcpStream::from_std(own.try_clone()?)?;
            Ok::<_, std::io::Error>(Socket { login, own: TcpStream::from_std(own)? })
        };
        connecting.await.map_err(|e| e.to_string())
    }
}

struct Socket {
    login: TcpStream,
    own: TcpStream,
}
