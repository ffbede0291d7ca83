//! SQL that gives up what was prepared by the protocol.

use super::*;

/// A client that has these, on a session that has them, too.
fn with(names: &[&str]) -> Pair {
    let mut pair = Pair::new();
    for name in names {
        pair.asks(&[parse(name, &format!("select '{name}'")), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
    }
    pair
}

/// What stands before a text that gives up so many.
fn stand_ins(count: usize) -> Vec<u8> {
    (1..=count)
        .flat_map(|n| [close(&format!("pgtether_d{n}")), parse(&format!("pgtether_d{n}"), "")].concat())
        .collect()
}

fn has(pair: &Pair, name: &str) -> bool {
    pair.client.get(name.as_bytes()).is_some()
}

#[test]
fn each_statement_that_a_query_gives_up_is_given_up_wherever_it_stands() {
    for (sql, sent, count) in [
        ("DEALLOCATE a", "DEALLOCATE pgtether_d1", 1),
        ("/* x */ deallocate prepare a; -- y", "/* x */ DEALLOCATE pgtether_d1; -- y", 1),
        (
            "-- x\nDEALLOCATE \"a\"; DEALLOCATE b; SELECT 1",
            "-- x\nDEALLOCATE pgtether_d1; DEALLOCATE pgtether_d2; SELECT 1",
            2,
        ),
    ] {
        let mut pair = with(&["a", "b"]);
        assert_eq!(pair.asks(&query(sql)), [stand_ins(count), query(sent)].concat());
        let hidden = [closed(), parsed()].concat().repeat(count);
        let answers = [complete("DEALLOCATE").repeat(count), ready(b'I')].concat();
        assert_eq!(pair.answers(&[hidden, answers.clone()].concat()), answers, "{sql}");
        assert!(!has(&pair, "a") && has(&pair, "b") == (count == 1), "{sql}");
        // The session keeps what others may want.
        assert!(pair.link.is_free() && pair.server.touch(1).is_some());
    }
    // A statement of SQL's own is the server's.
    assert_eq!(with(&["a"]).asks(&query("DEALLOCATE theirs")), query("DEALLOCATE theirs"));
}

#[test]
fn what_the_server_does_not_come_to_is_not_given_up() {
    let mut pair = with(&["a", "b"]);
    pair.asks(&query("deallocate a; select 1/0; deallocate b"));
    pair.answers(
        &[closed(), parsed(), closed(), parsed(), complete("DEALLOCATE"), error("ERROR"), ready(b'I')]
            .concat(),
    );
    assert!(!has(&pair, "a") && has(&pair, "b"));
    // A failed transaction takes nothing more.
    pair.asks(&query("begin"));
    pair.answers(&ready(b'E'));
    assert_eq!(pair.asks(&query("deallocate b")), query("deallocate b"));
    pair.answers(&[error("ERROR"), ready(b'E')].concat());
    assert!(has(&pair, "b"));
}

#[test]
fn what_is_executed_gives_up_its_statement_each_time_anew() {
    for name in ["", "x"] {
        let mut pair = with(&["a"]);
        let ours = if name.is_empty() { "" } else { "pgtether_2" };
        assert_eq!(
            pair.asks(&[parse(name, "DEALLOCATE a"), sync()].concat()),
            [parse(ours, "DEALLOCATE a"), sync()].concat()
        );
        pair.answers(&[parsed(), ready(b'I')].concat());
        assert!(has(&pair, "a"), "it is prepared only");
        let number = if name.is_empty() { 2 } else { 3 };
        let variant = format!("pgtether_{number}");
        let batch = [bind(name), execute(), sync()].concat();
        let hidden = [close("pgtether_0"), parse("pgtether_0", "")].concat();
        assert_eq!(
            pair.asks(&batch),
            [
                parse(&variant, "DEALLOCATE pgtether_0"),
                bind(&variant),
                hidden.clone(),
                execute(),
                close("pgtether_0"),
                sync()
            ]
            .concat()
        );
        let answers =
            [parsed(), message(b'2', b""), closed(), parsed(), complete("DEALLOCATE"), closed(), ready(b'I')]
                .concat();
        assert_eq!(
            pair.answers(&answers),
            [message(b'2', b""), complete("DEALLOCATE"), ready(b'I')].concat()
        );
        assert!(!has(&pair, "a") && pair.link.is_free());
        // Now it is the server's to say that there is none.
        assert_eq!(pair.asks(&bind(name)), bind(ours), "{name}");
    }
}

#[test]
fn what_is_not_executed_is_not_given_up_and_what_is_executed_twice_is_missed_by_its_name() {
    let mut pair = with(&["a"]);
    pair.asks(&[parse("", "DEALLOCATE a"), bind(""), bind("none"), execute(), sync()].concat());
    assert!(has(&pair, "a"));
    pair.answers(&[parsed(), parsed(), message(b'2', b""), error("ERROR"), ready(b'I')].concat());
    assert!(has(&pair, "a"));
    let portal = |name: &str| message(b'B', format!("{name}\0\0\0\0\0\0\0\0").as_bytes());
    let run = |name: &str| message(b'E', format!("{name}\0\0\0\0\0").as_bytes());
    pair.asks(&[parse("", "DEALLOCATE a"), portal("p"), portal("q"), run("p"), run("q"), sync()].concat());
    assert!(!has(&pair, "a"));
    let begin = [
        parsed(),
        message(b'2', b""),
        message(b'2', b""),
        closed(),
        parsed(),
        complete("DEALLOCATE"),
        closed(),
    ];
    pair.answers(&begin.concat());
    assert_eq!(
        pair.answers(&[missing("pgtether_0"), ready(b'I')].concat()),
        [missing("a"), ready(b'I')].concat()
    );
    assert!(!pair.link.is_stale());
}

#[test]
fn what_was_named_before_all_is_given_up_is_gone_for_the_rest_of_the_batch() {
    for (sql, tag) in [("deallocate all", "DEALLOCATE ALL"), ("/* x */ discard all;", "DISCARD ALL")] {
        let mut pair = with(&["a", "b"]);
        pair.asks(&[parse("", sql), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        assert!(has(&pair, "a"), "it is prepared only");
        // Executed, in another batch than that which prepared it.
        let batch = [bind(""), execute(), parse("b", "select 'b'"), bind("b"), bind("a"), sync()].concat();
        let again =
            [close("pgtether_2"), parse("pgtether_2", "select 'b'"), bind("pgtether_2"), bind("a"), sync()]
                .concat();
        assert_eq!(pair.asks(&batch), [bind(""), execute(), again].concat());
        let bound = message(b'2', b"");
        pair.answers(
            &[bound.clone(), complete(tag), closed(), parsed(), bound, missing("a"), ready(b'I')].concat(),
        );
        assert!(
            !has(&pair, "a")
                && has(&pair, "b")
                && pair.server.touch(2).is_some()
                && pair.server.touch(1).is_none()
        );
    }
}

#[test]
fn a_name_that_is_given_anew_behind_what_fails_is_what_it_was() {
    for sql in ["deallocate all", "select 1"] {
        let mut pair = with(&["a"]);
        let before = pair.client.get(b"a").unwrap().statement.id;
        let batch = [parse("", sql), bind(""), execute(), parse("a", "select 2"), sync()].concat();
        pair.asks(&batch);
        pair.answers(&[parsed(), error("ERROR"), ready(b'I')].concat());
        assert_eq!(pair.client.get(b"a").map(|named| named.statement.id), Some(before), "{sql}");
    }
}

#[test]
fn a_name_that_one_batch_gives_twice_is_the_first_where_the_second_is_skipped() {
    for (answers, stays) in [(vec![parsed(), closed(), parsed()], true), (vec![parsed(), closed()], false)] {
        let mut pair = with(&[]);
        let wipe = [parse("", "deallocate all"), bind(""), execute()].concat();
        pair.asks(&[wipe.clone(), parse("a", "select 1"), wipe, parse("a", "select 2"), sync()].concat());
        pair.answers(&[answers.concat(), error("ERROR"), ready(b'I')].concat());
        assert_eq!(
            pair.client.get(b"a").map(|named| named.statement.body()),
            stays.then_some(&b"select 1\0\0\0"[..])
        );
    }
}

#[test]
fn a_name_that_two_batches_give_in_vain_is_nobodys() {
    let mut pair = with(&[]);
    pair.asks(&[parse("a", "selec"), sync(), bind("none"), parse("a", "select 1"), sync()].concat());
    pair.answers(&[error("ERROR"), ready(b'I')].concat().repeat(2));
    assert!(!has(&pair, "a"));
}

#[test]
fn a_name_that_is_given_behind_that_is_taken() {
    let mut pair = with(&["a"]);
    let batch =
        [parse("", "deallocate all"), bind(""), execute(), parse("a", "select 1"), parse("a", "select 2")]
            .concat();
    let sent = pair.asks(&[batch, sync()].concat());
    let refused = [parse("pgtether_0", "select 2"), close("pgtether_0"), provoked(), sync()].concat();
    assert!(sent.ends_with(&refused), "{}", sent.escape_ascii());
}

#[test]
fn portals_that_give_something_up_are_bounded() {
    let mut pair = with(&["a"]);
    pair.asks(&[parse("", "deallocate all"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    for number in 0..1000 {
        pair.asks(&message(b'B', format!("p{number}\0\0\0\0\0\0\0\0").as_bytes()));
    }
    assert!(pair.link.portals.giving_up() <= 64);
    pair.asks(&message(b'C', b"Pp0\0"));
    assert!(pair.link.portals.giving_up() <= 63);
}

#[test]
fn a_portal_with_a_longer_name_than_servers_have_is_the_servers() {
    for (length, ours) in [(63, true), (64, false)] {
        let mut pair = with(&["a"]);
        pair.asks(&[parse("", "deallocate a"), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        let portal = message(b'B', format!("{}\0\0\0\0\0\0\0\0", "p".repeat(length)).as_bytes());
        // What else it may tell, the session is asked before.
        assert_eq!(pair.asks(&portal).ends_with(&portal), !ours, "{length}");
    }
}

#[test]
fn a_statement_that_a_batch_has_prepared_is_not_taken_for_one_behind_what_gives_up_all() {
    let mut pair = with(&[]);
    let wipe = [parse("", "discard all"), bind(""), execute()].concat();
    let again = [parse("b", "select 1"), bind("b")].concat();
    let sent = pair.asks(&[parse("a", "select 1"), wipe.clone(), again, sync()].concat());
    let anew = [close("pgtether_1"), parse("pgtether_1", "select 1"), bind("pgtether_1")].concat();
    assert_eq!(sent, [parse("pgtether_1", "select 1"), wipe, anew, sync()].concat());
}

#[test]
fn an_execution_that_the_server_does_not_come_to_gives_nothing_up() {
    let mut pair = with(&["a"]);
    pair.asks(&[parse("", "deallocate a"), bind("none"), bind(""), execute(), sync()].concat());
    assert!(!has(&pair, "a"));
    pair.answers(&[parsed(), error("ERROR"), ready(b'I')].concat());
    assert!(has(&pair, "a"));
}
