//! Reads that may wait for a disk: on a thread, one after the other, so that what hangs hangs once.

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// A thread's work, or none. Waiting for it may be given up; the work goes on, for nobody can end it.
#[derive(Debug)]
pub struct Reading<T>(Option<JoinHandle<T>>);

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Reading(None)
    }
}

impl<T: Send + 'static> Reading<T> {
    /// Begins once the one before has ended, if nobody waited for that.
    pub async fn run(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        self.end_of_last().await;
        let done = self.0.insert(spawn_blocking(work)).await;
        self.0 = None;
        done
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
    async fn what_hangs_hangs_once_and_its_end_is_noticed() {
        const SHORT: Duration = Duration::from_millis(10);
        let mut reading = Reading::default();
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
