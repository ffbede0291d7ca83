//! Who may ask: names and bcrypt hashes, and what it costs to try.
//!
//! bcrypt is slow on purpose, so it runs on a blocking thread, one at a time, in turns of [`GuessTurns`]. A right password
//! is remembered by a keyed hash, so that a scrape costs microseconds.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::{memcmp, rand};

use super::turns::GuessTurns;
use crate::target::Secret;

/// 2¹⁶ rounds take seconds: more would keep scrapes waiting longer than Prometheus does.
const MAX_COST: u32 = 16;

/// What credentials are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credibility {
    /// None were given.
    Nobody,
    Known,
    Wrong,
    /// Too many are being checked.
    Busy,
}

/// Whether `hash` is one that can be checked; it is not repeated in the message.
pub fn check(hash: &str) -> Result<(), String> {
    const REMEDY: &str = "make one with `htpasswd -nBC 10 NAME`";
    let parts = match ["$2a$", "$2b$", "$2y$"].iter().any(|version| hash.starts_with(version)) {
        true => hash.parse::<bcrypt::HashParts>().ok(),
        false => None,
    };
    match parts.map(|parts| parts.get_cost()) {
        Some(4..=MAX_COST) => Ok(()),
        Some(cost) => Err(format!("has a cost of {cost}: take 10 to {MAX_COST}")),
        None => Err(format!("is not a bcrypt hash ($2y$10$…, 60 characters): {REMEDY}")),
    }
}

/// All that are known.
pub struct KnownUsers {
    users: HashMap<Vec<u8>, User>,
    /// What a password is held against whose user is not known: as dear as the dearest of ours.
    decoy: Secret,
    /// Of this process alone, so that what is remembered is worth nothing elsewhere.
    key: [u8; 32],
    turns: Arc<GuessTurns>,
}

struct User {
    hash: Secret,
    /// The keyed hash of the password that was found to be right.
    proven: Mutex<Option<[u8; 32]>>,
}

impl fmt::Debug for KnownUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("known", &self.users.len()).finish_non_exhaustive()
    }
}

impl KnownUsers {
    /// The hashes have passed [`check`].
    pub fn new(named: Vec<(String, Secret)>) -> Result<Self, ErrorStack> {
        let user = |hash| User { hash, proven: Mutex::default() };
        let users: HashMap<_, _> =
            named.into_iter().map(|(name, hash)| (name.into_bytes(), user(hash))).collect();
        let dearest = users.values().map(|user| &user.hash).max_by_key(|hash| cost(hash));
        let decoy = dearest.cloned().unwrap_or_else(|| Secret::new(""));
        let mut key = [0; 32];
        rand::rand_bytes(&mut key)?;
        Ok(KnownUsers { users, decoy, key, turns: Arc::default() })
    }

    /// Takes over from those before what a reload does not change: whose password is proven, while the hash is the same,
    /// and who waits for a turn.
    pub fn succeed(&mut self, before: &KnownUsers) {
        self.key = before.key;
        self.turns = Arc::clone(&before.turns);
        for (name, user) in &mut self.users {
            if let Some(known) = before.users.get(name).filter(|known| known.hash == user.hash) {
                user.proven = Mutex::new(*known.lock());
            }
        }
    }

    /// Judges the credentials of a request from that address. Takes as long for a name that is not known as for a wrong
    /// password.
    pub async fn judge(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Credibility {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Credibility::Nobody;
        };
        let Some(Credentials { name, password }) = Credentials::of(value) else {
            return Credibility::Wrong;
        };
        let user = self.users.get(&name);
        let digest = self.digest(&name, &password);
        let proven = || user.is_some_and(|user| user.is_proven(&digest));
        if proven() {
            return Credibility::Known;
        }
        let Some(turn) = self.turns.take(from).await else {
            return Credibility::Busy;
        };
        // Others with the same password may have been before us.
        if proven() {
            return Credibility::Known;
        }
        let hash = user.map_or(&self.decoy, |user| &user.hash).clone();
        let known = user.is_some();
        // A task of its own: who hangs up does not get away without the penalty.
        let checked = tokio::spawn(async move {
            let began = Instant::now();
            let right = tokio::task::spawn_blocking(move || matches(&password, &hash)).await;
            let right = right.unwrap_or(false) && known;
            turn.over(right, began).await;
            right
        });
        match (checked.await, user) {
            (Ok(true), Some(user)) => {
                *user.lock() = Some(digest);
                Credibility::Known
            }
            _ => Credibility::Wrong,
        }
    }

    fn digest(&self, name: &[u8], password: &Secret) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&self.key);
        // So that no part of a name can pass for one of a password.
        hash.update(&name.len().to_be_bytes());
        hash.update(name);
        hash.update(password.expose());
        hash.finish()
    }
}

/// What tests look at.
#[cfg(test)]
impl KnownUsers {
    pub fn penalty(&self) -> std::time::Duration {
        super::turns::PENALTY
    }

    pub fn hash_of(&self, name: &str) -> Secret {
        self.users[name.as_bytes()].hash.clone()
    }

    pub fn decoy_cost(&self) -> u32 {
        cost(&self.decoy)
    }

    pub async fn take_turn(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.turns.take_the_check().await
    }
}

impl User {
    fn is_proven(&self, digest: &[u8; 32]) -> bool {
        self.lock().as_ref().is_some_and(|proven| memcmp::eq(proven, digest))
    }

    fn lock(&self) -> MutexGuard<'_, Option<[u8; 32]>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client sent.
struct Credentials {
    name: Vec<u8>,
    password: Secret,
}

impl Credentials {
    fn of(value: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Secret::new(openssl::base64::decode_block(encoded.trim()).ok()?);
        let colon = decoded.expose().iter().position(|byte| *byte == b':')?;
        let (name, password) = decoded.expose().split_at(colon);
        Some(Credentials { name: name.to_vec(), password: Secret::new(&password[1..]) })
    }
}

fn cost(hash: &Secret) -> u32 {
    text(hash).parse::<bcrypt::HashParts>().map_or(0, |parts| parts.get_cost())
}

fn matches(password: &Secret, hash: &Secret) -> bool {
    bcrypt::verify(password.expose(), text(hash)).unwrap_or(false)
}

fn text(hash: &Secret) -> &str {
    std::str::from_utf8(hash.expose()).unwrap_or_default()
}
