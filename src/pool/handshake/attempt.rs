//! What a login goes by beside the client's messages: how long it may take, and what a wrong password costs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::penalty::Penalties;
use super::pending::LoginProgress;
use super::wire::Stop;

/// One client's login.
pub struct LoginAttempt {
    /// Told of each whole message.
    pub progress: LoginProgress,
    /// Those of the pool.
    pub penalties: Arc<Mutex<Penalties>>,
    /// Ends the login, and tells how.
    pub expired: Pin<Box<dyn Future<Output = Stop> + Send>>,
}

impl LoginAttempt {
    /// A part of the login, until there is no more time for it.
    pub async fn in_time<T>(&mut self, part: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            done = part => done,
            stop = &mut self.expired => Err(stop),
        }
    }
}

/// Waits for the turn of a wrong password to be told. False where too many wait already.
pub(super) async fn penalty(penalties: &Mutex<Penalties>) -> bool {
    let told = penalties.lock().unwrap_or_else(PoisonError::into_inner).add(Instant::now());
    match told {
        Some(told) => {
            sleep_until(told).await;
            true
        }
        None => false,
    }
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAttempt").field("progress", &self.progress).finish_non_exhaustive()
    }
}
