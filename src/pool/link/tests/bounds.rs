//! What is kept and what is added for a client is bounded: it waits, and nothing is sent twice.

use super::*;
use crate::pool::link::edit::BUFFER;

fn long(bytes: usize) -> String {
    format!("select 1 --{}", "x".repeat(bytes))
}

#[test]
fn a_statement_that_is_sent_already_is_waited_for_and_not_sent_again() {
    let text = long(20_000);
    let mut pair = Pair::new();
    pair.asks(&[parse("a", &text), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let mut pair = pair.moved();
    let turn = [describe("a"), sync()].concat();
    let ours = [describe("pgtether_1"), sync()].concat();
    assert_eq!(pair.asks(&turn.repeat(500)), [parse("pgtether_1", &text), ours.clone()].concat());
    assert!(pair.link.is_paused() && !pair.link.is_free());
    // The session has it: the rest goes at once.
    pair.answers(&parsed());
    assert!(pair.link.resumes());
    assert_eq!(pair.asks(b""), ours.repeat(499));
    pair.answers(&ready(b'I').repeat(500));
    assert!(pair.link.is_free());
}

#[test]
fn a_statement_without_a_name_is_waited_for_and_not_sent_again() {
    let text = long(20_000);
    let mut pair = Pair::new();
    pair.asks(&[parse("", &text), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let mut pair = pair.moved();
    let turn = [bind(""), sync()].concat();
    assert_eq!(pair.asks(&turn.repeat(500)), [parse("", &text), turn.clone()].concat());
    pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat());
    assert_eq!(pair.asks(b""), turn.repeat(499));
    // It is still there for the next one on this session.
    pair.answers(&[message(b'2', b""), ready(b'I')].concat().repeat(499));
    assert_eq!(pair.asks(&turn), turn);
}

#[test]
fn one_that_fails_while_others_wait_for_it_is_sent_anew() {
    for name in ["a", ""] {
        let (text, ours) = ("select 1", if name.is_empty() { "" } else { "pgtether_1" });
        let mut pair = Pair::new();
        pair.asks(&[parse(name, text), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        let mut pair = pair.moved();
        pair.asks(&[execute(), bind(name), sync(), bind(name), sync()].concat());
        assert!(!pair.link.resumes());
        // What the server has skipped is not there.
        pair.answers(&[error("ERROR"), ready(b'I')].concat());
        assert_eq!(pair.asks(b""), [parse(ours, text), bind(ours), sync()].concat());
    }
}

#[test]
fn more_than_the_server_takes_is_not_written_for_it() {
    let mut pair = Pair::new();
    for i in 0..20 {
        pair.asks(&[parse(&format!("s{i}"), &long(60_000 + i)), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
    }
    let mut pair = pair.moved();
    let all: Vec<_> = (0..20).flat_map(|i| describe(&format!("s{i}"))).chain(sync()).collect();
    let (mut parts, mut next) = (Vec::new(), pair.takes(&all).unwrap().0);
    loop {
        assert!(next.len() <= 2 * BUFFER + 100, "{} bytes at once", next.len());
        parts.push(next);
        if !pair.link.resumes() {
            break;
        }
        next = pair.takes(b"").unwrap().0;
    }
    assert!(parts.len() > 8, "in {} parts", parts.len());
    let sent = (0..20).flat_map(|i| {
        let ours = format!("pgtether_{}", i + 1);
        [parse(&ours, &long(60_000 + i)), describe(&ours)].concat()
    });
    assert_eq!(parts.concat(), sent.chain(sync()).collect::<Vec<_>>());
}

#[test]
fn who_asks_more_than_is_kept_in_mind_waits_for_answers() {
    let mut pair = Pair::new();
    let batch = [parse("", ""), bind(""), execute()].concat();
    let mut sent = pair.asks(&[batch.repeat(80_000), sync()].concat());
    assert!(pair.link.is_paused() && !pair.link.resumes());
    let mut answered = 0;
    while answered < 80_000 {
        pair.answers(&[parsed(), message(b'2', b""), complete("SELECT 1")].concat().repeat(1000));
        answered += 1000;
        sent.extend(pair.asks(b""));
    }
    assert_eq!(sent, [batch.repeat(80_000), sync()].concat());
    pair.answers(&ready(b'I'));
    assert!(pair.link.is_free());
}

#[test]
fn who_asks_on_behind_an_error_has_it_read_over_and_does_not_wait_for_ever() {
    let mut pair = Pair::new();
    let batch = [parse("", "selec"), bind(""), execute()].concat();
    pair.asks(&batch.repeat(80_000));
    assert!(pair.link.is_paused());
    pair.answers(&error("ERROR"));
    // A server reads over all of it up to the Sync, queries too.
    assert_eq!(pair.asks(b""), b"");
    assert_eq!(pair.asks(&[batch.repeat(80_000), query("select 1")].concat()), b"");
    assert!(!pair.link.is_free());
    assert_eq!(pair.asks(&[sync(), query("select 1")].concat()), [sync(), query("select 1")].concat());
    pair.answers(&[ready(b'I'), complete("SELECT 1"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn an_error_of_a_batch_whose_end_is_sent_leaves_the_next_one_alone() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "selec"), sync(), parse("b", "select 1")].concat());
    pair.answers(&error("ERROR"));
    assert_eq!(pair.asks(&[bind("b"), sync()].concat()), [bind("pgtether_1"), sync()].concat());
}

#[test]
fn a_long_text_passes_as_it_comes_and_follows_its_client() {
    for (name, ours) in [("a", "pgtether_1"), ("", "")] {
        let text = long(3 << 20);
        let mut pair = Pair::new();
        let asked = [parse(name, &text), bind(name), sync()].concat();
        let sent = [parse(ours, &text), bind(ours), sync()].concat();
        let mut out = Vec::new();
        for chunk in asked.chunks(BUFFER) {
            let part = pair.asks(chunk);
            assert!(part.len() <= 3 * BUFFER, "{} bytes at once", part.len());
            out.extend(part);
        }
        assert!(out == sent, "{name}: it is changed on its way");
        pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat());
        assert!(pair.link.is_free());

        // On another session, in parts again, and once.
        let mut pair = pair.moved();
        let turn = [bind(name), sync()].concat();
        let (mut out, mut most) = (Vec::new(), 0);
        let mut next = pair.takes(&turn.repeat(2)).unwrap().0;
        loop {
            most = most.max(next.len());
            out.extend(next);
            if !pair.link.resumes() {
                break;
            }
            assert_eq!(pair.link.left(), Left::Broken, "half of a message is sent");
            next = pair.takes(b"").unwrap().0;
        }
        assert!(most <= 2 * BUFFER, "{most} bytes at once");
        assert!(out == [parse(ours, &text), bind(ours), sync()].concat(), "{name}: it is another text");
        assert_eq!(pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat()).len(), 11);
        assert_eq!(pair.asks(b""), [bind(ours), sync()].concat());
    }
}

#[test]
fn a_long_text_whose_name_is_taken_is_refused() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    let text = long(200_000);
    let sent = pair.asks(&[parse("a", &text), sync()].concat());
    assert!(sent == [parse("pgtether_0", &text), close("pgtether_0"), refused(), sync()].concat());
    let answers = [parsed(), closed(), closed(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), [taken("a"), ready(b'I')].concat());
}

#[test]
fn a_statement_for_which_there_is_no_room_fails_alone() {
    let mut pair = Pair::new();
    let full = pair.catalog.lock().unwrap().budget().charge(32 << 20).unwrap();
    // Short and long; each is refused where it stands, and nothing of it stays.
    let passed = [parsed(), closed()].concat();
    for (text, first) in [("select 1".to_owned(), Vec::new()), (long(200_000), passed)] {
        let sent = pair.asks(&[parse("a", &text), bind("a"), sync()].concat());
        assert!(sent.ends_with(&[refused(), sync()].concat()));
        let told = pair.answers(&[first, closed(), ready(b'I')].concat());
        assert!(
            told.starts_with(b"E") && told.windows(6).any(|part| part == b"C53200"),
            "{}",
            told.escape_ascii()
        );
        assert!(pair.client.get(b"a").is_none() && pair.link.is_free());
    }
    // Without a name it works at once, and not on another session.
    let at_once = [parse("", "select 1"), bind(""), sync()].concat();
    assert_eq!(pair.asks(&at_once), at_once);
    pair.answers(&[parsed(), message(b'2', b""), ready(b'I')].concat());
    let mut pair = pair.moved();
    assert_eq!(pair.asks(&[bind(""), sync()].concat()), [refused(), sync()].concat());
    let told = pair.answers(&[closed(), ready(b'I')].concat());
    assert!(told.windows(6).any(|part| part == b"C53200"), "{}", told.escape_ascii());
    drop(full);
    assert_eq!(pair.asks(&parse("a", "select 1")), parse("pgtether_2", "select 1"));
}

#[test]
fn a_statement_without_a_name_ends_with_a_simple_query_and_is_not_waited_for_in_its_own_batch() {
    let mut pair = Pair::new();
    pair.asks(&[parse("", "select 1"), sync(), query("select 2")].concat());
    assert_eq!(pair.asks(&[bind(""), sync()].concat()), [provoked(), sync()].concat());
    let mut pair = Pair::new();
    let asked = [parse("", "select 1"), close(""), bind("")].concat();
    assert_eq!(pair.asks(&asked), [parse("", "select 1"), close(""), refused()].concat());
    assert!(!pair.link.is_paused());
}

#[test]
fn a_client_without_a_session_keeps_no_memory_for_what_only_a_large_pipeline_needs() {
    let mut pair = Pair::new();
    let pipeline: Vec<u8> = (0..500).flat_map(|i| parse(&format!("s{i}"), &format!("select {i}"))).collect();
    pair.asks(&[pipeline, sync()].concat());
    pair.answers(&[parsed().repeat(500), ready(b'I')].concat());
    let lists = |link: &Link| [link.expected.room(), link.batch.sent.capacity(), link.bound.capacity()];
    assert!(lists(&pair.link)[..2].iter().all(|room| *room >= 500), "this test no longer needs memory");
    pair.link.shrink();
    assert!(lists(&pair.link).iter().all(|room| *room <= 2 * KEPT), "{:?}", lists(&pair.link));
    // And goes on.
    assert_eq!(pair.asks(&bind("s7")), bind("pgtether_8"));
}
