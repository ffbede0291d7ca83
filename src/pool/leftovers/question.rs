//! What a server is asked that may have something left on it, what its answer means, and what removes it.

use std::collections::BTreeMap;

use super::{Hints, Kinds};
use crate::pool::settings::literal;

/// What is on a session, as its server has said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Settings that were made for the session, by their names in lower case.
    pub settings: BTreeMap<String, String>,
    channel: Option<String>,
    statements: Vec<String>,
    cursors: Vec<String>,
    temporary: Option<String>,
    has_lock: bool,
    has_unnamed_settings: bool,
    has_authorization: bool,
}

/// Asks what there is of what may be there. `known` are the settings that the session had before.
pub fn question<'a>(hints: &Hints, known: impl Iterator<Item = &'a str>) -> String {
    let mut parts = Vec::new();
    if hints.kinds.contains(Kinds::SETTINGS) {
        parts.push(
            "SELECT 's', name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"
                .to_owned(),
        );
        let mut names: Vec<_> = hints.names.iter().map(|name| literal(name)).collect();
        names.extend(known.filter(|name| name.contains('.')).map(literal));
        names.push("'role'".to_owned());
        parts.push(format!(
            "SELECT 's', n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) n \
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) n)",
            names.join(",")
        ));
    }
    for (kind, part) in [
        (Kinds::CHANNEL, "(SELECT 'l', c, '' FROM pg_catalog.pg_listening_channels() c LIMIT 1)"),
        (Kinds::STATEMENT, "SELECT 'p', name, '' FROM pg_catalog.pg_prepared_statements WHERE from_sql"),
        (Kinds::CURSOR, "SELECT 'c', name, '' FROM pg_catalog.pg_cursors WHERE is_holdable"),
        (
            Kinds::TEMPORARY,
            "(SELECT 't', relname::pg_catalog.text, '' FROM pg_catalog.pg_class \
             WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() ORDER BY oid LIMIT 1)",
        ),
        (
            Kinds::LOCK,
            "(SELECT 'a', '', '' FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
             AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND granted LIMIT 1)",
        ),
    ] {
        if hints.kinds.contains(kind) {
            parts.push(part.to_owned());
        }
    }
    parts.join(" UNION ALL ")
}

impl Found {
    /// Reads the answer to the question; `None` where it is none.
    pub fn read(hints: &Hints, rows: Vec<Vec<Option<String>>>) -> Option<Self> {
        let mut found = Found {
            has_unnamed_settings: hints.kinds.contains(Kinds::UNNAMED_SETTINGS),
            has_authorization: hints.kinds.contains(Kinds::AUTHORIZATION),
            ..Found::default()
        };
        for row in rows {
            let [Some(kind), Some(name), value] = <[_; 3]>::try_from(row).ok()? else {
                return None;
            };
            match (kind.as_str(), value) {
                ("s", Some(value)) if name == "role" && value == "none" => {}
                ("s", Some(value)) => drop(found.settings.insert(name.to_lowercase(), value)),
                // A setting of an application's own that was never made.
                ("s", None) => {}
                ("l", _) => found.channel = Some(name),
                ("p", _) => found.statements.push(name),
                ("c", _) => found.cursors.push(name),
                ("t", _) => found.temporary = Some(name),
                ("a", _) => found.has_lock = true,
                _ => return None,
            }
        }
        Some(found)
    }

    /// Whether all settings go, those of which nobody knows the names among them.
    pub fn resets_settings(&self) -> bool {
        self.has_unnamed_settings
    }

    /// The least that removes what is left beside settings that are known; nothing where nothing is.
    pub fn cleanup(&self) -> Option<String> {
        let mut sql = Vec::new();
        if self.has_authorization {
            sql.push("RESET SESSION AUTHORIZATION".to_owned());
        }
        if self.has_unnamed_settings {
            sql.push("RESET ROLE; RESET ALL".to_owned());
        }
        if self.channel.is_some() {
            sql.push("UNLISTEN *".to_owned());
        }
        sql.extend(self.cursors.iter().map(|name| format!("CLOSE {}", quoted(name))));
        sql.extend(self.statements.iter().map(|name| format!("DEALLOCATE {}", quoted(name))));
        if self.temporary.is_some() {
            sql.push("DISCARD TEMP".to_owned());
        }
        if self.has_lock {
            sql.push("SELECT pg_catalog.pg_advisory_unlock_all()".to_owned());
        }
        (!sql.is_empty()).then(|| sql.join("; "))
    }

    /// What the client loses by that, for people; nothing where it would not notice.
    pub fn lost(&self) -> Option<String> {
        let mut lost = Vec::new();
        if self.has_authorization {
            lost.push("SET SESSION AUTHORIZATION".to_owned());
        }
        lost.extend(self.channel.iter().map(|name| format!("LISTEN \"{name}\"")));
        lost.extend(self.statements.first().map(|name| format!("PREPARE \"{name}\"")));
        lost.extend(self.cursors.first().map(|name| format!("the cursor \"{name}\" WITH HOLD")));
        lost.extend(self.temporary.iter().map(|name| format!("the temporary table \"{name}\"")));
        if self.has_lock {
            lost.push("an advisory lock".to_owned());
        }
        (!lost.is_empty()).then(|| lost.join(", "))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, name: &str, value: &str) -> Vec<Option<String>> {
        [kind, name, value].map(|text| Some(text.to_owned())).into()
    }

    #[test]
    fn only_what_may_be_there_is_asked_for() {
        let all = ["pg_settings", "pg_listening", "pg_prepared", "pg_cursors", "pg_class", "pg_locks"];
        for (sql, wanted) in [
            ("SET a = 1", "pg_settings"),
            ("CREATE TEMP TABLE x (a int)", "pg_class"),
            ("SELECT pg_advisory_lock(1)", "pg_locks"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "pg_cursors"),
        ] {
            let asked = question(&Hints::of_text(sql.as_bytes(), true), std::iter::empty());
            let seen: Vec<_> = all.into_iter().filter(|part| asked.contains(part)).collect();
            assert_eq!(seen, [wanted], "{sql}");
        }
        let mut hints = Hints::of_text(b"SET app.tenant = 7", true);
        let asked = question(&hints, ["app.user", "timezone"].into_iter());
        assert!(asked.contains("ARRAY['app.tenant','app.user','role']"), "{asked}");
        hints.kinds = Kinds::CHANNEL | Kinds::STATEMENT;
        let asked = question(&hints, std::iter::empty());
        assert!(asked.contains("pg_listening_channels") && asked.contains("from_sql"), "{asked}");
    }

    #[test]
    fn settings_that_are_known_need_no_cleanup() {
        let hints = Hints::of_text(b"SET a = 1", true);
        let rows = vec![
            row("s", "TimeZone", "UTC"),
            row("s", "role", "none"),
            vec![Some("s".to_owned()), Some("app.x".to_owned()), None],
        ];
        let found = Found::read(&hints, rows).unwrap();
        assert_eq!(
            found.settings.into_iter().collect::<Vec<_>>(),
            [("timezone".to_owned(), "UTC".to_owned())]
        );
        let found = Found::read(&hints, vec![row("s", "role", "admin")]).unwrap();
        assert_eq!((found.settings["role"].as_str(), found.cleanup(), found.lost()), ("admin", None, None));
    }

    #[test]
    fn each_thing_that_is_left_is_removed_by_the_least_that_does_it_and_named() {
        for (left, sql, name) in [
            (row("l", "jobs", ""), "UNLISTEN *", "LISTEN \"jobs\""),
            (row("p", "a \"b\"", ""), "DEALLOCATE \"a \"\"b\"\"\"", "PREPARE"),
            (row("c", "c", ""), "CLOSE \"c\"", "the cursor \"c\""),
            (row("t", "tmp", ""), "DISCARD TEMP", "the temporary table \"tmp\""),
            (row("a", "", ""), "SELECT pg_catalog.pg_advisory_unlock_all()", "an advisory lock"),
        ] {
            let found = Found::read(&Hints::default(), vec![left]).unwrap();
            assert_eq!(found.cleanup().as_deref(), Some(sql));
            assert!(found.lost().unwrap().contains(name), "{:?}", found.lost());
        }
        let nothing = Found::read(&Hints::default(), Vec::new()).unwrap();
        assert_eq!((nothing.cleanup(), nothing.lost()), (None, None));
    }

    #[test]
    fn settings_whose_names_nobody_knows_are_reset_and_another_authorization_is_given_up() {
        let hints = Hints::of_text(b"SELECT set_config($1, $2, false)", true);
        let found = Found::read(&hints, Vec::new()).unwrap();
        assert_eq!(found.cleanup().as_deref(), Some("RESET ROLE; RESET ALL"));
        let hints = Hints::of_text(b"SET SESSION AUTHORIZATION admin", true);
        let found = Found::read(&hints, Vec::new()).unwrap();
        assert_eq!(found.cleanup().as_deref(), Some("RESET SESSION AUTHORIZATION"));
        assert!(found.lost().is_some());
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_nothing() {
        for rows in
            [vec![vec![]], vec![row("x", "", "")], vec![vec![None, None, None]], vec![vec![Some("s".into())]]]
        {
            assert_eq!(Found::read(&Hints::default(), rows.clone()), None, "{rows:?}");
        }
    }
}
