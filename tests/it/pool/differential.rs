//! Conversations that nobody would have, made up at random: in both modes each client must be answered, message by message,
//! as PostgreSQL itself answers it, whatever the others do on the same sessions in between.

mod vocabulary;

use std::cell::Cell;
use std::rc::Rc;

use pgtether::demo::postgres::Setup;
use pgtether::protocol::frontend::query;

use self::vocabulary::{Describes, SCHEMAS, SETTINGS, TYPES, Vocabulary};
use super::wire::Raw;
use super::{await_listening, one_pool};
use crate::process::Daemon;
use crate::servers::{Admin, Version, postgres};
use crate::wire::{error_field, kinds, message, text};

const CLIENTS: usize = 3;
const TURNS: usize = 25;

/// What a client's statements are called.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

/// What each client asks for when it connects.
const ASKED: [(&str, &str); 4] = [
    ("user", "postgres"),
    ("database", "postgres"),
    ("TimeZone", "Europe/Paris"),
    ("search_path", "one, \"Two\""),
];

/// One client twice: on the server itself, and through the pool.
struct Twins {
    vocabulary: Vocabulary,
    direct: Raw,
    pooled: Raw,
    /// All that was said, to be shown.
    transcript: String,
    /// Its statement without a name may be asked for after a Sync. Where its Parse failed or was skipped, PostgreSQL may
    /// still have the one before, which a pool does not.
    has_unnamed: bool,
    /// Of the last ReadyForQuery. In a failed transaction it goes on with simple queries: a pool may take a Parse there
    /// that PostgreSQL refuses, where it knows the statement already.
    status: u8,
    /// A statement that the client prepares may be refused by the pool, as one of before a change, where a server has none:
    /// after each change, once for all clients.
    refuses_once: Rc<Cell<bool>>,
    /// That was so.
    has_refused: bool,
}

/// A part of a conversation, up to its Sync or the end of its query.
#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    words: String,
    parses_unnamed: bool,
    describes: Describes,
}

fn any<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

impl Part {
    fn simple(sql: &str) -> Part {
        Part { bytes: query(sql), words: format!("Query {sql:?}"), ..Part::default() }
    }

    /// As drivers give up all statements in a pipeline.
    fn wipe(describes: Describes) -> Part {
        let mut part = Part { describes, ..Part::default() };
        part.parse("", "DEALLOCATE ALL");
        part.bind("", "", b"");
        part.add("Execute", message(b'E', &[0; 5]));
        part.parse("a", "SELECT 'constant'");
        part.bind("", "a", b"");
        part.add("Sync", message(b'S', b""));
        part
    }

    fn extended(
        random: &mut fastrand::Rng,
        names: &[&str],
        texts: &[&str],
        mut may_use_unnamed: bool,
        describes: Describes,
    ) -> Part {
        let mut part = Part { describes, ..Part::default() };
        for _ in 0..random.usize(1..7) {
            let name = any(random, names);
            if name.is_empty() && !may_use_unnamed {
                part.parse(name, any(random, texts));
                may_use_unnamed = true;
                continue;
            }
            part.any(random, name, texts);
        }
        part.add("Sync", message(b'S', b""));
        part
    }

    fn any(&mut self, random: &mut fastrand::Rng, name: &str, texts: &[&str]) {
        let portal = any(random, &["", "", "p"]);
        match random.u8(..9) {
            0 | 1 => self.parse(name, any(random, texts)),
            2..=4 => {
                // Where columns are what is looked at, no Bind is wrong for its parameters: there are none.
                let values: &[&[u8]] = if texts.iter().any(|text| text.contains("$1")) {
                    &[b"", b"", b"7", b"x"]
                } else {
                    &[b""]
                };
                let value = any(random, values);
                self.bind(portal, name, value);
                if random.bool() {
                    let execute = [&text(&[portal])[..], &any(random, &[0_u32, 0, 2]).to_be_bytes()].concat();
                    self.add(&format!("Execute {portal:?}"), message(b'E', &execute));
                }
            }
            5 => self.add(&format!("Describe S {name:?}"), message(b'D', &text(&[&format!("S{name}")]))),
            6 => self.add(&format!("Describe P {portal:?}"), message(b'D', &text(&[&format!("P{portal}")]))),
            7 => self.add(&format!("Close S {name:?}"), message(b'C', &text(&[&format!("S{name}")]))),
            _ => self.add(&format!("Close P {portal:?}"), message(b'C', &text(&[&format!("P{portal}")]))),
        }
    }

    fn parse(&mut self, name: &str, sql: &str) {
        self.parses_unnamed |= name.is_empty();
        self.add(
            &format!("Parse {name:?} {sql:?}"),
            message(b'P', &[&text(&[name, sql])[..], &[0, 0]].concat()),
        );
        match self.describes {
            Describes::Nothing => {}
            Describes::Statements => {
                self.add(&format!("Describe S {name:?}"), message(b'D', &text(&[&format!("S{name}")])));
            }
            Describes::Portals => {
                self.bind("", name, b"");
                self.add("Describe P", message(b'D', b"P\0"));
            }
        }
    }

    /// Binds with one value, or with none where it is empty.
    fn bind(&mut self, portal: &str, name: &str, value: &[u8]) {
        let count = u16::from(!value.is_empty());
        let mut body = [&text(&[portal, name])[..], &[0, 0], &count.to_be_bytes()].concat();
        if count == 1 {
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value);
        }
        body.extend([0, 0]);
        self.add(&format!("Bind {portal:?} {name:?} {count}"), message(b'B', &body));
    }

    fn add(&mut self, words: &str, bytes: Vec<u8>) {
        self.words.push_str(&format!("{words}; "));
        self.bytes.extend(bytes);
    }
}

impl Twins {
    async fn log_in(direct: u16, pooled: u16, vocabulary: Vocabulary, refuses_once: Rc<Cell<bool>>) -> Twins {
        Twins {
            vocabulary,
            direct: Raw::login_asking(direct, &ASKED).await,
            pooled: Raw::login_asking(pooled, &ASKED).await,
            transcript: String::new(),
            has_unnamed: false,
            status: b'I',
            refuses_once,
            has_refused: false,
        }
    }

    async fn turn(&mut self, random: &mut fastrand::Rng) {
        let Vocabulary { texts, queries, describes, .. } = self.vocabulary;
        let parts = match random.u8(..4) {
            0 => vec![Part::simple(any(random, queries))],
            _ if self.status == b'E' => vec![Part::simple(any(random, queries))],
            1 if self.status == b'I' => (0..random.usize(2..5)).map(|nth| self.ahead(nth, random)).collect(),
            2 if random.u8(..8) == 0 => vec![Part::wipe(describes)],
            // As Npgsql gives out a connection that was used before.
            2 if self.status == b'I' && random.u8(..8) == 0 => {
                vec![
                    Part::simple("DISCARD ALL"),
                    Part::extended(random, &[""], &texts[..3], false, describes),
                ]
            }
            _ => vec![Part::extended(random, &NAMES, texts, self.has_unnamed, describes)],
        };
        self.say(parts, random).await;
    }

    /// One of several parts that are sent before the first is answered. What becomes of the statement without a name and
    /// of a transaction on the way is not known then: neither goes from one part to the next. Nor does a name: whether an
    /// earlier part has given it, the pool can't know, and is more forgiving than a server.
    fn ahead(&self, nth: usize, random: &mut fastrand::Rng) -> Part {
        let Vocabulary { texts, texts_ahead, queries, queries_ahead, describes, .. } = self.vocabulary;
        match random.u8(..3) {
            0 => Part::simple(any(random, &queries[..queries_ahead])),
            _ => Part::extended(random, &NAMES[nth..=nth], &texts[..texts_ahead], false, describes),
        }
    }

    /// Says it to both, and compares the answers.
    async fn say(&mut self, parts: Vec<Part>, random: &mut fastrand::Rng) {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
        self.direct.send(&all).await;
        // In pieces, as a network may bring it.
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.usize(1..=rest.len()));
            self.pooled.send(now).await;
            tokio::task::yield_now().await;
            rest = later;
        }
        for part in &parts {
            self.transcript.push_str(&format!("\n  {}", part.words));
        }
        // What was sent behind a part that failed may rest on a name that this part should have given, or on one that it
        // has given up. The pool has prepared it by then: it does not know yet, and is more forgiving than a server.
        let mut in_doubt = false;
        for part in &parts {
            in_doubt |= self.compare(part, in_doubt).await;
        }
        if std::mem::take(&mut self.has_refused) {
            let end = query("ROLLBACK");
            for side in [&mut self.direct, &mut self.pooled] {
                side.send(&end).await;
                side.until_ready().await;
            }
            self.forget_names().await;
        } else if in_doubt && parts.len() > 1 {
            self.forget_names().await;
        }
    }

    /// Which names there are may differ now: both begin anew.
    async fn forget_names(&mut self) {
        let mut part = Part::default();
        for name in NAMES {
            part.add(&format!("Close S {name:?}"), message(b'C', &text(&[&format!("S{name}")])));
        }
        part.add("Sync", message(b'S', b""));
        self.direct.send(&part.bytes).await;
        self.pooled.send(&part.bytes).await;
        self.transcript.push_str(&format!("\n  {}", part.words));
        self.compare(&part, false).await;
    }

    /// Returns whether it has failed, or given up all names.
    async fn compare(&mut self, part: &Part, in_doubt: bool) -> bool {
        let wanted = self.direct.until_ready().await;
        let seen = self.pooled.until_ready().await;
        self.transcript.push_str(&format!("\n    {}", kinds(&wanted)));
        let simple = !part.words.contains("Sync");
        if !in_doubt {
            let (mut seen, mut wanted) = (comparable(&seen, !simple), comparable(&wanted, !simple));
            // A Bind that is wrong in two ways: a server counts the parameters first, the pool compares the types first.
            let changed = ('E', "0A000".to_owned());
            // A server tells the parameters of a statement before it finds that its columns have changed, or that its
            // text does not fit them. Either is what the pool calls changed.
            let outdated =
                |error: &(char, String)| error.0 == 'E' && (*error == changed || error.1.starts_with("42"));
            for side in [&mut seen, &mut wanted] {
                if let Some(at) = side.windows(2).position(|two| two[0].0 == 't' && outdated(&two[1])) {
                    side.remove(at);
                }
            }
            if let Some(at) = seen.iter().position(|message| *message == changed) {
                match wanted.get(at) {
                    Some(wrong) if wrong.1 == "08P01" || outdated(wrong) => seen[at] = wrong.clone(),
                    _ if part.words.contains("Parse") && self.refuses_once.take() => {
                        (self.has_refused, self.has_unnamed) = (true, false);
                        return true;
                    }
                    _ => {}
                }
            }
            assert_eq!(seen, wanted, "after this conversation:{}", self.transcript);
        }
        self.status = wanted.last().map_or(b'I', |(_, status)| status[0]);
        let failed = wanted.iter().any(|(kind, _)| *kind == b'E');
        if part.parses_unnamed {
            self.has_unnamed = !failed;
        } else if simple || part.words.contains("Close S \"\"") {
            self.has_unnamed = false;
        }
        let gave_up = |body: &[u8]| body.starts_with(b"DEALLOCATE ALL") || body.starts_with(b"DISCARD ALL");
        failed || wanted.iter().any(|(kind, body)| *kind == b'C' && gave_up(body))
    }

    /// Ends a transaction, so that a session is free for others.
    async fn rest(&mut self, random: &mut fastrand::Rng) {
        self.say(vec![Part::simple("ROLLBACK")], random).await;
    }
}

/// Messages as they are to be the same: of an error its SQLSTATE, for its words name the statement; notices and settings
/// may come at any time. A RESET of the extended protocol is answered as the SET that is prepared for it.
fn comparable(messages: &[(u8, Vec<u8>)], extended: bool) -> Vec<(char, String)> {
    let wanted = messages.iter().filter(|(kind, _)| !matches!(kind, b'N' | b'S'));
    let words = |message: &(u8, Vec<u8>)| match message.0 {
        b'E' => error_field(std::slice::from_ref(message), b'C').unwrap(),
        b'C' if extended && message.1 == b"RESET\0" => "SET\0".to_owned(),
        _ => String::from_utf8_lossy(&message.1).into_owned(),
    };
    wanted.map(|message| (char::from(message.0), words(message))).collect()
}

#[tokio::test]
async fn clients_that_share_sessions_are_answered_as_if_they_had_their_own() {
    talk(&["size: 2"], SETTINGS).await;
}

#[tokio::test]
async fn the_same_where_statements_without_a_name_are_kept_prepared() {
    talk(&["size: 2", "prepare_unnamed: true"], SETTINGS).await;
}

#[tokio::test]
async fn clients_that_keep_their_sessions_are_answered_as_without_a_pool() {
    talk(&["size: 3", "mode: session"], SETTINGS).await;
}

#[tokio::test]
async fn the_same_text_means_what_it_means_under_each_clients_schema_and_role() {
    talk(&["size: 2"], SCHEMAS).await;
}

#[tokio::test]
async fn it_does_so_where_statements_without_a_name_are_kept_prepared() {
    talk(&["size: 2", "prepare_unnamed: true"], SCHEMAS).await;
}

#[tokio::test]
async fn who_has_portals_described_is_told_of_types_that_change_elsewhere() {
    talk(&["size: 2"], TYPES).await;
}

#[tokio::test]
async fn so_is_who_has_statements_described() {
    talk(&["size: 2"], Vocabulary { describes: Describes::Statements, ..TYPES }).await;
}

#[tokio::test]
async fn so_is_who_has_either_described_and_keeps_statements_without_a_name_prepared() {
    for describes in [Describes::Statements, Describes::Portals] {
        talk(&["size: 2", "prepare_unnamed: true"], Vocabulary { describes, ..TYPES }).await;
    }
}

async fn talk(keys: &[&str], vocabulary: Vocabulary) {
    let trust = Setup::default().hba("host all all 127.0.0.1/32 trust");
    let cluster = postgres(Version::V15, trust);
    let admin = Admin::of(&cluster).await;
    admin.query(vocabulary.setup).await;
    let refuses_once = Rc::new(Cell::new(false));
    let (config, port) = one_pool(&cluster.superuser_url(), &[], &[&["auth: trust"], keys].concat());
    let _daemon = Daemon::start(&config);
    await_listening(port).await;
    // Another seed makes up others.
    let seed = std::env::var("DIFFERENTIAL_SEED").map_or(7, |seed| seed.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..vocabulary.rounds {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Twins::log_in(cluster.port(), port, vocabulary, Rc::clone(&refuses_once)).await);
        }
        for _ in 0..TURNS {
            // One may stay in its transaction: there is a session for the others.
            let stays = random.usize(..CLIENTS);
            if !vocabulary.changes.is_empty() {
                // It takes the session that all would have otherwise: they move to one that may lack their statements.
                clients[stays].say(vec![Part::simple("BEGIN")], &mut random).await;
            }
            for (place, client) in clients.iter_mut().enumerate() {
                client.turn(&mut random).await;
                if place != stays {
                    client.rest(&mut random).await;
                }
            }
            clients[stays].turn(&mut random).await;
            clients[stays].rest(&mut random).await;
            if !vocabulary.changes.is_empty() && random.bool() {
                admin.query(any(&mut random, vocabulary.changes)).await;
                refuses_once.set(true);
            }
        }
    }
}
