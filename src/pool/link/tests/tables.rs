//! Statements whose tables, types or functions have changed.

use super::*;

/// Another client of the same pool, on a session of its own.
fn beside(pair: Pair) -> Pair {
    let client = ClientStatements::new(pair.catalog.lock().unwrap().budget());
    Pair { client, ..pair.moved() }
}

fn prepared() -> Pair {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select * from t"), bind("a"), execute(), sync()].concat());
    pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat());
    pair
}

#[test]
fn who_prepares_after_ddl_gets_todays_types_on_every_session() {
    for tag in ["ALTER TABLE", "CREATE FUNCTION", "DROP TABLE"] {
        let mut pair = prepared();
        pair.asks(&query("ddl"));
        pair.answers(&[complete(tag), ready(b'I')].concat());
        // As without a pool, who has it keeps it.
        assert_eq!(pair.asks(&[bind("a"), sync()].concat()), [bind("pgtether_1"), sync()].concat());
        pair.answers(&[message(b'2', b""), ready(b'I')].concat());
        let mut other = beside(pair);
        assert_eq!(
            other.asks(&parse("b", "select * from t")),
            parse("pgtether_2", "select * from t"),
            "{tag}"
        );
    }
    let mut other = beside(prepared());
    assert_eq!(other.asks(&parse("b", "select * from t")), parse("pgtether_1", "select * from t"));
}

#[test]
fn what_others_prepare_while_ddl_is_under_way_is_of_before_or_after_it_and_not_of_between() {
    let mut pair = prepared();
    pair.asks(&query("begin; alter table"));
    pair.answers(&[complete("BEGIN"), complete("ALTER TABLE"), ready(b'T')].concat());
    assert!(pair.link.has_changed());
    // Inside of the transaction it is new already.
    assert_eq!(pair.asks(&parse("c", "select * from t")), parse("pgtether_2", "select * from t"));
    pair.asks(&[sync(), query("rollback")].concat());
    pair.answers(&[parsed(), ready(b'T'), complete("ROLLBACK"), ready(b'I')].concat());
    assert!(!pair.link.has_changed());
    let mut other = beside(pair);
    assert_eq!(other.asks(&parse("b", "select * from t")), parse("pgtether_3", "select * from t"));
}

#[test]
fn a_kept_statement_that_does_not_fit_what_there_is_is_prepared_anew() {
    for sqlstate in ["42P01", "42703", "42883"] {
        let mut pair = prepared();
        pair.asks(&[bind("a"), execute(), sync()].concat());
        let error = format!("SERROR\0VERROR\0C{sqlstate}\0Mit is not there\0\0");
        pair.answers(&[message(b'E', error.as_bytes()), ready(b'I')].concat());
        let mut other = beside(pair);
        assert_eq!(other.asks(&parse("b", "select * from t")), parse("pgtether_2", "select * from t"));
    }
    // One that fails for its values is a good one.
    let mut pair = prepared();
    pair.asks(&[bind("a"), execute(), sync()].concat());
    pair.answers(&[error("ERROR"), ready(b'I')].concat());
    assert_eq!(beside(pair).asks(&parse("b", "select * from t")), parse("pgtether_1", "select * from t"));
}

#[test]
fn errors_name_a_statement_as_its_client_does() {
    let told = |sqlstate: &str, name: &str| {
        let text = format!("SERROR\0VERROR\0C{sqlstate}\0Mstatement \"{name}\" requires 1\0\0");
        message(b'E', text.as_bytes())
    };
    let mut pair = prepared();
    pair.asks(&[bind("a"), sync()].concat());
    assert_eq!(pair.answers(&told("08P01", "pgtether_1")), told("08P01", "a"));
    pair.answers(&ready(b'I'));
    // A table may be called so, and another client's statement is none of its.
    pair.asks(&[query("select 1"), query("select 1")].concat());
    assert_eq!(pair.answers(&told("42P01", "pgtether_1")), told("42P01", "pgtether_1"));
    assert_eq!(pair.answers(&told("08P01", "pgtether_9")), told("08P01", "pgtether_9"));
}
