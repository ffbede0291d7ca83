//! All statements of a pool, each once.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::{Budget, Charge};
use crate::pool::leftovers::Hints;

/// So many statements that no client has any more are still remembered, and so many bytes of them: the next client
/// prepares the same ones.
const UNUSED: usize = 2_000;
const UNUSED_BYTES: usize = 8 << 20;

/// A statement's text and the types of its parameters, as Parse has them, under certain settings.
#[derive(Debug)]
pub struct Statement {
    pub id: u64,
    key: Box<[u8]>,
    server_name: Box<[u8]>,
    /// What it may leave on a session.
    pub hints: Hints,
    charge: Charge,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Catalog {
    known: HashSet<ByKey>,
    budget: Budget,
    last_id: u64,
    /// How many statements, and how many bytes of them, clients have given up since the unused ones were looked for.
    given_up: (usize, usize),
}

#[derive(Debug)]
struct ByKey(Arc<Statement>);

impl Statement {
    /// The query and its NUL, then the types.
    pub fn body(&self) -> &[u8] {
        &self.key[size_of::<u64>()..]
    }

    /// Its name on every server, with its NUL.
    pub fn server_name(&self) -> &[u8] {
        &self.server_name
    }

    /// What it takes of the pool's budget.
    pub fn bytes(&self) -> usize {
        self.charge.bytes()
    }

    fn is_under(&self, settings: u64) -> bool {
        self.key.starts_with(&settings.to_ne_bytes())
    }
}

/// A server understands literals as the settings of the moment say: the same text under other ones is another statement.
pub fn key(body: &[u8], settings: u64) -> Vec<u8> {
    [&settings.to_ne_bytes(), body].concat()
}

/// Beside the text: the entry, its name, what the allocator adds.
const ENTRY: usize = 160;

impl Catalog {
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The statement with that text, under settings that are told apart by that number; `None` where there is no room
    /// for it.
    pub fn intern(&mut self, body: &[u8], settings: u64) -> Option<Arc<Statement>> {
        let key = key(body, settings);
        if let Some(known) = self.known.get(&*key) {
            return Some(Arc::clone(&known.0));
        }
        let charge = self.charge(key.len() + ENTRY)?;
        let statement = Self::own(self.next_id(), key, Hints::of_text(body, true), charge);
        self.known.insert(ByKey(Arc::clone(&statement)));
        Some(statement)
    }

    /// A statement that only its client has, since nobody looks for another one with so long a text; `key` is the settings' number and the text.
    pub fn own(id: u64, key: Vec<u8>, hints: Hints, charge: Charge) -> Arc<Statement> {
        Arc::new(Statement { id, key: key.into(), server_name: server_name(id), hints, charge })
    }

    /// A number for a statement whose text is still to come.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// So much of the budget; what nobody uses makes room.
    pub fn charge(&mut self, bytes: usize) -> Option<Charge> {
        if let Some(charge) = self.budget.charge(bytes) {
            return Some(charge);
        }
        self.sweep(0, 0);
        self.budget.charge(bytes)
    }

    /// So much for what grows; false where there is no room.
    pub fn grow(&mut self, charge: &mut Charge, bytes: usize) -> bool {
        charge.change(bytes) || {
            self.sweep(0, 0);
            charge.change(bytes)
        }
    }

    /// The same statement under these settings; `None` where there is no room for it.
    pub fn under(&mut self, statement: &Arc<Statement>, settings: u64) -> Option<Arc<Statement>> {
        match statement.is_under(settings) {
            true => Some(Arc::clone(statement)),
            false => self.intern(statement.body(), settings),
        }
    }

    /// Who prepares the same text from now on gets another statement, with a name that no session knows.
    pub fn forget(&mut self, statement: &Statement) {
        if self.known.get(&*statement.key).is_some_and(|known| known.0.id == statement.id) {
            self.known.remove(&*statement.key);
        }
    }

    /// A session has refused it, since a table has changed over a connection that is not the pool's. Where that was not
    /// known yet, others may be outdated, too.
    pub fn outdate(&mut self, statement: &Statement) {
        if self.known.get(&*statement.key).is_some_and(|known| known.0.id == statement.id) {
            self.begin_generation();
        }
    }

    /// Tables, types or functions have changed: what is prepared from now on is another statement than before, whatever
    /// its text, since a server that has the old one keeps its types.
    pub fn begin_generation(&mut self) {
        self.known.clear();
    }

    /// A client does not have so many statements any more, of so many bytes: others may.
    pub fn given_up(&mut self, count: usize, bytes: usize) {
        self.given_up.0 += count;
        self.given_up.1 += bytes;
        if self.given_up.0 > UNUSED / 2 || self.given_up.1 > UNUSED_BYTES / 2 {
            self.sweep(UNUSED / 2, UNUSED_BYTES / 2);
        }
    }

    /// Forgets what nobody uses, but for so many of them, and so many bytes.
    fn sweep(&mut self, mut count: usize, mut bytes: usize) {
        self.given_up = (0, 0);
        self.known.retain(|ByKey(statement)| {
            if Arc::strong_count(statement) > 1 {
                return true;
            }
            let kept = count > 0 && bytes >= statement.bytes();
            if kept {
                count -= 1;
                bytes -= statement.bytes();
            }
            kept
        });
        self.known.shrink_to(2 * self.known.len());
    }
}

fn server_name(id: u64) -> Box<[u8]> {
    format!("pgtether_{id}\0").into_bytes().into()
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
        let one = catalog.intern(b"select $1\0\0\0", 0).unwrap();
        assert_eq!(one.id, catalog.intern(b"select $1\0\0\0", 0).unwrap().id);
        assert_ne!(one.id, catalog.intern(b"select $1\0\0\x01\0\0\0\x17", 0).unwrap().id);
        assert_eq!(one.server_name(), b"pgtether_1\0");
    }

    #[test]
    fn other_settings_make_another_statement_of_the_same_text() {
        let mut catalog = Catalog::default();
        let here = catalog.intern(b"select '2026-01-01'::timestamptz\0\0\0", 1).unwrap();
        let there = catalog.under(&here, 2).unwrap();
        assert_ne!(here.id, there.id);
        assert_eq!(here.body(), there.body());
        assert_eq!(catalog.under(&there, 1).unwrap().id, here.id);
    }

    #[test]
    fn what_was_prepared_before_a_change_of_tables_is_another_statement() {
        let mut catalog = Catalog::default();
        let before = catalog.intern(b"select * from t\0\0\0", 0).unwrap();
        catalog.begin_generation();
        let after = catalog.intern(b"select * from t\0\0\0", 0).unwrap();
        assert_ne!(before.id, after.id);
        // Who has the old one keeps it.
        assert_eq!(catalog.under(&before, 0).unwrap().id, before.id);
    }

    #[test]
    fn one_that_is_outdated_begins_a_generation_once() {
        let mut catalog = Catalog::default();
        let [one, other] =
            [b"select 1\0\0\0", b"select 2\0\0\0"].map(|text| catalog.intern(text, 0).unwrap());
        catalog.outdate(&one);
        let now = [b"select 1\0\0\0", b"select 2\0\0\0"].map(|text| catalog.intern(text, 0).unwrap().id);
        assert!(now[0] != one.id && now[1] != other.id);
        // Who goes on with the old ones tells nothing new.
        catalog.outdate(&one);
        catalog.outdate(&other);
        assert_eq!(
            now,
            [b"select 1\0\0\0", b"select 2\0\0\0"].map(|text| catalog.intern(text, 0).unwrap().id)
        );
    }

    #[test]
    fn statements_in_use_are_never_forgotten_and_those_given_up_are_bounded() {
        let mut catalog = Catalog::default();
        let kept = catalog.intern(b"kept\0", 0).unwrap();
        for i in 0..10 * UNUSED {
            let unused = catalog.intern(format!("unused {i}\0").as_bytes(), 0).unwrap();
            let bytes = unused.bytes();
            drop(unused);
            catalog.given_up(1, bytes);
        }
        assert_eq!(catalog.intern(b"kept\0", 0).unwrap().id, kept.id);
        assert!(catalog.known.len() <= UNUSED, "{} are known", catalog.known.len());
    }

    #[test]
    fn large_statements_that_nobody_uses_are_bounded_by_their_size() {
        let mut catalog = Catalog::default();
        for i in 0..100_u32 {
            let large = catalog.intern(&[&i.to_ne_bytes()[..], &[b'x'; 1 << 20]].concat(), 0).unwrap();
            let bytes = large.bytes();
            drop(large);
            catalog.given_up(1, bytes);
        }
        let used = catalog.budget.used();
        assert!(used <= UNUSED_BYTES, "{used} bytes are kept");
    }

    #[test]
    fn what_nobody_uses_makes_room_and_what_is_used_does_not() {
        let mut catalog = Catalog { budget: Budget::new(1000), ..Catalog::default() };
        let held = catalog.intern(&[b'a'; 300], 0).unwrap();
        catalog.intern(&[b'b'; 300], 0).unwrap();
        let other = catalog.intern(&[b'c'; 300], 0).unwrap();
        assert!(catalog.intern(&[b'd'; 300], 0).is_none());
        assert_eq!(catalog.intern(&[b'a'; 300], 0).unwrap().id, held.id);
        drop((held, other));
        assert!(catalog.intern(&[b'd'; 300], 0).is_some());
        drop(catalog);
    }
}
