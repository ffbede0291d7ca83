//! Makes a session that its client has left fit for the next one.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::cancel::cancel;
use crate::pool::inspect::inspect;
use crate::pool::link::Left;
use crate::pool::registry::Cancelling;
use crate::pool::server::{Said, Server};
use crate::pool::shared::Shared;

/// A session that takes longer is closed instead.
const CLEANUP: Duration = Duration::from_secs(10);
/// How long what a client has asked before it said goodbye may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends what the client left unfinished and gives the session back; closes it where that does not work. `reset` for one
/// that was a client's for good, `patient` where what it has asked is to be done, as a server does it.
pub async fn cleanup(shared: Arc<Shared>, mut server: Box<Server>, left: Left, reset: bool, patient: bool) {
    let patience = if patient { PATIENCE } else { Duration::ZERO };
    match timeout(patience + CLEANUP, finish(&shared, &mut server, left, reset, patience)).await {
        Ok(Ok(true)) => shared.driver.give_back(server),
        ended => {
            debug!(target = %shared.name, ?left, ?ended, "a session is closed after its client");
            server.close().await;
        }
    }
}

async fn finish(
    shared: &Arc<Shared>,
    server: &mut Server,
    left: Left,
    reset: bool,
    patience: Duration,
) -> io::Result<bool> {
    let status = match left {
        Left::Broken => return Ok(false),
        Left::Clean => b'I',
        Left::InTransaction => b'T',
        Left::Busy { ready, synced } => {
            // Without a Sync there is no end to wait for.
            let patience = if synced { patience } else { Duration::ZERO };
            if !synced {
                server.sync().await?;
            }
            answers(shared, server, ready, patience).await?.status
        }
    };
    // A cancel request that comes late must hit nobody else.
    let cancelled = server.backend.is_being_cancelled() || matches!(left, Left::Clean | Left::Busy { .. });
    server.backend.not_being_cancelled().await;
    if let Some(sql) = end(left, status, reset) {
        let said = server.run(sql).await?;
        if said.error.is_some() || said.status != b'I' {
            return Ok(false);
        }
    }
    if matches!(left, Left::Busy { .. }) {
        server.statements.clear();
    }
    if cancelled && !server.ping().await && !server.ping().await {
        return Ok(false);
    }
    if !server.hints.is_empty() && !reset {
        let Some(found) = inspect(server).await? else {
            return Ok(false);
        };
        if found.cleaned {
            shared.status.change(|pool| pool.resets += 1);
        }
        match found.settings {
            Some(settings) if !found.were_reset => server.settings.are_made(Arc::new(settings)),
            Some(_) => server.settings.were_reset(),
            None => {}
        }
    }
    if reset {
        let said = server.discard_all().await?;
        return Ok(said.error.is_none() && said.status == b'I');
    }
    Ok(true)
}

/// What ends the transaction of a client that has left, by the status that its session had last. Which statements a busy
/// one has taken in is not known.
fn end(left: Left, status: u8, reset: bool) -> Option<&'static str> {
    let forgets = matches!(left, Left::Busy { .. }) && !reset;
    match (status, forgets) {
        (b'I', false) => None,
        (b'I', true) => Some("DEALLOCATE ALL"),
        (_, false) => Some("ROLLBACK"),
        (_, true) => Some("ROLLBACK; DEALLOCATE ALL"),
    }
}

/// Reads what the server still has to say to the client that has gone, and asks it to stop when that lasts.
async fn answers(
    shared: &Arc<Shared>,
    server: &mut Server,
    ready: usize,
    patience: Duration,
) -> io::Result<Said> {
    let backend = Arc::clone(&server.backend);
    let mut said = pin!(server.until_ready(ready));
    if let Ok(said) = timeout(patience, &mut said).await {
        return said;
    }
    cancel(shared, Cancelling::new(&backend)).await;
    said.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_meets_the_transaction_of_one_that_has_left() {
        let busy = Left::Busy { ready: 1, synced: true };
        for status in [b'T', b'E'] {
            for reset in [true, false] {
                assert_eq!(end(Left::InTransaction, status, reset), Some("ROLLBACK"));
            }
            assert_eq!(end(busy, status, true), Some("ROLLBACK"));
            assert_eq!(end(busy, status, false), Some("ROLLBACK; DEALLOCATE ALL"));
        }
    }

    #[test]
    fn one_that_has_left_none_is_not_rolled_back() {
        let busy = Left::Busy { ready: 1, synced: true };
        assert_eq!(end(Left::Clean, b'I', false), None);
        assert_eq!(end(busy, b'I', false), Some("DEALLOCATE ALL"), "its statements are not known");
        assert_eq!(end(busy, b'I', true), None, "all of it is discarded");
    }
}
