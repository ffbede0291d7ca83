//! What the text of a query shows: read quickly, since it is read of every query. A hint too many costs a question to the
//! server; so what stands in a string or in a function's body may be taken for a command.

use memchr::{memchr_iter, memchr2_iter};

use super::meaning::is_meant;
use super::{Hints, Kinds};
use crate::pool::lexer::{dotted_name, lower_word, skip_blank};

/// No call of `set_config` is longer; one that is counts as one for the session.
const LONGEST_CALL: usize = 1 << 12;
/// Commands that leave nothing by themselves, or not only, but that the pool may have to change.
const TO_READ: [&[u8]; 4] = [b"set", b"reset", b"deallocate", b"discard"];

/// Adds what this text may leave.
pub fn scan(sql: &[u8], hints: &mut Hints) {
    statement(sql, hints);
    for at in memchr2_iter(b';', b'_', sql) {
        let (before, after) = (&sql[..at], &sql[at + 1..]);
        match sql[at] {
            b';' => statement(after, hints),
            _ if ends(before, b"set") && begins(after, b"config") => set_config(&after[6..], hints),
            _ if ends(before, b"pg") && begins(after, b"settings") => pg_settings(sql, hints),
            // pg_advisory_lock, pg_try_advisory_lock, and their shared ones; those of transactions have an `xact` between.
            _ if ends(before, b"advisory") && begins(after, b"lock") => hints.kinds |= Kinds::LOCK,
            _ => {}
        }
    }
    for at in memchr2_iter(b'm', b'M', sql) {
        if ends(&sql[..at], b"te") && begins(&sql[at + 1..], b"p") {
            temporary(&sql[..at - 2], &sql[at + 2..], hints);
        }
    }
}

/// Whether one of the statements of a text, up to its NUL, is of those that the pool may have to change, whatever else it
/// leaves.
pub fn is_to_read(sql: &[u8]) -> bool {
    let command = |sql| TO_READ.contains(&command(sql, &mut [0; 13]).0);
    let mut ends = memchr2_iter(b';', 0, sql).take_while(|end| sql[*end] != 0);
    command(sql) || ends.any(|end| command(&sql[end + 1..]))
}

/// One that begins here.
fn statement(sql: &[u8], hints: &mut Hints) {
    let mut buffer = [0; 13];
    let (word, rest) = command(sql, &mut buffer);
    if TO_READ.contains(&word) {
        hints.kinds |= Kinds::TO_READ;
    }
    match word {
        b"set" => set(rest, hints),
        b"reset" => means(rest, hints),
        b"discard" | b"do" => hints.kinds |= Kinds::MEANING,
        b"declare" if words(first_statement(rest)).any(|word| word.eq_ignore_ascii_case(b"hold")) => {
            hints.kinds |= Kinds::CURSOR;
        }
        _ => {}
    }
}

/// The first word of a statement, and what follows it; nothing for most of those that do not matter.
fn command<'s, 'b>(sql: &'s [u8], buffer: &'b mut [u8; 13]) -> (&'b [u8], &'s [u8]) {
    let sql = skip_blank(sql);
    match sql.first_chunk::<3>().map(|first| first.map(|byte| byte.to_ascii_lowercase())).as_ref() {
        Some(b"set" | b"res" | b"dea" | b"dis" | b"dec") => lower_word(sql, buffer),
        Some([b'd', b'o', end]) if !end.is_ascii_alphanumeric() => lower_word(sql, buffer),
        _ => (b"", sql),
    }
}

/// What follows `SET`.
fn set(sql: &[u8], hints: &mut Hints) {
    let sql = first_statement(sql);
    let mut buffer = [0; 13];
    let (word, rest) = lower_word(sql, &mut buffer);
    let name = match word {
        b"local" => return means(rest, hints),
        b"transaction" | b"constraints" => return,
        b"session" => match lower_word(rest, &mut [0; 13]).0 {
            b"authorization" => {
                hints.kinds |= Kinds::AUTHORIZATION | Kinds::SETTINGS | Kinds::MEANING;
                return;
            }
            _ => skip_blank(rest),
        },
        _ => skip_blank(sql),
    };
    hints.kinds |= Kinds::SETTINGS;
    means(name, hints);
    match dotted_name(name) {
        Some((name, _)) => custom(&name, hints),
        None => hints.kinds |= Kinds::UNNAMED_SETTINGS,
    }
    if words(sql).last().is_some_and(|word| word.eq_ignore_ascii_case(b"default")) {
        hints.kinds |= Kinds::RESET;
    }
}

/// A setting that begins so is changed, perhaps for the transaction alone.
fn means(setting: &[u8], hints: &mut Hints) {
    if is_meant(skip_blank(setting)) {
        hints.kinds |= Kinds::MEANING;
    }
}

/// Keeps a setting's name if it is one that no catalog lists.
fn custom(name: &[u8], hints: &mut Hints) {
    if name.contains(&b'.') {
        hints.name(&String::from_utf8_lossy(name).to_lowercase());
    }
}

/// An update of that view sets what it changes; an application's own settings are not in it.
fn pg_settings(sql: &[u8], hints: &mut Hints) {
    if words(sql).any(|word| word.eq_ignore_ascii_case(b"update")) {
        hints.kinds |= Kinds::SETTINGS | Kinds::MEANING;
    }
}

/// What follows `set_config`: what it sets for the transaction alone is gone with it.
fn set_config(sql: &[u8], hints: &mut Hints) {
    let sql = sql.strip_prefix(b"\"").unwrap_or(sql);
    let Some((b'(', list)) = skip_blank(sql).split_first() else {
        return;
    };
    let arguments = arguments(&list[..list.len().min(LONGEST_CALL)]);
    match arguments.first().and_then(|first| first.strip_prefix(b"'")) {
        Some(name) => means(name, hints),
        None => hints.kinds |= Kinds::MEANING,
    }
    let is_local = arguments.get(2).is_some_and(|third| {
        let third = third.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        [&b"true"[..], b"'true'", b"'t'", b"'on'", b"'1'", b"'yes'"]
            .iter()
            .any(|yes| third.eq_ignore_ascii_case(yes))
    });
    if is_local {
        return;
    }
    hints.kinds |= Kinds::SETTINGS;
    let quoted = |text: &[u8]| {
        let text = text.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        let name = text.strip_prefix(b"'")?.strip_suffix(b"'")?;
        (!name.contains(&b'\'')).then(|| name.to_vec())
    };
    match arguments.first().and_then(|first| quoted(first)) {
        Some(name) => custom(&name, hints),
        None => hints.kinds |= Kinds::UNNAMED_SETTINGS,
    }
}

/// The arguments of a call, from behind its parenthesis; as many as there are until it ends.
fn arguments(list: &[u8]) -> Vec<&[u8]> {
    let (mut depth, mut quoted, mut from, mut found) = (0_usize, false, 0, Vec::new());
    for (at, byte) in list.iter().enumerate() {
        match byte {
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth > 0 => depth -= 1,
            b')' | b',' if depth == 0 => {
                found.push(list[from..at].trim_ascii());
                from = at + 1;
                if *byte == b')' || found.len() == 4 {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// `temp` stands between these. It makes something temporary behind `CREATE` and its like, behind `INTO`, and in
/// `pg_temp.`; elsewhere it is a name. What is dropped with its transaction is not left.
fn temporary(before: &[u8], after: &[u8], hints: &mut Hints) {
    if hints.kinds.contains(Kinds::TEMPORARY) {
        return;
    }
    let is_schema = ends(before, b"pg_") && after.trim_ascii_start().first() == Some(&b'.');
    let is_word = begins(after, b"orary ") || after.first().is_none_or(u8::is_ascii_whitespace);
    let makes = |word: &[u8]| {
        [&b"create"[..], b"local", b"global", b"replace", b"into"]
            .iter()
            .any(|make| word.eq_ignore_ascii_case(make))
    };
    let behind = || before.last().is_some_and(u8::is_ascii_whitespace) && makes(last_word(before));
    let is_dropped = || {
        let mut last = [&b""[..]; 3];
        words(first_statement(after)).any(|word| {
            last = [last[1], last[2], word];
            let same = |(word, wanted): (&[u8], &[u8])| word.eq_ignore_ascii_case(wanted);
            last.into_iter().zip([&b"on"[..], b"commit", b"drop"]).all(same)
        })
    };
    if (is_schema || (is_word && behind())) && !is_dropped() {
        hints.kinds |= Kinds::TEMPORARY;
    }
}

/// Up to its semicolon.
fn first_statement(sql: &[u8]) -> &[u8] {
    &sql[..memchr_iter(b';', sql).next().unwrap_or(sql.len())]
}

/// What is no white space, semicolon or parenthesis.
fn words(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    sql.split(|byte| byte.is_ascii_whitespace() || b";()".contains(byte)).filter(|word| !word.is_empty())
}

fn last_word(sql: &[u8]) -> &[u8] {
    let sql = sql.trim_ascii_end();
    let from = sql.iter().rposition(|byte| !byte.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
    &sql[from..]
}

fn ends(text: &[u8], word: &[u8]) -> bool {
    text.len().checked_sub(word.len()).is_some_and(|at| text[at..].eq_ignore_ascii_case(word))
}

fn begins(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(sql: &str) -> Kinds {
        Hints::of_text(sql.as_bytes(), true).kinds - Kinds::UNASKED
    }

    fn names(sql: &str) -> Vec<Box<str>> {
        Hints::of_text(sql.as_bytes(), true).names
    }

    #[test]
    fn what_applications_send_all_day_leaves_nothing() {
        for sql in [
            "",
            "SELECT abalance FROM pgbench_accounts WHERE aid = 1;",
            "select temp, temperature from templates where attempt_count > 1 and pg_temperature = 2",
            "UPDATE t SET config = 1, set_at = now()",
            "INSERT INTO settings VALUES ($1)",
            "SELECT * FROM set_configuration",
            "BEGIN; SET LOCAL search_path = a; SELECT 1; COMMIT",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "set constraints all deferred",
            "/* a; b */ SET /* ! */ LOCAL ROLE x",
            "SELECT set_config('app.tenant', $1, true), set_config('role', f(1, ')'), TRUE)",
            "select pg_catalog.set_config ( 'a.b' , '1, 2' , 't' )",
            "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2), pg_advisory_unlock(3)",
            "CREATE TEMP TABLE x (a int) ON COMMIT DROP; INSERT INTO x VALUES (1)",
            "CREATE TABLE x AS SELECT temp FROM y",
            "SELECT 1 INTO temperature",
            "DECLARE c CURSOR FOR SELECT 1",
            "SETTLE",
            "SELECT setting FROM pg_settings WHERE name = 'update_process_title'",
            "declared",
        ] {
            assert_eq!((kinds(sql), names(sql)), (Kinds::empty(), vec![]), "{sql}");
        }
    }

    #[test]
    fn what_the_pool_may_have_to_change_is_found_wherever_it_stands_and_little_else() {
        let is_read = |sql: &str| {
            let is_read = is_to_read(sql.as_bytes());
            assert_eq!(Hints::of_text(sql.as_bytes(), true).kinds.contains(Kinds::TO_READ), is_read, "{sql}");
            is_read
        };
        for sql in
            ["RESET ALL", "-- a\n/* b */ deallocate x", "SELECT 1;/**/Discard all", "SET LOCAL a TO DEFAULT"]
        {
            assert!(is_read(sql), "{sql}");
        }
        for sql in
            ["", "SELECT reset FROM t", "DELETE FROM resets", "resets", "INSERT INTO t VALUES (DEFAULT)"]
        {
            assert!(!is_read(sql), "{sql}");
        }
    }

    #[test]
    fn what_stays_after_its_transaction_is_seen_wherever_it_stands() {
        for (sql, expected) in [
            ("SET statement_timeout = '1ms'", Kinds::SETTINGS),
            ("  -- a comment\n\t/* and /* another */ one */ sEt\ttime zone 'UTC'", Kinds::SETTINGS),
            ("SELECT 1;SET a = 1;", Kinds::SETTINGS),
            ("set session characteristics as transaction read only", Kinds::SETTINGS),
            ("SET SESSION statement_timeout TO 1", Kinds::SETTINGS),
            ("SET ROLE admin", Kinds::SETTINGS),
            ("SET SESSION AUTHORIZATION admin", Kinds::SETTINGS | Kinds::AUTHORIZATION),
            ("set search_path to default;", Kinds::SETTINGS | Kinds::RESET),
            ("SELECT pg_catalog.set_config('search_path', '', false);", Kinds::SETTINGS),
            ("SELECT Set_Config('search_path', $1, $2)", Kinds::SETTINGS),
            ("SELECT set_config($1, $2, false)", Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS),
            ("SELECT set_config(name, value, false) FROM s", Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS),
            ("SELECT pg_catalog.\"set_config\"('search_path', '', false)", Kinds::SETTINGS),
            ("update pg_settings set setting = 'a' where name = 'search_path'", Kinds::SETTINGS),
            ("SELECT pg_advisory_lock(1)", Kinds::LOCK),
            ("SELECT PG_TRY_ADVISORY_LOCK_SHARED(1)", Kinds::LOCK),
            ("CREATE TEMP TABLE x (a int)", Kinds::TEMPORARY),
            ("create or replace temporary view v as select 1", Kinds::TEMPORARY),
            ("CREATE LOCAL TEMPORARY SEQUENCE s", Kinds::TEMPORARY),
            ("SELECT 1 INTO TEMP x", Kinds::TEMPORARY),
            ("SELECT 1 INTO\ttemporary x", Kinds::TEMPORARY),
            ("CREATE TABLE pg_temp.x (a int)", Kinds::TEMPORARY),
            ("CREATE TEMP TABLE x (a int); CREATE TEMP TABLE y (a int) ON COMMIT DROP", Kinds::TEMPORARY),
            ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", Kinds::CURSOR),
        ] {
            assert_eq!(kinds(sql), expected, "{sql}");
        }
    }

    #[test]
    fn settings_that_no_catalog_lists_are_known_by_their_names() {
        for (sql, name) in [
            ("SET app.tenant = '7'", "app.tenant"),
            ("set session App.Tenant to 7", "app.tenant"),
            ("SET \"app\".tenant='7'", "app.tenant"),
            ("SET \"app.tenant\" = 7", "app.tenant"),
            ("SET app /* a */ . tenant = 7", "app.tenant"),
            ("SET U&\"app\\002etenant\" TO 7", "app.tenant"),
            ("SET app.tenant=7", "app.tenant"),
            ("SELECT set_config('App.Tenant', $1, false)", "app.tenant"),
            ("SELECT set_config('app.tenant'::text, '7', false)", "app.tenant"),
        ] {
            assert_eq!(*names(sql), [name.into()], "{sql}");
        }
        assert!(names("SET search_path = 'a.b'").is_empty());
        // Which one that is, only the server knows.
        assert_eq!(kinds("SET é.tenant = 7"), Kinds::SETTINGS | Kinds::UNNAMED_SETTINGS);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<Vec<u8>>()) {
            Hints::of_text(&sql, false);
        }

        #[test]
        fn nor_one_that_is_made_of_what_it_looks_for(parts in prop::collection::vec(
            prop::sample::select(vec!["set", "_config", "(", ")", ",", "'", " ", ";", "temp", "pg_", "create ", "/*", "*/", "--", "\n", "advisory", "_lock", "local", "declare", "hold", "."]), 0..30)) {
            Hints::of_text(parts.concat().as_bytes(), true);
        }
    }
}
