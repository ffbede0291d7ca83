//! What cannot be meant by the keys of a target's pool, and how its TLS is written.

use std::net::IpAddr;
use std::path::PathBuf;

use super::file::{ClientTlsKeys, PoolKeys};
use super::mapping::Sets;
use super::names::File;
use super::rules::KeyMessage;
use super::values::Switch;
use crate::target::pool::{Auth, ClientTls, Listen, Mode, Pool};
use crate::target::{IdlePolicy, PasswordSource, Source};

/// Where a pool listens of which that is not known.
pub fn nowhere() -> Listen {
    Listen::Unix(PathBuf::new())
}

impl Sets<ClientTls> for Switch<ClientTlsKeys> {
    /// Half of a pair is not taken for the whole; [`contradictions`] tells of it.
    fn set(&self, field: &mut ClientTls) {
        *field = match self {
            Switch::Off => ClientTls::Off,
            Switch::On(ClientTlsKeys { cert_file: Some(cert), key_file: Some(key) }) => {
                ClientTls::Files { cert: cert.0.clone(), key: key.0.clone() }
            }
            Switch::On(_) => ClientTls::SelfSigned,
        }
    }

    fn of(field: &ClientTls) -> Option<Self> {
        let files = |cert_file, key_file| Switch::On(ClientTlsKeys { cert_file, key_file });
        Some(match field {
            ClientTls::SelfSigned => files(None, None),
            ClientTls::Files { cert, key } => files(Some(File(cert.clone())), Some(File(key.clone()))),
            ClientTls::Off => Switch::Off,
        })
    }
}

/// What cannot be meant, whoever the target is.
pub fn contradictions(keys: &PoolKeys, pool: &Pool) -> Vec<KeyMessage> {
    let mut found = Vec::new();
    let (min_idle, size) = (pool.min_idle, pool.size);
    if keys.min_idle.is_some() && min_idle > size {
        found.push(("pool.min_idle", format!("{min_idle} is more than pool.size, {size}")));
    }
    if let Some(Switch::On(ClientTlsKeys { cert_file, key_file })) = &keys.tls {
        let half = match (cert_file, key_file) {
            (Some(_), None) => Some("cert_file is there without key_file"),
            (None, Some(_)) => Some("key_file is there without cert_file"),
            (Some(_), Some(_)) | (None, None) => None,
        };
        let remedy = "take both, or neither for a certificate made at the start";
        found.extend(half.map(|half| ("pool.tls", format!("{half}: {remedy}"))));
    }
    found
}

/// Whoever is let in has the database: beyond this machine that takes a password and a certificate.
pub fn exposure(pool: &Pool) -> Vec<KeyMessage> {
    if pool.listen.is_local() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let beyond = format!("{} is reached from beyond this machine", pool.listen);
    match pool.auth {
        Auth::Scram => {}
        Auth::Trust => {
            let message =
                format!("trust lets everybody in, and {beyond}: take scram, or listen on 127.0.0.1");
            found.push(("pool.auth", message));
        }
    }
    match pool.tls {
        ClientTls::Files { .. } => {}
        ClientTls::SelfSigned | ClientTls::Off => {
            let message = format!(
                "{beyond}, where clients must be able to tell who answers: name a certificate with cert_file and \
                 key_file, or listen on 127.0.0.1"
            );
            found.push(("pool.tls", message));
        }
    }
    found
}

/// `scram` checks clients against the target's own password: is there going to be one?
pub fn unproven(pool: &Pool, source: &Source, password: &PasswordSource) -> Option<KeyMessage> {
    let known = match source {
        Source::Inline(endpoint) => endpoint.password.is_some() || *password != PasswordSource::Url,
        // What it will say is not known yet.
        Source::File(_) => true,
    };
    (pool.auth == Auth::Scram && !known).then(|| {
        let message = "scram asks clients for the target's password, and none is configured: add it \
                       with password_file, or write `auth: trust` for a pool that only this machine reaches";
        ("pool.auth", message.to_owned())
    })
}

/// Whether two sockets cannot be had at once: one address, or one that takes in the other.
pub fn collide(a: &Listen, b: &Listen) -> bool {
    let (Listen::Tcp(a), Listen::Tcp(b)) = (a, b) else {
        return a == b;
    };
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // `[::]` takes IPv4, too.
    let takes_in = |all: IpAddr, some: IpAddr| all.is_unspecified() && (all.is_ipv6() || some.is_ipv4());
    a.port() == b.port() && (one == other || takes_in(one, other) || takes_in(other, one))
}

/// What works, but hardly as meant.
pub fn advice(pool: &Pool, policy: IdlePolicy) -> Vec<KeyMessage> {
    let mut found = Vec::new();
    if policy == IdlePolicy::LetSleep && pool.min_idle > 0 {
        let message = "under idle_policy: let_sleep a session that is kept open wakes the database as soon as it sleeps: \
                       take 0, a client's arrival wakes it";
        found.push(("pool.min_idle", message.to_owned()));
    }
    if pool.mode == Mode::Session && pool.prepare_unnamed {
        let message =
            "does nothing in session mode, where a client keeps its session with all its statements";
        found.push(("pool.prepare_unnamed", message.to_owned()));
    }
    let Listen::Unix(path) = &pool.listen else {
        return found;
    };
    if matches!(pool.tls, ClientTls::Files { .. }) {
        found.push(("pool.tls", "does nothing: there is no TLS on a Unix socket".to_owned()));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.strip_prefix(".s.PGSQL.").is_none_or(|port| port.parse::<u16>().is_err()) {
        let message = "libpq finds only sockets named .s.PGSQL.PORT, such as unix:/run/pgtether/.s.PGSQL.6432 for \
                       host=/run/pgtether port=6432";
        found.push(("pool.listen", message.to_owned()));
    }
    found
}
