//! The keeper of one pool: opens sessions when they are needed and the line is up, watches, pings and replaces the idle
//! ones, and sends clients away who cannot be served.

mod opening;
mod sight;
mod upkeep;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

use self::opening::Trouble;
pub use self::sight::Prospect;
use super::cancel::cancel;
use super::link::Left;
use super::ramp::Ramp;
use super::registry::Cancelling;
use super::server::Server;
use super::shared::{Shared, Terms};
use super::wash::wash;
use crate::reason::Facts;
use crate::status::TargetStatus;
use crate::status::board::Board;
use crate::supervisor::Requests;
use crate::supervisor::gate::Gate;
use crate::target::Target;

/// How often it looks at everything while clients wait.
const SWEEP: Duration = Duration::from_millis(100);
/// And while none does.
const ROUND: Duration = Duration::from_secs(1);

/// What is done for a session that no client has, beside everything else.
pub enum Chore {
    Close(Server),
    /// Close one that hangs: it hears of that, and that nobody waits for its answer, when it goes on.
    GiveUp(Server),
    /// See [`wash`].
    Wash {
        server: Server,
        left: Left,
        reset: bool,
        patient: bool,
    },
    /// Whoever asked for it hears of its end: `done` is dropped.
    Cancel {
        cancelling: Cancelling,
        done: oneshot::Sender<()>,
    },
}

/// How far the end of a pool has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Open,
    /// Clients leave at the end of their transactions.
    Leaving,
    /// All is dropped.
    Over,
}

/// What the keeper works with.
pub struct Keeper {
    pub shared: Arc<Shared>,
    pub gate: Gate,
    pub board: Board,
    pub requests: Requests,
    pub terms: watch::Receiver<Arc<Terms>>,
    pub chores: mpsc::UnboundedReceiver<Chore>,
    pub stage: watch::Receiver<Stage>,
}

/// What it keeps in mind.
struct Mind {
    keeper: Keeper,
    target: Option<watch::Receiver<TargetStatus>>,
    work: JoinSet<Done>,
    ramp: Ramp,
    /// Sessions being opened.
    opening: usize,
    /// One of them replaces an old one.
    replacing: bool,
    /// Sessions being closed: their places are not free yet.
    closing: usize,
    /// Set once the last client of a pool that ends has left.
    closing_until: Option<Instant>,
    trouble: Option<Trouble>,
    was_live: bool,
}

enum Done {
    Opened { opened: Result<Server, Facts>, target: Arc<Target>, replaces: bool },
    Closed,
    Chore,
}

impl Keeper {
    /// Until the pool has ended.
    pub async fn run(self) {
        let mut mind = Mind {
            keeper: self,
            target: None,
            work: JoinSet::new(),
            ramp: Ramp::default(),
            opening: 0,
            replacing: false,
            closing: 0,
            closing_until: None,
            trouble: None,
            was_live: false,
        };
        while let Some(next) = mind.step(Instant::now()) {
            mind.wait(next).await;
        }
        mind.keeper.shared.stock.take_where(|_| true);
    }
}

impl Mind {
    /// Until something happens, or `next`.
    async fn wait(&mut self, next: Instant) {
        let keeper = &mut self.keeper;
        let shared = Arc::clone(&keeper.shared);
        let changed = async {
            match &mut self.target {
                // The target is gone from the list: this pool will be, too.
                Some(target) => {
                    if target.changed().await.is_err() {
                        std::future::pending().await
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = poll_fn(|cx| shared.stock.poll_ended(cx)) => {
                for server in ended {
                    debug!(target = %shared.name, session = server.backend.process_id, "an idle session has ended");
                    drop(server);
                }
            }
            Some(chore) = keeper.chores.recv() => self.begin(chore),
            Some(done) = self.work.join_next(), if !self.work.is_empty() => self.ended(done),
            () = shared.nudge.notified() => {}
            () = changed => {}
            // What has failed by the old ones is tried by the new ones.
            Ok(()) = keeper.terms.changed() => self.trouble = None,
            _ = keeper.stage.changed() => {}
            () = sleep_until(next) => {}
        }
    }

    fn begin(&mut self, chore: Chore) {
        let shared = Arc::clone(&self.keeper.shared);
        self.closing += usize::from(matches!(chore, Chore::Close(_)));
        self.work.spawn(async move {
            match chore {
                Chore::Close(server) => {
                    server.close().await;
                    return Done::Closed;
                }
                Chore::GiveUp(server) => {
                    let cancelling = Cancelling::new(&server.backend);
                    tokio::join!(cancel(&shared, cancelling), server.close());
                }
                Chore::Wash { server, left, reset, patient } => {
                    wash(shared, server, left, reset, patient).await;
                }
                Chore::Cancel { cancelling, done } => {
                    cancel(&shared, cancelling).await;
                    drop(done);
                }
            }
            Done::Chore
        });
    }

    /// A look at everything. When the next one is due; `None` once the pool has ended.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        let shared = Arc::clone(&self.keeper.shared);
        let stage = *self.keeper.stage.borrow_and_update();
        if stage == Stage::Over {
            return None;
        }
        if stage == Stage::Leaving {
            return self.leave(&shared, now);
        }
        let terms = shared.terms();
        shared.status.set_limits(terms.pool.size, terms.pool.max_clients);
        let sight = self.look(&shared);
        self.follow(&shared, &sight, now);
        shared.stock.refuse_where(|waiter| self.judge(waiter, &terms, &sight, now));
        let waiting = shared.stock.waiting();
        if sight.asleep && waiting > 0 {
            self.keeper.requests.want(shared.name.as_str());
        }
        let strangers = shared.stock.take_where(|server| shared.is_stranger(&server.backend));
        strangers.into_iter().for_each(|server| self.begin(Chore::Close(server)));
        self.shrink(&shared, &terms);
        self.replace(&shared, &terms, &sight, now);
        self.open(&shared, &terms, &sight, now);
        self.ping(&shared, &terms, &sight, now);
        upkeep::close_unused(&shared, &terms, now)
            .into_iter()
            .for_each(|server| self.begin(Chore::Close(server)));
        if sight.down {
            let cut = shared.registry.cut_silent(terms.pool.query_stall, now);
            if cut > 0 {
                warn!(target = %shared.name, clients = cut, "queries are cut off: the target is down and their servers are silent");
            }
        }
        let rooms = shared.sessions.held() < terms.pool.size as usize;
        let told = waiting == 0 || (rooms && sight.live && self.opening < self.ramp.width());
        shared.stock.tell_keeper(told);
        Some(now + if waiting > 0 { SWEEP } else { ROUND })
    }

    fn ended(&mut self, done: Result<Done, JoinError>) {
        let shared = Arc::clone(&self.keeper.shared);
        match done {
            Ok(Done::Chore) => {}
            Ok(Done::Closed) => self.closing = self.closing.saturating_sub(1),
            Ok(Done::Opened { opened, target, replaces }) => {
                self.opening = self.opening.saturating_sub(1);
                self.replacing &= !replaces;
                match opened {
                    Ok(server) => self.opened(&shared, server, replaces),
                    Err(facts) => self.failed(&shared, &target, &facts),
                }
            }
            Err(failure) => {
                // A dial or a chore: which of them is not known, so that the count begins anew.
                error!(target = %shared.name, %failure, "a task of the pool has crashed; please report this");
                self.opening = 0;
                self.closing = 0;
                self.replacing = false;
            }
        }
    }
}

impl Chore {
    /// Of a session that is clean, and waits for a cancel request's end.
    pub fn wash(server: Server) -> Self {
        Chore::Wash { server, left: Left::Clean, reset: false, patient: false }
    }
}

/// Ended by the keeper's owner.
impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(slot) = self.board.get(self.shared.name.as_str()) else {
            return;
        };
        slot.send_if_modified(|status| {
            let ours = status.pool.as_ref().is_some_and(|pool| Arc::ptr_eq(pool, &self.shared.status));
            if ours {
                status.pool = None;
            }
            ours
        });
    }
}
