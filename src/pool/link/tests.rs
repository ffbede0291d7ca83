mod bounds;
mod deallocate;
mod races;
mod resets;
mod streams;
mod tables;
mod unnamed;

use super::*;
use crate::protocol::{Frame, Violation};

/// A client, a session and what stands between them.
struct Pair {
    link: Link,
    catalog: Catalog,
    client: ClientStatements,
    server: ServerStatements,
    asked: BTreeMap<String, String>,
}

impl Pair {
    fn new() -> Self {
        let catalog = Catalog::default();
        Pair {
            link: Link::new(true),
            client: ClientStatements::new(catalog.budget()),
            catalog,
            server: ServerStatements::default(),
            asked: BTreeMap::new(),
        }
    }

    /// The same client on another session.
    fn moved(mut self) -> Self {
        self.link.begin();
        Pair { server: ServerStatements::default(), ..self }
    }

    fn statements(&mut self) -> (&mut Link, Statements<'_>) {
        let (catalog, client, server) = (&mut self.catalog, &mut self.client, &mut self.server);
        (&mut self.link, Statements { catalog, client, server, settings: 0, asked: &self.asked })
    }

    /// What the server gets of it at once, and what it comes to.
    fn takes(&mut self, bytes: &[u8]) -> Result<(Vec<u8>, Asked), Violation> {
        let mut out = Vec::new();
        let (link, mut statements) = self.statements();
        Ok(match link.client_sent(bytes, &mut out, &mut statements)? {
            (Edited::Unchanged, asked) => (bytes.to_vec(), asked),
            (Edited::Changed, asked) => (out, asked),
        })
    }

    /// What the server gets of it, taking all that it is sent.
    fn asks(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut sent = self.takes(bytes).unwrap().0;
        while self.link.resumes() {
            sent.extend(self.takes(b"").unwrap().0);
        }
        sent
    }

    /// What the client gets of it.
    fn answers(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let (link, mut statements) = self.statements();
        match link.server_sent(bytes, &mut out, &mut statements, |_, _| {}).unwrap() {
            Edited::Unchanged => bytes.to_vec(),
            Edited::Changed => out,
        }
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, tag, &[body]);
    out
}

fn parse(name: &str, query: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{query}\0\0\0").as_bytes())
}

fn bind(name: &str) -> Vec<u8> {
    message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn describe(name: &str) -> Vec<u8> {
    message(b'D', format!("S{name}\0").as_bytes())
}

fn close(name: &str) -> Vec<u8> {
    message(b'C', format!("S{name}\0").as_bytes())
}

fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

fn parsed() -> Vec<u8> {
    message(b'1', b"")
}

fn closed() -> Vec<u8> {
    message(b'3', b"")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn error(severity: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C22012\0Mdivision\0\0").as_bytes())
}

fn taken(name: &str) -> Vec<u8> {
    message(
        b'E',
        format!("SERROR\0VERROR\0C42P05\0Mprepared statement \"{name}\" already exists\0\0").as_bytes(),
    )
}

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
    assert_eq!(pair.asks(&[close("b"), bind("")].concat()), [close("b"), provoked()].concat());
    pair.answers(&[closed(), error("ERROR")].concat());
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

/// What is sent to make a server fail.
fn provoked() -> Vec<u8> {
    message(b'B', b"\0pgtether_0\0\0\0\0\0\0\0")
}

/// Its answer.
fn failed() -> Vec<u8> {
    missing("pgtether_0")
}

fn missing(name: &str) -> Vec<u8> {
    message(
        b'E',
        format!("SERROR\0VERROR\0C26000\0Mprepared statement \"{name}\" does not exist\0\0").as_bytes(),
    )
}

#[test]
fn a_name_that_is_taken_is_refused_where_it_stands_and_by_the_clients_name() {
    let mut pair = Pair::new();
    pair.asks(&[parse("a", "select 1"), sync()].concat());
    pair.answers(&[parsed(), ready(b'I')].concat());
    assert_eq!(
        pair.asks(&[parse("a", "select 2"), sync()].concat()),
        [parse("pgtether_0", "select 2"), close("pgtether_0"), provoked(), sync()].concat()
    );
    let answers = [parsed(), closed(), failed(), ready(b'I')].concat();
    assert_eq!(pair.answers(&answers), [taken("a"), ready(b'I')].concat());
    assert_eq!(pair.client.get(b"a").unwrap().statement.id, 1);
    // That was to be expected: nothing is wrong with the session.
    assert!(pair.server.touch(1) && pair.link.is_free() && !pair.link.is_stale());
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
    assert!(pair.server.touch(1) && !pair.server.touch(2) && !pair.server.touch(3));
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
    assert!(!pair.server.touch(1));

    let sent = pair.asks(&[bind("nobody"), parse("s202", "select 202"), sync()].concat());
    assert_eq!(
        sent,
        [bind("nobody"), close("pgtether_2"), parse("pgtether_202", "select 202"), sync()].concat()
    );
    pair.answers(&[error("ERROR"), ready(b'I')].concat());
    assert!(pair.server.touch(2) && !pair.server.touch(202));
}

#[test]
fn discard_all_and_deallocate_all_forget_what_the_session_had() {
    for tag in ["DISCARD ALL", "DEALLOCATE ALL"] {
        let mut pair = Pair::new();
        pair.asks(&[parse("a", "select 1"), sync()].concat());
        pair.answers(&[parsed(), ready(b'I')].concat());
        pair.asks(&query(tag));
        pair.answers(&[complete(tag), ready(b'I')].concat());
        assert!(!pair.server.touch(1) && pair.client.get(b"a").is_none(), "{tag}");
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
        assert_eq!(pair.asks(&[bind(""), sync()].concat()), [provoked(), sync()].concat());
        let told = message(b'E', b"SERROR\0VERROR\0C26000\0Munnamed prepared statement does not exist\0\0");
        assert_eq!(pair.answers(&[failed(), ready(b'I')].concat()), [told, ready(b'I')].concat());
    }
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
