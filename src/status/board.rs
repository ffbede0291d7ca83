//! The board: one slot a target, written by its supervisor, and one a pool, written by the pool. All others only read:
//! what leaves the board is a receiver or a view of plain values.
//!
//! The board owns the senders, so that a task that panics cannot freeze what people see.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::watch;

use super::history::{History, Observation, PoolCost, UptimeSpan, WINDOWS};
use super::pool::PoolStatus;
use super::{Moment, TargetStatus, View};
use crate::target::TargetName;

/// A target's place on the board.
pub type Slot = Arc<watch::Sender<TargetStatus>>;

/// A pool's place on the board. It changes with every query, so nobody is woken by it.
#[derive(Debug)]
pub struct PoolSlot(Mutex<PoolStatus>);

/// A pool on the board, for as long as this is held.
#[derive(Debug)]
pub struct ShownPool {
    board: Board,
    target: TargetName,
    slot: Arc<PoolSlot>,
}

/// All targets, sorted by name, and their pools.
#[derive(Debug, Clone, Default)]
pub struct Board {
    targets: Arc<RwLock<Arc<Vec<Slot>>>>,
    pools: Arc<RwLock<HashMap<TargetName, Arc<PoolSlot>>>>,
    history: History,
}

impl PoolSlot {
    pub fn new(status: PoolStatus) -> Self {
        PoolSlot(Mutex::new(status))
    }

    /// Changes it; whoever looks sees all of the change or nothing. It must not take long: a scrape waits.
    pub fn change(&self, change: impl FnOnce(&mut PoolStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// As it is now.
    fn read(&self) -> PoolStatus {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Board {
    /// Shows these targets from now on.
    pub fn replace(&self, mut slots: Vec<Slot>) {
        slots.sort_by(|a, b| a.borrow().name.cmp(&b.borrow().name));
        *self.targets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(slots);
    }

    /// Shows a pool beside the target of that name, in the place of the one that was there.
    #[must_use]
    pub fn show_pool(&self, target: TargetName, slot: Arc<PoolSlot>) -> ShownPool {
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.insert(target.clone(), Arc::clone(&slot));
        ShownPool { board: self.clone(), target, slot }
    }

    /// What was.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What was of a target in each window, up to the view's moment.
    pub fn uptime(&self, view: &View<'_>) -> [UptimeSpan; WINDOWS.len()] {
        let TargetStatus { name, due, .. } = view.status;
        self.history.look(|memory| memory.uptime(name.as_str(), view.now, *due))
    }

    /// Remembers what has changed at that step of a target's task.
    pub fn observe(&self, name: &TargetName, seen: &Observation<'_>, now: Moment) {
        let pool = self.pools.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        self.history.observe(name, seen, now, pool.map(|pool| PoolCost::of(&pool.read())));
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// What the target of that name does from now on.
    pub fn subscribe(&self, name: &str) -> Option<watch::Receiver<TargetStatus>> {
        self.slot(name).map(|slot| slot.subscribe())
    }

    /// All targets as they are at `now`, held still while `read` looks at them. It must not take long: the writers wait.
    pub fn look<T>(&self, now: Moment, read: impl FnOnce(&[View<'_>]) -> T) -> T {
        self.look_at(&self.slots(), now, read)
    }

    /// The same of one target.
    pub fn look_at_one<T>(&self, name: &str, now: Moment, read: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        let slot = self.slot(name)?;
        self.look_at(&[slot], now, |views| views.first().map(read))
    }

    /// The targets whose loop is overdue.
    pub fn overdue(&self, now: Moment) -> Vec<String> {
        let late = |slot: &Slot| {
            let status = slot.borrow();
            View::new(&status, now).stalled().then(|| status.name.to_string())
        };
        self.slots().iter().filter_map(late).collect()
    }

    /// The slots as they are now; a reload replaces the list, never changes it.
    fn slots(&self) -> Arc<Vec<Slot>> {
        self.targets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn slot(&self, name: &str) -> Option<Slot> {
        self.slots().iter().find(|slot| slot.borrow().name.as_str() == name).cloned()
    }

    /// Each pool is read once, so that all that is said of it is of one moment.
    fn look_at<T>(&self, slots: &[Slot], now: Moment, read: impl FnOnce(&[View<'_>]) -> T) -> T {
        let held: Vec<_> = slots.iter().map(|slot| slot.borrow()).collect();
        let pools: Vec<_> = {
            let shown = self.pools.read().unwrap_or_else(PoisonError::into_inner);
            held.iter().map(|status| shown.get(&status.name).map(|pool| pool.read())).collect()
        };
        let both = held.iter().zip(&pools);
        let views: Vec<_> =
            both.map(|(status, pool)| View::new(status, now).with_pool(pool.as_ref())).collect();
        read(&views)
    }
}

/// It is shown no more, unless another one is in its place already.
impl Drop for ShownPool {
    fn drop(&mut self) {
        let mut pools = self.board.pools.write().unwrap_or_else(PoisonError::into_inner);
        if pools.get(&self.target).is_some_and(|shown| Arc::ptr_eq(shown, &self.slot)) {
            pools.remove(&self.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::status::pool::ClientState::{Active, Idle, Waiting};
    use crate::status::pool::{ClientState, ServerState};
    use crate::status::sample;

    fn slot() -> Arc<PoolSlot> {
        Arc::new(PoolSlot::new(PoolStatus::new(&sample::pool())))
    }

    /// A board with one target, which is named.
    fn board(name: &str) -> (Board, TargetName) {
        let board = Board::default();
        let status = sample::up(name, sample::moment());
        let name = status.name.clone();
        board.replace(vec![Arc::new(watch::Sender::new(status))]);
        (board, name)
    }

    fn pools(board: &Board) -> Vec<Option<PoolStatus>> {
        board.look(sample::moment(), |views| views.iter().map(|view| view.pool.cloned()).collect())
    }

    #[test]
    fn a_pool_is_seen_as_it_was_at_one_moment_whatever_it_does_meanwhile() {
        let (board, name) = board("one");
        let slot = slot();
        let _shown = board.show_pool(name, Arc::clone(&slot));
        let clients = 5;
        slot.change(|pool| (0..clients).for_each(|_| pool.client_moved(None, Some(Idle))));
        let done = std::sync::atomic::AtomicBool::new(false);
        let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
        let seen = thread::scope(|scope| {
            scope.spawn(|| {
                let mut servers = 0;
                while !is_done() {
                    for (from, to) in [(Idle, Waiting), (Waiting, Active), (Active, Idle)] {
                        slot.change(|pool| pool.client_moved(Some(from), Some(to)));
                    }
                    servers = 3 - servers;
                    slot.change(|pool| {
                        pool.set_servers([servers, 3 - servers, 0, 0]);
                        pool.checked_out(Duration::from_micros(1));
                        pool.answered(Duration::from_secs(99));
                    });
                }
            });
            let looks: Vec<_> = (0..20_000).flat_map(|_| pools(&board)).flatten().collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            looks
        });
        let mut last = 0;
        for pool in &seen {
            assert_eq!(ClientState::ALL.map(|state| pool.clients(state)).iter().sum::<u64>(), clients);
            let servers = ServerState::ALL.map(|state| pool.servers(state)).iter().sum::<u64>();
            assert!(servers == 3 || pool.checkouts == 0, "{pool:?}");
            let counts = [pool.checkouts, pool.waits.count, pool.waits.buckets[0], pool.queries.count];
            assert_eq!(counts, [pool.checkouts; 4]);
            assert!(pool.checkouts >= last);
            last = pool.checkouts;
        }
        assert!(last > 0, "the writer has written while the board was looked at");
    }

    #[test]
    fn a_view_stays_as_it_was_read() {
        let (board, name) = board("one");
        let slot = slot();
        let _shown = board.show_pool(name, Arc::clone(&slot));
        board.look(sample::moment(), |views| {
            let before = views[0].pool.cloned();
            slot.change(|pool| pool.checked_out(Duration::ZERO));
            assert_eq!(views[0].pool.cloned(), before);
        });
        assert_eq!(pools(&board)[0].as_ref().map(|pool| pool.checkouts), Some(1));
    }

    #[test]
    fn a_pool_is_shown_beside_its_target_until_it_ends_or_another_takes_its_place() {
        let (board, name) = board("one");
        let other = TargetName::new("two").unwrap();
        let elsewhere = board.show_pool(other, slot());
        assert_eq!(pools(&board), [None], "the pool of another target");
        let size = |board: &Board| pools(board)[0].as_ref().map(|pool| pool.size);
        let (first, second) = (slot(), slot());
        first.change(|pool| pool.size = 1);
        second.change(|pool| pool.size = 2);
        let first = board.show_pool(name.clone(), first);
        assert_eq!(size(&board), Some(1));
        let second = board.show_pool(name, second);
        assert_eq!(size(&board), Some(2));
        drop((first, elsewhere));
        assert_eq!(size(&board), Some(2), "the end of the one before changes nothing");
        drop(second);
        assert_eq!(size(&board), None);
        assert!(board.pools.read().unwrap().is_empty());
    }

    #[test]
    fn one_target_is_seen_with_its_pool_as_all_are() {
        let (board, name) = board("one");
        let _shown = board.show_pool(name, slot());
        let now = sample::moment();
        let seen = board.look_at_one("one", now, |view| (view.status.name.to_string(), view.pool.cloned()));
        assert_eq!(seen, Some(("one".to_owned(), pools(&board)[0].clone())));
        assert_eq!(board.look_at_one("two", now, |_| ()), None);
    }
}
