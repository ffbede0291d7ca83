//! Texts that concern what the pool keeps for a client, wherever in them that stands. A server knows no other names of
//! prepared statements than the catalog's, so an empty one is given up in place of the client's; and it knows only its own
//! defaults, so what is reset is set to what the client asked for when it connected.

use std::collections::{BTreeMap, VecDeque};

use super::edit::BUFFER;
use super::expect::ScriptStep;
use super::undo::NameUndo;
use crate::pool::lexer::{dotted_name, keyword, name, skip_blank, statements};
use crate::pool::settings::set_to;
use crate::pool::statements::ClientStatements;

/// `RESET ALL` leaves them alone.
const NOT_OF_ALL: [&str; 2] = ["role", "session_authorization"];

/// What one statement of a text does.
#[derive(Debug, PartialEq, Eq)]
enum SqlCommand {
    GiveUp(GiveUp),
    /// `RESET ALL`.
    ResetAll,
    /// `RESET name`.
    Reset(String),
    /// `SET name TO DEFAULT`, perhaps for the transaction alone.
    Default {
        name: String,
        for_transaction: bool,
    },
}

/// Which prepared statements a statement gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GiveUp {
    /// `DEALLOCATE ALL`, `DISCARD ALL`.
    All,
    /// `DEALLOCATE name`.
    One(Box<[u8]>),
}

/// A text as the server gets it, and what is answered to its statements.
#[derive(Debug, Default)]
pub struct SqlScript {
    pub sql: Vec<u8>,
    pub is_changed: bool,
    pub steps: VecDeque<ScriptStep>,
    /// A `RESET` is among them of which it is not known what it resets.
    pub has_unread: bool,
    /// All prepared statements are given up.
    pub wipes: bool,
    /// Those of the client that are given up. For each, an empty one is to be prepared first, see [`stand_in`].
    pub given_up: Vec<Box<[u8]>>,
}

/// What the number'th statement is called, with its NUL, that is given up in place of a client's.
pub fn stand_in(number: usize) -> Vec<u8> {
    format!("pgtether_d{number}\0").into_bytes()
}

/// Reads a text of several statements, of which all is there; `None` where it cannot be taken apart, or would become much
/// longer. `asked` are the settings that its client asked for when it connected, `names` its prepared statements, where
/// they are the pool's to give up.
pub fn read(
    sql: &[u8],
    asked: &BTreeMap<String, String>,
    names: Option<&ClientStatements>,
) -> Option<SqlScript> {
    let mut script = SqlScript::default();
    let mut copied = 0;
    for range in statements(sql)? {
        script.sql.extend_from_slice(&sql[copied..range.start]);
        copied = range.end;
        script.add(&sql[range], asked, names);
        if script.sql.len() > sql.len() + BUFFER {
            return None;
        }
    }
    script.sql.extend_from_slice(&sql[copied..]);
    Some(script)
}

/// What is prepared in place of a text, if it is to be another; it is one statement, as it must be.
pub fn read_one(sql: &[u8], asked: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let (name, for_transaction) = match SqlCommand::read(first(sql))? {
        SqlCommand::Reset(name) => (name, false),
        SqlCommand::Default { name, for_transaction } => (name, for_transaction),
        SqlCommand::ResetAll | SqlCommand::GiveUp(_) => return None,
    };
    asked.get(&name).map(|value| set_to(&name, value, for_transaction).into_bytes())
}

/// What a prepared text gives up. Read of each that is bound, so it is quick where there is nothing.
pub fn gives_up(sql: &[u8]) -> Option<GiveUp> {
    let sql = first(sql);
    match sql.first()? {
        b'd' | b'D' => match SqlCommand::read(sql)? {
            SqlCommand::GiveUp(give_up) => Some(give_up),
            _ => None,
        },
        _ => None,
    }
}

/// From the first statement on: an empty one is none.
fn first(mut sql: &[u8]) -> &[u8] {
    loop {
        match skip_blank(sql) {
            [b';', rest @ ..] => sql = rest,
            sql => return sql,
        }
    }
}

impl SqlScript {
    fn add(&mut self, sql: &[u8], asked: &BTreeMap<String, String>, names: Option<&ClientStatements>) {
        let value = |name: &str| asked.get(name).map(String::as_str);
        let (set, step) = match SqlCommand::read(sql) {
            Some(SqlCommand::Reset(name)) => {
                (value(&name).map(|value| set_to(&name, value, false)), ScriptStep::Tag(b"RESET\0"))
            }
            Some(SqlCommand::Default { name, for_transaction }) => {
                (value(&name).map(|value| set_to(&name, value, for_transaction)), ScriptStep::Pass)
            }
            Some(SqlCommand::ResetAll) => return self.reset_all(sql, asked),
            Some(SqlCommand::GiveUp(GiveUp::One(name))) if self.has(&name, names) => {
                return self.give_up(name);
            }
            Some(SqlCommand::GiveUp(give_up)) => {
                self.wipes |= give_up == GiveUp::All;
                (None, ScriptStep::Pass)
            }
            None => {
                self.has_unread |= keyword(sql, b"reset").is_some();
                (None, ScriptStep::Pass)
            }
        };
        match set {
            Some(set) => {
                self.sql.extend_from_slice(set.as_bytes());
                self.steps.push_back(step);
                self.is_changed = true;
            }
            None => self.pass(sql),
        }
    }

    fn pass(&mut self, sql: &[u8]) {
        self.sql.extend_from_slice(sql);
        self.steps.push_back(ScriptStep::Pass);
    }

    /// Whether the client still has that statement.
    fn has(&self, name: &[u8], names: Option<&ClientStatements>) -> bool {
        let is_given_up = self.wipes || self.given_up.iter().any(|given_up| **given_up == *name);
        names.is_some_and(|names| names.get(name).is_some()) && !is_given_up
    }

    fn give_up(&mut self, name: Box<[u8]>) {
        self.given_up.push(name);
        self.sql.extend_from_slice(b"DEALLOCATE ");
        let stand_in = stand_in(self.given_up.len());
        self.sql.extend_from_slice(&stand_in[..stand_in.len() - 1]);
        self.steps.push_back(ScriptStep::GivesUp(None));
        self.is_changed = true;
    }

    /// The text is sent: the client has no more what it gives up, unless the server does not come to that.
    pub fn begin(&mut self, names: &mut ClientStatements) {
        let mut given_up = self.given_up.drain(..);
        for step in &mut self.steps {
            if let ScriptStep::GivesUp(undo) = step
                && let Some(name) = given_up.next()
            {
                *undo = names.remove(&name).map(|named| Box::new(NameUndo::Closed { name, named }));
            }
        }
    }

    fn reset_all(&mut self, sql: &[u8], asked: &BTreeMap<String, String>) {
        self.pass(sql);
        for (name, value) in asked.iter().filter(|(name, _)| !NOT_OF_ALL.contains(&name.as_str())) {
            // A comment may end with the statement.
            self.sql.extend_from_slice(b"\n;");
            self.sql.extend_from_slice(set_to(name, value, false).as_bytes());
            self.steps.push_back(ScriptStep::Swallow);
            self.is_changed = true;
        }
    }
}

impl SqlCommand {
    fn read(sql: &[u8]) -> Option<Self> {
        let all = |rest| keyword(rest, b"all").is_some_and(is_over);
        if let Some(rest) = keyword(sql, b"discard") {
            return all(rest).then_some(SqlCommand::GiveUp(GiveUp::All));
        }
        if let Some(rest) = keyword(sql, b"deallocate") {
            let rest = keyword(rest, b"prepare").filter(|rest| !is_over(rest)).unwrap_or(rest);
            if all(rest) {
                return Some(SqlCommand::GiveUp(GiveUp::All));
            }
            let (name, rest) = name(rest)?;
            return is_over(rest).then(|| SqlCommand::GiveUp(GiveUp::One(name.into())));
        }
        if let Some(rest) = keyword(sql, b"reset") {
            if all(rest) {
                return Some(SqlCommand::ResetAll);
            }
            let NextSetting { name, rest, .. } = setting(rest)?;
            return is_over(rest).then_some(SqlCommand::Reset(name));
        }
        let rest = keyword(sql, b"set")?;
        let local = keyword(rest, b"local");
        let rest = local.or_else(|| keyword(rest, b"session")).unwrap_or(rest);
        let NextSetting { name, rest, by_words } = setting(rest)?;
        let value = match skip_blank(rest) {
            _ if by_words => rest,
            [b'=', value @ ..] => value,
            rest => keyword(rest, b"to")?,
        };
        let zone = by_words && name == "timezone";
        let is_default = keyword(value, b"default").is_some_and(is_over)
            || zone && keyword(value, b"local").is_some_and(is_over)
            || by_words && !zone && is_over(value);
        is_default.then_some(SqlCommand::Default { name, for_transaction: local.is_some() })
    }
}

/// Nothing stands behind a statement but its semicolon.
fn is_over(rest: &[u8]) -> bool {
    first(rest).is_empty()
}

struct NextSetting<'s> {
    /// In lower case.
    name: String,
    rest: &'s [u8],
    /// It has words of its own, `TIME ZONE` or `NAMES`, behind which no `TO` stands.
    by_words: bool,
}

/// The setting that stands next, and what follows.
fn setting(sql: &[u8]) -> Option<NextSetting<'_>> {
    if let Some(rest) = keyword(sql, b"time").and_then(|rest| keyword(rest, b"zone")) {
        return Some(NextSetting { name: "timezone".to_owned(), rest, by_words: true });
    }
    if let Some(rest) = keyword(sql, b"names") {
        return Some(NextSetting { name: "client_encoding".to_owned(), rest, by_words: true });
    }
    let (whole, rest) = dotted_name(sql)?;
    let name = String::from_utf8(whole).ok()?.to_lowercase();
    Some(NextSetting { name, rest, by_words: false })
}

#[cfg(test)]
mod tests;
