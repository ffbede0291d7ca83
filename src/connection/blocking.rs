//! Calls that block, off the runtime's thread and bounded in number: a call can't be ended from outside, so those
//! that hang (a resolver, a file on a dead network disk) must not use up all threads.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::reason::Cause;

/// Room for so many calls at once.
#[derive(Debug, Clone)]
pub struct Blocking(Arc<Semaphore>);

impl Blocking {
    pub fn new(at_once: usize) -> Self {
        Blocking(Arc::new(Semaphore::new(at_once)))
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cause> {
        let room = Arc::clone(&self.0).acquire_owned().await.map_err(|_| Cause::Internal)?;
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
}
