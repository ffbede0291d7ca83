//! Statements that are prepared while nobody knows the settings: behind a `SET` in the same pipeline or transaction.

use super::described::{INT4, INT8, columns, parameters};
use super::*;

const SETS: &str = "set local search_path = other";

/// Another client has the session, which is between transactions.
fn next_client(pair: Pair) -> Pair {
    let client = ClientStatements::new(pair.catalog.lock().unwrap().budget());
    let mut pair = Pair { client, ..pair };
    pair.link.begin();
    pair
}

fn says(pair: &mut Pair, sql: &str, status: u8) {
    assert_eq!(pair.asks(&query(sql)), query(sql));
    pair.answers(&[complete("SET"), ready(status)].concat());
}

fn prepares(pair: &mut Pair, name: &str, status: u8) -> Vec<u8> {
    let asked = pair.asks(&[parse(name, "select"), sync()].concat());
    let first = if asked[0] == b'C' { closed() } else { vec![] };
    let parses = asked.windows(6).any(|six| six == b"select");
    pair.answers(&[first, if parses { parsed() } else { vec![] }, ready(status)].concat());
    asked
}

fn anew() -> Vec<u8> {
    [close("pgtether_1"), parse("pgtether_1", "select"), sync()].concat()
}

fn stood_in() -> Vec<u8> {
    [close("pgtether_0"), sync()].concat()
}

fn used(name: &str) -> Vec<u8> {
    [bind(name), execute(), sync()].concat()
}

#[test]
fn what_is_prepared_behind_a_set_is_prepared_anew_for_others() {
    let mut pair = Pair::new();
    says(&mut pair, &format!("begin; {SETS}"), b'T');
    let name = {
        let asked = prepares(&mut pair, "a", b'T');
        let text = String::from_utf8_lossy(&asked).into_owned();
        text.split('\0').find(|part| part.contains("pgtether_")).unwrap().to_owned()
    };
    let name = &name[name.find("pgtether_").unwrap()..];
    let again = [close(name), parse(name, "select"), sync()].concat();
    // Within the transaction it serves.
    assert_eq!(pair.asks(&used("a")), used(name));
    pair.answers(&[message(b'2', b""), complete("SELECT 1"), ready(b'T')].concat());
    let mut pair = next_client(pair);
    assert_eq!(prepares(&mut pair, "b", b'I'), again);
    assert_eq!(prepares(&mut pair, "c", b'I'), stood_in(), "once");
}

#[test]
fn what_is_prepared_behind_a_set_is_by_the_settings_of_then() {
    for pipelined in [false, true] {
        let mut pair = Pair::new();
        prepares(&mut pair, "a", b'I');
        pair.link.begin();
        if pipelined {
            let batch = [parse("", SETS), bind(""), execute(), parse("b", "select"), sync()].concat();
            let begun = [parse("", SETS), bind(""), execute()].concat();
            assert_eq!(pair.asks(&batch), [begun, anew()].concat());
        } else {
            says(&mut pair, "begin", b'T');
            assert_eq!(prepares(&mut pair, "b", b'T'), stood_in());
            says(&mut pair, SETS, b'T');
            assert_eq!(prepares(&mut pair, "c", b'T'), anew());
            says(&mut pair, SETS, b'T');
            assert_eq!(prepares(&mut pair, "d", b'T'), anew(), "it was set again");
        }
    }
}

#[test]
fn a_pipeline_sends_a_text_twice_where_a_set_is_executed_between() {
    let mut pair = Pair::new();
    let sets = [parse("", SETS), bind(""), execute()].concat();
    let batch = [parse("a", "select"), sets.clone(), parse("b", "select"), bind("a"), bind("b")].concat();
    let end = [bind("pgtether_1"), bind("pgtether_1")].concat();
    let asked = pair.asks(&batch);
    let expected =
        [parse("pgtether_1", "select"), sets, close("pgtether_1"), parse("pgtether_1", "select"), end]
            .concat();
    assert_eq!(asked, expected);
}

#[test]
fn what_was_prepared_before_is_used_as_it_is() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), describe("a"), sync()].concat());
    pair.answers(&[parsed(), parameters(&[]), columns(INT4), ready(b'I')].concat());
    pair.link.begin();
    says(&mut pair, &format!("begin; {SETS}"), b'T');
    for _ in 0..2 {
        // A server says itself whether it still fits.
        assert_eq!(pair.asks(&used("a").repeat(3)), used("pgtether_1").repeat(3));
        let done = [message(b'2', b""), complete("SELECT 1"), ready(b'T')].concat();
        assert_eq!(pair.answers(&done.repeat(3)), done.repeat(3));
    }
}

#[test]
fn a_pipeline_behind_a_set_sends_a_text_once() {
    let mut pair = Pair::new();
    says(&mut pair, &format!("begin; {SETS}"), b'T');
    let many = [bind("a"), execute()].concat().repeat(3);
    let asked = pair.asks(&[&parse("a", "select")[..], &many, &sync()].concat());
    assert_eq!(asked.windows(6).filter(|six| *six == b"select").count(), 1);
}

#[test]
fn one_that_is_missing_is_sent_and_compared_and_sent_again_when_the_settings_are_known() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), describe("a"), sync()].concat());
    pair.answers(&[parsed(), parameters(&[]), columns(INT4), ready(b'I')].concat());
    let mut pair = pair.moved();
    says(&mut pair, &format!("begin; {SETS}"), b'T');
    let asked = [parse("pgtether_1", "select"), describe("pgtether_1"), flush()].concat();
    assert_eq!(pair.asks(&used("a")), asked);
    pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
    assert_eq!(pair.asks(b"")[..5], provoked()[..5]);
    pair.answers(&[failed(), ready(b'E')].concat());
    pair.link.begin();
    assert_eq!(pair.asks(&used("a")), [close("pgtether_1"), asked].concat());
}

#[test]
fn an_applications_own_settings_cost_nothing() {
    let mut pair = Pair::new();
    prepares(&mut pair, "a", b'I');
    pair.link.begin();
    says(
        &mut pair,
        "begin; set local app.tenant = 7; select set_config('statement_timeout', '1', true)",
        b'T',
    );
    assert_eq!(prepares(&mut pair, "b", b'T'), stood_in());
}
