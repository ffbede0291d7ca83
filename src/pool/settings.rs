//! The settings that follow a client from session to session.
//!
//! A session has settings of its server's, and some that were made for it (`SET`, `set_config`): all of those follow the
//! client that made them, as do those that it asked for when it connected. Which they are, and how the server spells
//! them, is what the server says. Pure.

mod spellings;
mod sql;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub use self::spellings::{Spelled, Spellings};
pub use self::sql::{literal, set_to};

/// Names and values; cheap to compare where they are the same ones.
pub type SettingValues = Arc<BTreeMap<String, String>>;

/// What a session has.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Made for it, by their names in lower case.
    made: SettingValues,
    /// All that the server reports, by the server's names.
    reported: SettingValues,
    /// What it reported when its client got the session.
    given: SettingValues,
}

/// What a client has on each session that it gets.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// As it came with them: what it resets is that again.
    asked: SettingValues,
    /// Those, and what it has made since.
    own: SettingValues,
    /// What it was told that the server reports.
    told: SettingValues,
    meaning: u64,
}

impl SessionSettings {
    /// Of a session that has just been opened.
    pub fn new(reported: BTreeMap<String, String>) -> Self {
        let reported = Arc::new(reported);
        SessionSettings { made: SettingValues::default(), given: Arc::clone(&reported), reported }
    }

    /// The server reports a value.
    pub fn report(&mut self, name: &str, value: &str) {
        if self.reported.get(name).map(String::as_str) != Some(value) {
            Arc::make_mut(&mut self.reported).insert(name.to_owned(), value.to_owned());
        }
    }

    /// The names of what was made for it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.made.keys().map(String::as_str)
    }

    pub fn reported(&self) -> &SettingValues {
        &self.reported
    }

    /// Whether the server reports something else than when its client got the session.
    pub fn have_changed(&mut self) -> bool {
        if Arc::ptr_eq(&self.given, &self.reported) {
            return false;
        }
        let changed = self.given != self.reported;
        if !changed {
            self.reported = Arc::clone(&self.given);
        }
        changed
    }

    /// All are the server's again.
    pub fn were_reset(&mut self) {
        self.are_made(SettingValues::default());
    }

    /// These were made for it, and no others. What the server reports of them is no change that the next client makes.
    pub fn are_made(&mut self, made: SettingValues) {
        self.made = made;
        self.given = Arc::clone(&self.reported);
    }

    /// What the server reports of itself: not made for this session.
    pub fn of_server(&self) -> impl Iterator<Item = (&String, &String)> {
        self.reported.iter().filter(|(name, _)| !self.made.contains_key(&name.to_lowercase()))
    }
}

impl ClientSettings {
    /// Of a client that asks for these, as the server spells them, and is told that.
    pub fn new(Spelled { asked, told }: Spelled) -> Self {
        let mut settings = ClientSettings { own: Arc::clone(&asked), asked, told, meaning: 0 };
        settings.meaning = settings.meant(&settings.told);
        settings
    }

    /// Tells apart what a server would understand a query's text differently under: time zones, styles of dates, paths.
    pub fn meaning(&self) -> u64 {
        self.meaning
    }

    pub fn ask_for_something(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Whether the session is known to have them, without looking at them.
    pub fn fit(&self, session: &SessionSettings) -> bool {
        Arc::ptr_eq(&self.own, &session.made) && Arc::ptr_eq(&self.told, &session.reported)
    }

    /// What gives them to the session; `None` where nothing is to be done. Statements of a simple query: all of them
    /// are made, or none.
    pub fn change(&self, session: &SessionSettings) -> Option<String> {
        match Arc::ptr_eq(&self.own, &session.made) {
            true => None,
            false => sql::change(&session.made, &self.own),
        }
    }

    /// The session has them now. Returns what the server reports otherwise than the client was told.
    pub fn were_given(&mut self, session: &mut SessionSettings) -> Vec<(String, String)> {
        session.made = Arc::clone(&self.own);
        if self.told == session.reported {
            session.reported = Arc::clone(&self.told);
        }
        let news = self.news(session);
        session.given = Arc::clone(&session.reported);
        news
    }

    /// What the server reports has changed while the client has the session: it has passed on to the client.
    pub fn are_told(&mut self, session: &SessionSettings) {
        self.told = Arc::clone(&session.reported);
        self.meaning = self.meant(&session.reported);
    }

    /// The client gives the session back, on which the server has found these. What it asked for and has reset is set
    /// again on the next one. `resets` where it may have reset one that it had made.
    pub fn follow(
        &mut self,
        session: &mut SessionSettings,
        mut found: BTreeMap<String, String>,
        resets: bool,
    ) {
        let asked = &self.asked;
        found.retain(|name, value| !(resets && asked.contains_key(name) && is_reset(name, value)));
        let mut own = found.clone();
        for (name, value) in self.asked.iter() {
            own.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if own != *self.own {
            self.own = if own == *self.asked { Arc::clone(&self.asked) } else { Arc::new(own) };
        }
        session.are_made(if found == *self.own { Arc::clone(&self.own) } else { Arc::new(found) });
        self.are_told(session);
    }

    /// As it came with them.
    pub fn asked(&self) -> &SettingValues {
        &self.asked
    }

    /// The names of what it asked for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.asked.keys().map(String::as_str)
    }

    /// What the client is told that the server reports.
    pub fn told(&self) -> &SettingValues {
        &self.told
    }

    /// What the server reports otherwise than the client was told; it is told that now.
    fn news(&mut self, session: &SessionSettings) -> Vec<(String, String)> {
        if Arc::ptr_eq(&self.told, &session.reported) {
            return Vec::new();
        }
        let is_new = |(name, value): &(&String, &String)| self.told.get(*name) != Some(*value);
        let news = session.reported.iter().filter(is_new).map(|(n, v)| (n.clone(), v.clone())).collect();
        self.are_told(session);
        news
    }

    /// What the session is to have again that the client asked for, where it reports the server's own value since it was
    /// reset: names as the server reports them, and the client's values.
    pub fn to_be_restored<'a>(
        &'a self,
        session: &'a SessionSettings,
        server: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        session.reported.iter().filter_map(|(name, value)| {
            let asked = self.asked.get(&name.to_lowercase())?;
            (asked != value && server.get(name) == Some(value)).then_some((name.as_str(), asked.as_str()))
        })
    }

    /// What of that which the client asked for is not among these settings of its session.
    pub fn missing(&self, found: &BTreeMap<String, String>) -> Option<String> {
        let is_missing = |name: &str| found.get(name).is_none_or(|value| is_reset(name, value));
        sql::set(self.asked.iter().filter(|(name, _)| is_missing(name)))
    }

    fn meant(&self, reported: &BTreeMap<String, String>) -> u64 {
        const NAME: &str = "application_name";
        let mut hasher = DefaultHasher::new();
        reported.iter().filter(|(name, _)| *name != NAME).for_each(|pair| pair.hash(&mut hasher));
        let is_reported = |name: &str| reported.keys().any(|reported| reported.eq_ignore_ascii_case(name));
        self.own.iter().filter(|(name, _)| !is_reported(name)).for_each(|pair| pair.hash(&mut hasher));
        hasher.finish()
    }
}

/// A setting of the application's own is empty when it was reset; no server lists it.
fn is_reset(name: &str, value: &str) -> bool {
    name.contains('.') && value.is_empty()
}

#[cfg(test)]
mod tests;
