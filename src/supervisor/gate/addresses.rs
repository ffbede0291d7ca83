//! Which addresses are dark, who leads there and what the last knock said. Time is an argument; the lock is the
//! gate's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::policy::backoff;
use crate::reason::Facts;

/// A dark address that nobody asks for is forgotten after that long; whoever cares knocks each second.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A knock that ended before the server took the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub facts: Facts,
    pub at: Instant,
}

impl Failure {
    /// Too young to knock again: it is told instead.
    fn is_news(&self, now: Instant) -> bool {
        now < self.at + backoff::next_knock(0.0)
    }
}

/// What somebody who wants to dial does.
#[derive(Debug)]
pub(super) enum Approach {
    /// Takes this failure for an answer.
    Known(Failure),
    /// Waits for the leader's knock, then asks again.
    Join(Joined),
    /// Dials for all, under this number.
    Lead(u64),
    /// Dials for itself.
    Dial,
}

/// Waits for the end of somebody else's knock.
#[derive(Debug)]
pub(super) struct Joined(watch::Receiver<()>);

impl Joined {
    /// Nothing is ever sent: the sender's end is the news.
    pub async fn over(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// What a knock tells about its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: it was cancelled, or failed for a reason of our own.
    Unknown,
    /// A server took the socket.
    Answered,
    Unanswered(Failure),
}

/// The addresses that are dark or being dialled; every other one is lit.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<Arc<str>, Address>,
    next_leader: u64,
}

#[derive(Debug, Default)]
struct Address {
    /// Knocks under way.
    dialling: usize,
    light: Light,
}

#[derive(Debug)]
enum Light {
    Lit { answered_at: Option<Instant> },
    Dark { failure: Failure, leader: Option<Leader> },
}

impl Default for Light {
    fn default() -> Self {
        Light::Lit { answered_at: None }
    }
}

/// Dropped when its knock is over or there is news from elsewhere: that wakes all who joined.
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
        let Some(Address { light: Light::Dark { failure, leader }, .. }) = self.known.get_mut(key) else {
            return Approach::Dial;
        };
        if failure.is_news(now) {
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

    /// The leader's knock is over, or was given up.
    pub fn resign(&mut self, key: &str, number: u64) {
        if let Some(Address { light: Light::Dark { leader, .. }, .. }) = self.known.get_mut(key)
            && leader.as_ref().is_some_and(|leader| leader.number == number)
        {
            *leader = None;
        }
    }

    /// A knock begins, unless the address went dark meanwhile and another one leads there.
    pub fn begin(&mut self, key: &Arc<str>, lead: Option<u64>) -> bool {
        let address = self.known.entry(key.clone()).or_default();
        let may_begin = match &address.light {
            Light::Lit { .. } => true,
            Light::Dark { leader, .. } => lead.is_some() && leader.as_ref().map(|l| l.number) == lead,
        };
        address.dialling += usize::from(may_begin);
        may_begin
    }

    /// A knock that began at `begun_at` is over. Tells whether the address is dark by its failure.
    pub fn end(&mut self, key: &str, begun_at: Instant, outcome: Outcome, now: Instant) -> bool {
        let Some(address) = self.known.get_mut(key) else {
            return false;
        };
        address.dialling = address.dialling.saturating_sub(1);
        let darkened = match outcome {
            Outcome::Unknown => false,
            Outcome::Answered => {
                address.light = Light::Lit { answered_at: Some(now) };
                false
            }
            Outcome::Unanswered(failure) => address.light.darken(failure, begun_at),
        };
        self.known.retain(|_, address| address.is_of_interest(now));
        darkened
    }

    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.known.len()
    }
}

impl Light {
    /// Refuses what a slow knock tells late: since it began, another one was answered.
    fn darken(&mut self, failure: Failure, begun_at: Instant) -> bool {
        let leader = match self {
            Light::Lit { answered_at: Some(answered_at) } if *answered_at > begun_at => return false,
            Light::Lit { .. } => None,
            Light::Dark { leader, .. } => leader.take(),
        };
        // A leader on its way goes on; a new channel in place of the old one tells the news to those who joined.
        let leader = leader.map(|leader| Leader::new(leader.number));
        *self = Light::Dark { failure, leader };
        true
    }
}

impl Address {
    fn is_of_interest(&self, now: Instant) -> bool {
        self.dialling > 0
            || match &self.light {
                Light::Lit { .. } => false,
                Light::Dark { failure, leader } => leader.is_some() || now < failure.at + FORGET_AFTER,
            }
    }
}
