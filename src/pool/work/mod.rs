//! What takes time: opens, tests, resets and closes sessions, watches the idle ones and the target, and tells the driver
//! what came of it.

mod cancel;
mod cleanup;
mod health;
mod open;
mod opening_log;
#[cfg(test)]
mod tests;

use std::future::{pending, poll_fn};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout};
use tracing::{debug, error, warn};

use self::cancel::cancel;
use self::cleanup::cleanup;
use self::open::{New, Opened, open};
pub use self::opening_log::OpeningLog;
use super::core::{Health, PoolEvent, PoolPhase, SessionId, TestOutcome};
use super::driver::Work;
use super::registry::Cancelling;
use super::server::Server;
use super::session_slot::SessionSlot;
use super::shared::{PoolStage, Shared};
use crate::reason::{Facts, remedy, table};
use crate::status::TargetStatus;
use crate::status::board::Board;
use crate::supervisor::Requests;
use crate::supervisor::gate::{Gate, Lane};

/// What the task works with.
pub struct Task {
    pub shared: Arc<Shared>,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    pub work: mpsc::UnboundedReceiver<Work>,
    pub closed: mpsc::UnboundedReceiver<SessionId>,
    pub log: OpeningLog,
}

/// What came of work.
enum WorkDone {
    Opened(Opened),
    Tested(Box<Server>, TestOutcome),
    Nothing,
}

impl Task {
    /// Until the pool has ended.
    pub async fn run(mut self) {
        let mut running = JoinSet::new();
        let mut target = None;
        loop {
            if target.is_none() {
                target = self.watch_target();
            }
            let due = self.shared.driver.sleeps();
            let ended = self.shared.driver.phase() == PoolPhase::Ended;
            let over = *self.shared.stage().borrow() == PoolStage::Over;
            if ended || over {
                break;
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                Some(work) = self.work.recv() => self.begin(work, &mut running),
                Some(session) = self.closed.recv() => shared.driver.tell(PoolEvent::Closed(session)),
                Some(done) = running.join_next(), if !running.is_empty() => self.done(done),
                count = poll_fn(|cx| shared.driver.poll_ended(cx)) => {
                    debug!(target = %shared.name, count, "idle sessions have ended");
                }
                () = changed(&mut target) => self.look(&mut target),
                () = shared.driver.is_earlier() => {}
                () = sleep_until(due.into()) => shared.driver.tell(PoolEvent::Timer),
            }
        }
        self.shared.driver.clear();
    }

    /// The target's snapshot, once there is one.
    fn watch_target(&mut self) -> Option<watch::Receiver<TargetStatus>> {
        let mut target = self.board.subscribe(self.shared.name.as_str())?;
        self.follow(&mut target);
        Some(target)
    }

    fn look(&mut self, target: &mut Option<watch::Receiver<TargetStatus>>) {
        if let Some(target) = target {
            self.follow(target);
        }
    }

    /// The words first: what follows may be told with them.
    fn follow(&mut self, target: &mut watch::Receiver<TargetStatus>) {
        let health = {
            let status = target.borrow_and_update();
            self.shared.with_failures(|failures| failures.follow(status.last_failure.as_ref()));
            Health::of(&status)
        };
        if self.shared.driver.follow(health) {
            self.log.over(&self.shared.name, "the pool can open sessions again: a login has succeeded");
        }
    }

    fn begin(&self, work: Work, running: &mut JoinSet<WorkDone>) {
        let shared = Arc::clone(&self.shared);
        match work {
            Work::Open { slot, urgent } => {
                let gate = self.gate.clone();
                let lane = if urgent { Lane::Reconnect } else { Lane::Refresh };
                running.spawn(open_one(shared, gate, lane, slot));
            }
            Work::Test(server) => _ = running.spawn(test(shared, server)),
            Work::Wake => _ = self.requests.want(shared.name.as_str()),
            Work::CutSilent(longer_than) => {
                let cut = shared.registry.cut_silent(longer_than, tokio::time::Instant::now());
                if cut > 0 {
                    warn!(target = %shared.name, clients = cut, "queries are cut off: the target is down and their servers are silent");
                }
            }
            Work::Reset { server, left, reset, patient } => {
                running.spawn(async move {
                    cleanup(shared, server, left, reset, patient).await;
                    WorkDone::Nothing
                });
            }
            Work::Close { server, hangs } => {
                running.spawn(async move {
                    if hangs {
                        let cancelling = Cancelling::new(&server.backend);
                        tokio::join!(cancel(&shared, cancelling), server.close());
                    } else {
                        server.close().await;
                    }
                    WorkDone::Nothing
                });
            }
            Work::Cancel { cancelling, done } => {
                running.spawn(async move {
                    cancel(&shared, cancelling).await;
                    drop(done);
                    WorkDone::Nothing
                });
            }
        }
    }

    fn done(&mut self, done: Result<WorkDone, JoinError>) {
        let driver = &self.shared.driver;
        match done {
            Ok(WorkDone::Nothing) => {}
            Ok(WorkDone::Tested(server, outcome)) => {
                if outcome != TestOutcome::Answered {
                    debug!(target = %self.shared.name, ?outcome, "a session did not answer its test");
                }
                driver.tested(server, outcome);
            }
            Ok(WorkDone::Opened(Opened { generation, outcome })) => match outcome {
                Ok(New { server, due }) => {
                    if driver.opened(server, generation, due) {
                        self.log.over(&self.shared.name, "the pool opens sessions again");
                    }
                }
                Err((slot, facts)) => self.failed(slot.id(), generation, &facts),
            },
            // What it had is dropped, and counted.
            Err(failure) => {
                error!(target = %self.shared.name, %failure, "a task of the pool has crashed; please report this");
            }
        }
    }

    fn failed(&mut self, session: SessionId, generation: u64, facts: &Facts) {
        let diagnosis = table::diagnose(facts);
        let (reason, remedy) = (diagnosis.reason, remedy(diagnosis.reason, facts));
        self.shared.with_failures(|failures| failures.note_opening(reason, remedy, facts.to_string()));
        let is_news = self.shared.driver.failed(session, generation, diagnosis);
        self.log.failed(&self.shared.name, is_news, reason, facts, remedy);
    }
}

async fn changed(target: &mut Option<watch::Receiver<TargetStatus>>) {
    // Where the target is gone from the list, this pool will be, too.
    let gone = match target {
        Some(target) => target.changed().await.is_err(),
        None => true,
    };
    if gone {
        pending().await
    }
}

async fn open_one(shared: Arc<Shared>, gate: Gate, lane: Lane, slot: SessionSlot) -> WorkDone {
    WorkDone::Opened(open(&shared, &gate, lane, slot).await)
}

async fn test(shared: Arc<Shared>, mut server: Box<Server>) -> WorkDone {
    let limit = shared.config().target.tuning.ping.timeout;
    let outcome = match timeout(limit, server.ping()).await {
        Ok(true) => TestOutcome::Answered,
        Ok(false) => TestOutcome::Ended,
        Err(_) => TestOutcome::Silent,
    };
    WorkDone::Tested(server, outcome)
}
