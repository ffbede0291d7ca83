//! Where to listen, and under which path the metrics are: checked before anything is bound.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:10432`: all addresses, IPv6 and IPv4. Port 0 takes a free one.
    All { port: u16 },
    /// `127.0.0.1:10432`, `[::1]:10432`.
    Ip(SocketAddr),
    /// `localhost:10432`: asked for when listening begins.
    Name { host: String, port: u16 },
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty: write :10432 for all addresses, or 127.0.0.1:10432".to_owned());
        }
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => return Err(format!("it has no port: write {address}:10432")),
            Ok(IpAddr::V6(address)) => return Err(format!("it has no port: write [{address}]:10432")),
            Err(_) => {}
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(if text.bytes().all(|b| b.is_ascii_digit()) {
                format!("it has no colon: write :{text} for all addresses")
            } else {
                "it has no port: write it as :10432, 127.0.0.1:10432 or [::1]:10432".to_owned()
            });
        };
        let digits = |b: u8| b.is_ascii_hexdigit() || b == b':';
        if host.contains(':') && host.bytes().all(digits) {
            return Err("an IPv6 address is written in brackets: [::1]:10432".to_owned());
        }
        let port: u16 = match port.parse() {
            Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => number,
            Ok(_) | Err(_) => return Err("its port is not a number from 0 to 65535".to_owned()),
        };
        if host.is_empty() {
            return Ok(ListenAddress::All { port });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(ListenAddress::Ip(address));
        }
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.len() > 253 || !host.bytes().all(named) {
            return Err("it is not host:port: write :10432, 127.0.0.1:10432 or [::1]:10432".to_owned());
        }
        let host = host.to_owned();
        Ok(ListenAddress::Name { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::All { port } => write!(f, ":{port}"),
            ListenAddress::Ip(address) => write!(f, "{address}"),
            ListenAddress::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// The path of the metrics: absolute, plain, and not one that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    const TAKEN: [&'static str; 7] = ["/health", "/livez", "/readyz", "/probe", "/-", "/api", "/badge"];

    /// The path, from its `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TelemetryPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !text.starts_with('/') || !text.bytes().all(plain) {
            return Err("it must begin with / and hold letters, digits and - . _ ~ only".to_owned());
        }
        let rest_behind = |taken: &str| text.strip_prefix(taken).map(str::as_bytes);
        let taken = Self::TAKEN.into_iter().find(|taken| matches!(rest_behind(taken), Some([] | [b'/', ..])));
        match taken {
            _ if text == "/" => Err("/ is the status page: take another path, such as /metrics".to_owned()),
            Some(taken) => Err(format!("{taken} serves something else: take another path, such as /metrics")),
            None => Ok(TelemetryPath(text.to_owned())),
        }
    }
}

impl fmt::Display for TelemetryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
