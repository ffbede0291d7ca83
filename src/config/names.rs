//! The names, files, addresses and connection strings of the file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::scalar::Scalar;
use super::values::{VARIABLE, Value, value};
use crate::target::pool::Listen;
use crate::target::{REDACTED, Secret, SecretFile, TargetName, is_no_path};

/// A target's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub TargetName);

value!(Name);

impl Value for Name {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &Scalar) -> Result<Self, String> {
        TargetName::new(text.trimmed()).map(Name).ok_or_else(|| {
            format!(
                "{} is not a name: take 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first",
                text.shown()
            )
        })
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number"], "pattern": format!("{}|{VARIABLE}", TargetName::PATTERN) })
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

/// The name of the service that depends on the targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service(pub String);

value!(Service);

impl Service {
    pub const DEFAULT: &'static str = "pgtether";
    /// PostgreSQL cuts `application_name` off there.
    const MAX: usize = 63;
}

impl Value for Service {
    const EXPECTED: &'static str = "a name";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let name = text.trimmed();
        if name.len() <= Self::MAX && name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Ok(Service(name.to_owned()));
        }
        Err(format!(
            "{} cannot be PostgreSQL's application_name: take at most {} printable ASCII characters",
            text.shown(),
            Self::MAX
        ))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": ["string", "number"], "pattern": "^[ -~]+$" })
    }
}

/// A connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Url {
    /// As the file has it.
    Whole(Secret),
    /// What of it may be shown.
    Described(String),
}

value!(Url);

impl Value for Url {
    const EXPECTED: &'static str = "a connection string such as postgresql://user@host/database";

    fn parse(text: &Scalar) -> Result<Self, String> {
        // `${NAME}` has been replaced; of this form only the name of a variable is shown, never what it holds.
        if let Some(name) = text.trimmed().strip_prefix('$')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            return Err(format!("${name} is no connection string; did you mean ${{{name}}}?"));
        }
        Ok(Url::Whole(Secret::new(text.trimmed())))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Serialize for Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Url::Whole(_) => REDACTED,
            Url::Described(text) => text,
        })
    }
}

/// The path of a file; a relative one starts at the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File(pub PathBuf);

value!(File);

impl Value for File {
    const EXPECTED: &'static str = "the path of a file";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let path = text.trimmed();
        if path.contains('\0') {
            return Err("a path cannot hold a NUL character".to_owned());
        }
        if is_no_path(path) {
            return Err("this is no path, but a connection string or a key (not shown, it may hold a secret): write it \
                        to a file, and name the file here"
                .to_owned());
        }
        Ok(File(PathBuf::from(path)))
    }

    fn within(self, folder: &Path) -> Self {
        File(folder.join(self.0))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// The path of a file with a secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPath(pub SecretFile);

value!(SecretPath);

impl Value for SecretPath {
    const EXPECTED: &'static str = File::EXPECTED;

    fn parse(text: &Scalar) -> Result<Self, String> {
        File::parse(text)?;
        Ok(SecretPath(text.trimmed().into()))
    }

    fn within(self, folder: &Path) -> Self {
        SecretPath(self.0.within(folder))
    }

    fn schema() -> serde_json::Value {
        File::schema()
    }
}

impl Serialize for SecretPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.shown().as_deref().unwrap_or(REDACTED))
    }
}

/// Where a pool listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAddress(pub Listen);

value!(PoolAddress => Listen);

impl PoolAddress {
    const UNIX: &'static str = "unix:";
    /// What fits in `sockaddr_un`, its final NUL aside.
    const MAX_PATH: usize = 107;

    fn unix(path: &str) -> Result<Listen, String> {
        let wrong = match () {
            () if path.contains('\0') => "a path cannot hold a NUL character".to_owned(),
            () if !path.starts_with('/') || path.ends_with('/') => {
                "a Unix socket is a file with an absolute path: write unix:/run/pgtether/.s.PGSQL.6432"
                    .to_owned()
            }
            () if path.len() > Self::MAX_PATH => {
                format!(
                    "the path has {} bytes, and a Unix socket's has {} at the most",
                    path.len(),
                    Self::MAX_PATH
                )
            }
            () => return Ok(Listen::Unix(PathBuf::from(path))),
        };
        Err(wrong)
    }

    fn tcp(text: &str) -> Result<Listen, String> {
        let (host, port) = match text.rsplit_once(':') {
            Some(split) if text.parse::<IpAddr>().is_err() => split,
            None if text.bytes().all(|b| b.is_ascii_digit()) => ("", text),
            Some(_) | None if text.starts_with('/') => {
                return Err(format!("a Unix socket is written with {}", Self::UNIX));
            }
            Some(_) | None => {
                return Err("there is no port: write 127.0.0.1:6432 or \"[::1]:6432\"".to_owned());
            }
        };
        let address = match host {
            "localhost" => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            _ => text.parse().ok(),
        };
        match address {
            Some(address) if address.port() > 0 => Ok(Listen::Tcp(address)),
            Some(_) => Err("port 0 would be another one at each start: take 1 to 65535".to_owned()),
            None if host.is_empty() || host == "*" => Err(
                "there is no address: write 127.0.0.1:6432 for this machine alone, or \"[::]:6432\" for all that reach it"
                    .to_owned(),
            ),
            None => Err(format!("expected {}", <Self as Value>::EXPECTED)),
        }
    }
}

impl Value for PoolAddress {
    const EXPECTED: &'static str = "an IP address and a port such as 127.0.0.1:6432, localhost:6432, or unix:/run/pgtether/.s.PGSQL.6432";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let listen = match text.trimmed().strip_prefix(Self::UNIX) {
            Some(path) => Self::unix(path),
            None => Self::tcp(text.trimmed()),
        };
        listen.map(PoolAddress).map_err(|wrong| format!("{} is no place to listen: {wrong}", text.shown()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": format!("^(unix:/.+|[^/]+:[0-9]+)$|{VARIABLE}") })
    }
}

impl Serialize for PoolAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
