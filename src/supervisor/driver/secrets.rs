//! When the files with a target's secrets, and the command that prints one, are worth watching, and the watch.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::connection::{Connector, Fingerprint};
use crate::status::{Attempt, Because, Line, TargetStatus};
use crate::target::Target;

/// The files are read that often.
const EVERY: Duration = Duration::from_secs(1);

/// Whether only another secret can help, or a sleeping database would not notice a new one.
pub fn are_worth_watching(status: &TargetStatus, target: &Target) -> bool {
    let rejected = matches!(status.attempt, Attempt::Waiting { because: Because::SlowLane, .. });
    let asleep = matches!((&status.line, &status.attempt), (Line::Asleep { .. }, Attempt::None));
    (rejected || asleep) && (target.has_files() || target.password.is_command())
}

/// Ends when a file differs from what the last attempt used, or the command prints another password than the rejected one.
pub async fn changed<C: Connector>(connector: C, target: Arc<Target>, used: Fingerprint) {
    tokio::select! {
        () = file_changed(&connector, &target, used) => {}
        () = connector.another_password(Arc::clone(&target)) => {}
    }
}

async fn file_changed<C: Connector>(connector: &C, target: &Arc<Target>, used: Fingerprint) {
    if !target.has_files() {
        return pending().await;
    }
    loop {
        // First of all: files that never hold still must not make us try without pause.
        sleep(EVERY).await;
        if connector.fingerprint(target.clone()).await != used {
            return;
        }
    }
}
