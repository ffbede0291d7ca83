mod bounds;
mod deallocate;
mod described;
mod free;
mod given;
mod meaning;
mod named;
mod portal;
mod races;
mod renewed;
mod resets;
mod streams;
mod tables;
mod unnamed;

use std::sync::Mutex;

use super::*;
use crate::pool::statements::Catalog;
use crate::protocol::{Frame, Violation};

/// Nobody follows the settings.
struct Nobody;

impl Reports for Nobody {
    fn report(&mut self, _: &[u8], _: &[u8]) {}

    fn before_ready(&mut self, out: &mut Vec<u8>) {
        put(out, b'S', &[b"told\0before\0"]);
    }
}

/// A client, a session and what stands between them.
struct Pair {
    link: Link,
    catalog: Mutex<Catalog>,
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
            catalog: Mutex::new(catalog),
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
        let catalog = SharedCatalog::new(&self.catalog);
        let (client, server) = (&mut self.client, &mut self.server);
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
        match link.server_sent(bytes, &mut out, &mut statements, &mut Nobody).unwrap() {
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

/// What is sent where only the client is told of an error; what follows it is not sent.
fn refused() -> Vec<u8> {
    [close("pgtether_0"), flush()].concat()
}

/// What is sent to make a server fail, where a transaction is open or something was executed before.
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
