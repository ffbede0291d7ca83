//! Statements without a name whose text a session is given that was not there when their client was told of them.

use super::described::{INT4, INT8, columns, done, outdated, parameters};
use super::*;

fn portal(name: &str) -> Vec<u8> {
    message(b'D', format!("P{name}\0").as_bytes())
}

fn bound(portal: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0\0\0\0\0\0\0\0").as_bytes())
}

fn used() -> Vec<u8> {
    [bind(""), execute(), sync()].concat()
}

fn given() -> Vec<u8> {
    [parse("", "select"), describe(""), flush()].concat()
}

fn refused() -> Vec<u8> {
    [super::refused(), sync()].concat()
}

/// A client that has had its statement described.
fn told(types: &[u32], row: &[u8]) -> Pair {
    let mut pair = Pair::new();
    let asked = [parse("", "select"), describe(""), sync()].concat();
    assert_eq!(pair.asks(&asked), asked);
    let answers = [parsed(), parameters(types), row.to_vec(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), answers);
    pair
}

/// As libpq has it.
fn in_one(portal_name: &str) -> Vec<u8> {
    [parse("", "select"), bound(portal_name), portal(portal_name), execute(), sync()].concat()
}

fn answer_in_one(oid: u32) -> Vec<u8> {
    [parsed(), message(b'2', b""), columns(oid), complete("SELECT 1"), ready(b'I')].concat()
}

/// A client that has had a portal described.
fn told_by_portal(name: &str, oid: u32) -> Pair {
    let mut pair = Pair::new();
    assert_eq!(pair.asks(&in_one(name)), in_one(name));
    assert_eq!(pair.answers(&answer_in_one(oid)), answer_in_one(oid));
    pair
}

#[test]
fn with_the_same_types_it_goes_on_unseen_and_with_others_it_is_refused() {
    for (types, row, is_same) in [
        (&[INT4][..], columns(INT4), true),
        (&[INT8], columns(INT4), false),
        (&[INT4], columns(INT8), false),
        (&[INT4], message(b'n', b""), false),
    ] {
        let mut pair = told(&[INT4], &columns(INT4)).moved();
        assert_eq!(pair.asks(&used()), given());
        assert!(pair.link.is_paused() && !pair.link.resumes() && !pair.link.is_free());
        for byte in [parsed(), parameters(types), row].concat() {
            assert_eq!(pair.answers(&[byte]), b"");
        }
        if is_same {
            assert_eq!(pair.asks(b""), used());
            assert_eq!(pair.answers(&done()), done());
        } else {
            assert_eq!(pair.asks(b""), refused());
            assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), [outdated(), ready(b'I')].concat());
        }
        assert!(pair.link.is_free() && !pair.link.is_stale());
        // Prepared again, it is one of which nothing was told.
        let again = [parse("", "select"), used()].concat();
        assert_eq!(pair.asks(&again), again);
    }
}

#[test]
fn each_use_of_it_is_refused_until_it_is_prepared_again() {
    let mut pair = told(&[], &columns(INT4)).moved();
    assert_eq!(pair.asks(&[used(), describe(""), sync(), used()].concat()), given());
    pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
    // Only the first is known to be outside of a transaction.
    let sent = [refused(), provoked(), sync(), provoked(), execute(), sync()].concat();
    assert_eq!(pair.asks(b""), sent, "the session has told");
    let answers = [closed(), ready(b'I'), failed(), ready(b'I'), failed(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), [outdated(), ready(b'I')].concat().repeat(3));
    assert!(pair.link.is_free());
}

#[test]
fn where_its_client_has_prepared_it_a_session_is_not_asked() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "select"), describe(""), sync()].concat());
    assert_eq!(pair.asks(&used()), b"", "whether it is there is not known yet");
    pair.answers(&[parsed(), parameters(&[]), columns(INT4), ready(b'T')].concat());
    assert_eq!(pair.asks(b""), used());
    pair.answers(&[message(b'2', b""), complete("SELECT 1"), ready(b'T')].concat());
    assert_eq!(pair.asks(&used()), used());
}

#[test]
fn all_in_one_round_trip_costs_no_message() {
    let (of_statement, of_portal) = ([parameters(&[]), columns(INT4)].concat(), columns(INT4));
    let ends = [complete("SELECT 1"), ready(b'I')].concat();
    let is_bound = message(b'2', b"");
    for (batch, answer) in [
        (in_one(""), answer_in_one(INT4)),
        (in_one("p"), answer_in_one(INT4)),
        (
            [parse("", "select"), describe(""), used()].concat(),
            [&parsed()[..], &of_statement, &is_bound, &ends].concat(),
        ),
        (
            [parse("", "select"), bind(""), describe(""), portal(""), execute(), sync()].concat(),
            [&parsed()[..], &is_bound, &of_statement, &of_portal, &ends].concat(),
        ),
        ([parse("", "select"), used()].concat(), [&parsed()[..], &is_bound, &ends].concat()),
    ] {
        let mut pair = Pair::new();
        for _ in 0..3 {
            assert_eq!(pair.asks(&batch.repeat(2)), batch.repeat(2));
            assert_eq!(pair.answers(&answer.repeat(2)), answer.repeat(2));
            assert!(pair.link.is_free());
        }
    }
}

#[test]
fn who_has_had_a_portal_of_it_described_is_compared_by_its_columns() {
    for name in ["", "p"] {
        for (types, row, is_same) in [
            (&[][..], columns(INT4), true),
            (&[INT8], columns(INT4), true),
            (&[], columns(INT8), false),
            (&[], message(b'n', b""), false),
        ] {
            let mut pair = told_by_portal(name, INT4).moved();
            assert_eq!(pair.asks(&used()), given());
            pair.answers(&[parsed(), parameters(types), row].concat());
            assert_eq!(pair.asks(b""), if is_same { used() } else { refused() });
        }
    }
}

#[test]
fn only_a_portal_of_that_statement_tells_of_it() {
    for between in [
        // It is another's by now, closed, or of another statement without a name.
        [parse("b", "values"), message(b'B', b"\0b\0\0\0\0\0\0\0")].concat(),
        message(b'C', b"P\0"),
        [bound("p"), parse("", "values")].concat(),
    ] {
        let mut pair = Pair::new();
        pair.asks(&[parse("", "select"), bound(""), between, portal(""), sync()].concat());
        pair.answers(&[parsed(), parsed(), columns(INT4), columns(INT4), ready(b'I')].concat());
        assert!(pair.client.unnamed_told().is_none());
    }
}

#[test]
fn where_another_portal_is_described_before_it_the_statement_is_asked() {
    for prepares in [false, true] {
        let mut pair = Pair::new();
        pair.client.prepares_unnamed = prepares;
        let asked = pair.asks(&[portal("q"), in_one("")].concat());
        let name = if prepares { "pgtether_1" } else { "" };
        let sent =
            [parse(name, "select"), bind(name), describe(name), portal(""), execute(), sync()].concat();
        assert_eq!(asked, [portal("q"), sent].concat());
        let of_unnamed = parameters(&[INT4]);
        let begin = [columns(INT8), parsed(), message(b'2', b"")].concat();
        let end = [columns(INT4), complete("SELECT 1"), ready(b'I')].concat();
        let answers = [&begin[..], &of_unnamed, &columns(INT4), &end].concat();
        assert_eq!(pair.answers(&answers), [&begin[..], &end].concat());
        assert!(pair.link.is_free());
        let mut pair = pair.moved();
        let asked = pair.asks(&used());
        assert_eq!(asked, [parse(name, "select"), describe(name), flush()].concat());
        pair.answers(&[parsed(), of_unnamed, columns(INT8)].concat());
        assert_eq!(pair.asks(b""), refused());
    }
}

#[test]
fn a_text_in_parts_is_compared_too() {
    let sql = "x".repeat(3 * LONGEST_READ);
    let mut pair = Pair::new();
    pair.asks(&[parse("", &sql), describe(""), sync()].concat());
    pair.answers(&[parsed(), parameters(&[]), columns(INT4), ready(b'I')].concat());
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&used()), [parse("", &sql), describe(""), flush()].concat());
    pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
    assert_eq!(pair.asks(b""), refused());
}

#[test]
fn what_is_told_of_one_is_not_told_of_the_next() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "select"), describe(""), parse("", "select"), sync()].concat());
    let described = [parameters(&[]), columns(INT4)].concat();
    pair.answers(&[parsed(), described, parsed(), ready(b'I')].concat());
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&used()), [parse("", "select"), used()].concat());
}

#[test]
fn a_session_that_refuses_the_text_is_not_waited_for() {
    let mut pair = told(&[], &columns(INT4)).moved();
    pair.asks(&[used(), used()].concat());
    assert_eq!(pair.answers(&error("ERROR")), error("ERROR"));
    // What follows begins anew.
    assert_eq!(pair.asks(b""), [sync(), given()].concat());
    assert_eq!(pair.answers(&ready(b'I')), ready(b'I'));
    pair.answers(&[parsed(), parameters(&[]), columns(INT4)].concat());
    assert_eq!(pair.asks(b""), used());
}
