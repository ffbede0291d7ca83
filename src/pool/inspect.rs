//! Asks a session what its client has left on it, and removes what no client keeps.

use std::collections::BTreeMap;
use std::io;

use super::leftovers::Kinds;
use super::leftovers::question::{Found, question};
use super::server::{Said, Server};
use crate::protocol::error_field;

/// A client may have left a `statement_timeout` that every other question exceeds.
const TRIES: usize = 5;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// All settings that were made for the session; `None` where nobody has touched them.
    pub settings: Option<BTreeMap<String, String>>,
    /// The client may have taken settings back to what they were.
    pub resets: bool,
    /// The session has only its server's settings now.
    pub were_reset: bool,
    /// Something was removed.
    pub cleaned: bool,
    /// What of it the client will miss.
    pub lost: Option<String>,
}

/// `None` where the session cannot be used any more.
pub async fn inspect(server: &mut Server) -> io::Result<Option<Inspected>> {
    let hints = std::mem::take(&mut server.hints);
    let question = question(&hints, server.settings.names());
    let mut said = server.run(&question).await?;
    if is_too_late(&said) {
        said = ask_without_hurry(server, &question).await?;
    }
    let found = match said.error.is_none() && !said.too_long {
        true => Found::read(&hints, said.rows),
        false => None,
    };
    let Some(found) = found else {
        // A server that knows no such question knows how to begin anew.
        let said = server.discard_all().await?;
        return Ok((said.error.is_none() && said.status == b'I').then(|| Inspected {
            settings: Some(BTreeMap::new()),
            resets: true,
            were_reset: true,
            cleaned: true,
            lost: Some("what it had set on its session".to_owned()),
        }));
    };
    let cleanup = found.cleanup();
    if let Some(cleanup) = &cleanup {
        let said = server.run(cleanup).await?;
        if said.error.is_some() || said.status != b'I' {
            return Ok(None);
        }
    }
    Ok(Some(Inspected {
        resets: hints.kinds.contains(Kinds::RESET),
        were_reset: found.resets_settings(),
        cleaned: cleanup.is_some(),
        lost: found.lost(),
        settings: hints.kinds.contains(Kinds::SETTINGS).then_some(found.settings),
    }))
}

/// Takes the timeout off, asks, and puts it on again.
async fn ask_without_hurry(server: &mut Server, question: &str) -> io::Result<Said> {
    let mut said = Said::default();
    for _ in 0..TRIES {
        said = server.run("SELECT pg_catalog.current_setting('statement_timeout')").await?;
        let Some(Some(timeout)) = said.rows.pop().and_then(|mut row| row.pop()) else {
            continue;
        };
        said = server.run("RESET statement_timeout").await?;
        if said.error.is_some() {
            continue;
        }
        said = server.run(question).await?;
        let again = server.run(&format!("SET statement_timeout = '{timeout}'")).await?;
        if said.error.is_none() && again.error.is_none() {
            said.rows.push(["s", "statement_timeout", &timeout].map(|text| Some(text.to_owned())).into());
        }
        break;
    }
    Ok(said)
}

/// Whether a statement timeout has ended it.
pub fn is_too_late(said: &Said) -> bool {
    said.error.as_deref().is_some_and(|error| error_field(error, b'C') == Some(b"57014"))
}
