//! SQLSTATEs.

use super::diagnosis;
use crate::reason::{Class, Diagnosis, Phase, Reason};

/// One SQLSTATE, or a whole class of them by its first two characters.
struct CodeRow(&'static str, Reason, Class);

/// What means the same whenever it is said. A whole SQLSTATE beats its class.
#[rustfmt::skip]
const ANY_PHASE: &[CodeRow] = &[
    // Connection exceptions: a server does not say so of its own clients; something between us and it does.
    CodeRow("08", Reason::Pooler, Class::Transient),
    CodeRow("08004", Reason::Blocked, Class::Permanent),
    // Demoted: what was the primary answers, and must not be written to.
    CodeRow("25006", Reason::WrongRole, Class::Transient),
    CodeRow("28", Reason::Auth, Class::Permanent),
    CodeRow("3D000", Reason::DatabaseMissing, Class::Permanent),
    // Disk, memory, processes. Like a full server, one that lacks them gets no more load than it must.
    CodeRow("53", Reason::Resources, Class::Capacity),
    CodeRow("53300", Reason::Capacity, Class::Capacity),
    CodeRow("53400", Reason::Config, Class::Permanent),
    CodeRow("57P01", Reason::Shutdown, Class::Transient),
    CodeRow("57P02", Reason::Crash, Class::Transient),
    CodeRow("57P03", Reason::StartingUp, Class::Starting),
    CodeRow("57P04", Reason::DatabaseMissing, Class::Permanent),
    CodeRow("57P05", Reason::IdleTimeout, Class::Transient),
    CodeRow("58000", Reason::Pooler, Class::Transient),
];

/// What else a login can be refused by.
#[rustfmt::skip]
const LOGIN: &[CodeRow] = &[
    CodeRow("0A000", Reason::Config, Class::Permanent),
    CodeRow("22023", Reason::Config, Class::Permanent),
    CodeRow("3F000", Reason::Config, Class::Permanent),
    // No privilege to connect to this database.
    CodeRow("42501", Reason::Auth, Class::Permanent),
    CodeRow("42", Reason::Config, Class::Permanent),
    // ALTER DATABASE … ALLOW_CONNECTIONS false.
    CodeRow("55000", Reason::Blocked, Class::Permanent),
    // Cancelled by authentication_timeout.
    CodeRow("57014", Reason::Timeout, Class::Transient),
];

/// What else a ping can be answered by. The line is fine, the question was not; some questions never will be.
#[rustfmt::skip]
const QUERY: &[CodeRow] = &[
    CodeRow("0A000", Reason::QueryFailed, Class::Permanent),
    CodeRow("22023", Reason::QueryFailed, Class::Permanent),
    CodeRow("3F000", Reason::QueryFailed, Class::Permanent),
    CodeRow("42", Reason::QueryFailed, Class::Permanent),
    CodeRow("", Reason::QueryFailed, Class::Transient),
];

pub(super) fn find(sqlstate: &str) -> Option<Diagnosis> {
    find_in(ANY_PHASE, sqlstate)
}

/// What a SQLSTATE means that says nothing by itself.
pub(super) fn fallback(phase: Phase, sqlstate: &str) -> Diagnosis {
    let rows = match phase {
        Phase::Ping => QUERY,
        Phase::Prepare | Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Startup => LOGIN,
        Phase::Idle => &[],
    };
    find_in(rows, sqlstate).unwrap_or(diagnosis(Reason::Other, Class::Transient))
}

/// The longest row that the SQLSTATE begins with.
fn find_in(rows: &[CodeRow], sqlstate: &str) -> Option<Diagnosis> {
    let row = rows
        .iter()
        .filter(|CodeRow(code, ..)| sqlstate.starts_with(code))
        .max_by_key(|CodeRow(code, ..)| code.len());
    row.map(|CodeRow(_, reason, class)| diagnosis(*reason, *class))
}

/// What all rows mean, for the tests of what the rows have in common.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = (&'static str, Diagnosis)> {
    let rows = ANY_PHASE.iter().chain(LOGIN).chain(QUERY);
    rows.map(|CodeRow(code, reason, class)| (*code, diagnosis(*reason, *class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_written_twice_and_each_is_a_sqlstate_or_a_class_of_them() {
        for rows in [ANY_PHASE, LOGIN, QUERY] {
            for (n, CodeRow(code, ..)) in rows.iter().enumerate() {
                assert!(matches!(code.len(), 0 | 2 | 5), "{code}");
                assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{code}");
                assert!(rows[..n].iter().all(|CodeRow(other, ..)| other != code), "{code} twice");
            }
        }
    }

    #[test]
    fn a_whole_sqlstate_beats_its_class_wherever_it_stands() {
        let reason = |code| find(code).map(|found| found.reason);
        assert_eq!(reason("08006"), Some(Reason::Pooler));
        assert_eq!(reason("08004"), Some(Reason::Blocked));
        assert_eq!(reason("53300"), Some(Reason::Capacity));
        assert_eq!(reason("53400"), Some(Reason::Config));
        assert_eq!(reason("XX000"), None);
    }
}
