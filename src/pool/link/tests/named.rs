//! Prepared statements with a name, which follow their client, and those without one.

use super::*;

#[test]
fn a_named_statement_is_renamed_and_follows_its_client_to_another_session() {
    let mut pair = Pair::new();
    let asked = [parse("mine", "select 1"), bind("mine"), execute(), sync()].concat();
    let sent = [parse("pgtether_1", "select 1"), bind("pgtether_1"), execute(), sync()].concat();
    assert_eq!(pair.asks(&asked), sent);
    let answer = [parsed(), message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answer), answer);
    assert!(pair.link.is_free());

    let mut pair = pair.moved();
    let sent =
        [parse("pgtether_1", "select 1"), bind("pgtether_1"), describe("pgtether_1"), execute(), sync()]
            .concat();
    assert_eq!(pair.asks(&[bind("mine"), describe("mine"), execute(), sync()].concat()), sent);
    // The client has not asked for this ParseComplete.
    assert_eq!(pair.answers(&[parsed(), answer[5..].to_vec()].concat()), answer[5..]);
    assert!(pair.link.is_free());
    assert_eq!(pair.asks(&bind("mine")), bind("pgtether_1"));
}

#[test]
fn a_statement_that_the_session_has_is_not_prepared_again_and_the_client_still_gets_its_answer() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let sent = [close("pgtether_0"), bind("pgtether_1"), execute(), sync()].concat();
    assert_eq!(pair.asks(&[parse("b", "select 1"), bind("b"), execute(), sync()].concat()), sent);
    let rest = [message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat();
    assert_eq!(pair.answers(&[closed(), rest.clone()].concat()), [parsed(), rest].concat());
}

#[test]
fn a_closed_statement_stays_on_the_session_but_not_with_the_client() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    assert_eq!(pair.asks(&[close("a"), sync()].concat()), [close("pgtether_0"), sync()].concat());
    assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), [closed(), ready(b'I')].concat());
    assert!(pair.client.get(b"a").is_none());
    // The server says what is wrong with it.
    assert_eq!(pair.asks(&bind("a")), bind("a"));
}

#[test]
fn a_name_that_is_taken_is_refused_where_it_stands_and_by_the_clients_name() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    assert_eq!(
        pair.asks(&[parse("a", "select 2"), sync()].concat()),
        [parse("pgtether_0", "select 2"), close("pgtether_0"), refused(), sync()].concat()
    );
    let answers = [parsed(), closed(), closed(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), [taken("a"), ready(b'I')].concat());
    assert_eq!(pair.client.get(b"a").unwrap().statement.id, 1);
    // That was to be expected: nothing is wrong with the session.
    assert!(pair.server.touch(1).is_some() && pair.link.is_free() && !pair.link.is_stale());
}

#[test]
fn what_the_server_skips_after_an_error_is_as_if_it_had_never_been_sent() {
    let mut pair = Pair::new();
    pair.asks(&[parse("kept", "select 0"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let batch = [parse("bad", "selec"), parse("skipped", "select 2"), close("kept"), sync()].concat();
    pair.asks(&batch);
    pair.answers(&[error("ERROR"), ready(b'I')].concat());
    assert!(pair.client.get(b"bad").is_none() && pair.client.get(b"skipped").is_none());
    assert!(pair.client.get(b"kept").is_some());
    assert!(
        pair.server.touch(1).is_some() && pair.server.touch(2).is_none() && pair.server.touch(3).is_none()
    );
    assert!(pair.link.is_free());
}

#[test]
fn a_full_session_gives_up_a_statement_unless_the_server_skips_that() {
    let mut pair = Pair::new();
    for i in 1..=200 {
        pair.asks(&[parse(&format!("s{i}"), &format!("select {i}")), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
    }
    let sent = pair.asks(&[parse("s201", "select 201"), sync()].concat());
    assert_eq!(sent, [close("pgtether_1"), parse("pgtether_201", "select 201"), sync()].concat());
    assert_eq!(pair.answers(&[closed(), parsed(), ready(b'I')].concat()), [parsed(), ready(b'I')].concat());
    assert!(pair.server.touch(1).is_none());

    let sent = pair.asks(&[bind("nobody"), parse("s202", "select 202"), sync()].concat());
    assert_eq!(
        sent,
        [bind("nobody"), close("pgtether_2"), parse("pgtether_202", "select 202"), sync()].concat()
    );
    pair.answers(&[error("ERROR"), ready(b'I')].concat());
    assert!(pair.server.touch(2).is_some() && pair.server.touch(202).is_none());
}

#[test]
fn discard_all_and_deallocate_all_forget_what_the_session_had() {
    for tag in ["DISCARD ALL", "DEALLOCATE ALL"] {
        let mut pair = Pair::new();
        pair.asks(&[parse("a", "select 1"), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        pair.asks(&query(tag));
        pair.answers(&[complete(tag), ready(b'I')].concat());
        assert!(pair.server.touch(1).is_none() && pair.client.get(b"a").is_none(), "{tag}");
    }
}

#[test]
fn a_statement_whose_table_has_changed_is_prepared_anew_by_who_asks_for_it_again() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select * from t"), bind("a"), execute(), sync()].concat());
    pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat());
    pair.asks(&[bind("a"), execute(), sync()].concat());
    let outdated = message(b'E', b"SERROR\0VERROR\0C0A000\0Mcached plan\0RRevalidateCachedQuery\0\0");
    pair.answers(&[outdated, ready(b'I')].concat());
    // As without a pool: the name stays what it was until the client gives it up.
    assert_eq!(pair.asks(&[bind("a"), sync()].concat()), [bind("pgtether_1"), sync()].concat());
    pair.answers(&ready(b'I'));
    let sent = pair.asks(&[parse("b", "select * from t"), bind("b"), sync()].concat());
    assert_eq!(sent, [parse("pgtether_2", "select * from t"), bind("pgtether_2"), sync()].concat());
}

#[test]
fn a_statement_without_a_name_is_its_clients_own_on_whatever_session_it_is_bound() {
    let at_once = [parse("", "select 1"), describe(""), bind(""), execute(), sync()].concat();
    let mut pair = Pair::new();
    assert_eq!(pair.asks(&at_once), at_once, "nothing is added to what stands together");
    pair.answers(
        &[parsed(), message(b'T', b""), message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat(),
    );

    let mut pair = pair.moved();
    let later = [bind(""), execute(), sync()].concat();
    assert_eq!(pair.asks(&later), [parse("", "select 1"), later.clone()].concat());
    let answers = [message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat();
    assert_eq!(pair.answers(&[parsed(), answers.clone()].concat()), answers);

    // Where it has none, it must not meet another's.
    for (none, answer) in [(close(""), closed()), (query("select 2"), ready(b'I'))] {
        pair.asks(&[parse("", "select 1"), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        pair.asks(&[none, sync()].concat());
        pair.answers(&[answer, ready(b'I')].concat());
        pair = pair.moved();
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [refused(), sync()].concat());
        let told = message(b'E', b"SERROR\0VERROR\0C26000\0Munnamed prepared statement does not exist\0\0");
        assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), [told, ready(b'I')].concat());
    }
}
