//! One change of a target's state, and what the state before it cost.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::uptime::UptimeSpan;
use crate::reason::Reason;
use crate::status::State;
use crate::status::pool::{CheckoutFailure, ClientState, PoolStatus};

/// The characters of a detail that are kept, at the most.
const DETAIL: usize = 400;

/// A target went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// By the wall clock, as it was set then.
    pub at: SystemTime,
    pub from: State,
    pub to: State,
    /// Why it is in the new state; none where that is up, or asleep.
    pub reason: Option<Reason>,
    /// What was seen of that reason: one line, without secrets.
    pub detail: Option<Arc<str>>,
    /// How long the state before had lasted, by the monotonic clock.
    pub lasted: Duration,
    /// Why the target was in the state before.
    pub reasons: ReasonSet,
    /// What the pool's clients met with meanwhile; none where there was no pool.
    pub cost: Option<PoolCost>,
    /// How that time is counted in the target's uptime: a state may have moments that are not told of.
    pub counted: UptimeSpan,
}

impl StateChange {
    /// A detail as it is kept.
    pub fn detail(text: &str) -> Arc<str> {
        match text.char_indices().nth(DETAIL) {
            Some((end, _)) => format!("{}…", &text[..end]).into(),
            None => text.into(),
        }
    }
}

/// Some of all reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReasonSet(u64);

impl ReasonSet {
    pub fn add(&mut self, reason: Reason) {
        self.0 |= 1 << (reason as u64);
    }

    pub fn has(self, reason: Reason) -> bool {
        self.0 & (1 << (reason as u64)) != 0
    }

    /// In the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.has(*reason))
    }
}

impl FromIterator<Reason> for ReasonSet {
    fn from_iter<T: IntoIterator<Item = Reason>>(reasons: T) -> Self {
        let mut set = ReasonSet::default();
        reasons.into_iter().for_each(|reason| set.add(reason));
        set
    }
}

const _: () = assert!(Reason::COUNT <= 64, "a set of reasons has a bit for each");

/// Clients of a pool that did not get what they asked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolCost {
    /// They waited for a session for more than 0.1 s, or still do.
    pub waited: u64,
    /// They were told that there is no session for them.
    pub refused: u64,
    /// Their session was lost while they had it.
    pub disconnected: u64,
}

impl PoolCost {
    /// What a pool has counted since its start, with those that wait now.
    pub fn of(pool: &PoolStatus) -> Self {
        PoolCost {
            waited: pool.waited_long() + pool.clients(ClientState::Waiting),
            refused: CheckoutFailure::ALL.into_iter().map(|why| pool.checkout_failures(why)).sum(),
            disconnected: pool.disconnects,
        }
    }

    /// What came on top of `earlier`; a pool that has begun anew meanwhile has counted from 0.
    pub fn since(self, earlier: Self) -> Self {
        PoolCost {
            waited: self.waited.saturating_sub(earlier.waited),
            refused: self.refused.saturating_sub(earlier.refused),
            disconnected: self.disconnected.saturating_sub(earlier.disconnected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_set_has_what_was_added_and_each_reason_fits() {
        let mut set = ReasonSet::default();
        assert_eq!(set.iter().count(), 0);
        set.add(Reason::Tls);
        set.add(Reason::Dns);
        set.add(Reason::Tls);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Reason::Dns, Reason::Tls]);
        let all: ReasonSet = Reason::ALL.iter().copied().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), Reason::ALL);
    }

    #[test]
    fn who_waits_while_a_state_ends_is_counted_in_that_state_and_not_again_in_the_next() {
        let mut pool = PoolStatus::new(&sample::pool());
        let begin = PoolCost::of(&pool);
        pool.client_moved(None, Some(ClientState::Waiting));
        pool.client_moved(None, Some(ClientState::Waiting));
        pool.checked_out(Duration::from_millis(100));
        pool.checkout_failed(CheckoutFailure::Down);
        pool.disconnects += 3;
        let outage = PoolCost::of(&pool);
        assert_eq!(outage.since(begin), PoolCost { waited: 2, refused: 1, disconnected: 3 });
        pool.client_moved(Some(ClientState::Waiting), Some(ClientState::Active));
        pool.client_moved(Some(ClientState::Waiting), Some(ClientState::Active));
        pool.checked_out(Duration::from_secs(100));
        pool.checked_out(Duration::from_millis(101));
        assert_eq!(PoolCost::of(&pool).since(outage), PoolCost::default());
        assert_eq!(PoolCost::default().since(outage), PoolCost::default(), "a pool that began anew");
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let long = "é".repeat(DETAIL);
        for (text, kept) in
            [("so what", "so what"), (&long, &long), (&format!("{long}é"), &format!("{long}…"))]
        {
            assert_eq!(&*StateChange::detail(text), kept);
        }
    }
}
