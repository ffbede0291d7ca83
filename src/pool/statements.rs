//! Named prepared statements that outlive a server session: what clients call them, and which of them a session has.
//!
//! In transaction mode a client's statements must work on whatever session it gets. So a statement is known by its text:
//! all clients that prepare the same one share it, it has one name on all servers, and a session that lacks it is told
//! of it first. Pure bookkeeping: what is sent, and when, is the link's.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::leftovers::Hints;
use crate::protocol::Violation;

/// So many statements one session keeps; the longest unused goes first. PgBouncer's default as well.
pub const PER_SERVER: usize = 200;
/// So many names one client may have, and so many bytes behind them: a client that never closes any would fill our memory.
const PER_CLIENT: usize = 10_000;
const PER_CLIENT_BYTES: usize = 64 << 20;
/// So many statements that no client has any more are still remembered, and so many bytes of them: the next client
/// prepares the same ones.
const UNUSED: usize = 2_000;
const UNUSED_BYTES: usize = 16 << 20;

/// A statement's text and the types of its parameters, as Parse has them, under certain settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    pub id: u64,
    key: Box<[u8]>,
    /// What it may leave on a session.
    pub hints: Hints,
}

/// All statements of a pool, each once.
#[derive(Debug, Default)]
pub struct Catalog {
    known: HashSet<ByKey>,
    last_id: u64,
    /// How many of them, and how many bytes, there may be before the unused ones are looked for.
    sweep_at: (usize, usize),
    bytes: usize,
}

/// What one client calls its statements.
#[derive(Debug, Default)]
pub struct ClientStatements {
    named: HashMap<Box<[u8]>, Named>,
    bytes: usize,
    clock: u64,
    /// What its last Parse without a name said; empty where there is none.
    unnamed: Vec<u8>,
}

/// A statement under a client's name.
#[derive(Debug, Clone)]
pub struct Named {
    pub statement: Arc<Statement>,
    /// Which of the client's namings it was: later ones have greater numbers.
    pub stamp: u64,
}

/// Which statements a session has, as its answers have told, and when each was last used.
#[derive(Debug, Default)]
pub struct ServerStatements {
    used: HashMap<u64, u64>,
    clock: u64,
}

#[derive(Debug)]
struct ByKey(Arc<Statement>);

impl Statement {
    /// The query and its NUL, then the types.
    pub fn body(&self) -> &[u8] {
        &self.key[size_of::<u64>()..]
    }

    /// Its name on every server, with its NUL.
    pub fn server_name(&self) -> Vec<u8> {
        server_name(self.id)
    }
}

/// The name, with its NUL, that a statement has on every server. No statement has the id 0.
pub fn server_name(id: u64) -> Vec<u8> {
    format!("pgtether_{id}\0").into_bytes()
}

/// A server understands literals as the settings of the moment say: the same text under other ones is another statement.
fn key(body: &[u8], settings: u64) -> Vec<u8> {
    [&settings.to_ne_bytes(), body].concat()
}

impl Catalog {
    /// The statement with that text, under settings that are told apart by that number.
    pub fn intern(&mut self, body: &[u8], settings: u64) -> Arc<Statement> {
        let key = key(body, settings);
        if let Some(known) = self.known.get(&*key) {
            return Arc::clone(&known.0);
        }
        if self.known.len() >= self.sweep_at.0 || self.bytes >= self.sweep_at.1 {
            self.sweep();
        }
        self.last_id += 1;
        self.bytes += key.len();
        let statement =
            Arc::new(Statement { id: self.last_id, key: key.into(), hints: Hints::of_text(body, true) });
        self.known.insert(ByKey(Arc::clone(&statement)));
        statement
    }

    /// The same statement under these settings.
    pub fn under(&mut self, statement: &Arc<Statement>, settings: u64) -> Arc<Statement> {
        match statement.key.starts_with(&settings.to_ne_bytes()) {
            true => Arc::clone(statement),
            false => self.intern(statement.body(), settings),
        }
    }

    /// Who prepares the same text from now on gets another statement, with a name that no session knows.
    pub fn forget(&mut self, statement: &Statement) {
        if self.known.get(&*statement.key).is_some_and(|known| known.0.id == statement.id) {
            self.known.remove(&*statement.key);
            self.bytes -= statement.key.len();
        }
    }

    /// Forgets what nobody uses, down to half of what may be kept of it; not looked at again until it has grown.
    fn sweep(&mut self) {
        let (mut spare, mut spare_bytes) = (UNUSED / 2, UNUSED_BYTES / 2);
        let (mut count, mut bytes) = (0, 0);
        self.known.retain(|ByKey(statement)| {
            let used = Arc::strong_count(statement) > 1;
            let size = statement.key.len();
            let kept = used || (spare > 0 && spare_bytes >= size);
            if kept && !used {
                spare -= 1;
                spare_bytes -= size;
            }
            count += usize::from(used);
            bytes += if kept { size } else { 0 };
            kept
        });
        self.bytes = bytes;
        self.sweep_at = (count + UNUSED, bytes + UNUSED_BYTES / 2);
    }
}

impl ClientStatements {
    pub fn get(&self, name: &[u8]) -> Option<&Named> {
        self.named.get(name)
    }

    /// Gives the name to the statement. Returns the naming's stamp.
    pub fn insert(&mut self, name: &[u8], statement: Arc<Statement>) -> Result<u64, Violation> {
        self.remove(name);
        self.bytes += name.len() + statement.key.len();
        if self.named.len() >= PER_CLIENT || self.bytes > PER_CLIENT_BYTES {
            return Err(Violation {
                sqlstate: "54000",
                message: "too many prepared statements on one connection: close those that are not needed"
                    .into(),
            });
        }
        self.clock += 1;
        self.named.insert(name.into(), Named { statement, stamp: self.clock });
        Ok(self.clock)
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Named> {
        let named = self.named.remove(name)?;
        self.bytes -= name.len() + named.statement.key.len();
        Some(named)
    }

    /// The name was not given up after all, unless it was given anew since.
    pub fn restore(&mut self, name: &[u8], named: Named) {
        if !self.named.contains_key(name) {
            self.bytes += name.len() + named.statement.key.len();
            self.named.insert(name.into(), named);
        }
    }

    /// Takes the name back, if it is still that naming's.
    pub fn take_back(&mut self, name: &[u8], stamp: u64) {
        if self.get(name).is_some_and(|named| named.stamp == stamp) {
            self.remove(name);
        }
    }

    /// Forgets what was named before that naming.
    pub fn clear_before(&mut self, stamp: u64) {
        let bytes = &mut self.bytes;
        self.named.retain(|name, named| {
            let stays = named.stamp >= stamp;
            *bytes -= if stays { 0 } else { name.len() + named.statement.key.len() };
            stays
        });
    }

    /// The statement without a name, as Parse has it behind the name.
    pub fn unnamed(&self) -> Option<&[u8]> {
        (!self.unnamed.is_empty()).then_some(&self.unnamed)
    }

    /// There is a new one, or none that is kept.
    pub fn set_unnamed(&mut self, body: &[u8]) {
        self.unnamed.clear();
        self.unnamed.extend_from_slice(body);
    }
}

impl ServerStatements {
    /// Whether the session has it; that counts as a use.
    pub fn touch(&mut self, id: u64) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.used.get_mut(&id).map(|used| *used = clock).is_some()
    }

    /// The session has it.
    pub fn insert(&mut self, id: u64) {
        self.clock += 1;
        self.used.insert(id, self.clock);
    }

    /// Which one is to go for the next, if one must; not one of those that are on their way already.
    pub fn to_evict(&self, leaving: impl Fn(u64) -> bool) -> Option<u64> {
        let candidates = || self.used.iter().filter(|(id, _)| !leaving(**id));
        let full = self.used.len() >= PER_SERVER && candidates().nth(PER_SERVER - 1).is_some();
        full.then(|| candidates().min_by_key(|(_, used)| **used).map(|(id, _)| *id)).flatten()
    }

    pub fn remove(&mut self, id: u64) {
        self.used.remove(&id);
    }

    pub fn clear(&mut self) {
        self.used.clear();
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_the_same_statement_and_other_types_make_another() {
        let mut catalog = Catalog::default();
        let one = catalog.intern(b"select $1\0\0\0", 0);
        assert_eq!(one, catalog.intern(b"select $1\0\0\0", 0));
        assert_ne!(one.id, catalog.intern(b"select $1\0\0\x01\0\0\0\x17", 0).id);
        assert_eq!(one.server_name(), b"pgtether_1\0");
    }

    #[test]
    fn statements_in_use_are_never_forgotten_and_unused_ones_are_bounded() {
        let mut catalog = Catalog::default();
        let kept = catalog.intern(b"kept\0", 0);
        for i in 0..10 * UNUSED {
            catalog.intern(format!("unused {i}\0").as_bytes(), 0);
        }
        assert_eq!(catalog.intern(b"kept\0", 0).id, kept.id);
        assert!(catalog.known.len() <= 2 * UNUSED, "{} are known", catalog.known.len());
    }

    #[test]
    fn other_settings_make_another_statement_of_the_same_text() {
        let mut catalog = Catalog::default();
        let here = catalog.intern(b"select '2026-01-01'::timestamptz\0\0\0", 1);
        let there = catalog.under(&here, 2);
        assert_ne!(here.id, there.id);
        assert_eq!(here.body(), there.body());
        assert_eq!(catalog.under(&there, 1), here);
    }

    #[test]
    fn large_statements_that_nobody_uses_are_bounded_by_their_size() {
        let mut catalog = Catalog::default();
        for i in 0..100_u32 {
            catalog.intern(&[&i.to_ne_bytes()[..], &[b'x'; 1 << 20]].concat(), 0);
        }
        assert!(catalog.bytes <= 2 * UNUSED_BYTES, "{} bytes are kept", catalog.bytes);
    }

    #[test]
    fn a_full_session_gives_up_the_statement_that_was_not_used_for_longest() {
        let mut server = ServerStatements::default();
        for id in 1..=PER_SERVER as u64 {
            assert_eq!(server.to_evict(|_| false), None);
            server.insert(id);
        }
        assert!(server.touch(1));
        assert_eq!(server.to_evict(|_| false), Some(2));
        // One that leaves already makes room.
        assert_eq!(server.to_evict(|id| id == 2), None);
    }

    #[test]
    fn a_name_is_taken_back_only_from_the_naming_that_gave_it() {
        let (mut client, mut catalog) = (ClientStatements::default(), Catalog::default());
        let statement = catalog.intern(b"select 1\0\0\0", 0);
        let first = client.insert(b"a", Arc::clone(&statement)).unwrap();
        let second = client.insert(b"a", statement).unwrap();
        client.take_back(b"a", first);
        assert!(client.get(b"a").is_some());
        client.clear_before(second);
        assert!(client.get(b"a").is_some());
        client.take_back(b"a", second);
        assert!(client.get(b"a").is_none() && client.bytes == 0);
    }

    #[test]
    fn a_client_that_never_closes_its_statements_is_stopped() {
        let (mut client, mut catalog) = (ClientStatements::default(), Catalog::default());
        let statement = catalog.intern(b"select 1\0\0\0", 0);
        for i in 0..PER_CLIENT {
            client.insert(format!("s{i}").as_bytes(), Arc::clone(&statement)).unwrap();
        }
        assert_eq!(client.insert(b"one more", statement).unwrap_err().sqlstate, "54000");
    }
}
