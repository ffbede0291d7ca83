//! SQL that gives up prepared statements. Drivers send it for statements that they have prepared by the protocol, under
//! names that no server knows.

/// What a simple query gives up, and does nothing else.
#[derive(Debug, PartialEq, Eq)]
pub enum Housekeeping {
    /// `DEALLOCATE ALL`, `DISCARD ALL`.
    All,
    /// `DEALLOCATE name`.
    Deallocate(Vec<u8>),
}

/// No such statement is longer.
const LONGEST: usize = 256;

impl Housekeeping {
    pub fn read(sql: &[u8]) -> Option<Self> {
        let sql = sql.trim_ascii();
        let initial = sql.first()?.to_ascii_lowercase();
        if initial != b'd' || sql.len() > LONGEST {
            return None;
        }
        let sql = sql.strip_suffix(b";").unwrap_or(sql).trim_ascii_end();
        if let Some(rest) = keyword(sql, b"discard") {
            return rest.eq_ignore_ascii_case(b"all").then_some(Housekeeping::All);
        }
        let rest = keyword(sql, b"deallocate")?;
        let rest = keyword(rest, b"prepare").unwrap_or(rest);
        if rest.eq_ignore_ascii_case(b"all") {
            return Some(Housekeeping::All);
        }
        identifier(rest).map(Housekeeping::Deallocate)
    }
}

/// What follows the keyword and the space behind it.
fn keyword<'a>(sql: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = sql.split_at_checked(word.len())?;
    let spaced = rest.first().is_some_and(u8::is_ascii_whitespace);
    (spaced && head.eq_ignore_ascii_case(word)).then(|| rest.trim_ascii_start())
}

/// A name, as a server reads it, that has nothing behind it.
fn identifier(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(quoted) = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
        let mut name = Vec::with_capacity(quoted.len());
        let mut bytes = quoted.iter();
        while let Some(byte) = bytes.next() {
            // A quote stands for itself only beside another.
            if *byte == b'"' && bytes.next() != Some(&b'"') {
                return None;
            }
            name.push(*byte);
        }
        return Some(name);
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let begins = text.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_');
    (begins && text.iter().all(plain)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_query_that_does_nothing_else_is_one() {
        let name = |name: &str| Some(Housekeeping::Deallocate(name.into()));
        for (sql, expected) in [
            ("DEALLOCATE ALL", Some(Housekeeping::All)),
            ("  discard\tall ; ", Some(Housekeeping::All)),
            ("deallocate prepare all", Some(Housekeeping::All)),
            ("DEALLOCATE Pdo_Stmt_1", name("pdo_stmt_1")),
            ("deallocate prepare \"A \"\"b\"\"\";", name("A \"b\"")),
            ("DEALLOCATE a; select 1", None),
            ("DEALLOCATE \"a\" b\"", None),
            ("deallocate", None),
            ("DISCARD PLANS", None),
            ("delete from t", None),
            ("deallocated x", None),
        ] {
            assert_eq!(Housekeeping::read(sql.as_bytes()), expected, "{sql}");
        }
    }
}
