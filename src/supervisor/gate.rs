//! The gate that every dial of the process passes: the guard's async shell, and the place where targets of one
//! address share their TCP connects.
//!
//! A reachable address is dialled by everybody, under the guard. An address whose last dial failed before the server took
//! the socket is unreachable: one caller leads and dials, the others join it and share its failure, and while that failure
//! is recent it is returned without dialling. The gate knows nothing of targets, reasons or what is behind the socket.

mod addresses;
mod queue;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::addresses::{Approach, DialFailure, DialOutcome};
pub use self::queue::Permit;
use self::queue::{GateQueue, QueuePosition, Scheduler};
use crate::connection::ConnectPace;
pub use crate::policy::guard::{GuardLimits, Lane};
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

/// What a dial that was let in is given.
#[derive(Debug, Clone)]
pub struct DialAdmission {
    pub at: Instant,
    pub pace: ConnectPace,
}

/// A dial that failed, one's own or a shared one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedDial {
    pub facts: Facts,
    /// When the dial itself failed: the next one is due a while after this, not after it was reported.
    pub failed_at: Instant,
    /// Somebody else dialled.
    pub shared: bool,
    /// How long the guard's limits held it up; zero if they did not.
    pub waited: Duration,
}

/// The gate. Clones share one queue.
#[derive(Debug, Clone)]
pub struct Gate {
    shared: Arc<GateQueue>,
    /// Ends with the last clone.
    _scheduler: Arc<Scheduler>,
}

impl Gate {
    /// Must be called within a runtime: the gate runs one task of its own, which ends with the last clone.
    pub fn new(limits: GuardLimits) -> Self {
        let shared = Arc::new(GateQueue::new(limits));
        let scheduler = Arc::new(Scheduler::spawn(shared.clone()));
        Gate { shared, _scheduler: scheduler }
    }

    /// Replaces the limits; those who wait are judged by the new ones at once.
    pub fn set_limits(&self, limits: GuardLimits) {
        self.shared.set_limits(limits);
    }

    /// Dials and logins under way: the permits that are out.
    pub fn logins_in_flight(&self) -> usize {
        self.shared.state().guard.in_flight()
    }

    /// Waits until the guard lets `dial` go, or until somebody else's dial of the same address has failed. `dial` is
    /// given the moment of its admission: its deadline counts from there, and it must keep one. It counts as one TCP connect;
    /// for each further one it waits for the pace that it is given.
    ///
    /// Dropping the future gives back all that it held; those who had joined it choose a new leader.
    pub async fn pass<T, Dial, Pending>(
        &self,
        key: &str,
        lane: Lane,
        dial: Dial,
    ) -> Result<Passed<T>, FailedDial>
    where
        Dial: FnOnce(DialAdmission) -> Pending,
        Pending: Future<Output = Result<T, Facts>>,
    {
        let key: Arc<str> = key.into();
        let mut waited = Duration::ZERO;
        let dialling = loop {
            let approach = self.shared.state().addresses.approach(&key, Instant::now());
            let leadership = match approach {
                Approach::Known(failure) => return Err(failure.refused(true, waited)),
                Approach::Join(joined) => {
                    joined.over().await;
                    continue;
                }
                Approach::Lead(number) => Some(Leadership::new(&self.shared, &key, number)),
                Approach::Dial => None,
            };
            let lane = if leadership.is_some() { Lane::Unreachable } else { lane };
            let (permit, throttled) = QueuePosition::new(&self.shared, &key, lane).admitted().await;
            waited += throttled;
            if let Some(dialling) =
                permit.and_then(|permit| Dialling::begin(permit, &self.shared, &key, leadership))
            {
                break dialling;
            }
        };
        match dial(dialling.admission()).await {
            Ok(value) => Ok(Passed { value, permit: dialling.answered(), waited }),
            Err(facts) => Err(dialling.failed(facts).refused(false, waited)),
        }
    }
}

impl DialFailure {
    fn refused(self, shared: bool, waited: Duration) -> FailedDial {
        FailedDial { facts: self.facts, failed_at: self.at, shared, waited }
    }
}

/// The right to dial an unreachable address; dropping it lets another one lead.
#[derive(Debug)]
struct Leadership {
    shared: Arc<GateQueue>,
    key: Arc<str>,
    number: u64,
}

impl Leadership {
    fn new(shared: &Arc<GateQueue>, key: &Arc<str>, number: u64) -> Self {
        Leadership { shared: shared.clone(), key: key.clone(), number }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.shared.state().addresses.resign(&self.key, self.number);
    }
}

/// A dial under way. The fields are dropped in this order: what it learned is noted before it stops leading.
#[derive(Debug)]
struct Dialling {
    note: OutcomeNote,
    _leadership: Option<Leadership>,
    permit: Permit,
}

impl Dialling {
    /// `None` if the address became unreachable between the admission and now: then that failure is the result.
    fn begin(
        permit: Permit,
        shared: &Arc<GateQueue>,
        key: &Arc<str>,
        leadership: Option<Leadership>,
    ) -> Option<Self> {
        let number = leadership.as_ref().map(|leadership| leadership.number);
        let may_begin = shared.state().addresses.begin(key, number);
        may_begin.then(|| Dialling {
            note: OutcomeNote {
                shared: shared.clone(),
                key: key.clone(),
                begun_at: Instant::now(),
                outcome: DialOutcome::Unknown,
            },
            _leadership: leadership,
            permit,
        })
    }

    fn admission(&self) -> DialAdmission {
        DialAdmission { at: self.note.begun_at, pace: self.permit.pace() }
    }

    fn answered(mut self) -> Permit {
        self.note.outcome = DialOutcome::Answered;
        self.permit
    }

    fn failed(mut self, facts: Facts) -> DialFailure {
        let failure = DialFailure { facts, at: Instant::now() };
        self.note.outcome = outcome_of(&failure);
        failure
    }
}

/// What a failed dial tells about the address.
fn outcome_of(failure: &DialFailure) -> DialOutcome {
    let Facts { phase, cause, .. } = &failure.facts;
    match (phase, cause) {
        (Phase::Prepare, _) | (_, Cause::Local { .. } | Cause::Config { .. } | Cause::Internal) => {
            DialOutcome::Unknown
        }
        _ if failure.facts.before_the_server() => DialOutcome::Unanswered(failure.clone()),
        _ => DialOutcome::Answered,
    }
}

/// Notes the outcome when dropped, [`DialOutcome::Unknown`] if nobody set another.
#[derive(Debug)]
struct OutcomeNote {
    shared: Arc<GateQueue>,
    key: Arc<str>,
    begun_at: Instant,
    outcome: DialOutcome,
}

impl Drop for OutcomeNote {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, DialOutcome::Unknown);
        self.shared.dial_is_over(&self.key, self.begun_at, outcome);
    }
}

#[cfg(test)]
mod tests;
