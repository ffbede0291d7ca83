//! The lists `host`, `hostaddr` and `port`, and which hosts they make.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use super::Findings;
use super::table::Keyword;
use super::values::Values;
use super::words::number;
use crate::target::Host;

const DEFAULT_PORT: u16 = 5432;
/// They share one deadline: with more, none would get the time to answer.
const MOST_HOSTS: usize = 64;
/// Longer names do not exist in DNS.
const LONGEST_NAME: usize = 255;
/// What fits into the address of a Unix socket on Linux, without the NUL at its end.
const LONGEST_SOCKET: usize = 107;

/// The hosts in the order of the string; with a problem reported there may be fewer.
pub(super) fn hosts(values: &Values, findings: &mut Findings) -> Vec<Host> {
    let names = list(values, Keyword::Host);
    let addresses = list(values, Keyword::HostAddr);
    let ports = list(values, Keyword::Port);
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if count > MOST_HOSTS {
        findings.problem(Some("host"), format!("more than {MOST_HOSTS} hosts are listed"));
        return Vec::new();
    }
    let mut fits = |key: Keyword, len: usize, one_is_enough: bool| {
        let fine = len == count || (one_is_enough && len == 1);
        if !fine {
            let (keyword, other) = (key.keyword(), if key == Keyword::Host { "hostaddr" } else { "host" });
            findings.problem(
                Some(keyword),
                format!("`{keyword}` lists {len} and `{other}` {count}: the lists must be of one length"),
            );
        }
        fine
    };
    let names_fit = names.as_ref().is_none_or(|l| fits(Keyword::Host, l.len(), false));
    let ports_fit = ports.as_ref().is_none_or(|l| fits(Keyword::Port, l.len(), true));
    if !(names_fit && ports_fit) {
        return Vec::new();
    }
    let at = |list: &Option<Vec<&str>>, i: usize| {
        list.as_ref().map_or(String::new(), |l| l[i % l.len()].to_owned())
    };
    (0..count)
        .filter_map(|i| {
            let port = port(&at(&ports, i), findings);
            one(&at(&names, i), &at(&addresses, i), port?, findings)
        })
        .collect()
}

/// Whether the connection leaves this machine.
pub(super) fn is_remote(host: &Host) -> bool {
    let loopback = |address: IpAddr| address.to_canonical().is_loopback();
    match host {
        Host::Unix { .. } => false,
        Host::Tcp { hostaddr: Some(address), .. } => !loopback(*address),
        Host::Tcp { name, .. } => match name.parse() {
            Ok(address) => !loopback(address),
            Err(_) => !name.eq_ignore_ascii_case("localhost"),
        },
    }
}

/// A comma list; one that is empty counts as missing, as in libpq.
fn list(values: &Values, key: Keyword) -> Option<Vec<&str>> {
    values.filled(key).map(|text| text.split(',').collect())
}

fn port(text: &str, findings: &mut Findings) -> Option<u16> {
    if text.is_empty() {
        return Some(DEFAULT_PORT);
    }
    let port = number(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    if port.is_none() {
        findings.problem(
            Some("port"),
            "`port` must be a number from 1 to 65535, or such numbers separated by commas",
        );
    }
    port
}

fn one(name: &str, address: &str, port: u16, findings: &mut Findings) -> Option<Host> {
    if !address.is_empty() {
        let Ok(hostaddr) = address.parse::<IpAddr>() else {
            findings.problem(
                Some("hostaddr"),
                "`hostaddr` must be an IPv4 or IPv6 address; names go into `host`",
            );
            return None;
        };
        // A folder beside an address names nothing that TLS could verify.
        let named = !name.is_empty() && !is_socket(name);
        let name = if named { checked(name, findings)? } else { hostaddr.to_string() };
        return Some(Host::Tcp { name, hostaddr: Some(hostaddr), port });
    }
    if name.is_empty() {
        return Some(Host::Unix { dir: default_socket_folder(), port });
    }
    if is_socket(name) {
        if name.len() + format!("/.s.PGSQL.{port}").len() > LONGEST_SOCKET {
            findings.problem(
                Some("host"),
                format!("the path of a Unix socket is longer than {LONGEST_SOCKET} bytes: use a folder with a short name"),
            );
        }
        return Some(Host::Unix { dir: PathBuf::from(name), port });
    }
    Some(Host::Tcp { name: checked(name, findings)?, hostaddr: None, port })
}

/// libpq's rule: a folder begins with `/`, an abstract socket with `@`.
fn is_socket(name: &str) -> bool {
    name.starts_with(['/', '@'])
}

/// Where Debian's and Red Hat's packages put the socket, or else where PostgreSQL itself does.
fn default_socket_folder() -> PathBuf {
    let packaged = Path::new("/var/run/postgresql");
    if packaged.is_dir() { packaged.to_owned() } else { PathBuf::from("/tmp") }
}

fn checked(name: &str, findings: &mut Findings) -> Option<String> {
    let fault = if name.contains('@') {
        "`host` holds an `@`: where it belongs to a password, write it as `%40`"
    } else if name.contains('/') {
        "`host` holds a `/` but does not begin with one: the folder of a Unix socket is an absolute path"
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "`host` holds white space: write a list as host=a,b"
    } else if is_ipv6(name) {
        return Some(name.to_owned());
    } else if name.contains(['[', ']']) {
        "`host` holds brackets: they belong around IPv6 addresses in URIs only"
    } else if name.contains(':') {
        "`host` holds a `:` and is no IPv6 address: a port goes into `port`"
    } else if name.contains(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
        "`host` holds a character that no name of a host has: settings are separated by blanks, or in a URI by `&`"
    } else if name.len() > LONGEST_NAME {
        "`host` is longer than 255 bytes"
    } else {
        return Some(name.to_owned());
    };
    findings.problem(Some("host"), fault);
    None
}

/// With or without a zone such as `%eth0`.
fn is_ipv6(name: &str) -> bool {
    name.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}
