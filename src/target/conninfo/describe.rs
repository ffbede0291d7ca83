//! An endpoint in one line for people, without its secrets.

use std::fmt::Write as _;

use super::words::SSL_MODES;
use crate::target::{Endpoint, Host, SslMode};

impl Endpoint {
    /// `user@host:5432/database sslmode=require`; a `hostaddr` stands in parentheses behind its name.
    pub fn describe(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(address).collect();
        let mut line = format!("{}@{}/{}", self.user, hosts.join(","), self.database);
        // On a Unix socket TLS is never spoken, whatever the mode.
        if self.hosts.iter().any(|host| matches!(host, Host::Tcp { .. })) {
            // Writing to a String cannot fail.
            let _ = write!(line, " sslmode={}", self.tls.mode.as_str());
        }
        line
    }
}

impl SslMode {
    /// libpq's word for it.
    pub fn as_str(self) -> &'static str {
        SSL_MODES
            .iter()
            .find(|(_, mode)| *mode == self)
            .map_or("", |(word, _)| word)
    }
}

fn address(host: &Host) -> String {
    match host {
        Host::Unix { dir, port } => format!("{}:{port}", dir.display()),
        Host::Tcp { name, hostaddr, port } => {
            let shown = if name.contains(':') {
                format!("[{name}]")
            } else {
                name.clone()
            };
            match hostaddr.map(|address| address.to_string()) {
                Some(address) if address != *name => format!("{shown}({address}):{port}"),
                _ => format!("{shown}:{port}"),
            }
        }
    }
}
