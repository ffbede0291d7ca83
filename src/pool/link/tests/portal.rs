//! Clients that have portals described, and never the statement: what they read later rows by.

use super::described::{INT4, INT8, asked_first, columns, done, outdated, parameters, used, used_on_server};
use super::*;

fn portal(name: &str) -> Vec<u8> {
    message(b'D', format!("P{name}\0").as_bytes())
}

fn bound(portal: &str, name: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
}

/// As pgjdbc has it, for the first time.
fn first(portal_name: &str) -> Vec<u8> {
    [bound(portal_name, "a"), portal(portal_name), execute(), sync()].concat()
}

fn first_on_server(portal_name: &str) -> Vec<u8> {
    let asks = [bound(portal_name, "pgtether_1"), describe("pgtether_1"), portal(portal_name)].concat();
    [asks, execute(), sync()].concat()
}

/// What a session answers to that, and what the client gets of it.
fn answers(types: &[u32], row: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bind = message(b'2', b"");
    let rest = [row.to_vec(), complete("SELECT 1"), ready(b'I')].concat();
    ([&bind[..], &parameters(types), row, &rest].concat(), [bind, rest].concat())
}

/// A client that has had a portal of `a` described, with a column of that type.
fn told(oid: u32) -> Pair {
    let mut pair = Pair::new();
    let asked = pair.asks(&[parse("a", "select"), first("")].concat());
    assert_eq!(asked, [parse("pgtether_1", "select"), first_on_server("")].concat());
    let (said, seen) = answers(&[INT4], &columns(oid));
    assert_eq!(pair.answers(&[parsed(), said].concat()), [parsed(), seen].concat());
    pair
}

#[test]
fn another_session_with_other_columns_is_refused_and_one_with_other_parameters_is_not() {
    for (types, row, is_same) in [
        (&[INT4][..], columns(INT4), true),
        (&[INT8], columns(INT4), true),
        (&[], columns(INT4), true),
        (&[INT4], columns(INT8), false),
        (&[INT4], message(b'n', b""), false),
    ] {
        let mut pair = told(INT4).moved();
        assert_eq!(pair.asks(&used()), asked_first());
        assert_eq!(pair.answers(&[parsed(), parameters(types), row].concat()), b"");
        if is_same {
            assert_eq!(pair.asks(b""), used_on_server());
            assert_eq!(pair.answers(&done()), done());
        } else {
            assert_eq!(pair.asks(b""), [refused(), sync()].concat());
            assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), [outdated(), ready(b'I')].concat());
        }
        assert!(pair.link.is_free());
    }
}

#[test]
fn who_was_told_once_costs_nothing_more() {
    let mut pair = told(INT4);
    let later = [bind("pgtether_1"), portal(""), execute(), sync()].concat();
    for _ in 0..3 {
        assert_eq!(pair.asks(&first("")), later);
        let answers = [message(b'2', b""), columns(INT4), complete("SELECT 1"), ready(b'I')].concat();
        assert_eq!(pair.answers(&answers), answers);
        assert!(pair.link.is_free());
    }
}

#[test]
fn a_pipeline_of_executions_asks_once() {
    let mut pair = Pair::new();
    let executions = [bind("a"), portal(""), execute()].concat();
    let sent = pair.asks(&[parse("a", "select"), executions.repeat(3), sync()].concat());
    let later = [bind("pgtether_1"), portal(""), execute()].concat();
    let first = [bind("pgtether_1"), describe("pgtether_1"), portal(""), execute()].concat();
    assert_eq!(sent, [parse("pgtether_1", "select"), first, later.repeat(2), sync()].concat());
}

#[test]
fn what_the_session_has_told_others_needs_no_question() {
    let Pair { link, catalog, client, server, asked } = told(INT4);
    let other = ClientStatements::new(catalog.lock().unwrap().budget());
    let mut pair = Pair { link, catalog, client: other, server, asked };
    pair.link.begin();
    let sent = pair.asks(&[parse("a", "select"), first("p")].concat());
    let begun = [close("pgtether_0"), bound("p", "pgtether_1"), portal("p")].concat();
    assert_eq!(sent, [begun, execute(), sync()].concat());
    pair.answers(&[closed(), done()].concat());
    // But it was told.
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&used()), asked_first());
    drop(client);
}

#[test]
fn only_a_portal_of_that_naming_tells_of_it() {
    for between in [
        // It is another's by now, closed, or of no statement with a name.
        [parse("b", "values"), bound("", "b")].concat(),
        message(b'C', b"P\0"),
        [parse("", "values"), bound("", "")].concat(),
    ] {
        let mut pair = Pair::new();
        pair.asks(&[parse("a", "select"), bind("a"), between, portal(""), sync()].concat());
        assert!(pair.client.get(b"a").unwrap().told.is_none());
        let asked = pair.asks(&[bind("a"), execute(), sync()].concat());
        assert_eq!(asked, b"", "it waits for what was sent");
    }
}

#[test]
fn a_portal_tells_as_long_as_its_transaction_lasts() {
    for ends in [false, true] {
        let mut pair = Pair::new();
        pair.asks(&[parse("a", "select"), bound("p", "a"), sync()].concat());
        pair.answers(&[parsed(), message(b'2', b""), ready(b'T')].concat());
        let asked = [portal("p"), sync()].concat();
        if ends {
            pair.asks(&query("commit"));
            pair.answers(&[complete("COMMIT"), ready(b'I')].concat());
            assert_eq!(pair.asks(&asked), asked);
        } else {
            assert_eq!(pair.asks(&asked), [describe("pgtether_1"), asked].concat());
        }
    }
}

#[test]
fn a_portal_that_outlives_its_statement_is_described_without_a_question() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let gives_up = [parse("", "deallocate all"), bound("q", ""), message(b'E', b"q\0\0\0\0\0")].concat();
    let sent = pair.asks(&[bound("p", "a"), gives_up.clone(), portal("p"), sync()].concat());
    assert_eq!(sent, [bound("p", "pgtether_1"), gives_up, portal("p"), sync()].concat());
}

#[test]
fn a_failed_batch_has_told_nothing_and_what_follows_asks_again() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), first("")].concat());
    pair.answers(&[parsed(), error("ERROR"), ready(b'I')].concat());
    assert!(pair.client.get(b"a").unwrap().told.is_none() && pair.link.is_free());
    assert_eq!(pair.asks(&first("")), first_on_server(""));
}

#[test]
fn what_was_told_of_the_statement_itself_stays() {
    let mut pair = Pair::new();
    let asked = [parse("a", "select"), bind("a"), describe("a"), portal(""), execute(), sync()].concat();
    pair.asks(&asked);
    let (said, _) = answers(&[INT4], &columns(INT4));
    let described = [parameters(&[INT4]), columns(INT4)].concat();
    pair.answers(&[&parsed()[..], &said[..5], &described, &said[5..]].concat());
    let mut pair = pair.moved();
    pair.asks(&used());
    pair.answers(&[parsed(), parameters(&[INT8]), columns(INT4)].concat());
    assert_eq!(pair.asks(b"")[..5], refused()[..5]);
    assert!(pair.asks(b"").is_empty());
}

#[test]
fn what_is_told_of_a_naming_stays_where_it_is_closed_in_vain() {
    for asks in [describe("a"), portal("")] {
        let mut pair = Pair::new();
        let prepares = [parse("a", "select"), bind("a"), asks, bind("gone"), close("a"), sync()].concat();
        pair.asks(&prepares);
        assert!(pair.client.get(b"a").is_none());
        let told = [parameters(&[INT4]), columns(INT4)].concat();
        pair.answers(&[parsed(), message(b'2', b""), told, error("ERROR"), ready(b'I')].concat());
        assert!(pair.client.get(b"a").unwrap().told.is_some());
    }
}

#[test]
fn of_more_portals_than_are_known_the_session_is_asked_at_once() {
    let long = "p".repeat(64);
    for (portals, name, on_server) in [
        ((0..65).map(|i| format!("p{i}")).collect::<Vec<_>>(), "a", "pgtether_1"),
        (vec![long.clone()], "a", "pgtether_1"),
        (vec![long], "", ""),
    ] {
        let mut pair = Pair::new();
        let binds = |name: &str| portals.iter().map(|portal| bound(portal, name)).collect::<Vec<_>>();
        let (many, mut sent) = (binds(name).concat(), binds(on_server));
        sent.insert(sent.len() - 1, describe(on_server));
        let parses = [parse(name, "select"), many.clone()].concat();
        assert_eq!(pair.asks(&parses), [parse(on_server, "select"), sent.concat()].concat());
        let again = pair.asks(binds(name).last().unwrap());
        assert_eq!(again, *binds(on_server).last().unwrap(), "once");
        let last = portal(&portals[portals.len() - 1]);
        assert_eq!(pair.asks(&[last.clone(), sync()].concat()), [last, sync()].concat());
        let told = [parameters(&[INT4]), columns(INT4)].concat();
        let is_bound = message(b'2', b"").repeat(portals.len());
        let begin = [parsed(), is_bound].concat();
        let end = [message(b'2', b""), columns(INT4), ready(b'I')].concat();
        assert_eq!(pair.answers(&[&begin[..], &told, &end].concat()), [begin, end].concat());
        assert!(pair.link.is_free());
        // Another session is compared with it.
        let mut pair = pair.moved();
        let asked = pair.asks(&[bind(name), execute(), sync()].concat());
        assert_eq!(asked, [parse(on_server, "select"), describe(on_server), flush()].concat());
        pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
        assert_eq!(pair.asks(b""), [refused(), sync()].concat());
    }
}
