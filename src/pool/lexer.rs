//! SQL text, as far as a pool reads it: white space, comments, words, names, and where a statement ends.

use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// A text that has more is not taken apart.
const MOST_STATEMENTS: usize = 256;

/// Past white space and comments.
pub fn skip_blank(mut sql: &[u8]) -> &[u8] {
    loop {
        sql = sql.trim_ascii_start();
        if let Some(comment) = sql.strip_prefix(b"--") {
            sql = memchr2(b'\n', b'\r', comment).map_or(&[], |end| &comment[end..]);
        } else if let Some(comment) = sql.strip_prefix(b"/*") {
            sql = past_comment(comment);
        } else {
            return sql;
        }
    }
}

/// Behind the end of a comment, which may have others in it.
fn past_comment(comment: &[u8]) -> &[u8] {
    let mut depth = 1_usize;
    let mut at = 0;
    while let Some(pair) = comment.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return &comment[at..];
        }
    }
    &[]
}

/// The word that stands next, in lower case, and what follows it; nothing where it is longer than any that matters.
pub fn lower_word<'s, 'b>(sql: &'s [u8], buffer: &'b mut [u8; 13]) -> (&'b [u8], &'s [u8]) {
    let sql = skip_blank(sql);
    let end = sql.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(sql.len());
    match buffer.get_mut(..end) {
        Some(word) => {
            word.copy_from_slice(&sql[..end]);
            word.make_ascii_lowercase();
            (word, &sql[end..])
        }
        None => (b"", &sql[end..]),
    }
}

/// What follows this keyword, if it stands next.
pub fn keyword<'s>(sql: &'s [u8], wanted: &[u8]) -> Option<&'s [u8]> {
    let mut buffer = [0; 13];
    let (word, rest) = lower_word(sql, &mut buffer);
    let ends = rest.first().is_none_or(|byte| byte.is_ascii() && *byte != b'$');
    (word == wanted && ends).then_some(rest)
}

/// The name that stands next, as a server reads it, and what follows.
pub fn name(sql: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let sql = skip_blank(sql);
    if let Some(quoted) = sql.strip_prefix(b"\"") {
        return quoted_name(quoted);
    }
    if let [b'u' | b'U', b'&', b'"', quoted @ ..] = sql {
        let (name, rest) = quoted_name(quoted)?;
        let (escape, rest) = match keyword(rest, b"uescape") {
            Some(escape) => escape_byte(escape)?,
            None => (b'\\', rest),
        };
        return Some((unescaped(&name, escape)?, rest));
    }
    let begins = sql.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let end = sql.iter().position(|byte| !plain(byte)).unwrap_or(sql.len());
    // Which letters a server takes for lower ones depends on its locale.
    let ends = sql.get(end).is_none_or(u8::is_ascii);
    (begins && ends).then(|| (sql[..end].to_ascii_lowercase(), &sql[end..]))
}

/// A name of several parts, as a setting's of an application's own, and what follows.
pub fn dotted_name(sql: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut whole, mut rest) = name(sql)?;
    while let [b'.', more @ ..] = skip_blank(rest) {
        let (part, behind) = name(more)?;
        whole.push(b'.');
        whole.extend(part);
        rest = behind;
    }
    Some((whole, rest))
}

/// From behind its first quote.
fn quoted_name(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut name, mut at) = (Vec::new(), 0);
    loop {
        match (quoted.get(at)?, quoted.get(at + 1)) {
            (b'"', Some(b'"')) => at += 1,
            (b'"', _) => return Some((name, &quoted[at + 1..])),
            _ => {}
        }
        name.push(quoted[at]);
        at += 1;
    }
}

/// What `UESCAPE` names, and what follows.
fn escape_byte(sql: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\'', escape, b'\'', rest @ ..] = skip_blank(sql) else {
        return None;
    };
    let is_one = !escape.is_ascii_hexdigit() && !escape.is_ascii_whitespace() && !b"+'\"".contains(escape);
    is_one.then_some((*escape, rest))
}

/// A name with the characters that its escapes stand for; `None` where a server refuses one.
fn unescaped(name: &[u8], escape: u8) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), name);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != escape {
            out.push(*byte);
            continue;
        }
        if behind.first() == Some(&escape) {
            out.push(escape);
            rest = &behind[1..];
            continue;
        }
        let (digits, behind) = match behind.strip_prefix(b"+") {
            Some(long) => long.split_at_checked(6)?,
            None => behind.split_at_checked(4)?,
        };
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let code = u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_hex)?, 16).ok()?;
        let char = char::from_u32(code).filter(|char| *char != '\0')?;
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = behind;
    }
    Some(out)
}

/// Where the statements of a text are, each from its first word up to its semicolon; `None` where that is not certain:
/// where a string ends may depend on a setting, and the body of a function may have semicolons of its own.
pub fn statements(sql: &[u8]) -> Option<Vec<Range<usize>>> {
    std::str::from_utf8(sql).ok()?;
    let mut found = Vec::new();
    let (mut from, mut at, mut depth) = (None, 0, 0_usize);
    while let Some(byte) = sql.get(at) {
        let rest = &sql[at..];
        if byte.is_ascii_whitespace() || rest.starts_with(b"--") || rest.starts_with(b"/*") {
            at = sql.len() - skip_blank(rest).len();
            continue;
        }
        if *byte == b';' && depth == 0 {
            found.extend(from.take().map(|from| from..at));
            at += 1;
            if found.len() > MOST_STATEMENTS {
                return None;
            }
            continue;
        }
        from.get_or_insert(at);
        at += match byte {
            b'\'' => quoted(rest)?,
            b'"' => memchr(b'"', &rest[1..])? + 2,
            b'$' => dollar_quoted(rest)?,
            b'(' => {
                depth += 1;
                1
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                1
            }
            byte if is_of_word(*byte) => {
                let end =
                    rest.iter().position(|byte| !is_of_word(*byte) && *byte != b'$').unwrap_or(rest.len());
                match (&rest[..end], rest.get(end)) {
                    (word, _) if word.eq_ignore_ascii_case(b"atomic") => return None,
                    (b"e" | b"E", Some(b'\'')) => end + escaped(&rest[end..])?,
                    _ => end,
                }
            }
            _ => 1,
        };
    }
    found.extend(from.map(|from| from..sql.len()));
    (depth == 0).then_some(found)
}

/// How long the string is that begins here. A backslash before its quote is one of the string, or an escape, as
/// `standard_conforming_strings` says.
fn quoted(sql: &[u8]) -> Option<usize> {
    let end = memchr(b'\'', &sql[1..])? + 1;
    let backslashes = sql[1..end].iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes.is_multiple_of(2).then_some(end + 1)
}

/// How long the string is that begins here, in which a backslash is an escape.
fn escaped(sql: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match sql.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// How long the quoted text is that a dollar begins, or the dollar alone where it is none; `None` where it has no end.
fn dollar_quoted(sql: &[u8]) -> Option<usize> {
    let tag = sql[1..].iter().position(|byte| !is_of_word(*byte)).unwrap_or(sql.len() - 1) + 1;
    if sql.get(tag) != Some(&b'$') || sql[1].is_ascii_digit() {
        return Some(1);
    }
    let quote = &sql[..=tag];
    let end = memmem::find(&sql[quote.len()..], quote)?;
    Some(end + 2 * quote.len())
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(sql: &str) -> Option<Vec<&str>> {
        Some(statements(sql.as_bytes())?.into_iter().map(|range| &sql[range]).collect())
    }

    #[test]
    fn a_text_is_taken_apart_where_a_server_would() {
        for (sql, expected) in [
            ("", vec![]),
            (" ; ;; -- a;b\n /* ; /* ; */ ; */", vec![]),
            ("a", vec!["a"]),
            ("/* one */ a; -- two;\nb ;", vec!["a", "b "]),
            ("select 'a;''b;', \"c;\"\"d\"; g", vec!["select 'a;''b;', \"c;\"\"d\"", "g"]),
            (r"select E'\'; a', e'\\'; b", vec![r"select E'\'; a', e'\\'", "b"]),
            (r"select 'C:\temp;', 'x\\'; b", vec![r"select 'C:\temp;', 'x\\'", "b"]),
            ("do $$ a; b $$; do $x$ ; $$ ; $x$; c", vec!["do $$ a; b $$", "do $x$ ; $$ ; $x$", "c"]),
            ("select $1; a$b$c; d", vec!["select $1", "a$b$c", "d"]),
            ("select $1$2; d", vec!["select $1$2", "d"]),
            ("create rule r as do (a; b); c", vec!["create rule r as do (a; b)", "c"]),
            ("a -- b", vec!["a -- b"]),
            ("-- a;\rb", vec!["b"]),
            ("select 'é;'; ü", vec!["select 'é;'", "ü"]),
        ] {
            assert_eq!(split(sql), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_taken_apart() {
        let unsure =
            ["a 'b; c", "\"a; b", "$$ a; b", "(a; b", "a); b", r"select '\'; b'", "begin ATOMIC a; end; b"];
        for sql in unsure {
            assert_eq!(split(sql), None, "{sql}");
        }
        assert_eq!(statements(b"select '\xe9;'"), None, "an encoding that is not known");
        assert_eq!(statements("a;".repeat(MOST_STATEMENTS + 1).as_bytes()), None);
    }

    #[test]
    fn names_are_read_as_a_server_does() {
        for (sql, expected) in [
            ("/* a */ Pdo_Stmt_1 ;", Some(("pdo_stmt_1", " ;"))),
            ("\"A \"\"b\"\"\" x", Some(("A \"b\"", " x"))),
            ("\"a", None),
            (r#"U&"work\005fmem" ;"#, Some(("work_mem", " ;"))),
            (r#"u&"\+000077ork_mem""#, Some(("work_mem", ""))),
            (r#"U&"a\\b""c" uescapes"#, Some((r#"a\b"c"#, " uescapes"))),
            ("U&\"work!005fmem\" /* a */ UESCAPE '!' x", Some(("work_mem", " x"))),
            (r#"U&"d\00e9j\00e0""#, Some(("déjà", ""))),
            // A server refuses these.
            (r#"U&"work\005""#, None),
            (r#"U&"work\+005f""#, None),
            (r#"U&"work\0000""#, None),
            (r#"U&"work\d83d""#, None),
            ("U&\"work\" UESCAPE 'a'", None),
            ("U&\"work\" UESCAPE x", None),
            ("U&\"work", None),
            ("1a", None),
            ("aé", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, rest)| (name.as_bytes().to_vec(), rest.as_bytes()));
            assert_eq!(name(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn the_parts_of_a_name_are_put_together() {
        for (sql, expected) in [
            ("app . /* a */ Tenant = 7", Some(("app.tenant", " = 7"))),
            (r#"U&"\0061pp"."Tenant""#, Some(("app.Tenant", ""))),
            ("app.", None),
        ] {
            let expected = expected.map(|(name, rest)| (name.as_bytes().to_vec(), rest.as_bytes()));
            assert_eq!(dotted_name(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn a_keyword_is_a_whole_word_however_long_it_is() {
        for (sql, rest) in [
            ("authorization x", Some(" x")),
            ("/* a */AUTHORIZATION", Some("")),
            ("authorization;", Some(";")),
            ("authorizations x", None),
            ("authorization$ x", None),
            ("authorizationé x", None),
            ("authorization_ x", None),
            ("authorizatio n", None),
        ] {
            assert_eq!(keyword(sql.as_bytes(), b"authorization"), rest.map(str::as_bytes), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_statements_stand_in_their_order(parts in prop::collection::vec(
            prop::sample::select(vec![
                "'", "\"", "$", "$a$", "$1", ";", "--", "\n", "/*", "*/", "(", ")", "a", "é", " ", "atomic", "\\", "E'",
            ]),
            0..30,
        )) {
            let sql = parts.concat();
            let mut last = 0;
            for range in statements(sql.as_bytes()).unwrap_or_default() {
                prop_assert!(last <= range.start && range.start < range.end && range.end <= sql.len());
                last = range.end;
            }
        }
    }
}
