//! What others may ask of a target, without knowing its task: the pool that needs a session, `/probe` that wants proof.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{ProofResult, Request};
use crate::target::TargetName;

type Senders = HashMap<TargetName, mpsc::Sender<Request>>;

/// Sends requests to targets' tasks; clones share one list, which the supervisor replaces.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<RwLock<Senders>>);

/// What came of a request for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofReply {
    /// The attempt ended, or was refused.
    Ended(ProofResult),
    /// No answer within the time given; the attempt goes on.
    Late,
}

impl Requests {
    /// To targets for which a test answers.
    #[cfg(test)]
    pub fn to(queues: impl IntoIterator<Item = (TargetName, mpsc::Sender<Request>)>) -> Self {
        Requests(Arc::new(RwLock::new(queues.into_iter().collect())))
    }

    pub(super) fn replace(&self, senders: Senders) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = senders;
    }

    /// Asks for a login now, unless the target waits after a failure, and waits for its end. `None` where there is no such
    /// target.
    pub async fn prove(&self, name: &str, within: Duration) -> Option<ProofReply> {
        self.ask(name, within, Request::Prove).await
    }

    /// The same whatever the target waits for: somebody says that the cause is mended.
    pub async fn try_now(&self, name: &str, within: Duration) -> Option<ProofReply> {
        self.ask(name, within, Request::TryNow).await
    }

    async fn ask(
        &self,
        name: &str,
        within: Duration,
        request: impl FnOnce(oneshot::Sender<ProofResult>) -> Request,
    ) -> Option<ProofReply> {
        let requests = self.sender(name)?;
        let (answer, reply) = oneshot::channel();
        let asked = async move {
            requests.send(request(answer)).await.ok()?;
            reply.await.ok()
        };
        match tokio::time::timeout(within, asked).await {
            Ok(Some(answer)) => Some(ProofReply::Ended(answer)),
            // The task ended or crashed meanwhile.
            Ok(None) | Err(_) => Some(ProofReply::Late),
        }
    }

    /// Somebody needs this target's session. False where there is no such target.
    pub fn want(&self, name: &str) -> bool {
        self.sender(name).is_some_and(|requests| {
            // A full queue means that the task is about to look at it anyway.
            let _ = requests.try_send(Request::Want);
            true
        })
    }

    fn sender(&self, name: &str) -> Option<mpsc::Sender<Request>> {
        let name = TargetName::new(name)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}
