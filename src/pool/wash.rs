//! Makes a session that its client has left fit for the next one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use super::cancel::cancel;
use super::link::Left;
use super::registry::Cancelling;
use super::server::Server;
use super::shared::Shared;
use crate::status::pool::ServerState;

/// A session that takes longer is closed instead.
const WASH: Duration = Duration::from_secs(10);

/// Ends what the client left unfinished and gives the session back; closes it where that does not work. `reset` for one
/// that was a client's for good.
pub async fn wash(shared: Arc<Shared>, mut server: Server, left: Left, reset: bool) {
    server.place.is_now(ServerState::Testing);
    match timeout(WASH, finish(&shared, &mut server, left, reset)).await {
        Ok(Ok(true)) => shared.give_back(server),
        ended => {
            debug!(target = %shared.name, ?left, ?ended, "a session is closed after its client");
            server.close().await;
        }
    }
}

async fn finish(shared: &Arc<Shared>, server: &mut Server, left: Left, reset: bool) -> io::Result<bool> {
    let in_transaction = match left {
        Left::Broken => return Ok(false),
        Left::Clean => false,
        Left::InTransaction => true,
        Left::Busy { ready, synced } => {
            cancel(shared, Cancelling::new(&server.backend)).await;
            if !synced {
                server.sync().await?;
            }
            let said = server.until_ready(ready).await?;
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
    if reset {
        let said = server.discard_all().await?;
        return Ok(said.error.is_none() && said.status == b'I');
    }
    Ok(true)
}
