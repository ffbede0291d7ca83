//! What one client calls its statements.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use super::{Budget, Charge, Described, Statement};

/// So many names one client may have: one that never closes any would fill our memory.
const MOST: usize = 10_000;
/// Beside a name: its entry.
const ENTRY: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct ClientStatements {
    named: HashMap<Box<[u8]>, Named>,
    /// For the names.
    charge: Charge,
    stamp: u64,
    /// What was named before this naming was given up by `DEALLOCATE ALL` or `DISCARD ALL`.
    wiped_before: u64,
    unnamed: Unnamed,
    /// Which naming that is, and what the client was told of it.
    unnamed_stamp: u64,
    unnamed_told: Option<Described>,
    unnamed_charge: Charge,
    /// Statements without a name are prepared like named ones.
    pub prepares_unnamed: bool,
}

/// A statement under a client's name.
#[derive(Debug, Clone)]
pub struct Named {
    pub statement: Arc<Statement>,
    /// Which of the client's namings it was: later ones have greater numbers.
    pub stamp: u64,
    /// What the client was told of it, if it has asked.
    pub told: Option<Described>,
}

/// A client's statement without a name.
#[derive(Debug, Default)]
pub enum Unnamed {
    #[default]
    None,
    /// What its last Parse said behind the name.
    Kept(Vec<u8>),
    /// So long a text is kept as it came.
    Long(Arc<Statement>),
    /// It is prepared on the sessions under the catalog's name.
    Prepared(Arc<Statement>),
    /// There is one, for whose text there was no room.
    NotKept,
}

impl ClientStatements {
    pub fn new(budget: &Budget) -> Self {
        ClientStatements {
            named: HashMap::new(),
            charge: budget.nothing(),
            stamp: 0,
            wiped_before: 0,
            unnamed: Unnamed::None,
            unnamed_stamp: 0,
            unnamed_told: None,
            unnamed_charge: budget.nothing(),
            prepares_unnamed: false,
        }
    }

    /// What it calls so, by a name.
    pub fn get(&self, name: &[u8]) -> Option<&Named> {
        self.named.get(name)
    }

    /// The client is told that of what it calls so, if it is still that naming. False where it is not.
    pub fn tell(&mut self, name: &[u8], stamp: u64, told: Described) -> bool {
        let knows = match name {
            b"" if self.unnamed_stamp == stamp => Some(&mut self.unnamed_told),
            b"" => None,
            name => {
                self.named.get_mut(name).filter(|named| named.stamp == stamp).map(|named| &mut named.told)
            }
        };
        let is_there = knows.is_some();
        knows.into_iter().for_each(|knows| told.tell(knows));
        is_there
    }

    /// What the client calls that statement; of several names, the one that it gave last.
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        let names = self.named.iter().filter(|(_, named)| named.statement.id == id);
        let last = names.max_by_key(|(_, named)| named.stamp).map(|(name, _)| &**name);
        last.or_else(|| self.is_unnamed(id).then_some(b""))
    }

    /// Whether its statement without a name is that one of the catalog.
    pub fn is_unnamed(&self, id: u64) -> bool {
        matches!(&self.unnamed, Unnamed::Prepared(statement) if statement.id == id)
    }

    /// Gives the name to the statement. Returns the naming's stamp; `None` where the client has too many.
    pub fn insert(&mut self, name: &[u8], statement: Arc<Statement>) -> Option<u64> {
        self.remove(name);
        if self.named.len() >= MOST || !self.charge.change(self.charge.bytes() + name.len() + ENTRY) {
            return None;
        }
        self.stamp += 1;
        self.named.insert(name.into(), Named { statement, stamp: self.stamp, told: None });
        Some(self.stamp)
    }

    /// The stamp of the client's next naming.
    pub fn next_stamp(&self) -> u64 {
        self.stamp + 1
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Named> {
        let named = self.named.remove(name)?;
        self.charge.change(self.charge.bytes() - name.len() - ENTRY);
        Some(named)
    }

    /// The name was not given up after all, unless it was given anew since, or given up with all others.
    pub fn restore(&mut self, name: &[u8], named: Named) {
        if named.stamp < self.wiped_before || self.named.contains_key(name) {
            return;
        }
        if self.charge.change(self.charge.bytes() + name.len() + ENTRY) {
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
        self.wiped_before = stamp.min(self.stamp + 1);
        let mut bytes = self.charge.bytes();
        self.named.retain(|name, named| {
            let stays = named.stamp >= stamp;
            bytes -= if stays { 0 } else { name.len() + ENTRY };
            stays
        });
        self.charge.change(bytes);
    }

    /// Forgets all names. Returns how many there were and how many bytes are behind them.
    pub fn clear(&mut self) -> (usize, usize) {
        let named = take(&mut self.named);
        self.charge.change(0);
        (named.len(), named.values().map(|named| named.statement.bytes()).sum())
    }

    pub fn unnamed(&self) -> &Unnamed {
        &self.unnamed
    }

    /// Which naming that is: each Parse is another.
    pub fn unnamed_stamp(&self) -> u64 {
        self.unnamed_stamp
    }

    /// What the client was told of it, if it has asked.
    pub fn unnamed_told(&self) -> Option<Described> {
        self.unnamed_told
    }

    /// There is a new statement without a name, with that text.
    pub fn set_unnamed(&mut self, body: &[u8]) {
        if !self.unnamed_charge.change(body.len()) {
            return self.drop_unnamed(Unnamed::NotKept);
        }
        self.names_unnamed();
        match &mut self.unnamed {
            Unnamed::Kept(text) => {
                text.clear();
                text.extend_from_slice(body);
                text.shrink_to(2 * body.len());
            }
            other => *other = Unnamed::Kept(body.to_vec()),
        }
    }

    /// There is a new statement without a name, that is prepared like named ones. Returns whether it is another one.
    pub fn prepare_unnamed(&mut self, statement: &Arc<Statement>) -> bool {
        let is_other = !self.is_unnamed(statement.id);
        self.drop_unnamed(Unnamed::Prepared(Arc::clone(statement)));
        is_other
    }

    /// There is none any more, or one that is not charged here.
    pub fn drop_unnamed(&mut self, what: Unnamed) {
        self.names_unnamed();
        self.unnamed = what;
        self.unnamed_charge.change(0);
    }

    fn names_unnamed(&mut self) {
        self.stamp += 1;
        (self.unnamed_stamp, self.unnamed_told) = (self.stamp, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::statements::Catalog;

    fn both() -> (ClientStatements, Catalog) {
        let catalog = Catalog::default();
        (ClientStatements::new(catalog.budget()), catalog)
    }

    #[test]
    fn a_name_is_taken_back_only_from_the_naming_that_gave_it() {
        let (mut client, mut catalog) = both();
        let statement = catalog.intern(b"select 1\0\0\0", 0).unwrap();
        let first = client.insert(b"a", Arc::clone(&statement)).unwrap();
        let second = client.insert(b"a", statement).unwrap();
        client.take_back(b"a", first);
        assert!(client.get(b"a").is_some());
        client.clear_before(second);
        assert!(client.get(b"a").is_some());
        client.take_back(b"a", second);
        assert!(client.get(b"a").is_none() && client.charge.bytes() == 0);
    }

    #[test]
    fn a_close_that_is_skipped_does_not_bring_back_what_was_given_up_meanwhile() {
        let (mut client, mut catalog) = both();
        let statement = catalog.intern(b"select 1\0\0\0", 0).unwrap();
        for wiped in [false, true] {
            client.insert(b"a", Arc::clone(&statement)).unwrap();
            let closed = client.remove(b"a").unwrap();
            let later = client.insert(b"b", Arc::clone(&statement)).unwrap();
            let later = client.remove(b"b").filter(|named| named.stamp == later).unwrap();
            if wiped {
                client.clear_before(later.stamp);
            }
            client.restore(b"a", closed);
            client.restore(b"b", later);
            assert_eq!((client.get(b"a").is_some(), client.get(b"b").is_some()), (!wiped, true));
        }
        let named = client.remove(b"b").unwrap();
        client.clear_before(u64::MAX);
        client.restore(b"b", named);
        assert!(client.get(b"b").is_none());
        client.insert(b"b", statement).unwrap();
        let named = client.remove(b"b").unwrap();
        client.restore(b"b", named);
        assert!(client.get(b"b").is_some());
    }

    #[test]
    fn of_two_names_for_one_statement_the_last_is_told() {
        let (mut client, mut catalog) = both();
        let statement = catalog.intern(b"select 1\0\0\0", 0).unwrap();
        for name in [b"b", b"a"] {
            client.insert(name, Arc::clone(&statement)).unwrap();
        }
        assert_eq!(client.name_of(statement.id), Some(&b"a"[..]));
        assert_eq!(client.name_of(99), None);
    }

    #[test]
    fn a_client_that_never_closes_its_statements_is_stopped() {
        let (mut client, mut catalog) = both();
        let statement = catalog.intern(b"select 1\0\0\0", 0).unwrap();
        for i in 0..MOST {
            client.insert(format!("s{i}").as_bytes(), Arc::clone(&statement)).unwrap();
        }
        assert_eq!(client.insert(b"one more", Arc::clone(&statement)), None);
        assert_eq!(client.clear(), (MOST, MOST * statement.bytes()));
        assert!(client.insert(b"one more", statement).is_some());
    }

    #[test]
    fn names_and_texts_come_out_of_the_pools_budget_and_go_back_with_their_client() {
        let budget = Budget::new(1000);
        let mut client = ClientStatements::new(&budget);
        client.set_unnamed(&[b'x'; 600]);
        assert!(matches!(client.unnamed(), Unnamed::Kept(text) if text.len() == 600));
        client.set_unnamed(&[b'x'; 1001]);
        assert!(matches!(client.unnamed(), Unnamed::NotKept) && budget.used() == 0);
        let mut catalog = Catalog::default();
        let statement = catalog.intern(b"select 1\0\0\0", 0).unwrap();
        assert_eq!(client.insert(&[b'n'; 1000], Arc::clone(&statement)), None);
        client.insert(&[b'n'; 500], statement).unwrap();
        client.set_unnamed(&[b'x'; 300]);
        assert_eq!(budget.used(), 500 + ENTRY + 300);
        drop(client);
        assert_eq!(budget.used(), 0);
    }
}
