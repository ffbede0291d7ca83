//! What a cluster is to be like, and the two files that tell PostgreSQL so.

use std::fmt::Write;
use std::path::Path;

use super::SUPERUSER;

/// What a cluster is to be like.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Lines of `postgresql.conf`, over the base ones.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf` for TCP; with none, everybody on loopback needs a password by SCRAM.
    pub hba: Vec<String>,
    /// Files put into the data folder before the start, readable by the server alone: certificates and keys.
    pub files: Vec<(String, String)>,
    /// Starts as a standby that is never fed: in recovery, read-only, until promoted.
    pub standby: bool,
}

impl Setup {
    /// One more setting.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// One more line of `pg_hba.conf`.
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// One more file in the data folder.
    pub fn file(mut self, name: &str, contents: &str) -> Self {
        self.files.push((name.to_owned(), contents.to_owned()));
        self
    }

    /// A standby rather than a primary.
    pub fn standby(mut self) -> Self {
        self.standby = true;
        self
    }
}

/// `postgresql.conf`: quick rather than safe, because the data is thrown away.
pub(super) fn settings(sockets: &Path, port: u16, setup: &Setup) -> String {
    let sockets = sockets.display().to_string();
    let port = port.to_string();
    let base = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("unix_socket_directories", sockets.as_str()),
        ("max_connections", "100"),
        ("shared_buffers", "16MB"),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("log_line_prefix", "%m [%p] %q%u@%d %a "),
        ("log_connections", "on"),
        ("log_disconnections", "on"),
    ];
    let chosen = setup.settings.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut text = String::new();
    // The last one of a name wins.
    for (name, value) in base.into_iter().chain(chosen) {
        let value = value.replace('\'', "''");
        let _ = writeln!(text, "{name} = '{value}'");
    }
    text
}

/// `pg_hba.conf`: the superuser by the Unix socket first, so that nothing under test locks us out.
pub(super) fn hba(setup: &Setup) -> String {
    let mut lines = vec![format!("local all {SUPERUSER} trust")];
    if setup.hba.is_empty() {
        lines.push("host all all 127.0.0.1/32 scram-sha-256".to_owned());
        lines.push("host all all ::1/128 scram-sha-256".to_owned());
        lines.push("local all all scram-sha-256".to_owned());
    }
    lines.extend(setup.hba.iter().cloned());
    lines.join("\n") + "\n"
}
