//! Tasks by their names: what ended and why, how long one that crashed pauses before it begins again, and who did not
//! end in time. What is to follow the end of a task is its owner's to say.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};

/// A task that crashed (it panicked, or returned unasked) is started again after that long; twice as long each time
/// that it crashes again soon.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// The longest of these pauses, and how long a task must run for them to begin anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often in a row a task has crashed soon after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crashes(u32);

impl Crashes {
    /// How long it pauses before it begins.
    pub fn pause(self) -> Duration {
        match self.0.checked_sub(1) {
            None => Duration::ZERO,
            Some(before) => RESTART_AFTER.saturating_mul(2u32.saturating_pow(before)).min(LONGEST_PAUSE),
        }
    }
}

/// Tasks of one kind. Several may have one name: that of the present one, and of those that it has replaced.
#[derive(Debug)]
pub struct NamedTasks<N, T> {
    tasks: JoinSet<T>,
    started: HashMap<Id, StartedTask<N>>,
}

#[derive(Debug)]
struct StartedTask<N> {
    name: N,
    /// The end of its pause.
    begins: Instant,
    crashes: Crashes,
}

/// A task that is over.
#[derive(Debug)]
pub struct TaskEnd<N, T> {
    pub id: Id,
    pub name: N,
    pub result: Result<T, JoinError>,
    /// For the next start, if nobody has asked it to end.
    pub crashes: Crashes,
}

impl<N, T> TaskEnd<N, T> {
    /// Why it is over.
    pub fn cause(&self) -> String {
        match &self.result {
            Ok(_) => "it returned".to_owned(),
            Err(failure) => failure.to_string(),
        }
    }
}

impl<N, T> Default for NamedTasks<N, T> {
    fn default() -> Self {
        NamedTasks { tasks: JoinSet::new(), started: HashMap::new() }
    }
}

impl<N: Ord, T: Send + 'static> NamedTasks<N, T> {
    /// Starts a task that crashed so often. `work` gets the pause that it is to begin with: only the task itself knows
    /// what may cut that short.
    pub fn start<F>(&mut self, name: N, crashes: Crashes, work: impl FnOnce(Duration) -> F) -> Id
    where
        F: Future<Output = T> + Send + 'static,
    {
        let begins = Instant::now() + crashes.pause();
        let id = self.tasks.spawn(work(crashes.pause())).id();
        self.started.insert(id, StartedTask { name, begins, crashes });
        id
    }

    /// The next one that is over; `None` while there is none. Cancel-safe.
    pub async fn next_end(&mut self) -> Option<TaskEnd<N, T>> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, Ok(result)),
                Err(failure) => (failure.id(), Err(failure)),
            };
            if let Some(StartedTask { name, begins, crashes }) = self.started.remove(&id) {
                let soon = begins.elapsed() < LONGEST_PAUSE;
                let crashes = Crashes(if soon { crashes.0.saturating_add(1) } else { 1 });
                return Some(TaskEnd { id, name, result, crashes });
            }
        }
    }

    /// Waits for all that were told to end. Returns who has not done so in time; these go on.
    pub async fn drain(&mut self, within: Duration, mut over: impl FnMut(TaskEnd<N, T>)) -> Vec<&N> {
        let all = async {
            while let Some(end) = self.next_end().await {
                over(end);
            }
        };
        // In time or not, what is left is named.
        let _ = timeout(within, all).await;
        let mut stuck: Vec<_> = self.started.values().map(|task| &task.name).collect();
        stuck.sort();
        stuck
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    type Tasks = NamedTasks<&'static str, u32>;

    /// Starts a task again each time that it has crashed, after it has run that long. Returns its pauses.
    async fn pauses(runs_for: &[Duration]) -> Vec<Duration> {
        let mut tasks = Tasks::default();
        let (mut crashes, mut pauses) = (Crashes::default(), Vec::new());
        for runs_for in runs_for.iter().copied() {
            let began = Instant::now();
            tasks.start("a", crashes, |pause| async move {
                sleep(pause + runs_for).await;
                panic!("a bug");
            });
            let end = tasks.next_end().await.unwrap();
            pauses.push(began.elapsed() - runs_for);
            crashes = end.crashes;
        }
        pauses
    }

    #[tokio::test(start_paused = true)]
    async fn who_crashes_again_soon_pauses_twice_as_long_up_to_a_minute() {
        assert_eq!(pauses(&[s(0); 9]).await, [0, 1, 2, 4, 8, 16, 32, 60, 60].map(s));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_no_time_that_a_task_has_run() {
        assert_eq!(pauses(&[s(59); 8]).await, [0, 1, 2, 4, 8, 16, 32, 60].map(s));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_run_for_a_minute_begins_anew() {
        assert_eq!(pauses(&[s(0), s(0), s(60), s(0), s(0)]).await, [0, 1, 2, 1, 2].map(s));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_tells_who_and_why() {
        let mut tasks = Tasks::default();
        assert!(tasks.next_end().await.is_none(), "there is no task yet");
        let first = tasks.start("a", Crashes::default(), |_| async { 7 });
        let end = tasks.next_end().await.unwrap();
        assert_eq!((end.id, end.name, end.cause().as_str()), (first, "a", "it returned"));
        assert_eq!(end.result.unwrap(), 7);
        tasks.start("b", Crashes::default(), |_| async { panic!("out of order") });
        let end = tasks.next_end().await.unwrap();
        assert_eq!(end.name, "b");
        assert!(end.cause().contains("out of order"), "{}", end.cause());
        assert!(tasks.next_end().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_replaced_ends_beside_the_one_of_its_name() {
        let mut tasks = Tasks::default();
        let run = |after, result| {
            move |_| async move {
                sleep(after).await;
                result
            }
        };
        let before = tasks.start("a", Crashes::default(), run(s(9), 1));
        let present = tasks.start("a", Crashes::default(), run(s(5), 2));
        let ends = [tasks.next_end().await.unwrap(), tasks.next_end().await.unwrap()];
        assert_eq!(
            ends.map(|end| (end.id, end.name, end.result.unwrap())),
            [(present, "a", 2), (before, "a", 1)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_no_longer_than_it_must_and_names_who_is_stuck() {
        let mut tasks = Tasks::default();
        for (name, after) in [("b", s(100)), ("c", s(1)), ("a", s(100))] {
            tasks.start(name, Crashes::default(), |_| async move {
                sleep(after).await;
                1
            });
        }
        let (mut over, began) = (0, Instant::now());
        assert_eq!(tasks.drain(s(3), |end| over += end.result.unwrap()).await, [&"a", &"b"]);
        assert_eq!((over, began.elapsed()), (1, s(3)));
        assert!(tasks.drain(s(1_000), |end| over += end.result.unwrap()).await.is_empty());
        assert_eq!((over, began.elapsed()), (3, s(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_nobody_waited_for_is_not_lost() {
        let mut tasks = Tasks::default();
        tasks.start("a", Crashes::default(), |_| async { 1 });
        tasks.start("b", Crashes::default(), |_| pending());
        for _ in 0..3 {
            assert!(timeout(Duration::ZERO, pending::<()>()).await.is_err());
        }
        assert_eq!(timeout(s(1), tasks.next_end()).await.unwrap().unwrap().name, "a");
        assert!(timeout(s(1), tasks.next_end()).await.is_err());
    }
}
