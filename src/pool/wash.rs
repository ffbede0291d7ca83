//! Makes a session that its client has left fit for the next one.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::cancel::cancel;
use super::inspect::inspect;
use super::link::Left;
use super::registry::Cancelling;
use super::server::{Said, Server};
use super::shared::Shared;
use crate::status::pool::ServerState;

/// A session that takes longer is closed instead.
const WASH: Duration = Duration::from_secs(10);
/// How long what a client has asked before it said goodbye may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends what the client left unfinished and gives the session back; closes it where that does not work. `reset` for one
/// that was a client's for good, `patient` where what it has asked is to be done, as a server does it.
pub async fn wash(shared: Arc<Shared>, mut server: Server, left: Left, reset: bool, patient: bool) {
    server.place.is_now(ServerState::Testing);
    let patience = if patient { PATIENCE } else { Duration::ZERO };
    match timeout(patience + WASH, finish(&shared, &mut server, left, reset, patience)).await {
        Ok(Ok(true)) => shared.give_back(server),
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
    let in_transaction = match left {
        Left::Broken => return Ok(false),
        Left::Clean => false,
        Left::InTransaction => true,
        Left::Busy { ready, synced } => {
            // Without a Sync there is no end to wait for.
            let patience = if synced { patience } else { Duration::ZERO };
            if !synced {
                server.sync().await?;
            }
            let said = answers(shared, server, ready, patience).await?;
            if !reset {
                // Which statements it has taken in is not known.
                let forgotten = server.run(match said.status {
                    b'I' => "DEALLOCATE ALL",
                    _ => "ROLLBACK; DEALLOCATE ALL",
                });
                if forgotten.await?.error.is_some() {
                    return Ok(false);
                }
                server.statements.clear();
            }
            reset && said.status != b'I'
        }
    };
    // A cancel request that comes late must hit nobody else.
    let cancelled = server.backend.is_being_cancelled() || matches!(left, Left::Clean | Left::Busy { .. });
    server.backend.not_being_cancelled().await;
    if in_transaction && server.run("ROLLBACK").await?.status != b'I' {
        return Ok(false);
    }
    if cancelled && !server.ping().await && !server.ping().await {
        return Ok(false);
    }
    if !server.hints.is_empty() && !reset {
        let Some(found) = inspect(server).await? else {
            return Ok(false);
        };
        if found.cleaned {
            shared.status.was_reset();
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
