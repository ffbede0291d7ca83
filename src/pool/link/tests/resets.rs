//! Texts that reset what a client has asked for when it connected.

use super::*;

const PARIS: &str = "SET \"timezone\" TO 'Europe/Paris'";

fn asking(mut pair: Pair) -> Pair {
    pair.asked = [("timezone".to_owned(), "Europe/Paris".to_owned())].into();
    pair
}

fn in_session_mode() -> Pair {
    Pair { link: Link::new(false), ..Pair::new() }
}

#[test]
fn what_is_reset_in_a_query_is_what_was_asked_for_and_its_answers_are_the_clients() {
    for mut pair in [asking(Pair::new()), asking(in_session_mode())] {
        let sent = pair.asks(&query("set timezone to x; reset timezone; reset all; show timezone"));
        assert_eq!(sent, query(&format!("set timezone to x; {PARIS}; reset all\n;{PARIS}; show timezone")));
        let row = message(b'D', b"\0\x01\0\0\0\x01x");
        let reported = message(b'S', b"TimeZone\0Europe/Paris\0");
        let before = [complete("SET"), complete("SET"), complete("RESET"), reported.clone()].concat();
        let after = [complete("SET"), row.clone(), complete("SHOW"), ready(b'I')].concat();
        let told = [complete("SET"), complete("RESET"), complete("RESET"), reported].concat();
        assert_eq!(pair.answers(&before), told);
        assert!(!pair.link.is_free());
        assert_eq!(pair.answers(&after), [row, complete("SHOW"), ready(b'I')].concat());
        assert!(pair.link.is_free() && !pair.link.has_reset());
    }
}

#[test]
fn what_the_session_will_have_again_is_told_before_the_client_hears_that_it_is_free() {
    let told = message(b'S', b"told\0before\0");
    for renames in [true, false] {
        let discards = [complete("DISCARD ALL"), ready(b'I')].concat();
        let mut pair = asking(Pair { link: Link::new(renames), ..Pair::new() });
        pair.asks(&query("discard all"));
        let answers = [complete("DISCARD ALL"), told.clone(), ready(b'I')].concat();
        assert_eq!(pair.answers(&discards), answers);
        // Not while there is more to come, which the session does without them.
        let mut pair = asking(Pair { link: Link::new(renames), ..Pair::new() });
        pair.asks(&[query("discard all"), query("select 1")].concat());
        assert_eq!(pair.answers(&discards), discards);
        let last = [complete("SELECT 1"), ready(b'I')].concat();
        assert_eq!(pair.answers(&last), [complete("SELECT 1"), told.clone(), ready(b'I')].concat());
        // Nor where nothing was reset.
        let mut pair = asking(Pair { link: Link::new(renames), ..Pair::new() });
        pair.asks(&query("select 1"));
        assert_eq!(pair.answers(&last), last);
    }
}

#[test]
fn a_query_that_comes_in_parts_is_read_as_a_whole() {
    for mut pair in [asking(Pair::new()), asking(in_session_mode())] {
        let asked = query("reset timezone; select 1");
        let sent: Vec<u8> = asked.chunks(3).flat_map(|part| pair.asks(part)).collect();
        assert_eq!(sent, query(&format!("{PARIS}; select 1")));
    }
}

#[test]
fn an_error_ends_a_text_and_what_follows_is_answered_as_it_is() {
    let mut pair = asking(Pair::new());
    pair.asks(&[query("reset timezone; select 1/0; reset timezone"), query("set a to 1")].concat());
    let answers = [complete("SET"), error("ERROR"), ready(b'I'), complete("SET"), ready(b'I')].concat();
    let told = [complete("RESET"), error("ERROR"), ready(b'I'), complete("SET"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), told);
    assert!(pair.link.is_free());
}

#[test]
fn copy_data_between_statements_disturbs_nothing() {
    let mut pair = asking(Pair::new());
    pair.asks(&query("copy t from stdin; reset timezone"));
    pair.answers(&message(b'G', b"\0\0\0"));
    assert!(!pair.link.is_free() && pair.link.left() == Left::Broken);
    pair.asks(&[message(b'd', b"1\n"), message(b'c', b"")].concat());
    let told = pair.answers(&[complete("COPY 1"), complete("SET"), ready(b'I')].concat());
    assert_eq!(told, [complete("COPY 1"), complete("RESET"), ready(b'I')].concat());
    assert!(pair.link.is_free());
}

#[test]
fn a_statement_is_prepared_that_makes_what_was_asked_for() {
    for name in ["", "a"] {
        let mut pair = asking(in_session_mode());
        assert_eq!(pair.asks(&parse(name, "reset timezone")), parse(name, PARIS));
        let mut pair = asking(Pair::new());
        let ours = if name.is_empty() { "" } else { "pgtether_1" };
        let sent = pair.asks(&[parse(name, "reset timezone"), bind(name), execute(), sync()].concat());
        assert_eq!(sent, [parse(ours, PARIS), bind(ours), execute(), sync()].concat());
        pair.answers(&[parsed(), message(b'2', b""), complete("SET"), ready(b'I')].concat());
        // Another session gets the same.
        let mut pair = pair.moved();
        let sent = pair.asks(&[bind(name), sync()].concat());
        assert_eq!(sent, [parse(ours, PARIS), bind(ours), sync()].concat());
        assert!(!pair.link.take_hints().is_empty());
    }
}

#[test]
fn what_cannot_be_put_right_before_is_put_right_behind_its_answer() {
    for (sql, tag, restores) in [
        ("discard all", "DISCARD ALL", true),
        ("reset timezone", "RESET", false),
        ("set timezone to default", "SET", false),
        (r"set timezone to default; select '\'", "SET", true),
        (r"select '\'; reset timezone", "RESET", true),
        ("select 'reset'", "SELECT 1", false),
    ] {
        let mut pair = asking(in_session_mode());
        pair.asks(&query(sql));
        pair.answers(&[complete(tag), ready(b'I')].concat());
        assert_eq!(pair.link.has_reset(), restores, "{sql}");
    }
}

#[test]
fn a_reset_in_a_transaction_is_told_once_when_the_client_waits() {
    for mut pair in [Pair::new(), in_session_mode()] {
        pair.asks(&[parse("", "reset all"), bind(""), execute(), sync()].concat());
        pair.answers(&[parsed(), message(b'2', b""), complete("RESET")].concat());
        assert!(!pair.link.has_reset(), "the server has more to say");
        pair.answers(&ready(b'T'));
        assert!(pair.link.has_reset());
        pair.link.is_restored();
        assert!(!pair.link.has_reset());
        pair.asks(&query("commit"));
        pair.answers(&[complete("COMMIT"), ready(b'I')].concat());
        assert!(!pair.link.has_reset());
    }
}

#[test]
fn a_set_that_was_not_read_is_looked_at_between_transactions_only() {
    // SET TRANSACTION SNAPSHOT may come next: nothing may be asked before that.
    let long = format!("{}; set timezone to default", " ".repeat(LONGEST_READ));
    for sent in [query(&long), [parse("", &long), sync()].concat()] {
        let mut pair = asking(in_session_mode());
        for part in [query("begin"), sent].concat().chunks(1 << 14) {
            pair.asks(part);
        }
        pair.answers(&[complete("BEGIN"), ready(b'T'), complete("SET"), ready(b'T')].concat());
        for (sql, done, status, wanted) in [
            ("select", "SELECT 1", b'T', false),
            ("oops", "SELECT 1", b'E', false),
            ("rollback", "ROLLBACK", b'I', true),
        ] {
            pair.asks(&query(sql));
            pair.answers(&complete(done));
            assert!(!pair.link.has_reset(), "{sql}: the server has more to say");
            pair.answers(&ready(status));
            assert_eq!(pair.link.has_reset(), wanted, "{sql}");
        }
        pair.link.is_restored();
        assert!(!pair.link.has_reset());
    }
}

#[test]
fn who_has_asked_for_nothing_is_sent_as_it_is() {
    for mut pair in [Pair::new(), in_session_mode()] {
        let asked = query("reset timezone; show timezone");
        assert_eq!(pair.asks(&asked), asked);
    }
    let mut pair = in_session_mode();
    assert_eq!(pair.asks(&parse("", "reset timezone")), parse("", "reset timezone"));
}

#[test]
fn what_was_asked_before_a_query_keeps_its_own_answers() {
    let batch = [parse("", "reset timezone"), bind(""), execute()].concat();
    let begin = [parsed(), message(b'2', b"")].concat();
    let mut pair = asking(Pair::new());
    pair.asks(&[batch.clone(), query("reset timezone")].concat());
    let answers = [begin.clone(), complete("SET"), closed(), complete("SET"), ready(b'I')].concat();
    let told = [begin.clone(), complete("SET"), complete("RESET"), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), told);
    // Where nothing tells them apart the query is sent as it is, and put right behind its answer.
    let mut pair = asking(in_session_mode());
    assert!(pair.asks(&[batch, query("reset timezone")].concat()).ends_with(&query("reset timezone")));
    let answers = [begin.clone(), complete("SET"), complete("RESET"), ready(b'I')].concat();
    let told = message(b'S', b"told\0before\0");
    let told = [begin, complete("SET"), complete("RESET"), told, ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), told);
    assert!(pair.link.has_reset());
}

#[test]
fn what_is_made_of_a_text_is_what_it_may_leave() {
    let mut pair = Pair::new();
    pair.asked = [("app.tenant".to_owned(), "7".to_owned())].into();
    for asked in [query("reset app.tenant"), parse("", "reset app.tenant"), parse("a", "reset app.tenant")] {
        pair.asks(&[asked, bind("a"), sync()].concat());
        let hints = pair.link.take_hints();
        assert_eq!(*hints.names, ["app.tenant".into()]);
        assert!(!hints.is_empty());
    }
}

#[test]
fn what_stands_behind_a_text_stays_there() {
    // The types of parameters of a Parse. Behind a query stands nothing, or a server refuses it.
    let behind = |text: &str| {
        message(b'P', [format!("a\0{text}\0").as_bytes(), b"\0\x01\0\0\0\x17"].concat().as_slice())
    };
    assert_eq!(asking(in_session_mode()).asks(&behind("reset timezone")), behind(PARIS));
    for mut pair in [asking(Pair::new()), asking(in_session_mode())] {
        let malformed = message(b'Q', b"reset timezone\0more");
        assert_eq!(pair.asks(&malformed), malformed);
    }
}

#[test]
fn a_name_with_escapes_is_reset_as_any_other_and_one_that_nobody_can_read_is_asked_for() {
    for sql in [
        r#"reset U&"time\007aone""#,
        "reset u&\"time!007aone\" uescape '!'",
        r#"set U&"timezon\0065" to default"#,
    ] {
        let mut pair = asking(in_session_mode());
        assert_eq!(pair.asks(&query(sql)), query(PARIS), "{sql}");
        let mut pair = asking(in_session_mode());
        assert_eq!(pair.asks(&parse("", sql)), parse("", PARIS), "{sql}");
    }
    for sql in [r#"reset U&"\d83d\de00""#, "select 1; reset é.a"] {
        let mut pair = asking(in_session_mode());
        assert_eq!(pair.asks(&query(sql)), query(sql));
        let tags = if sql.starts_with("select") { complete("SELECT 1") } else { vec![] };
        pair.answers(&[tags, complete("RESET"), ready(b'I')].concat());
        assert!(pair.link.has_reset(), "{sql}");
    }
}
