//! Named prepared statements that outlive a server session: what clients call them, and which of them a session has.
//!
//! In transaction mode a client's statements must work on whatever session it gets. So a statement is known by its text:
//! all clients that prepare the same one share it, it has one name on all servers, and a session that lacks it is told
//! of it first. Pure bookkeeping: what is sent, and when, is the link's.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::wire::Violation;

/// So many statements one session keeps; the longest unused goes first. PgBouncer's default as well.
pub const PER_SERVER: usize = 200;
/// So many names one client may have: a client that never closes any would fill our memory.
const PER_CLIENT: usize = 10_000;
/// So many statements that no client has any more are still remembered: the next client prepares the same ones.
const UNUSED: usize = 2_000;

/// A statement's text and the types of its parameters, as Parse has them.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    pub id: u64,
    /// The query and its NUL, then the types.
    pub body: Box<[u8]>,
}

/// All statements of a pool, each once.
#[derive(Debug, Default)]
pub struct Catalog {
    known: HashSet<ByBody>,
    last_id: u64,
    /// When the unused ones are counted next.
    sweep_at: usize,
}

/// What one client calls its statements.
#[derive(Debug, Default)]
pub struct ClientStatements {
    named: HashMap<Box<[u8]>, Arc<Statement>>,
    /// What its last Parse without a name said; empty where there is none.
    unnamed: Vec<u8>,
}

/// Which statements a session has, and when each was last used.
#[derive(Debug, Default)]
pub struct ServerStatements {
    used: HashMap<u64, u64>,
    clock: u64,
}

#[derive(Debug)]
struct ByBody(Arc<Statement>);

impl Statement {
    /// Its name on every server, with its NUL.
    pub fn server_name(&self) -> Vec<u8> {
        server_name(self.id)
    }
}

/// The name, with its NUL, that a statement has on every server. No statement has the id 0.
pub fn server_name(id: u64) -> Vec<u8> {
    format!("pgtether_{id}\0").into_bytes()
}

impl Catalog {
    /// The statement with that text.
    pub fn intern(&mut self, body: &[u8]) -> Arc<Statement> {
        if let Some(known) = self.known.get(body) {
            return Arc::clone(&known.0);
        }
        if self.known.len() >= self.sweep_at {
            self.sweep();
        }
        self.last_id += 1;
        let statement = Arc::new(Statement { id: self.last_id, body: body.into() });
        self.known.insert(ByBody(Arc::clone(&statement)));
        statement
    }

    /// Who prepares the same text from now on gets another statement, with a name that no session knows.
    pub fn forget(&mut self, statement: &Statement) {
        if self.known.get(&*statement.body).is_some_and(|known| known.0.id == statement.id) {
            self.known.remove(&*statement.body);
        }
    }

    /// Forgets what nobody uses, down to half of what may be kept of it; not looked at again until it has grown.
    fn sweep(&mut self) {
        let in_use = self.known.iter().filter(|s| Arc::strong_count(&s.0) > 1).count();
        let mut spare = UNUSED / 2;
        self.known.retain(|statement| {
            let used = Arc::strong_count(&statement.0) > 1;
            spare = spare.saturating_sub(usize::from(!used));
            used || spare > 0
        });
        self.sweep_at = in_use + UNUSED;
    }
}

impl ClientStatements {
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.named.get(name)
    }

    pub fn insert(&mut self, name: &[u8], statement: Arc<Statement>) -> Result<(), Violation> {
        if self.named.len() >= PER_CLIENT {
            return Err(Violation {
                sqlstate: "54000",
                message: format!(
                    "more than {PER_CLIENT} prepared statements: close those that are not needed"
                )
                .into(),
            });
        }
        self.named.insert(name.into(), statement);
        Ok(())
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        self.named.remove(name)
    }

    pub fn clear(&mut self) {
        self.named.clear();
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

    /// The session is told of it. Returns the one that has to go for it.
    pub fn insert(&mut self, id: u64) -> Option<u64> {
        let oldest = (self.used.len() >= PER_SERVER)
            .then(|| self.used.iter().min_by_key(|(_, used)| **used).map(|(id, _)| *id))
            .flatten();
        if let Some(oldest) = oldest {
            self.used.remove(&oldest);
        }
        self.restore(id);
        oldest
    }

    /// The session has it after all: what should have removed it did not happen.
    pub fn restore(&mut self, id: u64) {
        self.clock += 1;
        self.used.insert(id, self.clock);
    }

    pub fn remove(&mut self, id: u64) {
        self.used.remove(&id);
    }

    pub fn clear(&mut self) {
        self.used.clear();
    }
}

impl PartialEq for ByBody {
    fn eq(&self, other: &Self) -> bool {
        self.0.body == other.0.body
    }
}

impl Eq for ByBody {}

impl Hash for ByBody {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.body.hash(state);
    }
}

impl Borrow<[u8]> for ByBody {
    fn borrow(&self) -> &[u8] {
        &self.0.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_the_same_statement_and_other_types_make_another() {
        let mut catalog = Catalog::default();
        let one = catalog.intern(b"select $1\0\0\0");
        assert_eq!(one, catalog.intern(b"select $1\0\0\0"));
        assert_ne!(one.id, catalog.intern(b"select $1\0\0\x01\0\0\0\x17").id);
        assert_eq!(one.server_name(), b"pgtether_1\0");
    }

    #[test]
    fn statements_in_use_are_never_forgotten_and_unused_ones_are_bounded() {
        let mut catalog = Catalog::default();
        let kept = catalog.intern(b"kept\0");
        for i in 0..10 * UNUSED {
            catalog.intern(format!("unused {i}\0").as_bytes());
        }
        assert_eq!(catalog.intern(b"kept\0").id, kept.id);
        assert!(catalog.known.len() <= 2 * UNUSED, "{} are known", catalog.known.len());
    }

    #[test]
    fn a_full_session_gives_up_the_statement_that_was_not_used_for_longest() {
        let mut server = ServerStatements::default();
        for id in 1..=PER_SERVER as u64 {
            assert_eq!(server.insert(id), None);
        }
        assert!(server.touch(1));
        assert_eq!(server.insert(1000), Some(2));
        assert!(server.touch(1) && !server.touch(2) && server.touch(1000));
    }

    #[test]
    fn a_client_that_never_closes_its_statements_is_stopped() {
        let (mut client, mut catalog) = (ClientStatements::default(), Catalog::default());
        let statement = catalog.intern(b"select 1\0\0\0");
        for i in 0..PER_CLIENT {
            client.insert(format!("s{i}").as_bytes(), Arc::clone(&statement)).unwrap();
        }
        assert_eq!(client.insert(b"one more", statement).unwrap_err().sqlstate, "54000");
    }
}
