//! The settings that follow a client from session to session.
//!
//! What a server reports (`client_encoding`, `DateStyle`, `TimeZone`, …) is tracked; what a client asks for when it
//! connects is set on each session that it gets. What it sets later and no server reports stays on the session where it
//! was set: use SET LOCAL, or the startup parameter `options`.

use std::collections::BTreeMap;
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

/// Names and values; cheap to compare where they are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Settings(Arc<BTreeMap<String, String>>);

impl Settings {
    /// Those of what a server has reported that follow a client.
    pub fn tracked(reported: &BTreeMap<String, String>) -> Self {
        let tracked = reported.iter().filter(|(name, _)| spelled(name).is_some());
        Settings(Arc::new(tracked.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    /// These, with what a client asks for.
    pub fn with(&self, asked: &BTreeMap<String, String>) -> Self {
        let mut all = BTreeMap::clone(&self.0);
        for (name, value) in asked {
            let name = spelled(name).map_or_else(|| name.to_ascii_lowercase(), str::to_owned);
            all.insert(name, value.clone());
        }
        Settings(Arc::new(all))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A server reports a value. True where it is one to follow, and new.
    pub fn report(&mut self, name: &str, value: &str) -> bool {
        let Some(name) = spelled(name).filter(|name| self.get(name) != Some(value)) else {
            return false;
        };
        Arc::make_mut(&mut self.0).insert(name.to_owned(), value.to_owned());
        true
    }

    /// The same ones, without looking at them.
    pub fn is_same(&self, other: &Settings) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What turns a session that has these into one that has `wanted`; `None` where nothing does. Statements of a
    /// simple query: all of them are made, or none.
    pub fn change_to(&self, wanted: &Settings) -> Option<String> {
        if self.is_same(wanted) {
            return None;
        }
        let missing = wanted.0.iter().filter(|(name, value)| self.0.get(*name) != Some(*value));
        let calls: Vec<_> = missing
            .map(|(name, value)| {
                format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
            })
            .collect();
        let mut sql = String::new();
        for name in self.0.keys().filter(|name| !wanted.0.contains_key(*name)) {
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

/// A text as a literal that `standard_conforming_strings` does not touch.
fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    if escaped.contains('\\') { format!("E'{escaped}'") } else { format!("'{escaped}'") }
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
}
