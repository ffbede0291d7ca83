//! Sessions that keep a statement from before a change that its client was told of on another one.

use super::described::{INT4, INT8, asked_first, columns, done, outdated, parameters, used, used_on_server};
use super::*;

/// The session gets the statement, and tells nothing of it.
fn prepared_by_another(pair: Pair) -> (Pair, ClientStatements) {
    let client = ClientStatements::new(pair.catalog.lock().unwrap().budget());
    let mut pair = Pair { client, ..pair.moved() };
    pair.asks(&[parse("b", "select"), bind("b"), execute(), sync()].concat());
    pair.answers(&[parsed(), done()].concat());
    let client = ClientStatements::new(pair.catalog.lock().unwrap().budget());
    let other = std::mem::replace(&mut pair.client, client);
    (pair, other)
}

/// The client at hand goes on there, having been told elsewhere that the statement returns a column of that type.
fn told_elsewhere(pair: Pair, oid: u32) -> Pair {
    let before = pair.server;
    let mut pair = Pair { server: ServerStatements::default(), ..pair };
    pair.link.begin();
    pair.asks(&[parse("a", "select"), describe("a"), sync()].concat());
    pair.answers(&[parsed(), parameters(&[INT4]), columns(oid), ready(b'I')].concat());
    pair.link.begin();
    Pair { server: before, ..pair }
}

/// What that session is asked.
fn asked_anew() -> Vec<u8> {
    [close("pgtether_1"), asked_first()].concat()
}

fn anew(oid: u32) -> Vec<u8> {
    [closed(), parsed(), parameters(&[INT4]), columns(oid)].concat()
}

#[test]
fn who_was_told_of_the_change_gets_no_error_on_a_session_from_before_it() {
    for tells in [true, false] {
        let (mut pair, mut other) = prepared_by_another(Pair::new());
        if tells {
            std::mem::swap(&mut pair.client, &mut other);
            pair.asks(&[describe("b"), sync()].concat());
            pair.answers(&[parameters(&[INT4]), columns(INT4), ready(b'I')].concat());
            std::mem::swap(&mut pair.client, &mut other);
        }
        let mut pair = told_elsewhere(pair, INT8);
        // A server that has it by the table before would refuse even to describe it.
        assert_eq!(pair.asks(&used()), asked_anew());
        assert!(pair.link.is_paused() && !pair.link.resumes());
        assert_eq!(pair.answers(&anew(INT8)), b"");
        assert_eq!(pair.asks(b""), used_on_server());
        assert_eq!(pair.answers(&done()), done());
        assert_eq!(pair.asks(&used()), used_on_server(), "that was once");
        pair.answers(&done());

        // Who knows the table of before is refused from now on.
        if tells {
            pair.link.begin();
            pair.client = other;
            assert_eq!(pair.asks(&[bind("b"), sync()].concat()), asked_anew());
            assert_eq!(pair.answers(&anew(INT8)), b"");
            assert_eq!(pair.asks(b""), [refused(), sync()].concat());
            let told = pair.answers(&[closed(), ready(b'I')].concat());
            assert_eq!(told, [outdated(), ready(b'I')].concat());
        }
    }
}

#[test]
fn a_session_that_has_other_types_even_when_it_is_asked_anew_is_refused() {
    let (pair, _) = prepared_by_another(Pair::new());
    let mut pair = told_elsewhere(pair, INT8);
    assert_eq!(pair.asks(&used()), asked_anew());
    assert_eq!(pair.answers(&anew(INT4)), b"");
    assert_eq!(pair.asks(b""), [refused(), sync()].concat());
}

#[test]
fn a_session_that_refuses_one_tells_of_a_change_that_may_concern_all() {
    let (mut pair, _) = prepared_by_another(Pair::new());
    pair.asks(&[parse("a", "select"), parse("c", "values"), sync()].concat());
    pair.answers(&[closed(), parsed(), ready(b'I')].concat());
    pair.asks(&used());
    let refused = "SERROR\0VERROR\0C0A000\0Mchanged\0RRevalidateCachedQuery\0\0";
    pair.answers(&[message(b'E', refused.as_bytes()), ready(b'I')].concat());
    // Who prepares it now gets no error.
    let again = pair.asks(&[parse("d", "values"), parse("e", "select"), sync()].concat());
    assert_eq!(again, [parse("pgtether_3", "values"), parse("pgtether_4", "select"), sync()].concat());
}

#[test]
fn a_statement_without_a_name_that_is_kept_prepared_is_compared_too() {
    let asks = [parse("", "select"), describe(""), sync()].concat();
    let uses = [bind(""), execute(), sync()].concat();
    for (oid, is_same) in [(INT4, true), (INT8, false)] {
        let mut pair = Pair::new();
        pair.client.prepares_unnamed = true;
        pair.asks(&asks);
        pair.answers(&[parsed(), parameters(&[INT4]), columns(INT4), ready(b'I')].concat());
        // A second round trip, on another session.
        let mut pair = pair.moved();
        assert_eq!(pair.asks(&uses), asked_first());
        assert_eq!(pair.answers(&[parsed(), parameters(&[INT4]), columns(oid)].concat()), b"");
        let (sent, said) = match is_same {
            true => (used_on_server(), (done(), done())),
            false => {
                let told = [outdated(), ready(b'I')].concat();
                ([refused(), sync()].concat(), ([closed(), ready(b'I')].concat(), told))
            }
        };
        assert_eq!(pair.asks(b""), sent);
        assert_eq!(pair.answers(&said.0), said.1);
        // Prepared again, it is one of which nothing was told.
        let again = pair.asks(&[parse("", "select"), bind(""), sync()].concat());
        let first = if is_same { close("pgtether_0") } else { parse("pgtether_2", "select") };
        let name = if is_same { "pgtether_1" } else { "pgtether_2" };
        assert_eq!(again, [first, bind(name), sync()].concat());
    }
}

#[test]
fn what_is_told_of_a_statement_without_a_name_is_not_told_of_the_next() {
    for next in ["select", "values"] {
        let mut pair = Pair::new();
        pair.client.prepares_unnamed = true;
        pair.asks(&[parse("", "select"), describe(""), parse("", next), sync()].concat());
        let answer = if next == "select" { closed() } else { parsed() };
        let told = [parameters(&[INT4]), columns(INT4)].concat();
        pair.answers(&[parsed(), told, answer, ready(b'I')].concat());
        assert!(pair.client.unnamed_told().is_none(), "{next}");
    }
}
