//! What a prepared statement takes and returns, as a server describes it: so much of it that one session's can be told
//! from another's. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::{NonZeroU32, NonZeroU64};

use crate::protocol::text;

/// Of a column, behind its name: table, number in it, type, length of that, its modifier and format.
const COLUMN: usize = 18;
const TABLE: usize = 6;
const TYPE: usize = 4;
/// The length and the modifier. Not the format, which is no part of what is described.
const MODIFIER: usize = 6;

/// The types of its parameters, and the names and types of its columns. Which table they are of does not matter: where one
/// is dropped and made again, statements go on to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// `None` of what is known by its portals alone: they tell columns only.
    parameters: Option<ShortDigest>,
    /// Names and types.
    columns: Digest,
    /// The types' modifiers; `None` where a portal has told the columns: those of a plan may be others than its statement's.
    modifiers: Option<ShortDigest>,
}

/// Never 0: so nothing takes no room. What there is of each client is short.
type Digest = NonZeroU64;
type ShortDigest = NonZeroU32;

impl Described {
    /// Of the bodies of ParameterDescription and RowDescription; there is none of those for what returns nothing.
    pub fn new(parameters: &[u8], columns: Option<&[u8]>) -> Self {
        let mut of_parameters = DefaultHasher::new();
        parameters.hash(&mut of_parameters);
        let mut of_modifiers = DefaultHasher::new();
        let columns = digest_columns(columns, |modifier| of_modifiers.write(modifier));
        let (parameters, modifiers) = (Some(short(&of_parameters)), Some(short(&of_modifiers)));
        Described { parameters, columns, modifiers }
    }

    /// Of the RowDescription that a portal has told, if it returns anything.
    pub fn by_portal(columns: Option<&[u8]>) -> Self {
        Described { parameters: None, columns: digest_columns(columns, |_| {}), modifiers: None }
    }

    /// Of what a statement tells, so much as its client knows that has only had a portal described.
    pub fn of_portal(self) -> Self {
        Described { parameters: None, ..self }
    }

    /// Whether who was told that finds here what it expects, of which all was told.
    pub fn is_as(self, told: Described) -> bool {
        let parameters = told.parameters.is_none() || told.parameters == self.parameters;
        let modifiers = told.modifiers.is_none() || told.modifiers == self.modifiers;
        parameters && modifiers && told.columns == self.columns
    }

    /// Who knows `told` is told this. What a portal tells changes nothing of what the statement has told.
    pub fn tell(self, told: &mut Option<Described>) {
        if told.is_none() || self.parameters.is_some() {
            *told = Some(self);
        }
    }
}

fn digest_columns(columns: Option<&[u8]>, mut modifier: impl FnMut(&[u8])) -> Digest {
    let mut hasher = DefaultHasher::new();
    columns.is_some().hash(&mut hasher);
    let mut rest = columns.and_then(|columns| columns.get(2..)).unwrap_or_default();
    while let Some((name, column)) = text(rest)
        && let Some((column, behind)) = column.split_at_checked(COLUMN)
    {
        let (oid, more) = column[TABLE..].split_at(TYPE);
        hasher.write(&rest[..=name.len()]);
        hasher.write(oid);
        modifier(&more[..MODIFIER]);
        rest = behind;
    }
    // Nothing, of a server that keeps to the protocol.
    rest.hash(&mut hasher);
    digest(&hasher)
}

fn short(hasher: &DefaultHasher) -> ShortDigest {
    #[allow(clippy::cast_possible_truncation)]
    let half = (hasher.finish() >> 32) as u32;
    NonZeroU32::MIN | half
}

fn digest(hasher: &DefaultHasher) -> Digest {
    NonZeroU64::MIN | hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, table: u32, oid: u32, modifier: i32, format: u16) -> Vec<u8> {
        let mut out = [name.as_bytes(), &[0]].concat();
        out.extend(table.to_be_bytes());
        out.extend([0, 1]);
        out.extend(oid.to_be_bytes());
        out.extend([0, 4]);
        out.extend(modifier.to_be_bytes());
        out.extend(format.to_be_bytes());
        out
    }

    fn row(columns: &[Vec<u8>]) -> Vec<u8> {
        let count = u16::try_from(columns.len()).unwrap().to_be_bytes();
        [&count[..], &columns.concat()].concat()
    }

    #[test]
    fn names_and_types_tell_statements_apart_and_the_table_does_not() {
        let same = Described::new(b"\0\0", Some(&row(&[column("id", 7, 23, -1, 0)])));
        assert_eq!(Described::new(b"\0\0", Some(&row(&[column("id", 8, 23, -1, 1)]))), same);
        for other in [
            Described::new(b"\0\x01\0\0\0\x17", Some(&row(&[column("id", 7, 23, -1, 0)]))),
            Described::new(b"\0\0", None),
            Described::new(b"\0\0", Some(&row(&[]))),
            Described::new(b"\0\0", Some(&row(&[column("no", 7, 23, -1, 0)]))),
            Described::new(b"\0\0", Some(&row(&[column("id", 7, 20, -1, 0)]))),
            Described::new(b"\0\0", Some(&row(&[column("id", 7, 23, 5, 0)]))),
            Described::new(b"\0\0", Some(&row(&[column("id", 7, 23, -1, 0), column("id", 7, 23, -1, 0)]))),
        ] {
            assert_ne!(other, same);
            assert!(!other.is_as(same) && same.is_as(same));
        }
    }

    #[test]
    fn who_knows_portals_only_expects_their_columns_whatever_the_parameters_are() {
        let int4 = row(&[column("id", 7, 23, -1, 0)]);
        let told = Described::new(b"\0\0", Some(&int4)).of_portal();
        assert!(Described::new(b"\0\x01\0\0\0\x17", Some(&int4)).is_as(told));
        let int8 = Described::new(b"\0\0", Some(&row(&[column("id", 7, 20, -1, 0)])));
        assert!(!int8.is_as(told) && !Described::new(b"\0\0", None).is_as(told));
    }

    #[test]
    fn who_has_had_a_portal_described_expects_its_types_and_names_whatever_their_modifiers_are() {
        let described =
            |modifier, oid, name| Described::new(b"\0\0", Some(&row(&[column(name, 7, oid, modifier, 0)])));
        let told = Described::by_portal(Some(&row(&[column("id", 0, 1700, 655_366, 1)])));
        assert!(described(-1, 1700, "id").is_as(told) && described(655_366, 1700, "id").is_as(told));
        assert!(!described(-1, 23, "id").is_as(told) && !described(-1, 1700, "no").is_as(told));
        assert!(!Described::new(b"\0\0", None).is_as(told));
        assert!(Described::new(b"\0\0", None).is_as(Described::by_portal(None)));
    }

    #[test]
    fn what_a_portal_tells_is_less_than_what_its_statement_has_told() {
        let int4 = row(&[column("id", 7, 23, -1, 0)]);
        let (of_statement, of_portal) =
            (Described::new(b"\0\0", Some(&int4)), Described::by_portal(Some(&int4)));
        let mut told = None;
        for (tells, knows) in [
            (of_portal, of_portal),
            (of_statement.of_portal(), of_portal),
            (of_statement, of_statement),
            (of_portal, of_statement),
            (Described::new(b"\0\0", None), Described::new(b"\0\0", None)),
        ] {
            tells.tell(&mut told);
            assert_eq!(told, Some(knows));
        }
    }

    #[test]
    fn what_is_no_description_is_one_all_the_same() {
        let whole = row(&[column("id", 7, 23, -1, 0)]);
        let cut = (0..whole.len()).map(|at| Described::new(b"", Some(&whole[..at])));
        assert!(cut.into_iter().all(|cut| cut != Described::new(b"", Some(&whole))));
    }
}
