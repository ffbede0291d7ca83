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
    if is_too_late(&said) {
        // It is there, and nobody can ask for it.
        return Ok(None);
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

/// Takes the timeout off, asks, and puts it on again. Each of these may meet a cancel request that comes late.
async fn ask_without_hurry(server: &mut Server, question: &str) -> io::Result<Said> {
    let mut said = run(server, "SELECT pg_catalog.current_setting('statement_timeout')").await?;
    let Some(Some(timeout)) = said.rows.pop().and_then(|mut row| row.pop()) else {
        return Ok(said);
    };
    run(server, "RESET statement_timeout").await?;
    let mut said = run(server, question).await?;
    let again = run(server, &format!("SET statement_timeout = '{timeout}'")).await?;
    if again.error.is_some() {
        // The client would go on without it.
        return Err(io::ErrorKind::TimedOut.into());
    }
    if said.error.is_none() {
        said.rows.push(["s", "statement_timeout", &timeout].map(|text| Some(text.to_owned())).into());
    }
    Ok(said)
}

async fn run(server: &mut Server, sql: &str) -> io::Result<Said> {
    for _ in 1..TRIES {
        let said = server.run(sql).await?;
        if !is_too_late(&said) {
            return Ok(said);
        }
    }
    server.run(sql).await
}

/// Whether a statement timeout or a cancel request has ended it.
pub fn is_too_late(said: &Said) -> bool {
    said.error.as_deref().is_some_and(|error| error_field(error, b'C') == Some(b"57014"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::leftovers::Hints;
    use crate::pool::rig::{Rig, error, ready, row};

    fn hints() -> Hints {
        Hints { kinds: Kinds::SETTINGS, names: Vec::new() }
    }

    /// A session with `work_mem` and a timeout that every question exceeds while it is on.
    fn hurried(mut cancels: Vec<usize>) -> impl FnMut(&str) -> Option<Vec<u8>> + Send {
        let (mut asked, mut is_on) = (0, true);
        move |sql| {
            asked += 1;
            let is_cancelled = cancels.first() == Some(&asked);
            if is_cancelled {
                cancels.remove(0);
            }
            let is_question = sql.contains("pg_settings");
            if is_cancelled || (is_question && is_on) {
                return Some([error("57014", false), ready(b'I')].concat());
            }
            is_on = (is_on && !sql.starts_with("RESET")) || sql.starts_with("SET");
            let rows = match sql.contains("current_setting('statement_timeout')") {
                true => row(&["1ms"]),
                false if is_question => row(&["s", "work_mem", "67kB"]),
                false => Vec::new(),
            };
            Some([rows, ready(b'I')].concat())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_set_is_found_however_many_of_the_questions_are_cancelled() {
        for cancels in [vec![], vec![1], vec![2, 3], vec![4, 6], vec![5], vec![2, 4, 6, 8]] {
            let (_rig, mut server) = Rig::new(hurried(cancels.clone())).await;
            server.hints = hints();
            let found = inspect(&mut server).await.unwrap().unwrap();
            let settings = found.settings.unwrap();
            let names: Vec<_> = settings.keys().map(String::as_str).collect();
            assert_eq!(names, ["statement_timeout", "work_mem"], "{cancels:?}");
            assert_eq!(found.lost, None, "{cancels:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_cannot_be_asked_is_not_used_on() {
        let cancelled = |sql: &str| {
            let answer = if sql.contains("pg_settings") { error("57014", false) } else { row(&["0"]) };
            Some([answer, ready(b'I')].concat())
        };
        let (_rig, mut server) = Rig::new(cancelled).await;
        server.hints = hints();
        assert_eq!(inspect(&mut server).await.unwrap(), None);
    }
}
