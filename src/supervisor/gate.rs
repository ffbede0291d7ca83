//! The gate that every dial of the process passes: the storm guard's async shell, and the place where targets of one
//! address share their knocks.
//!
//! A lit address is dialled by everybody, under the guard. An address whose last knock failed before the server took
//! the socket is dark: one caller leads and dials, the others join it and share its failure, and while that failure
//! is young it is told without dialling. The gate knows nothing of targets, reasons or what is behind the socket.

mod addresses;
mod queue;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::addresses::{Approach, Failure, Outcome};
pub use self::queue::Permit;
use self::queue::{Queued, Shared, Usher};
pub use crate::policy::guard::{Lane, Limits};
use crate::reason::{Cause, Facts, Phase};

/// A dial that was let in.
#[derive(Debug)]
pub struct Passed<T> {
    /// What the dial returned.
    pub value: T,
    /// The login slot: hold it until the login is over.
    pub permit: Permit,
    /// How long the guard's limits held it up; zero if it was admitted at once.
    pub waited: Duration,
}

/// A dial that failed, one's own or a shared one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub facts: Facts,
    /// When the dial itself failed: the next one is due a while after this, not after it was heard of.
    pub failed_at: Instant,
    /// Somebody else dialled.
    pub shared: bool,
    /// How long the guard's limits held it up; zero if they did not.
    pub waited: Duration,
}

/// The gate. Clones share one queue.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<Shared>,
    /// Ends with the last clone.
    _usher: Arc<Usher>,
}

impl Gate {
    /// Must be called within a runtime: the gate runs one task of its own, which ends with the last clone.
    pub fn new(limits: Limits) -> Self {
        let shared = Arc::new(Shared::new(limits));
        let usher = Arc::new(Usher::spawn(shared.clone()));
        Gate { shared, _usher: usher }
    }

    /// Replaces the limits; those who wait are judged by the new ones at once.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.set_limits(limits);
    }

    /// Dials and logins under way: the permits that are out.
    pub fn logins_in_flight(&self) -> usize {
        self.shared.state().guard.in_flight()
    }

    /// Waits until the guard lets `dial` go, or until somebody else's knock at the same address has failed. `dial` is
    /// told when it was admitted: its deadline counts from there, and it must keep one.
    ///
    /// Dropping the future gives back all that it held; those who had joined it choose a new leader.
    pub async fn pass<T, Dial, Dialling>(
        &self,
        key: &str,
        lane: Lane,
        dial: Dial,
    ) -> Result<Passed<T>, Refused>
    where
        Dial: FnOnce(Instant) -> Dialling,
        Dialling: Future<Output = Result<T, Facts>>,
    {
        let key: Arc<str> = key.into();
        let mut waited = Duration::ZERO;
        let knock = loop {
            let approach = self.shared.state().addresses.approach(&key, Instant::now());
            let lead = match approach {
                Approach::Known(failure) => return Err(failure.refused(true, waited)),
                Approach::Join(joined) => {
                    joined.over().await;
                    continue;
                }
                Approach::Lead(number) => Some(Lead::new(&self.shared, &key, number)),
                Approach::Dial => None,
            };
            let lane = if lead.is_some() { Lane::Dark } else { lane };
            let (permit, throttled) = Queued::new(&self.shared, &key, lane).admitted().await;
            waited += throttled;
            if let Some(knock) = permit.and_then(|permit| Knock::begin(permit, &self.shared, &key, lead)) {
                break knock;
            }
        };
        match dial(knock.begun_at()).await {
            Ok(value) => Ok(Passed { value, permit: knock.let_in(), waited }),
            Err(facts) => Err(knock.failed(facts).refused(false, waited)),
        }
    }
}

impl Failure {
    fn refused(self, shared: bool, waited: Duration) -> Refused {
        Refused { facts: self.facts, failed_at: self.at, shared, waited }
    }
}

/// The right to dial a dark address; dropping it lets another one lead.
#[derive(Debug)]
struct Lead {
    shared: Arc<Shared>,
    key: Arc<str>,
    number: u64,
}

impl Lead {
    fn new(shared: &Arc<Shared>, key: &Arc<str>, number: u64) -> Self {
        Lead { shared: shared.clone(), key: key.clone(), number }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.shared.state().addresses.resign(&self.key, self.number);
    }
}

/// A dial under way. The fields are dropped in this order: what it learned is noted before it stops leading.
#[derive(Debug)]
struct Knock {
    dialling: Dialling,
    _lead: Option<Lead>,
    permit: Permit,
}

impl Knock {
    /// `None` if the address went dark between the admission and now: then there is news to hear, not to make.
    fn begin(permit: Permit, shared: &Arc<Shared>, key: &Arc<str>, lead: Option<Lead>) -> Option<Self> {
        let number = lead.as_ref().map(|lead| lead.number);
        let may_begin = shared.state().addresses.begin(key, number);
        may_begin.then(|| Knock {
            dialling: Dialling {
                shared: shared.clone(),
                key: key.clone(),
                begun_at: Instant::now(),
                outcome: Outcome::Unknown,
            },
            _lead: lead,
            permit,
        })
    }

    fn begun_at(&self) -> Instant {
        self.dialling.begun_at
    }

    fn let_in(mut self) -> Permit {
        self.dialling.outcome = Outcome::Answered;
        self.permit
    }

    fn failed(mut self, facts: Facts) -> Failure {
        let failure = Failure { facts, at: Instant::now() };
        self.dialling.outcome = outcome_of(&failure);
        failure
    }
}

/// What a failed dial tells about the address.
fn outcome_of(failure: &Failure) -> Outcome {
    let Facts { phase, cause } = &failure.facts;
    match (phase, cause) {
        (Phase::Prepare, _) | (_, Cause::Local { .. } | Cause::Config { .. } | Cause::Internal) => {
            Outcome::Unknown
        }
        _ if failure.facts.before_the_server() => Outcome::Unanswered(failure.clone()),
        _ => Outcome::Answered,
    }
}

/// Notes the outcome when dropped, [`Outcome::Unknown`] if nobody set another.
#[derive(Debug)]
struct Dialling {
    shared: Arc<Shared>,
    key: Arc<str>,
    begun_at: Instant,
    outcome: Outcome,
}

impl Drop for Dialling {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Unknown);
        self.shared.knock_is_over(&self.key, self.begun_at, outcome);
    }
}

#[cfg(test)]
mod tests;
