//! What clients ask for when they connect, as the server spells it: each server is asked once for the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{SessionSettings, SettingValues, sql};

/// So many clients' startup parameters are known; then they are forgotten.
const MOST: usize = 256;
/// PostgreSQL cuts what is longer.
const LONGEST_NAME: usize = 63;
const NAME: &str = "application_name";

/// What a client asked for, and what it is told that the server reports then.
#[derive(Debug, Clone, Default)]
pub struct Spelled {
    /// By their names in lower case, with the server's values.
    pub asked: SettingValues,
    pub told: SettingValues,
}

/// Of one pool.
#[derive(Debug, Default)]
pub struct Spellings {
    /// What the server reports of itself.
    server: SettingValues,
    known: HashMap<BTreeMap<String, String>, Spelled>,
}

impl Spellings {
    /// The server reports this of itself.
    pub fn report<'a>(&mut self, reported: impl Iterator<Item = (&'a String, &'a String)>) {
        let mut server = None;
        for (name, value) in reported.filter(|(name, value)| self.server.get(*name) != Some(*value)) {
            server.get_or_insert_with(|| BTreeMap::clone(&self.server)).insert(name.clone(), value.clone());
        }
        if let Some(server) = server {
            self.server = Arc::new(server);
            self.known.clear();
        }
    }

    /// Whether a session was opened.
    pub fn are_begun(&self) -> bool {
        !self.server.is_empty()
    }

    /// Of a client that asks for nothing.
    pub fn of_nothing(&self) -> Spelled {
        Spelled { asked: SettingValues::default(), told: Arc::clone(&self.server) }
    }

    /// What is known of these; an application's name needs no server to be spelled.
    pub fn get(&mut self, asked: &BTreeMap<String, String>) -> Option<Spelled> {
        if asked.is_empty() {
            return Some(self.of_nothing());
        }
        if let Some(known) = self.known.get(asked) {
            return Some(known.clone());
        }
        let name = asked.get(NAME).filter(|name| is_plain(name))?;
        let mut others = asked.clone();
        others.remove(NAME);
        let mut spelled = self.get(&others)?;
        Arc::make_mut(&mut spelled.asked).insert(NAME.to_owned(), name.clone());
        Arc::make_mut(&mut spelled.told).insert(NAME.to_owned(), name.clone());
        Some(self.learn(asked, spelled))
    }

    /// What a server that has just been given these has made of them: one row of values.
    pub fn learn_from(
        &mut self,
        asked: &BTreeMap<String, String>,
        values: Vec<Option<String>>,
        session: &mut SessionSettings,
    ) -> Option<Spelled> {
        let mut names: Vec<_> = asked.keys().collect();
        sql::order(&mut names);
        if names.len() != values.len() {
            return None;
        }
        let made = names.into_iter().cloned().zip(values.into_iter().map(Option::unwrap_or_default));
        let made = Arc::new(made.collect());
        session.are_made(Arc::clone(&made));
        let spelled = Spelled { asked: made, told: Arc::clone(session.reported()) };
        Some(self.learn(asked, spelled))
    }

    /// What gives a session that has only its server's settings these.
    pub fn question(asked: &BTreeMap<String, String>) -> Option<String> {
        sql::set(asked.iter())
    }

    pub fn learn(&mut self, asked: &BTreeMap<String, String>, spelled: Spelled) -> Spelled {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(asked.clone(), spelled.clone());
        spelled
    }
}

/// Whether a server takes it as it is.
fn is_plain(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn begun() -> Spellings {
        let mut spellings = Spellings::default();
        spellings.report(values(&[("DateStyle", "ISO, MDY"), (NAME, "tether")]).iter());
        spellings
    }

    #[test]
    fn a_server_is_asked_once_for_the_same_and_its_spelling_is_told() {
        let mut spellings = begun();
        let asked = values(&[("datestyle", "iso"), ("role", "none")]);
        assert!(spellings.get(&asked).is_none());
        let mut session = SessionSettings::new(values(&[("DateStyle", "ISO, MDY")]));
        let row = vec![Some("ISO, MDY".to_owned()), Some("none".to_owned())];
        spellings.learn_from(&asked, row, &mut session).unwrap();
        let known = spellings.get(&asked).unwrap();
        assert_eq!(*known.asked, values(&[("datestyle", "ISO, MDY"), ("role", "none")]));
        assert!(Arc::ptr_eq(&known.asked, &spellings.get(&asked).unwrap().asked));
        assert!(spellings.learn_from(&asked, Vec::new(), &mut session).is_none());
        // Another name of the application needs no server.
        let named = values(&[("datestyle", "iso"), ("role", "none"), (NAME, "psql")]);
        let known = spellings.get(&named).unwrap();
        assert_eq!((known.told[NAME].as_str(), known.asked[NAME].as_str()), ("psql", "psql"));
        assert_eq!(known.asked["datestyle"], "ISO, MDY");
    }

    #[test]
    fn a_name_that_a_server_would_change_is_its_to_spell() {
        let mut spellings = begun();
        assert!(spellings.get(&values(&[(NAME, "psql")])).is_some());
        assert!(spellings.get(&values(&[(NAME, "caf\u{e9}")])).is_none());
        assert!(spellings.get(&values(&[(NAME, &"x".repeat(64))])).is_none());
    }

    #[test]
    fn a_server_that_reports_something_else_is_asked_again() {
        let mut spellings = begun();
        let asked = values(&[("datestyle", "iso")]);
        spellings.learn(&asked, Spelled::default());
        spellings.report(values(&[("DateStyle", "ISO, MDY")]).iter());
        assert!(spellings.get(&asked).is_some());
        spellings.report(values(&[("DateStyle", "ISO, DMY")]).iter());
        assert!(spellings.get(&asked).is_none());
        assert_eq!(spellings.of_nothing().told["DateStyle"], "ISO, DMY");
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut spellings = begun();
        for i in 0..10 * MOST {
            spellings.learn(&values(&[("a", &i.to_string())]), Spelled::default());
        }
        assert!(spellings.known.len() <= MOST);
    }
}
