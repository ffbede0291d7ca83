//! Which addresses are unreachable, who leads there and how the last TCP connect failed. Time is an argument; the lock is the
//! gate's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::policy::backoff;
use crate::reason::Facts;

/// An unreachable address that nobody dials is forgotten after that long; whoever needs it dials each second.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A dial that ended before the server took the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DialFailure {
    pub facts: Facts,
    pub at: Instant,
}

impl DialFailure {
    /// Too recent to dial again: it is returned instead.
    fn is_recent(&self, now: Instant) -> bool {
        now < self.at + backoff::next_tcp_connect(0.0)
    }
}

/// What somebody who wants to dial does.
#[derive(Debug)]
pub(super) enum Approach {
    /// Takes this failure for an answer.
    Known(DialFailure),
    /// Waits for the leader's dial, then asks again.
    Join(Joined),
    /// Dials for all, under this number.
    Lead(u64),
    /// Dials for itself.
    Dial,
}

/// Waits for the end of somebody else's dial.
#[derive(Debug)]
pub(super) struct Joined(watch::Receiver<()>);

impl Joined {
    /// Nothing is ever sent: the sender's end is the news.
    pub async fn over(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// What a dial tells about its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialOutcome {
    /// Nothing: it was cancelled, or failed for a reason of our own.
    Unknown,
    /// A server took the socket.
    Answered,
    Unanswered(DialFailure),
}

/// The addresses that are unreachable or being dialled; every other one counts as reachable.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<Arc<str>, AddressState>,
    next_leader: u64,
}

#[derive(Debug, Default)]
struct AddressState {
    /// Dials under way.
    dialling: usize,
    reachability: Reachability,
}

#[derive(Debug)]
enum Reachability {
    Reachable { answered_at: Option<Instant> },
    Unreachable { failure: DialFailure, leader: Option<Leader> },
}

impl Default for Reachability {
    fn default() -> Self {
        Reachability::Reachable { answered_at: None }
    }
}

/// Dropped when its dial is over or another one has a result: that wakes all who joined.
#[derive(Debug)]
struct Leader {
    number: u64,
    over: watch::Sender<()>,
}

impl Leader {
    fn new(number: u64) -> Self {
        let over = watch::Sender::new(());
        Leader { number, over }
    }
}

impl Addresses {
    pub fn approach(&mut self, key: &str, now: Instant) -> Approach {
        let Some(AddressState { reachability: Reachability::Unreachable { failure, leader }, .. }) =
            self.known.get_mut(key)
        else {
            return Approach::Dial;
        };
        if failure.is_recent(now) {
            return Approach::Known(failure.clone());
        }
        match leader {
            Some(leader) => Approach::Join(Joined(leader.over.subscribe())),
            None => {
                let number = self.next_leader;
                self.next_leader += 1;
                *leader = Some(Leader::new(number));
                Approach::Lead(number)
            }
        }
    }

    /// The leader's dial is over, or was given up.
    pub fn resign(&mut self, key: &str, number: u64) {
        if let Some(AddressState { reachability: Reachability::Unreachable { leader, .. }, .. }) =
            self.known.get_mut(key)
            && leader.as_ref().is_some_and(|leader| leader.number == number)
        {
            *leader = None;
        }
    }

    /// A dial begins, unless the address became unreachable meanwhile and another one leads there.
    pub fn begin(&mut self, key: &Arc<str>, lead: Option<u64>) -> bool {
        let address = self.known.entry(key.clone()).or_default();
        let may_begin = match &address.reachability {
            Reachability::Reachable { .. } => true,
            Reachability::Unreachable { leader, .. } => {
                lead.is_some() && leader.as_ref().map(|l| l.number) == lead
            }
        };
        address.dialling += usize::from(may_begin);
        may_begin
    }

    /// A dial that began at `begun_at` is over. Tells whether the address is unreachable by its failure.
    pub fn end(&mut self, key: &str, begun_at: Instant, outcome: DialOutcome, now: Instant) -> bool {
        let Some(address) = self.known.get_mut(key) else {
            return false;
        };
        address.dialling = address.dialling.saturating_sub(1);
        let became_unreachable = match outcome {
            DialOutcome::Unknown => false,
            DialOutcome::Answered => {
                address.reachability = Reachability::Reachable { answered_at: Some(now) };
                false
            }
            DialOutcome::Unanswered(failure) => address.reachability.failed(failure, begun_at),
        };
        self.known.retain(|_, address| address.is_of_interest(now));
        became_unreachable
    }

    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.known.len()
    }
}

impl Reachability {
    /// Ignores the late result of a slow dial: since it began, another one was answered.
    fn failed(&mut self, failure: DialFailure, begun_at: Instant) -> bool {
        let leader = match self {
            Reachability::Reachable { answered_at: Some(answered_at) } if *answered_at > begun_at => {
                return false;
            }
            Reachability::Reachable { .. } => None,
            Reachability::Unreachable { leader, .. } => leader.take(),
        };
        // A leader on its way goes on; a new channel in place of the old one wakes those who joined.
        let leader = leader.map(|leader| Leader::new(leader.number));
        *self = Reachability::Unreachable { failure, leader };
        true
    }
}

impl AddressState {
    fn is_of_interest(&self, now: Instant) -> bool {
        self.dialling > 0
            || match &self.reachability {
                Reachability::Reachable { .. } => false,
                Reachability::Unreachable { failure, leader } => {
                    leader.is_some() || now < failure.at + FORGET_AFTER
                }
            }
    }
}
