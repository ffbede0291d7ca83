//! Polls at a steady pace, on a thread that does nothing else, and remembers how long each answer took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::ask;
use crate::echo::Echo;

/// What is asked, and which answers are as they should be.
#[derive(Clone, Copy)]
pub struct Question {
    pub to: SocketAddr,
    pub path: &'static str,
    pub good: fn(&ask::Timed) -> bool,
}

/// All answers to one question.
#[derive(Debug, Default)]
pub struct Answers {
    pub times: Vec<Duration>,
    /// Requests that failed, and answers that were not as they should be, the first ones told.
    pub bad: Vec<String>,
    pub bad_count: u64,
}

/// Runs until it is asked for what it saw.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Answers>>,
    echo: Echo,
}

/// What a [`Watch`] saw: the answers in the order of the questions, and the echo's times.
pub struct Seen {
    pub answers: Vec<Answers>,
    pub echo: Vec<Duration>,
}

impl Watch {
    /// How often everything is asked.
    pub const PACE: Duration = Duration::from_millis(20);

    /// Asks everything every 20 ms, an echo beside it, each question on a connection of its own.
    pub fn start(questions: &[Question]) -> Watch {
        let echo = Echo::start();
        let mut all = questions.to_vec();
        all.push(Question { to: echo.address(), path: "/", good: |answer| answer.status == 200 });
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let count = all.len() as u32;
                let polls = all.into_iter().zip(0..).map(|(question, place)| {
                    // Beside each other, but not in the same moment: a request that waits for another one's is not late.
                    let offset = Self::PACE * place / count;
                    tokio::spawn(poll(question, offset, told.clone()))
                });
                let polls: Vec<_> = polls.collect();
                let mut seen = Vec::new();
                for poll in polls {
                    seen.push(poll.await.unwrap());
                }
                seen
            })
        });
        Watch { stop, thread, echo }
    }

    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = self.thread.join().unwrap();
        let echo = answers.pop().unwrap().times;
        Seen { answers, echo }
    }
}

impl Question {
    /// `/metrics`, which answers 200 whatever the databases do.
    pub fn metrics(to: SocketAddr) -> Question {
        Question { to, path: "/metrics", good: |answer| answer.status == 200 }
    }

    /// `/health`, which says 503 where a database is down.
    pub fn health(to: SocketAddr) -> Question {
        Question { to, path: "/health", good: |answer| matches!(answer.status, 200 | 503) }
    }
}

async fn poll(question: Question, offset: Duration, stop: Arc<AtomicBool>) -> Answers {
    const TOLD: usize = 3;
    let mut seen = Answers::default();
    let mut ticks = interval_at(Instant::now() + offset, Watch::PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let problem = match ask::get(question.to, question.path).await {
            Ok(answer) => {
                seen.times.push(answer.took);
                if (question.good)(&answer) {
                    continue;
                }
                format!(
                    "{}: {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
                )
            }
            Err(problem) => problem,
        };
        seen.bad_count += 1;
        if seen.bad.len() < TOLD {
            let at = jiff::Timestamp::try_from(SystemTime::now()).unwrap();
            seen.bad.push(format!("{at} {}: {problem}", question.path));
        }
    }
    for problem in &seen.bad {
        eprintln!("         {problem}");
    }
    seen
}
