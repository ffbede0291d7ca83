//! What a connection string comes to: where to connect, as whom, and how.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AuthMethods, Provider, Secret};

/// Where to connect and as whom: a connection string, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// In the order to try them; never empty.
    pub hosts: Vec<Host>,
    pub load_balance: LoadBalance,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    /// `None` where the string names none: the service's name is used.
    pub application_name: Option<String>,
    /// The startup parameter `options`; Neon's endpoint rides there.
    pub options: Option<String>,
    pub tls: Tls,
    pub channel_binding: ChannelBinding,
    /// `None` where any method will do.
    pub require_auth: Option<AuthMethods>,
    pub session: SessionAttrs,
    /// libpq's `connect_timeout`, `keepalives*` and `tcp_user_timeout`, where the string names them.
    pub timings: UrlTimings,
}

impl Endpoint {
    /// Whether both lead to the same database under the same user: then a session with the one will do for the other.
    pub fn is_same_location(&self, other: &Endpoint) -> bool {
        self.hosts == other.hosts
            && self.user == other.user
            && self.database == other.database
            && self.options == other.options
            && self.session == other.session
    }

    /// What is taken out of a peer's words: the password; nothing where it is weaker than the words. One that is the name
    /// of the user, the database or a host, or is shorter than four characters, would be taken out of every sentence, and
    /// the gaps would tell what it is.
    pub fn secret_to_hide(&self) -> Option<Secret> {
        self.password.as_ref().map(|password| match self.weakness(password) {
            Some(_) => Secret::new(""),
            None => password.clone(),
        })
    }

    /// Why a password cannot be hidden in the words of a server.
    pub fn weakness(&self, password: &Secret) -> Option<&'static str> {
        let password = password.expose();
        match () {
            () if password == self.user.as_bytes() => Some("is the user's name"),
            () if password == self.database.as_bytes() => Some("is the database's name"),
            () if self.hosts.iter().any(|host| host.name().as_bytes() == password) => {
                Some("is the host's name")
            }
            () if String::from_utf8_lossy(password).chars().count() < 4 => {
                Some("has fewer than 4 characters")
            }
            () => None,
        }
    }

    /// What shares TCP connects and the guard's limits per host: the list of `host:port`, as written.
    pub fn address_key(&self) -> String {
        let each = |h: &Host| match h {
            Host::Tcp { name, hostaddr, port } => {
                format!("{}:{port}", hostaddr.map_or_else(|| name.clone(), |a| a.to_string()))
            }
            Host::Unix { dir, port } => format!("{}:{port}", dir.display()),
        };
        self.hosts.iter().map(each).collect::<Vec<_>>().join(",")
    }

    /// Who runs it: the first provider that a host's name shows.
    pub fn provider(&self) -> Provider {
        self.hosts
            .iter()
            .map(|h| Provider::of(&h.name()))
            .find(|p| *p != Provider::Other)
            .unwrap_or(Provider::Other)
    }
}

/// One server of a connection string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// `hostaddr`, where given, is dialled without asking DNS; `name` is then what TLS verifies.
    Tcp { name: String, hostaddr: Option<IpAddr>, port: u16 },
    /// A Unix socket: the folder (or `@name` of an abstract one) and the port that names the socket in it.
    Unix { dir: PathBuf, port: u16 },
}

impl Host {
    /// The host as `target_info` names it: a name, an address or a folder.
    pub fn name(&self) -> String {
        match self {
            Host::Tcp { name, .. } => name.clone(),
            Host::Unix { dir, .. } => dir.display().to_string(),
        }
    }

    /// The port, which for a Unix socket is part of its file's name.
    pub fn port(&self) -> u16 {
        match self {
            Host::Tcp { port, .. } | Host::Unix { port, .. } => *port,
        }
    }
}

/// `load_balance_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadBalance {
    #[default]
    Disable,
    Random,
}

/// How TLS is asked for and what is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    pub mode: SslMode,
    pub negotiation: SslNegotiation,
    /// `sslrootcert`.
    pub roots: RootCerts,
    /// `sslcert` and `sslkey`: PEM files.
    pub identity: Option<Identity>,
    /// `sslsni`: whether the host name is sent in the handshake.
    pub sni: bool,
    /// `ssl_min_protocol_version`.
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`.
    pub max_version: Option<TlsVersion>,
}

impl Tls {
    /// Parameters, and the files that they name, as far as the mode uses them.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let roots = match (self.mode, &self.roots) {
            (SslMode::VerifyCa | SslMode::VerifyFull, RootCerts::File(path)) => Some(path),
            _ => None,
        };
        let (cert, key) = self.identity.as_ref().map(|identity| (&identity.cert, &identity.key)).unzip();
        let files = [("sslrootcert", roots), ("sslcert", cert), ("sslkey", key)];
        files.into_iter().filter_map(|(parameter, path)| Some((parameter, path?.as_path())))
    }

    pub fn has_files(&self) -> bool {
        self.identity.is_some() || matches!(self.roots, RootCerts::File(_))
    }
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `sslnegotiation`: whether PostgreSQL is asked for TLS first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SslNegotiation {
    #[default]
    Postgres,
    Direct,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum RootCerts {
    /// The operating system's.
    #[default]
    System,
    /// A PEM file; the system's roots are then not trusted.
    File(PathBuf),
}

/// A version of TLS, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    V1_0,
    V1_1,
    #[default]
    V1_2,
    V1_3,
}

/// `channel_binding`: whether SCRAM ties the login to the TLS channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChannelBinding {
    Disable,
    #[default]
    Prefer,
    Require,
}

/// `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionAttrs {
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// What a connection string says of timings; the target's own keys beat it, it beats `defaults`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UrlTimings {
    pub connect_timeout: Option<Duration>,
    pub keepalives: Option<bool>,
    pub keepalives_idle: Option<Duration>,
    pub keepalives_interval: Option<Duration>,
    pub keepalives_count: Option<u32>,
    pub tcp_user_timeout: Option<Duration>,
}
