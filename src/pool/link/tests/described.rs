//! Statements that a session takes or returns other types for than their client was told.

use super::*;

pub const INT4: u32 = 23;
pub const INT8: u32 = 20;

pub fn parameters(types: &[u32]) -> Vec<u8> {
    let count = u16::try_from(types.len()).unwrap().to_be_bytes();
    let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    message(b't', &[&count[..], &types].concat())
}

/// Of one column, with that type.
pub fn columns(oid: u32) -> Vec<u8> {
    let column = [&b"id\0\0\0\x40\0\0\x01"[..], &oid.to_be_bytes(), b"\0\x04\xff\xff\xff\xff\0\0"].concat();
    message(b'T', &[&b"\0\x01"[..], &column].concat())
}

/// So many, with names so long that no description of them is read.
fn wide(count: u16, name: &str) -> Vec<u8> {
    let column = [name.repeat(60).as_bytes(), b"\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"].concat();
    message(b'T', &[&count.to_be_bytes()[..], &column.repeat(usize::from(count))].concat())
}

/// A client that has prepared `a` and was told what it takes and returns.
fn told(types: &[u32], row: &[u8]) -> Pair {
    let mut pair = Pair::new();
    let asked = [parse("a", "select"), describe("a"), sync()].concat();
    assert_eq!(pair.asks(&asked), [parse("pgtether_1", "select"), describe("pgtether_1"), sync()].concat());
    let answers = [parsed(), parameters(types), row.to_vec(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), answers);
    pair
}

pub fn used() -> Vec<u8> {
    [bind("a"), execute(), sync()].concat()
}

pub fn used_on_server() -> Vec<u8> {
    [bind("pgtether_1"), execute(), sync()].concat()
}

pub fn done() -> Vec<u8> {
    [message(b'2', b""), complete("SELECT 1"), ready(b'I')].concat()
}

/// What a session is asked that has not told yet.
pub fn asked_first() -> Vec<u8> {
    [parse("pgtether_1", "select"), describe("pgtether_1"), flush()].concat()
}

pub fn outdated() -> Vec<u8> {
    let mut out = Vec::new();
    let fields = crate::protocol::ErrorFields {
        routine: Some("RevalidateCachedQuery".into()),
        ..crate::protocol::ErrorFields::fatal("0A000", "cached plan must not change result type")
    };
    let fields = fields
        .detail("Since this statement was described, its parameters or columns have got other types.")
        .hint("Prepare it again.")
        .severity(crate::protocol::Severity::Error);
    crate::protocol::backend::error(&mut out, &fields);
    out
}

#[test]
fn another_session_is_asked_once_and_with_the_same_types_all_goes_on_unseen() {
    for row in [columns(INT4), message(b'n', b""), wide(1600, "c")] {
        for part in [usize::MAX, 7] {
            let mut pair = told(&[INT4], &row).moved();
            assert_eq!(pair.asks(&used()), asked_first());
            assert!(pair.link.is_paused() && !pair.link.resumes() && !pair.link.is_free());
            let answers = [parsed(), parameters(&[INT4]), row.clone()].concat();
            for part in answers.chunks(part.min(answers.len())) {
                assert_eq!(pair.answers(part), b"");
            }
            assert_eq!(pair.asks(b""), used_on_server());
            assert_eq!(pair.answers(&done()), done());
            assert!(pair.link.is_free());
            // From now on it is known.
            assert_eq!(pair.asks(&used()), used_on_server());
        }
    }
}

#[test]
fn with_other_types_the_client_gets_the_servers_error_and_what_it_prepares_then_is_new() {
    for (types, row) in [
        (&[INT8][..], columns(INT4)),
        (&[INT4], columns(INT8)),
        (&[INT4, INT4], columns(INT4)),
        (&[INT4], message(b'n', b"")),
    ] {
        let mut pair = told(&[INT4], &columns(INT4)).moved();
        pair.asks(&used());
        assert_eq!(pair.answers(&[parsed(), parameters(types), row.clone()].concat()), b"");
        assert_eq!(pair.asks(b""), [refused(), sync()].concat());
        let told = [outdated(), ready(b'I')].concat();
        assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), told);
        // Later, the table may be again as it was: the session is asked anew, and for a Describe, too.
        for (uses, refused) in [
            (used(), [refused(), sync()].concat()),
            ([describe("a"), sync()].concat(), [refused(), sync()].concat()),
        ] {
            assert_eq!(pair.asks(&uses), [close("pgtether_1"), asked_first()].concat());
            let anew = [closed(), parsed(), parameters(types), row.clone()].concat();
            assert_eq!(pair.answers(&anew), b"");
            assert_eq!(pair.asks(b""), refused);
            assert_eq!(pair.answers(&[closed(), ready(b'I')].concat()), told);
            assert!(pair.link.is_free() && !pair.link.is_stale());
        }

        let again = [close("a"), parse("a", "select"), describe("a"), sync()].concat();
        let sent =
            [close("pgtether_0"), parse("pgtether_2", "select"), describe("pgtether_2"), sync()].concat();
        assert_eq!(pair.asks(&again), sent);
        let answers = [closed(), parsed(), parameters(types), row, ready(b'I')].concat();
        assert_eq!(pair.answers(&answers), answers);
        assert_eq!(pair.asks(&used()), [bind("pgtether_2"), execute(), sync()].concat());
    }
}

#[test]
fn so_long_a_description_is_compared_by_its_length() {
    let mut pair = told(&[], &wide(1600, "c")).moved();
    pair.asks(&used());
    assert_eq!(pair.answers(&[parsed(), parameters(&[]), wide(1599, "c")].concat()), b"");
    assert_eq!(pair.asks(b""), [refused(), sync()].concat());
}

#[test]
fn a_session_that_has_it_from_another_client_is_asked_too() {
    let pair = told(&[INT4], &columns(INT4));
    let Pair { link, catalog, client, asked, .. } = pair.moved();
    // Another one prepares it there, and does not ask.
    let other = ClientStatements::new(catalog.lock().unwrap().budget());
    let server = ServerStatements::default();
    let mut pair = Pair { link, catalog, client: other, server, asked };
    pair.asks(&[parse("b", "select"), bind("b"), execute(), sync()].concat());
    pair.answers(&[parsed(), done()].concat());
    assert_eq!(pair.asks(&[bind("b"), sync()].concat()), [bind("pgtether_1"), sync()].concat());
    pair.answers(&done());

    pair.link.begin();
    pair.client = client;
    assert_eq!(pair.asks(&used()), [close("pgtether_1"), asked_first()].concat());
    assert_eq!(pair.answers(&[closed(), parsed(), parameters(&[INT4]), columns(INT8)].concat()), b"");
    assert_eq!(pair.asks(b""), [refused(), sync()].concat());
}

#[test]
fn who_was_told_nothing_waits_for_nothing() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&used()), [parse("pgtether_1", "select"), used_on_server()].concat());
    pair.answers(&[parsed(), done()].concat());
    // Nor is it told of what it has asked since while it asks for more.
    let pipeline = [describe("a"), used(), used()].concat();
    let sent = [describe("pgtether_1"), used_on_server(), used_on_server()].concat();
    assert_eq!(pair.asks(&pipeline), sent);
    let answers = [parameters(&[]), columns(INT4), done(), done()].concat();
    assert_eq!(pair.answers(&answers), answers);
}

#[test]
fn descriptions_of_portals_and_of_other_statements_are_none_of_it() {
    let portal = message(b'D', b"P\0");
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select"), parse("", "values"), sync()].concat());
    pair.answers(&[parsed(), parsed(), ready(b'I')].concat());
    // Of the one without a name, of a portal, and then of the one that counts.
    let asked = [describe(""), bind(""), portal.clone(), describe("a"), portal, sync()].concat();
    pair.asks(&asked);
    let (other, own) = ([parameters(&[INT8]), columns(INT8)], [parameters(&[INT4]), columns(INT4)]);
    let rest = [message(b'2', b""), columns(INT8), own.concat(), columns(INT8), ready(b'I')].concat();
    let answers = [other.concat(), rest].concat();
    assert_eq!(pair.answers(&answers), answers);
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&used()), asked_first());
    pair.answers(&[&parsed()[..], &own.concat()].concat());
    assert_eq!(pair.asks(b""), used_on_server());
}

#[test]
fn an_error_instead_of_the_description_is_the_clients_and_ends_its_batch() {
    let mut pair = told(&[INT4], &columns(INT4)).moved();
    pair.asks(&[used(), query("select 1")].concat());
    // The table is gone.
    assert_eq!(pair.answers(&error("ERROR")), error("ERROR"));
    assert_eq!(pair.asks(b""), [sync(), query("select 1")].concat());
    pair.answers(&[ready(b'I'), complete("SELECT 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn a_statement_that_is_prepared_anew_on_its_session_is_asked_for_again() {
    let mut pair = told(&[INT4], &columns(INT4));
    for i in 2..=200 {
        pair.asks(&[parse(&format!("s{i}"), &format!("select {i}")), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
    }
    // What the session gives up for another one, and gets again in the same batch.
    let sent = pair.asks(&[parse("more", "select 201"), used()].concat());
    let moves = [close("pgtether_1"), parse("pgtether_201", "select 201"), close("pgtether_1")].concat();
    assert_eq!(sent, [moves, asked_first()].concat());
    let answers = [closed(), parsed(), closed(), parsed(), parameters(&[INT8]), columns(INT4)].concat();
    assert_eq!(pair.answers(&answers), parsed());
    assert_eq!(pair.asks(b""), [refused(), sync()].concat());
}

#[test]
fn what_was_told_of_a_name_does_not_count_for_what_bears_it_next() {
    let mut pair = Pair::new();
    let twice = [parse("a", "select"), describe("a"), close("a"), parse("a", "select 2"), sync()].concat();
    pair.asks(&twice);
    let told = [parsed(), parameters(&[]), columns(INT4)].concat();
    pair.answers(&[told, closed(), parsed(), ready(b'I')].concat());
    let mut pair = pair.moved();
    let sent = [bind("pgtether_2"), execute(), sync()].concat();
    assert_eq!(pair.asks(&used()), [parse("pgtether_2", "select 2"), sent].concat());
}

#[test]
fn a_server_is_made_to_fail_only_where_something_is_to_be_undone() {
    let executed = [parse("", "insert"), bind(""), execute()].concat();
    for (begins, before, by_server) in [
        (false, vec![], false),
        (true, vec![], true),
        (false, executed.clone(), true),
        (true, executed, true),
    ] {
        let mut pair = told(&[], &columns(INT4)).moved();
        if begins {
            pair.asks(&query("begin"));
            pair.answers(&[complete("BEGIN"), ready(b'T')].concat());
        }
        pair.asks(&[before.clone(), used()].concat());
        if !before.is_empty() {
            pair.answers(&[parsed(), message(b'2', b""), complete("INSERT 0 1")].concat());
        }
        pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
        let (sent, said) = match by_server {
            true => ([provoked(), execute(), sync()].concat(), failed()),
            false => ([refused(), sync()].concat(), closed()),
        };
        assert_eq!(pair.asks(b""), sent);
        let status = if begins { b'E' } else { b'I' };
        assert_eq!(pair.answers(&[said, ready(status)].concat()), [outdated(), ready(status)].concat());
        assert_eq!(pair.link.is_free(), !begins);
    }
}

#[test]
fn what_follows_an_error_that_no_server_knows_is_read_over_up_to_the_sync() {
    let mut pair = told(&[], &columns(INT4)).moved();
    pair.asks(&bind("a"));
    pair.answers(&[parsed(), parameters(&[]), columns(INT8)].concat());
    assert_eq!(pair.asks(b""), refused());
    // The client has it before its Sync.
    assert_eq!(pair.answers(&closed()), outdated());
    assert!(!pair.link.is_free());
    let skipped = [execute(), parse("b", "values"), describe("a"), message(b'C', b"Sa\0"), flush()].concat();
    assert_eq!(
        pair.asks(&[skipped, sync(), query("select 1")].concat()),
        [sync(), query("select 1")].concat()
    );
    assert!(pair.client.get(b"a").is_some() && pair.client.get(b"b").is_none());
    let answers = [ready(b'I'), complete("SELECT 1"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), answers);
    assert!(pair.link.is_free());
}
