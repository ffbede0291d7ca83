//! Who has a password checked waits for its turn: behind others of the same source address, and each source in turn.
//!
//! A wrong guess keeps its source waiting, not the others. So somebody who guesses by many connections is slow, and
//! somebody else with a right password is not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// How long a wrong password keeps the turn of its source, and its sender waiting.
pub(super) const PENALTY: Duration = Duration::from_millis(300);
/// Checks of one source that may wait for their turn; more are told to come again.
const WAITING: usize = 16;
/// Sources that may wait, or serve their penalty.
const MAX_SOURCES: usize = 256;
/// How long one may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The turns of all sources.
#[derive(Debug)]
pub struct GuessTurns {
    /// Has a place for one check. Each source waits for it once at the most, so they take turns.
    check: Arc<Semaphore>,
    sources: Mutex<HashMap<GuessSource, Arc<SourceTurn>>>,
}

#[derive(Debug)]
struct SourceTurn {
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Where a guess comes from: an IPv4 address, or the network of an IPv6 address, of which one customer has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct GuessSource(Option<IpAddr>);

/// The right to one check.
#[derive(Debug)]
pub struct GuessTurn {
    _waiting: OwnedSemaphorePermit,
    source: OwnedSemaphorePermit,
    check: OwnedSemaphorePermit,
}

impl Default for GuessTurns {
    fn default() -> Self {
        GuessTurns { check: Arc::new(Semaphore::new(1)), sources: Mutex::default() }
    }
}

impl GuessTurns {
    /// Waits for a turn; `None` where too many do.
    pub async fn take(&self, from: Option<IpAddr>) -> Option<GuessTurn> {
        let own = self.of(GuessSource::of(from))?;
        let waiting = own.waiting.clone().try_acquire_owned().ok()?;
        let turn = async {
            let source = own.turn.clone().acquire_owned().await.ok()?;
            let check = self.check.clone().acquire_owned().await.ok()?;
            Some(GuessTurn { _waiting: waiting, source, check })
        };
        timeout(PATIENCE, turn).await.ok().flatten()
    }

    fn of(&self, source: GuessSource) -> Option<Arc<SourceTurn>> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = sources.get(&source) {
            return Some(Arc::clone(own));
        }
        // Who waits or serves a penalty has a permit of it.
        sources.retain(|_, own| !own.is_idle());
        if sources.len() >= MAX_SOURCES {
            return None;
        }
        let (turn, waiting) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(WAITING)));
        let own = Arc::new(SourceTurn { turn, waiting });
        sources.insert(source, Arc::clone(&own));
        Some(own)
    }

    #[cfg(test)]
    pub async fn take_the_check(&self) -> OwnedSemaphorePermit {
        self.check.clone().acquire_owned().await.unwrap()
    }
}

impl SourceTurn {
    fn is_idle(&self) -> bool {
        self.waiting.available_permits() == WAITING && self.turn.available_permits() == 1
    }
}

impl GuessTurn {
    /// The check is over. A wrong password costs: as long a pause of all checks as this one took, so that guessing takes
    /// half of a processor at the most; and the rest of the penalty for its own source.
    pub async fn over(self, right: bool, began: Instant) {
        let GuessTurn { _waiting, source, check } = self;
        if right {
            return;
        }
        let pause = began.elapsed();
        sleep(pause).await;
        drop(check);
        sleep(PENALTY.saturating_sub(pause)).await;
        drop(source);
    }
}

impl GuessSource {
    fn of(from: Option<IpAddr>) -> Self {
        const NETWORK: u128 = !0 << 64;
        GuessSource(from.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::from((address.to_bits() & NETWORK).to_be_bytes()),
            address => address,
        }))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| GuessSource::of(Some(text.parse().unwrap())));
            a == b
        };
        assert!(same("192.0.2.1", "192.0.2.1") && same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2") && !same("192.0.2.1", "2001:db8::1"));
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert_ne!(GuessSource::of(None), GuessSource::of(Some([0, 0, 0, 0].into())));
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_bounded_and_forgotten_when_they_are_done() {
        let turns = GuessTurns::default();
        let address = |n: usize| Some(IpAddr::from([10, 0, (n >> 8) as u8, n as u8]));
        let _check = turns.take_the_check().await;
        let mut waiting: Vec<_> = (0..MAX_SOURCES).map(|n| Box::pin(turns.take(address(n)))).collect();
        for turn in &mut waiting {
            assert!(poll_immediate(turn).await.is_none());
        }
        assert!(turns.take(address(MAX_SOURCES)).await.is_none());
        drop(waiting);
        assert!(poll_immediate(Box::pin(turns.take(address(MAX_SOURCES)))).await.is_none());
        assert_eq!(turns.sources.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_password_costs_its_own_source_and_a_right_one_nothing() {
        let turns = GuessTurns::default();
        let [here, there] = [Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2]))];
        let turn = turns.take(here).await.unwrap();
        let mut over = Box::pin(turn.over(false, Instant::now()));
        assert!(poll_immediate(&mut over).await.is_none());
        let asked = tokio::time::Instant::now();
        let mut own = Box::pin(turns.take(here));
        let other = tokio::select! {
            biased;
            () = &mut over => panic!("the penalty is over"),
            _ = &mut own => panic!("it had no penalty"),
            turn = turns.take(there) => turn.unwrap(),
        };
        assert!(asked.elapsed() < PENALTY / 2, "{:?}", asked.elapsed());
        other.over(true, Instant::now()).await;
        let (_, own) = tokio::join!(over, own);
        assert!(own.is_some() && asked.elapsed() >= PENALTY / 2, "{:?}", asked.elapsed());
    }
}
