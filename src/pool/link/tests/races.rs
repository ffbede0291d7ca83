//! What goes wrong only when much is under way at once, or somebody else has changed what a session has.

use super::*;

#[test]
fn a_batch_behind_one_that_fails_prepares_its_statement_whatever_became_of_the_first() {
    let mut pair = Pair::new();
    let batch = [parse("s1", "select 1"), sync()].concat();
    assert_eq!(pair.asks(&batch), [parse("pgtether_1", "select 1"), sync()].concat());
    // Whether the first works is not known yet; to close what is not there is no error.
    let again = [close("pgtether_1"), parse("pgtether_1", "select 1"), sync()].concat();
    assert_eq!(pair.asks(&batch), again);
    pair.answers(&[error("ERROR"), ready(b'E')].concat());
    assert_eq!(pair.answers(&[closed(), parsed(), ready(b'I')].concat()), [parsed(), ready(b'I')].concat());
    assert!(pair.server.touch(1).is_some());
    assert_eq!(pair.asks(&[bind("s1"), sync()].concat()), [bind("pgtether_1"), sync()].concat());
}

#[test]
fn a_name_that_is_given_and_given_up_in_a_batch_that_is_skipped_was_never_there() {
    let mut pair = Pair::new();
    pair.asks(&[bind("nobody"), parse("a", "select 1"), close("a"), sync()].concat());
    pair.answers(&[error("ERROR"), ready(b'I')].concat());
    assert!(pair.client.get(b"a").is_none());
}

#[test]
fn what_is_prepared_behind_a_discard_in_the_same_flush_stays() {
    let mut pair = Pair::new();
    pair.asks(&[parse("old", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let flush = [query("DISCARD ALL"), parse("new", "select 1"), describe("new"), sync()].concat();
    let sent = pair.asks(&flush);
    let batch = [close("pgtether_1"), parse("pgtether_1", "select 1"), describe("pgtether_1"), sync()];
    assert_eq!(sent, [query("DISCARD ALL"), batch.concat()].concat());
    pair.answers(&[complete("DISCARD ALL"), ready(b'I')].concat());
    pair.answers(&[closed(), parsed(), message(b'n', b""), ready(b'I')].concat());
    assert!(pair.client.get(b"old").is_none() && pair.client.get(b"new").is_some());
    assert!(pair.server.touch(1).is_some() && pair.link.is_free());
}

#[test]
fn a_session_that_does_not_have_what_it_should_or_has_what_it_should_not_is_given_up() {
    for (surprise, named) in [(missing("pgtether_1"), missing("a")), (taken("pgtether_1"), taken("a"))] {
        let mut pair = Pair::new();
        pair.asks(&[parse("a", "select 1"), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        pair.asks(&[bind("a"), sync()].concat());
        assert_eq!(pair.answers(&[surprise, ready(b'I')].concat()), [named, ready(b'I')].concat());
        assert!(pair.link.is_stale() && pair.link.is_free());
    }
    let mut pair = Pair::new();
    pair.asks(&[bind("a"), sync()].concat());
    pair.answers(&[missing("a"), ready(b'I')].concat());
    assert!(!pair.link.is_stale());
}

#[test]
fn a_sync_that_crosses_the_servers_wish_for_copy_data_does_not_free_the_session() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "copy t from stdin"), bind(""), execute()].concat());
    pair.answers(&[parsed(), message(b'2', b""), message(b'G', b"\0\0\0")].concat());
    pair.asks(&sync());
    pair.asks(&[message(b'd', b"1\n"), message(b'c', b"")].concat());
    assert!(!pair.link.is_free());
    pair.asks(&sync());
    pair.answers(&[complete("COPY 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn the_end_of_copy_data_that_nobody_wants_any_more_stands_in_nobodys_way() {
    let mut pair = Pair::new();
    pair.asks(&query("begin"));
    pair.answers(&ready(b'T'));
    pair.asks(&query("copy t from stdin"));
    pair.answers(&message(b'G', b"\0\0\0"));
    pair.asks(&message(b'd', b"bad\n"));
    pair.answers(&[error("ERROR"), ready(b'E')].concat());
    pair.asks(&[message(b'd', b"bad\n"), message(b'c', b"")].concat());
    pair.asks(&[parse("a", "rollback"), bind("a"), execute(), sync()].concat());
    let answers = [parsed(), message(b'2', b""), complete("ROLLBACK"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), answers);
    assert!(pair.link.is_free() && pair.server.touch(1).is_some());
}

#[test]
fn a_query_ends_a_batch_that_has_no_sync() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "select 1"), bind(""), execute(), query("select 2")].concat());
    let answers = [parsed(), message(b'2', b""), complete("SELECT 1"), complete("SELECT 1")].concat();
    pair.answers(&answers);
    assert!(!pair.link.is_free());
    pair.answers(&ready(b'I'));
    assert!(pair.link.is_free());
}

#[test]
fn notifications_go_to_nobody_for_who_listened_may_have_another_session() {
    let mut pair = Pair::new();
    pair.asks(&query("select 1"));
    let answers = [complete("SELECT 1"), message(b'A', b"\0\0\0\x07channel\0payload\0"), ready(b'I')];
    assert_eq!(pair.answers(&answers.concat()), [complete("SELECT 1"), ready(b'I')].concat());
}

#[test]
fn what_a_statement_may_leave_is_known_whenever_it_is_executed() {
    let mut pair = Pair::new();
    let set = parse("s", "select set_config('app.tenant', $1, false)");
    pair.asks(&[set, sync()].concat());
    pair.answers(&[message(b'1', b""), ready(b'I')].concat());
    let mut pair = pair.moved();
    pair.asks(&[bind("s"), sync()].concat());
    assert_eq!(*pair.link.take_hints().names, ["app.tenant".into()]);
    // One without a name, too, in the round trip after that which prepared it.
    pair.asks(&[parse("", "select pg_advisory_lock(1)"), sync()].concat());
    pair.answers(&[message(b'1', b""), ready(b'I')].concat());
    let mut pair = pair.moved();
    pair.asks(&[bind(""), sync()].concat());
    assert!(!pair.link.take_hints().is_empty());
    pair.asks(&query("listen jobs"));
    pair.answers(&[complete("LISTEN"), ready(b'I')].concat());
    assert!(!pair.link.take_hints().is_empty());
    pair.asks(&query("select 1"));
    pair.answers(&[complete("SELECT 1"), ready(b'I')].concat());
    assert!(pair.link.take_hints().is_empty());
}
