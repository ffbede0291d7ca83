//! Calls that block, off the runtime's thread and bounded in number: a call can't be ended from outside, so those
//! that hang (a resolver, a file on a dead network disk) must not use up all threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::reason::Cause;
use crate::target::TargetName;

/// Room for so many calls at once.
#[derive(Debug, Clone)]
pub struct Blocking {
    room: Arc<Semaphore>,
    /// Whose calls are under way, or wait.
    turns: Arc<Mutex<HashMap<TargetName, Arc<Semaphore>>>>,
}

impl Blocking {
    pub fn new(at_once: usize) -> Self {
        Blocking { room: Arc::new(Semaphore::new(at_once)), turns: Arc::default() }
    }

    /// Calls for one target wait for each other: what hangs, hangs once, and is not asked again and again until
    /// there is no room for other targets.
    pub async fn run_for<T: Send + 'static>(
        &self,
        target: &TargetName,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cause> {
        let turn = self.turn(target).acquire_owned().await.map_err(|_| Cause::Internal)?;
        let call = move || {
            let _turn = turn;
            work()
        };
        self.run(call).await
    }

    fn turn(&self, target: &TargetName) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // A turn that is taken or waited for has another owner than this map.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(target.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cause> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Cause::Internal)?;
        let call = move || {
            // Given back when the call really ends, not when somebody stops waiting for it.
            let _room = room;
            work()
        };
        spawn_blocking(call).await.map_err(|_| Cause::Internal)
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
        let calls = Blocking::new(1);
        let (end, ended) = mpsc::channel::<()>();
        let hung = timeout(Duration::from_millis(10), calls.run(move || ended.recv().is_ok())).await;
        assert!(hung.is_err());
        assert!(timeout(Duration::from_millis(10), calls.run(|| ())).await.is_err(), "there is no room");
        end.send(()).unwrap();
        assert_eq!(calls.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_hangs_for_one_target_takes_one_room_however_often_it_is_asked() {
        let calls = Blocking::new(2);
        let [hung, other] = ["hung", "other"].map(|name| TargetName::new(name).unwrap());
        let (end, ended) = mpsc::channel::<()>();
        let hang = calls.run_for(&hung, move || ended.recv().is_ok());
        assert!(timeout(Duration::from_millis(10), hang).await.is_err());
        for _ in 0..5 {
            let again = timeout(Duration::from_millis(10), calls.run_for(&hung, || ())).await;
            assert!(again.is_err(), "it waits for the first");
            assert_eq!(calls.run_for(&other, || 7).await, Ok(7));
        }
        end.send(()).unwrap();
        assert_eq!(calls.run_for(&hung, || 7).await, Ok(7));
        assert!(calls.turns.lock().unwrap().len() <= 1, "turns that nobody takes are forgotten");
    }
}
