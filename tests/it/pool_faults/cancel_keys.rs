//! Whose queries can be cancelled, and whether they had asked for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

use super::session::LIMIT;

/// Who can be cancelled, and who could be once.
#[derive(Default)]
pub struct CancelKeys {
    taken: Mutex<BTreeMap<String, Arc<CancelKey>>>,
    left: Mutex<VecDeque<CancelToken>>,
}

/// One session's right to cancel, and the use that was made of it.
pub struct CancelKey {
    token: CancelToken,
    asked: AtomicU32,
    met: AtomicU32,
}

impl CancelKeys {
    /// A client's new session.
    pub fn take(&self, name: &str, token: CancelToken) -> Arc<CancelKey> {
        let key = Arc::new(CancelKey { token, asked: AtomicU32::new(0), met: AtomicU32::new(0) });
        self.taken.lock().unwrap().insert(name.to_owned(), key.clone());
        key
    }

    /// The end of a client's session.
    pub fn leave(&self, name: &str) {
        let Some(key) = self.taken.lock().unwrap().remove(name) else { return };
        let mut left = self.left.lock().unwrap();
        left.push_back(key.token.clone());
        left.truncate(200);
    }

    /// Cancels what one client does now, whoever it is.
    pub async fn cancel_one(&self, dice: &mut fastrand::Rng) {
        let key = {
            let taken = self.taken.lock().unwrap();
            dice.choice(taken.values()).cloned()
        };
        let Some(key) = key else { return };
        key.asked.fetch_add(1, Relaxed);
        cancel(&key.token).await;
    }

    /// Asks for the cancellation of a session that is over: nobody is to notice.
    pub async fn cancel_former(&self) {
        let token = self.left.lock().unwrap().pop_front();
        if let Some(token) = token {
            cancel(&token).await;
        }
    }
}

impl CancelKey {
    /// Counts a query that was cancelled, and tells whether its own client's key was used as often.
    pub fn may_be_cancelled(&self) -> bool {
        self.met.fetch_add(1, Relaxed) < self.asked.load(Relaxed)
    }
}

/// Nobody answers a request to cancel: that it cannot be sent just now is one fault more.
async fn cancel(token: &CancelToken) {
    let _ = timeout(LIMIT, token.cancel_query(NoTls)).await;
}
