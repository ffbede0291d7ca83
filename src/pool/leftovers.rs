//! What a client may have left on a session that others use next: settings, locks, temporary tables, channels, cursors.
//!
//! Pure. The text of queries and the tags of their answers only tell that there may be something ([`Hints`]); only then
//! the server is asked what there is ([`question`]), and what the client cannot keep is removed, nothing else. What
//! neither a text nor a tag shows is not found: a function that calls `set_config` or takes a lock inside, or a text
//! whose part beyond 64 KiB does so.

mod meaning;
pub mod question;
pub mod tag;
mod text;

use bitflags::bitflags;

pub use self::text::is_to_read;

/// So many names of settings are kept for the question; beyond that all settings are reset.
const MOST_NAMES: usize = 32;

bitflags! {
    /// The kinds of what may be left.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Kinds: u16 {
        /// Settings for the rest of the session, the role among them.
        const SETTINGS = 1;
        /// Among them one whose name is not known, which no catalog may list.
        const UNNAMED_SETTINGS = 1 << 1;
        /// Settings went back to what they were when the session was opened.
        const RESET = 1 << 2;
        /// `SET SESSION AUTHORIZATION`.
        const AUTHORIZATION = 1 << 3;
        /// Advisory locks of the session.
        const LOCK = 1 << 4;
        /// Temporary tables, views and sequences.
        const TEMPORARY = 1 << 5;
        /// `LISTEN`.
        const CHANNEL = 1 << 6;
        /// `PREPARE` in SQL.
        const STATEMENT = 1 << 7;
        /// `DECLARE … WITH HOLD`.
        const CURSOR = 1 << 8;
        /// Not all of a text was looked at: the tags of its answers tell what it did.
        const BY_TAG = 1 << 9;
        /// Nothing is left for it, but the pool may have to change it: `RESET`, `SET`, `DEALLOCATE`, `DISCARD`.
        const TO_READ = 1 << 10;
        /// Nothing may be left for it, but what follows in the transaction may be understood under other settings.
        const MEANING = 1 << 11;
        /// What is no question to the server.
        const UNASKED = Self::BY_TAG.bits() | Self::TO_READ.bits() | Self::MEANING.bits();
    }
}

/// What a client's queries may have left, as far as their texts and answers tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    pub kinds: Kinds,
    /// Settings of the application's own, which no catalog lists: `app.tenant`.
    pub names: Vec<Box<str>>,
}

impl Hints {
    /// What a query with this text, up to its NUL, may leave. `whole` unless more of it follows that is not looked at.
    pub fn of_text(sql: &[u8], whole: bool) -> Self {
        let mut hints = Hints::default();
        let sql = memchr::memchr(0, sql).map_or(sql, |end| &sql[..end]);
        text::scan(sql, &mut hints);
        if !whole {
            hints.kinds |= Kinds::BY_TAG | Kinds::MEANING;
        }
        hints
    }

    /// Whether there is nothing to ask for.
    pub fn is_empty(&self) -> bool {
        (self.kinds - Kinds::UNASKED).is_empty()
    }

    /// These as well.
    pub fn add(&mut self, other: &Hints) {
        self.kinds |= other.kinds;
        other.names.iter().for_each(|name| self.name(name));
    }

    /// The answer to one of the queries bears this tag.
    pub fn answered(&mut self, tag: &[u8]) {
        match tag {
            // What was left before is gone. What the text tells of what follows is not known to be gone.
            b"DISCARD ALL" => self.kinds |= Kinds::SETTINGS | Kinds::RESET,
            tag => self.kinds |= tag::leaves(tag, self.kinds.contains(Kinds::BY_TAG)),
        }
    }

    fn name(&mut self, name: &str) {
        if self.names.iter().any(|known| **known == *name) {
            return;
        }
        if self.names.len() == MOST_NAMES {
            self.kinds |= Kinds::UNNAMED_SETTINGS;
            return;
        }
        self.names.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_leaves_nothing_needs_no_question_whatever_its_tag() {
        let mut hints = Hints::of_text(b"UPDATE t SET a = 1", true);
        for tag in [&b"UPDATE 1"[..], b"SET", b"CREATE TABLE", b"DECLARE CURSOR", b"COMMIT"] {
            hints.answered(tag);
        }
        assert!(hints.is_empty(), "{hints:?}");
    }

    #[test]
    fn a_text_that_was_not_seen_whole_is_judged_by_its_tags() {
        for (tag, kind) in [
            ("SET", Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS),
            ("CREATE TABLE", Kinds::TEMPORARY),
            ("DECLARE CURSOR", Kinds::CURSOR),
            ("LISTEN", Kinds::CHANNEL),
        ] {
            let mut hints = Hints::of_text(b"INSERT INTO t VALUES ", false);
            assert!(hints.is_empty());
            hints.answered(tag.as_bytes());
            assert_eq!(hints.kinds - Kinds::UNASKED, kind, "{tag}");
        }
    }

    #[test]
    fn names_are_kept_once_and_not_without_bound() {
        let mut hints = Hints::default();
        for i in 0..MOST_NAMES {
            hints.add(&Hints::of_text(format!("SET a.b{i} = 1; SET a.b{i} = 2").as_bytes(), true));
        }
        assert_eq!((hints.names.len(), hints.kinds - Kinds::UNASKED), (MOST_NAMES, Kinds::SETTINGS));
        hints.add(&Hints::of_text(b"SET a.more = 1", true));
        assert_eq!(hints.names.len(), MOST_NAMES);
        assert!(hints.kinds.contains(Kinds::UNNAMED_SETTINGS));
    }
}
