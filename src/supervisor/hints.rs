//! The way for others to ask something of a target, without knowing its task.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Wish};
use crate::target::TargetName;

type Senders = HashMap<TargetName, mpsc::Sender<Wish>>;

/// Hands hints to targets' tasks; clones share one list, which the supervisor replaces.
#[derive(Debug, Clone, Default)]
pub struct Hints(Arc<RwLock<Senders>>);

/// What came of a wish for a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Ended(Answer),
    /// No answer within the time given; the attempt goes on.
    Late,
}

impl Hints {
    pub(super) fn replace(&self, senders: Senders) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = senders;
    }

    /// Asks for a login now and waits for its end. `None` where there is no such target.
    pub async fn prove(&self, name: &str, within: Duration) -> Option<Proof> {
        let wishes = self.sender(name)?;
        let (answer, told) = oneshot::channel();
        let asked = async move {
            wishes.send(Wish::Prove(answer)).await.ok()?;
            told.await.ok()
        };
        match tokio::time::timeout(within, asked).await {
            Ok(Some(answer)) => Some(Proof::Ended(answer)),
            // The task ended or fell meanwhile.
            Ok(None) | Err(_) => Some(Proof::Late),
        }
    }

    /// Somebody needs this target's session. False where there is no such target.
    pub fn want(&self, name: &str) -> bool {
        self.sender(name).is_some_and(|wishes| {
            // A full queue means that the task is about to look at it anyway.
            let _ = wishes.try_send(Wish::Want);
            true
        })
    }

    fn sender(&self, name: &str) -> Option<mpsc::Sender<Wish>> {
        let name = TargetName::new(name)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}
