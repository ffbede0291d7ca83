//! A target's pool: from the file's keys to [`Pool`] and back, and what cannot be meant by them.

use std::net::IpAddr;
use std::path::Path;

use super::file::{ClientTlsKeys, PoolKeys};
use super::names::{Door, File};
use super::rules::Finding;
use super::values::{AuthWord, ModeWord, Span, Switch, Whole};
use crate::target::pool::{Auth, ClientTls, Listen, Pool};
use crate::target::{IdlePolicy, Source};

impl PoolKeys {
    /// The pool that listens there; what these keys do not say is filled in.
    pub fn pool(&self, listen: &Listen, policy: IdlePolicy, folder: &Path) -> Pool {
        let min_idle = match policy {
            IdlePolicy::KeepAwake => 1,
            IdlePolicy::LetSleep => 0,
        };
        Pool {
            listen: listen.clone(),
            mode: self.mode.map(|v| v.0).unwrap_or_default(),
            size: self.size.map_or(Pool::SIZE, |v| v.0),
            min_idle: self.min_idle.map_or(min_idle, |v| v.0),
            max_clients: self.max_clients.map_or(Pool::MAX_CLIENTS, |v| v.0),
            wait_timeout: self.wait_timeout.map_or(Pool::WAIT_TIMEOUT, |v| v.0),
            auth: self.auth.map(|v| v.0).unwrap_or_default(),
            tls: tls(self.tls.as_ref(), folder),
            query_stall: self.query_stall.map_or(Pool::QUERY_STALL, |v| v.0),
        }
    }

    /// Every key, with the value that `pool` has.
    pub fn of(pool: &Pool) -> PoolKeys {
        let files = |cert, key| Switch::On(ClientTlsKeys { cert_file: cert, key_file: key });
        PoolKeys {
            listen: Some(Door(pool.listen.clone())),
            mode: Some(ModeWord(pool.mode)),
            size: Some(Whole(pool.size)),
            min_idle: Some(Whole(pool.min_idle)),
            max_clients: Some(Whole(pool.max_clients)),
            wait_timeout: Some(Span(pool.wait_timeout)),
            auth: Some(AuthWord(pool.auth)),
            tls: Some(match &pool.tls {
                ClientTls::SelfSigned => files(None, None),
                ClientTls::Files { cert, key } => files(Some(File(cert.clone())), Some(File(key.clone()))),
                ClientTls::Off => Switch::Off,
            }),
            query_stall: Some(Span(pool.query_stall)),
        }
    }
}

/// Half of a pair is not taken for the whole; [`contradictions`] tells of it.
fn tls(keys: Option<&Switch<ClientTlsKeys>>, folder: &Path) -> ClientTls {
    match keys {
        Some(Switch::Off) => ClientTls::Off,
        Some(Switch::On(ClientTlsKeys { cert_file: Some(cert), key_file: Some(key) })) => {
            ClientTls::Files { cert: folder.join(&cert.0), key: folder.join(&key.0) }
        }
        Some(Switch::On(_)) | None => ClientTls::SelfSigned,
    }
}

/// What cannot be meant, whoever the target is.
pub fn contradictions(keys: &PoolKeys) -> Vec<Finding> {
    let mut found = Vec::new();
    let size = keys.size.map_or(Pool::SIZE, |v| v.0);
    if let Some(Whole(min_idle)) = keys.min_idle
        && min_idle > size
    {
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
pub fn exposure(pool: &Pool) -> Vec<Finding> {
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
pub fn unproven(pool: &Pool, source: &Source, has_password_file: bool) -> Option<Finding> {
    let known = match source {
        Source::Inline(endpoint) => endpoint.password.is_some() || has_password_file,
        // What it will say is not known yet.
        Source::File(_) => true,
    };
    (pool.auth == Auth::Scram && !known).then(|| {
        let message = "scram asks clients for the target's password, and neither url nor password_file has one: add \
                       it, or write `auth: trust` for a pool that only this machine reaches";
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
pub fn advice(pool: &Pool, policy: IdlePolicy) -> Vec<Finding> {
    let mut found = Vec::new();
    if policy == IdlePolicy::LetSleep && pool.min_idle > 0 {
        let message = "under idle_policy: let_sleep a session that is kept open wakes the database as soon as it sleeps: \
                       take 0, a client's arrival wakes it";
        found.push(("pool.min_idle", message.to_owned()));
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
