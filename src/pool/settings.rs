//! The settings that follow a client from session to session.
//!
//! What a server reports (`client_encoding`, `DateStyle`, `TimeZone`, …) is tracked; what a client asks for when it
//! connects is set on each session that it gets. What it sets later and no server reports stays on the session where it
//! was set: use SET LOCAL, or the startup parameter `options`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Reported by servers, and a client's own. The others that are reported belong to the session or to the server.
const TRACKED: [&str; 7] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "search_path",
    "standard_conforming_strings",
    "TimeZone",
];

/// No server has such a value: what a session has is not known.
const UNKNOWN: &str = "\0";

/// Names and values; cheap to compare where they are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    all: Arc<BTreeMap<String, String>>,
    /// See [`Settings::meaning`].
    meaning: u64,
}

impl Settings {
    /// Those of what a server has reported that follow a client.
    pub fn tracked(reported: &BTreeMap<String, String>) -> Self {
        let tracked = reported.iter().filter(|(name, _)| spelled(name).is_some());
        Self::of(tracked.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// These, with what a client asks for.
    pub fn with(&self, asked: &BTreeMap<String, String>) -> Self {
        let mut all = BTreeMap::clone(&self.all);
        for (name, value) in asked {
            let name = spelled(name).map_or_else(|| name.to_ascii_lowercase(), str::to_owned);
            all.insert(name, value.clone());
        }
        Self::of(all)
    }

    fn of(all: BTreeMap<String, String>) -> Self {
        let meaning = meaning(&all);
        Settings { all: Arc::new(all), meaning }
    }

    /// Tells apart what a server would understand a query's text differently under: time zones, styles of dates, paths.
    pub fn meaning(&self) -> u64 {
        self.meaning
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A server reports a value. True where it is one to follow, and new.
    pub fn report(&mut self, name: &str, value: &str) -> bool {
        let Some(name) = spelled(name).filter(|name| self.get(name) != Some(value)) else {
            return false;
        };
        Arc::make_mut(&mut self.all).insert(name.to_owned(), value.to_owned());
        self.meaning = meaning(&self.all);
        true
    }

    /// The session has gone back to its own settings: of those that it reports it tells so, of the others, which `base`
    /// has not, nothing is known.
    pub fn doubt_all_but(&mut self, base: &Settings) {
        if self.all.keys().any(|name| !base.all.contains_key(name)) {
            let value = |name: &String, value: &String| match base.all.contains_key(name) {
                true => value.clone(),
                false => UNKNOWN.to_owned(),
            };
            *self = Self::of(self.all.iter().map(|(n, v)| (n.clone(), value(n, v))).collect());
        }
    }

    /// Only those that `base` has: the others are gone.
    pub fn keep_only(&mut self, base: &Settings) {
        let kept = self.all.iter().filter(|(name, _)| base.all.contains_key(*name));
        *self = Self::of(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
    }

    /// The same ones, without looking at them.
    pub fn is_same(&self, other: &Settings) -> bool {
        Arc::ptr_eq(&self.all, &other.all)
    }

    /// What turns a session that has these into one that has `wanted`; `None` where nothing does. Statements of a
    /// simple query: all of them are made, or none.
    pub fn change_to(&self, wanted: &Settings) -> Option<String> {
        if self.is_same(wanted) {
            return None;
        }
        let missing = wanted.all.iter().filter(|(name, value)| self.all.get(*name) != Some(*value));
        let calls: Vec<_> = missing
            .map(|(name, value)| {
                format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
            })
            .collect();
        let mut sql = String::new();
        for name in self.all.keys().filter(|name| !wanted.all.contains_key(*name)) {
            sql.push_str(&format!("RESET {};", identifier(name)));
        }
        if !calls.is_empty() {
            sql.push_str("SELECT ");
            sql.push_str(&calls.join(", "));
        }
        (!sql.is_empty()).then_some(sql)
    }
}

/// A tracked name as servers spell it.
fn spelled(name: &str) -> Option<&'static str> {
    TRACKED.into_iter().find(|tracked| tracked.eq_ignore_ascii_case(name))
}

fn meaning(all: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    all.iter().filter(|(name, _)| *name != "application_name").for_each(|pair| pair.hash(&mut hasher));
    hasher.finish()
}

/// A text as a literal that neither `standard_conforming_strings` nor `client_encoding` touches.
fn literal(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii() && byte != b'\\') {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut literal = String::from("E'");
    for c in text.chars() {
        match c {
            '\'' => literal.push_str("''"),
            '\\' => literal.push_str("\\\\"),
            c if c.is_ascii() => literal.push(c),
            c => literal.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    literal.push('\'');
    literal
}

/// A setting's name; the dot of an extension's stays one.
fn identifier(name: &str) -> String {
    let quoted = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_follows_a_client_is_what_servers_report_and_what_it_asked_for() {
        let server = Settings::tracked(&settings(&[
            ("TimeZone", "UTC"),
            ("server_version", "15.1"),
            ("DateStyle", "ISO, MDY"),
        ]));
        assert_eq!(server.iter().collect::<Vec<_>>(), [("DateStyle", "ISO, MDY"), ("TimeZone", "UTC")]);
        let client = server.with(&settings(&[("timezone", "Europe/Berlin"), ("Statement_Timeout", "5s")]));
        assert_eq!(client.get("TimeZone"), Some("Europe/Berlin"));
        assert_eq!(client.get("statement_timeout"), Some("5s"));
    }

    #[test]
    fn only_differences_are_set_and_what_the_client_never_asked_for_is_reset() {
        let base = Settings::tracked(&settings(&[("TimeZone", "UTC"), ("application_name", "a")]));
        let wanted = base.with(&settings(&[("application_name", "it's \\ me"), ("search_path", "a, b")]));
        assert_eq!(base.change_to(&base.clone()), None);
        assert_eq!(
            base.change_to(&wanted).unwrap(),
            r"SELECT pg_catalog.set_config('application_name', E'it''s \\ me', false), pg_catalog.set_config('search_path', 'a, b', false)"
        );
        let sql = wanted.change_to(&base).unwrap();
        assert_eq!(sql, "RESET \"search_path\";SELECT pg_catalog.set_config('application_name', 'a', false)");
    }

    #[test]
    fn a_report_is_followed_once_and_only_of_what_is_tracked() {
        let mut server = Settings::tracked(&settings(&[("TimeZone", "UTC")]));
        assert!(!server.report("TimeZone", "UTC"));
        assert!(server.report("TimeZone", "GMT") && server.get("TimeZone") == Some("GMT"));
        assert!(!server.report("in_hot_standby", "on"));
    }

    #[test]
    fn what_is_not_ascii_is_written_so_that_no_encoding_touches_it() {
        assert_eq!(literal("caf\u{e9} \\ it's"), r"E'caf\U000000E9 \\ it''s'");
    }

    #[test]
    fn what_a_reset_has_taken_is_set_again_for_who_asked_and_reset_for_who_did_not() {
        let base = Settings::tracked(&settings(&[("TimeZone", "UTC")]));
        let asked = base.with(&settings(&[("search_path", "tenant")]));
        let mut server = asked.clone();
        server.doubt_all_but(&base);
        let again = "SELECT pg_catalog.set_config('search_path', 'tenant', false)";
        assert_eq!(server.change_to(&asked).as_deref(), Some(again));
        assert_eq!(server.change_to(&base).as_deref(), Some("RESET \"search_path\";"));
        server.keep_only(&base);
        assert_eq!(server.change_to(&base), None);
    }

    #[test]
    fn another_time_zone_gives_a_text_another_meaning_and_another_application_name_does_not() {
        let here = Settings::tracked(&settings(&[("TimeZone", "UTC"), ("application_name", "a")]));
        let there = here.with(&settings(&[("TimeZone", "Europe/Berlin")]));
        assert_ne!(here.meaning(), there.meaning());
        assert_eq!(here.meaning(), here.with(&settings(&[("application_name", "b")])).meaning());
    }
}
