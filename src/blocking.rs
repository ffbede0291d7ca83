//! Work that may wait for a disk or a resolver, on threads of its own; what hangs hangs once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// The work has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a thread panicked; this is a bug in pgtether, please report the log")
    }
}

/// Calls that block, so many at once: one can't be ended from outside, so those that hang (a resolver, a file on a dead
/// network disk) must not use up all threads.
#[derive(Debug, Clone)]
pub struct BlockingCalls {
    permits: Arc<Semaphore>,
    /// By key, where calls are under way, or wait.
    turns: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl BlockingCalls {
    pub fn new(at_once: usize) -> Self {
        BlockingCalls { permits: Arc::new(Semaphore::new(at_once)), turns: Arc::default() }
    }

    /// Calls with one key wait for each other: what hangs, hangs once, and is not asked again and again until there is
    /// no room for others.
    pub async fn run_for<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Crashed> {
        let turn = self.turn(key).acquire_owned().await.map_err(|_| Crashed)?;
        let call = move || {
            let _turn = turn;
            work()
        };
        self.run(call).await
    }

    fn turn(&self, key: &str) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // A turn that is taken or waited for has another owner than this map.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Crashed> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Crashed)?;
        let call = move || {
            // Given back when the call really ends, not when somebody stops waiting for it.
            let _permit = permit;
            work()
        };
        spawn_blocking(call).await.map_err(|_| Crashed)
    }
}

/// Calls that block, one after the other. Waiting for one may be given up; it goes on, for nobody can end it, and the
/// next one begins only when it has ended.
#[derive(Debug)]
pub struct OneCall<T>(Option<JoinHandle<T>>);

impl<T> Default for OneCall<T> {
    fn default() -> Self {
        OneCall(None)
    }
}

impl<T: Send + 'static> OneCall<T> {
    /// Begins once the one before has ended, if nobody waited for that.
    pub async fn run(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Crashed> {
        self.end_of_last().await;
        let done = self.0.insert(spawn_blocking(work)).await;
        self.0 = None;
        done.map_err(|_| Crashed)
    }

    /// Waits for the end of one that was given up; for ever where there is none.
    pub async fn over(&mut self) {
        if self.0.is_none() {
            std::future::pending::<()>().await;
        }
        self.end_of_last().await;
    }

    async fn end_of_last(&mut self) {
        if let Some(last) = &mut self.0 {
            // What it read may be old by now.
            let _ = last.await;
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_any_more_keeps_its_room_until_it_ends() {
        let calls = BlockingCalls::new(1);
        let (end, ended) = mpsc::channel::<()>();
        let hung = timeout(Duration::from_millis(10), calls.run(move || ended.recv().is_ok())).await;
        assert!(hung.is_err());
        assert!(timeout(Duration::from_millis(10), calls.run(|| ())).await.is_err(), "there is no room");
        end.send(()).unwrap();
        assert_eq!(calls.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_hangs_for_one_target_takes_one_room_however_often_it_is_asked() {
        let calls = BlockingCalls::new(2);
        let [hung, other] = ["hung", "other"];
        let (end, ended) = mpsc::channel::<()>();
        let hang = calls.run_for(hung, move || ended.recv().is_ok());
        assert!(timeout(Duration::from_millis(10), hang).await.is_err());
        for _ in 0..5 {
            let again = timeout(Duration::from_millis(10), calls.run_for(hung, || ())).await;
            assert!(again.is_err(), "it waits for the first");
            assert_eq!(calls.run_for(other, || 7).await, Ok(7));
        }
        end.send(()).unwrap();
        assert_eq!(calls.run_for(hung, || 7).await, Ok(7));
        assert!(calls.turns.lock().unwrap().len() <= 1, "turns that nobody takes are forgotten");
    }

    #[tokio::test]
    async fn what_hangs_hangs_once_and_its_end_is_noticed() {
        const SHORT: Duration = Duration::from_millis(10);
        let mut reading = OneCall::default();
        assert!(timeout(SHORT, reading.over()).await.is_err(), "nothing was given up");
        let (end, ended) = mpsc::channel::<()>();
        let hung = timeout(SHORT, reading.run(move || ended.recv().map_or(1, |()| 2)));
        assert!(hung.await.is_err());
        let (begun, begins) = mpsc::channel();
        for _ in 0..3 {
            let begun = begun.clone();
            let again = timeout(SHORT, reading.run(move || begun.send(()).map_or(3, |()| 4)));
            assert!(again.await.is_err(), "it waits for the first");
        }
        assert!(begins.try_recv().is_err(), "none has begun");
        end.send(()).unwrap();
        reading.over().await;
        assert_eq!(reading.run(|| 5).await.unwrap(), 5);
    }
}
