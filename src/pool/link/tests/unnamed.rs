//! Statements without a name that are kept prepared.

use super::*;
use crate::pool::statements::Unnamed;

fn preparing() -> Pair {
    let mut pair = Pair::new();
    pair.client.prepares_unnamed = true;
    pair
}

fn executed(sql: &str) -> Vec<u8> {
    [parse("", sql), bind(""), execute(), sync()].concat()
}

fn sent(name: &str, sql: &str) -> Vec<u8> {
    [parse(name, sql), bind(name), execute(), sync()].concat()
}

fn stood_in(name: &str) -> Vec<u8> {
    [close("pgtether_0"), bind(name), execute(), sync()].concat()
}

fn answer(first: Vec<u8>) -> Vec<u8> {
    [first, message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat()
}

#[test]
fn the_same_text_is_prepared_once_on_a_session_and_its_client_sees_no_difference() {
    let mut pair = preparing();
    assert_eq!(pair.asks(&executed("select 1")), sent("pgtether_1", "select 1"));
    assert_eq!(pair.answers(&answer(parsed())), answer(parsed()));
    for _ in 0..3 {
        assert_eq!(pair.asks(&executed("select 1")), stood_in("pgtether_1"));
        assert_eq!(pair.answers(&answer(closed())), answer(parsed()), "a Parse is answered as such");
        assert!(pair.link.is_free());
    }
    assert_eq!(pair.asks(&executed("select 2")), sent("pgtether_2", "select 2"));
}

#[test]
fn another_session_gets_it_where_it_is_used() {
    let mut pair = preparing();
    pair.asks(&executed("select 1"));
    pair.answers(&answer(parsed()));
    let mut pair = pair.moved();
    assert_eq!(
        pair.asks(&[bind(""), sync()].concat()),
        [parse("pgtether_1", "select 1"), bind("pgtether_1"), sync()].concat()
    );
    assert_eq!(
        pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat()),
        [message(b'2', b""), ready(b'I')].concat()
    );
    assert_eq!(pair.asks(&[describe(""), sync()].concat()), [describe("pgtether_1"), sync()].concat());
}

#[test]
fn a_simple_query_and_a_close_drop_it_for_its_client() {
    for drops in [query("select 1"), [close(""), sync()].concat()] {
        let mut pair = preparing();
        pair.asks(&executed("select 1"));
        pair.answers(&answer(parsed()));
        pair.asks(&drops);
        pair.answers(&ready(b'I'));
        assert!(matches!(pair.client.unnamed(), Unnamed::None));
        // A server fails here, and its client is told of a statement that is not there.
        let asked = pair.asks(&[bind(""), sync()].concat());
        assert_eq!(asked, [refused(), sync()].concat());
        let told = pair.answers(&closed());
        assert!(String::from_utf8_lossy(&told).contains("unnamed prepared statement does not exist"));
    }
}

#[test]
fn what_gives_up_all_statements_is_not_kept() {
    for sql in ["DISCARD ALL", "deallocate all"] {
        let mut pair = preparing();
        assert_eq!(pair.asks(&executed(sql)), executed(sql));
    }
}

#[test]
fn a_kept_one_and_one_that_is_not_take_turns() {
    let mut pair = preparing();
    let batch = [parse("", "select 1"), bind(""), parse("", "deallocate all"), bind(""), sync()].concat();
    let expected =
        [parse("pgtether_1", "select 1"), bind("pgtether_1"), parse("", "deallocate all"), bind(""), sync()];
    assert_eq!(pair.asks(&batch), expected.concat());
    let mut pair = preparing();
    let batch = [parse("", "deallocate all"), bind(""), parse("", "select 1"), bind(""), sync()].concat();
    let asked = pair.asks(&batch);
    let end = [bind("pgtether_1"), sync()].concat();
    assert!(asked.ends_with(&end), "{}", asked.escape_ascii());
}

#[test]
fn errors_call_it_what_its_client_calls_it() {
    let mut pair = preparing();
    pair.asks(&executed("select $1"));
    let fields = |name: &str| {
        let text = format!(
            "SERROR\0VERROR\0C08P01\0Mbind message supplies 0 parameters, but prepared statement \"{name}\" requires 1\0\0"
        );
        message(b'E', text.as_bytes())
    };
    let answers = [parsed(), fields("pgtether_1"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), [parsed(), fields(""), ready(b'I')].concat());
    assert!(!pair.link.is_stale());
}

#[test]
fn one_that_fails_because_a_table_was_altered_is_prepared_anew() {
    let mut pair = preparing();
    pair.asks(&executed("select * from t"));
    pair.answers(&answer(parsed()));
    pair.asks(&executed("select * from t"));
    let outdated =
        "SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0RRevalidateCachedQuery\0\0";
    pair.answers(&[closed(), message(b'E', outdated.as_bytes()), ready(b'I')].concat());
    assert_eq!(pair.asks(&executed("select * from t")), sent("pgtether_2", "select * from t"));
}

#[test]
fn texts_that_are_used_once_do_not_fill_the_catalog() {
    let mut pair = preparing();
    for i in 0..10_000 {
        pair.asks(&executed(&format!("select {i} -- {}", "x".repeat(10_000))));
        pair.answers(&answer(parsed()));
    }
    let used = pair.catalog.lock().unwrap().budget().used();
    assert!(used <= 9 << 20, "{used} bytes are kept of statements that nobody uses");
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let mut pair = Pair::new();
    assert_eq!(pair.asks(&executed("select 1")), executed("select 1"));
}

#[test]
fn a_text_that_the_server_has_skipped_is_not_executed_for_the_one_before() {
    for prepares in [false, true] {
        let mut pair = Pair::new();
        pair.client.prepares_unnamed = prepares;
        pair.asks(&executed("select 1"));
        pair.answers(&answer(parsed()));
        pair.asks(&[bind("nosuch"), parse("", "select 2"), sync()].concat());
        pair.answers(&[missing("nosuch"), ready(b'I')].concat());
        // Which one was the last is not kept: the client is told that there is none.
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [refused(), sync()].concat());
        pair.answers(&[closed(), ready(b'I')].concat());

        // The session has it by now: where the pool prepares, only a Close stands for it.
        pair.asks(&executed("select 2"));
        pair.answers(&answer(parsed()));
        pair.asks(&[bind("nosuch"), parse("", "select 2"), sync()].concat());
        pair.answers(&[missing("nosuch"), ready(b'I')].concat());
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [refused(), sync()].concat());
    }
}

#[test]
fn what_is_prepared_behind_a_batch_that_has_failed_stays() {
    for prepares in [false, true] {
        let mut pair = Pair::new();
        pair.client.prepares_unnamed = prepares;
        let skipped = [bind("nosuch"), parse("", "select 1"), sync()].concat();
        pair.asks(&[skipped, parse("", "select 2"), sync()].concat());
        pair.answers(&[missing("nosuch"), ready(b'I'), parsed(), ready(b'I')].concat());
        let name = if prepares { "pgtether_2" } else { "" };
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [bind(name), sync()].concat());
        pair.answers(&[message(b'2', b""), ready(b'I')].concat());

        // What fails behind a Parse that was answered takes nothing from it.
        pair.asks(&executed("select 3"));
        pair.answers(&[parsed(), message(b'2', b""), error("ERROR"), ready(b'I')].concat());
        let name = if prepares { "pgtether_3" } else { "" };
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [bind(name), sync()].concat());
    }
}
