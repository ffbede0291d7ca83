//! Sends a cancel request to the server, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::connection::Connector;
use crate::pool::registry::Cancelling;
use crate::pool::shared::Shared;

/// A cancel request that takes longer is given up.
const CANCEL: Duration = Duration::from_secs(5);

/// Asks once. What becomes of it the session tells; the request has been dealt with when the server closes.
pub async fn cancel(shared: &Arc<Shared>, cancelling: Cancelling) {
    let deadline = Instant::now() + CANCEL;
    let backend = &cancelling.0;
    let asked = async {
        let target = &backend.target;
        let prepared = shared.connector.prepare(Arc::clone(target)).await?;
        let key = (backend.process_id, backend.secret_key);
        shared.connector.cancel(target, &prepared, &backend.route, key, deadline).await
    };
    if let Err(facts) = asked.await {
        debug!(target = %shared.name, %facts, "a cancel request did not reach the server");
        // Or it may, later: no other client's query must be hit.
        backend.retire();
    }
}
