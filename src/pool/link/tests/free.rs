//! When a session is free, and when it is not to be used any more.

use super::*;

#[test]
fn a_simple_query_passes_unchanged_and_frees_the_session_with_its_last_answer() {
    let mut pair = Pair::new();
    assert_eq!(pair.asks(&query("select 1")), query("select 1"));
    assert!(!pair.link.is_free());
    let rows = [message(b'D', b"\0\x01\0\0\0\x011"), complete("SELECT 1")].concat();
    assert_eq!(pair.answers(&rows), rows);
    assert!(!pair.link.is_free());
    pair.answers(&ready(b'I'));
    assert!(pair.link.is_free());
}

#[test]
fn a_transaction_and_a_pipeline_keep_the_session() {
    let mut pair = Pair::new();
    pair.asks(&query("begin"));
    pair.answers(&ready(b'T'));
    assert!(!pair.link.is_free());
    assert_eq!(pair.link.left(), Left::InTransaction);
    pair.asks(&[query("select 1"), query("commit")].concat());
    pair.answers(&ready(b'T'));
    assert!(!pair.link.is_free());
    pair.answers(&ready(b'I'));
    assert!(pair.link.is_free());
    assert_eq!(pair.link.left(), Left::Clean);
}

#[test]
fn a_batch_without_its_sync_keeps_the_session() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "select 1"), message(b'H', b"")].concat());
    pair.answers(&parsed());
    assert!(!pair.link.is_free());
    assert_eq!(pair.link.left(), Left::Busy { ready: 1, synced: false });
    pair.asks(&sync());
    pair.answers(&ready(b'I'));
    assert!(pair.link.is_free());
}

#[test]
fn a_pipeline_that_ends_in_a_flush_frees_the_session_with_its_last_answer() {
    let pipeline = [parse("", "select 1"), bind(""), execute(), sync()].concat();
    let answers = [parsed(), message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat();
    for (end, behind) in [(flush(), true), (flush(), false), (flush().repeat(3), true)] {
        let mut pair = Pair::new();
        if behind {
            pair.asks(&[pipeline.clone(), end].concat());
        } else {
            pair.asks(&pipeline);
            pair.asks(&end);
        }
        pair.answers(&answers);
        assert!(pair.link.is_free());
        assert_eq!(pair.link.left(), Left::Clean);
    }
}

#[test]
fn what_is_closed_behind_a_sync_is_answered_at_once_and_frees_the_session() {
    let mut pair = Pair::new();
    let asked = [parse("a", "select 1"), sync(), close("a")].concat();
    let sent = [parse("pgtether_1", "select 1"), sync(), close("pgtether_0"), flush()].concat();
    assert_eq!(pair.asks(&asked), sent);
    pair.answers(&[parsed(), ready(b'I')].concat());
    assert!(!pair.link.is_free(), "its answer must not meet another client");
    assert_eq!(pair.link.left(), Left::Busy { ready: 1, synced: false });
    assert_eq!(pair.answers(&closed()), closed());
    assert!(pair.link.is_free());
    // With something behind it, it is a part of that.
    let mut pair = Pair::new();
    assert_eq!(pair.asks(&[close("b"), bind("")].concat()), [close("b"), refused()].concat());
    pair.answers(&[closed(), closed()].concat());
    assert!(!pair.link.is_free());
}

#[test]
fn the_end_of_copy_data_for_nothing_that_copies_is_forgotten() {
    for asked in [query("begin"), [query("begin"), message(b'c', b"")].concat()] {
        let mut pair = Pair::new();
        pair.asks(&asked);
        pair.answers(&ready(b'T'));
        pair.asks(&message(b'f', b"late\0"));
        pair.asks(&query("copy t from stdin"));
        pair.answers(&message(b'G', b"\0\0\0"));
        assert_eq!(pair.link.left(), Left::Broken, "data is waited for");
    }
}

#[test]
fn copy_in_over_a_simple_query_keeps_the_session_until_it_is_ready() {
    let mut pair = Pair::new();
    pair.asks(&query("copy t from stdin"));
    pair.answers(&message(b'G', b"\0\0\0"));
    assert_eq!(pair.link.left(), Left::Broken);
    pair.asks(&[message(b'd', b"1\n"), message(b'c', b"")].concat());
    assert!(!pair.link.is_free());
    pair.answers(&[complete("COPY 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn the_sync_that_a_server_reads_over_while_it_takes_copy_data_is_not_waited_for() {
    // As libpq does it: a Sync behind the Execute, and another behind the data.
    let mut pair = Pair::new();
    pair.asks(&[parse("", "copy t from stdin"), bind(""), execute(), sync()].concat());
    pair.answers(&[parsed(), message(b'2', b""), message(b'G', b"\0\0\0")].concat());
    assert!(!pair.link.is_free());
    pair.asks(&[message(b'd', b"1\n"), message(b'c', b"")].concat());
    assert!(!pair.link.is_free());
    pair.asks(&sync());
    pair.answers(&[complete("COPY 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());

    // All at once, before the server has said a word.
    let mut pair = Pair::new();
    let batch = [parse("", "copy t from stdin"), bind(""), execute(), sync()].concat();
    pair.asks(&[batch, message(b'd', b"1\n"), message(b'c', b""), sync()].concat());
    pair.answers(&[parsed(), message(b'2', b""), message(b'G', b"\0\0\0")].concat());
    assert!(!pair.link.is_free());
    pair.answers(&[complete("COPY 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn a_fatal_error_is_known_and_breaks_the_session() {
    let mut pair = Pair::new();
    pair.asks(&query("select 1"));
    pair.answers(&error("ERROR"));
    assert!(!pair.link.was_told());
    pair.answers(&error("FATAL"));
    assert!(pair.link.was_told());
    assert_eq!(pair.link.left(), Left::Broken);
}

#[test]
fn what_no_client_may_send_is_refused_without_a_word_of_it() {
    for bytes in [&b"p\0\0\0\x08secr"[..], b"\0\0\0\0\x04", b"Q\xff\xff\xff\xff", b"Q\0\0\0\x03"] {
        let refused = Pair::new().takes(bytes).unwrap_err();
        assert_eq!(refused.sqlstate, "08P01");
        assert!(!refused.message.contains("secr"));
    }
}

#[test]
fn goodbye_is_heard_and_not_passed_on() {
    let bytes = [query("select 1"), message(b'X', b""), b"rest".to_vec()].concat();
    assert_eq!(Pair::new().takes(&bytes).unwrap(), (query("select 1"), Asked::Terminate));
}

#[test]
fn a_transaction_that_changes_nothing_does_not_lock_the_catalog() {
    for renames in [true, false] {
        let mut pair = Pair { link: Link::new(renames), ..Pair::new() };
        let (link, mut statements) = pair.statements();
        let mut exchange = |asked: &[u8], answered: &[u8]| {
            link.client_sent(asked, &mut Vec::new(), &mut statements).unwrap();
            link.server_sent(answered, &mut Vec::new(), &mut statements, &mut Nobody).unwrap();
            assert!(link.is_free());
            statements.catalog.is_locked()
        };
        assert!(!exchange(&query("select 1"), &[complete("SELECT 1"), ready(b'I')].concat()));
        let extended = [parse("", "select 1"), bind(""), execute(), sync()].concat();
        let answers = [parsed(), message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat();
        assert!(!exchange(&extended, &answers));
        let created = [complete("CREATE TABLE"), ready(b'I')].concat();
        assert_eq!(exchange(&query("create table t ()"), &created), renames);
    }
}
