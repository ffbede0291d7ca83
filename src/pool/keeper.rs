//! The keeper of one pool: opens sessions when they are needed and the line is up, watches, pings and replaces the idle
//! ones, and sends clients away who cannot be served.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::cancel::cancel;
use super::dial::dial;
use super::link::Left;
use super::place::Place;
use super::ramp::Ramp;
use super::refusal::{Prospect, Refusal};
use super::registry::{Cancelling, Order};
use super::server::{Backend, Server};
use super::shared::{Shared, Terms};
use super::stock::Waiter;
use super::wash::wash;
use crate::connection::Stream;
use crate::policy::backoff;
use crate::reason::{Class, Facts, Reason, table};
use crate::status::board::Board;
use crate::status::pool::ServerState;
use crate::status::{Line, State, TargetStatus};
use crate::supervisor::Requests;
use crate::supervisor::gate::{Gate, Lane};
use crate::target::{IdlePolicy, Target};

/// How often it looks at everything while clients wait.
const SWEEP: Duration = Duration::from_millis(100);
/// And while none does.
const ROUND: Duration = Duration::from_secs(1);
/// A session beyond `min_idle` that no client has used for that long is closed. PgBouncer's `server_idle_timeout`.
const UNUSED: Duration = Duration::from_secs(600);
/// A server that is full is not asked sooner.
const FULL: Duration = Duration::from_secs(5);
/// Nor one that is starting.
const STARTING: Duration = Duration::from_secs(1);

/// What is done for a session that no client has, beside everything else.
pub enum Chore {
    Close(Server),
    /// See [`wash`].
    Wash {
        server: Server,
        left: Left,
        reset: bool,
    },
    /// Ends with the stream of who asked for it.
    Cancel {
        cancelling: Cancelling,
        asked: Stream,
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
    trouble: Option<Trouble>,
    was_live: bool,
}

/// Sessions can't be opened, although the line may be up.
struct Trouble {
    reason: Reason,
    class: Class,
    since: Instant,
    failures: u32,
    until: Instant,
}

enum Done {
    Opened { opened: Result<Server, Facts>, target: Arc<Target>, replaces: bool },
    Chore,
}

/// The target, as the pool sees it at one moment.
struct Sight {
    live: bool,
    asleep: bool,
    down: bool,
    prospect: Prospect,
    reason: Option<Reason>,
    ping_every: Option<Duration>,
    last_login: Option<Instant>,
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
            Ok(()) = keeper.terms.changed() => self.retire_strangers(),
            _ = keeper.stage.changed() => {}
            () = sleep_until(next) => {}
        }
    }

    fn begin(&mut self, chore: Chore) {
        let shared = Arc::clone(&self.keeper.shared);
        self.work.spawn(async move {
            match chore {
                Chore::Close(server) => server.close().await,
                Chore::Wash { server, left, reset } => wash(shared, server, left, reset).await,
                Chore::Cancel { cancelling, asked } => {
                    cancel(&shared, cancelling).await;
                    drop(asked);
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
        self.replace(&shared, &terms, &sight, now);
        self.open(&shared, &terms, &sight, now);
        self.ping(&shared, &terms, &sight, now);
        close_unused(&shared, &terms, now).into_iter().for_each(|server| self.begin(Chore::Close(server)));
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

    fn look(&mut self, shared: &Shared) -> Sight {
        if self.target.is_none()
            && let Some(slot) = self.keeper.board.get(shared.name.as_str())
        {
            self.target = Some(slot.subscribe());
            slot.send_modify(|status| status.pool = Some(Arc::clone(&shared.status)));
            shared.set_slot(slot);
        }
        let Some(target) = &mut self.target else {
            return Sight {
                live: false,
                asleep: false,
                down: false,
                prospect: Prospect::Soon,
                reason: None,
                ping_every: None,
                last_login: None,
            };
        };
        let status = target.borrow_and_update();
        // A login that failed beside it or a ping in flight makes a line suspect, not the pool's sessions.
        Sight {
            live: matches!(status.line, Line::Live(_)),
            asleep: matches!(status.line, Line::Asleep { .. }),
            down: status.state() == State::Down
                && (status.consecutive_failures > 0 || matches!(status.line, Line::Suspect { .. })),
            prospect: Prospect::of(&status),
            reason: status.reason(),
            ping_every: status.ping_every,
            last_login: status.last_login.map(|at| at.mono.into()),
        }
    }

    /// The supervised session is the canary.
    fn follow(&mut self, shared: &Shared, sight: &Sight, now: Instant) {
        if self.was_live && !sight.live {
            shared.in_trouble(now);
            self.ramp.failed();
        }
        let back = sight.live && !self.was_live;
        self.was_live = sight.live;
        // Somebody has just logged in: so may we.
        let proven = |trouble: &Trouble| sight.last_login.is_some_and(|login| login > trouble.since);
        if let Some(trouble) = &mut self.trouble
            && (back || (proven(trouble) && trouble.since < trouble.until))
        {
            trouble.until = now;
            trouble.since = now;
        }
    }

    fn judge(&self, waiter: &Waiter, terms: &Terms, sight: &Sight, now: Instant) -> Option<Refusal> {
        let name = terms.target.name.as_str();
        let waited = now.saturating_duration_since(waiter.since);
        let ours = self.trouble.as_ref().filter(|_| self.keeper.shared.sessions.held() == 0);
        let reason = if sight.live { ours.map(|trouble| trouble.reason) } else { sight.reason };
        if now >= waiter.deadline {
            return Some(match sight.live && ours.is_none() {
                true => Refusal::busy(name, terms.pool.size, waited),
                false => Refusal::down(name, reason, false, waited),
            });
        }
        if !sight.live {
            return match sight.prospect {
                Prospect::Soon => None,
                Prospect::NotBefore(next) if next <= waiter.deadline => None,
                Prospect::NotBefore(_) => Some(Refusal::down(name, reason, false, waited)),
                Prospect::Never => Some(Refusal::down(name, reason, true, waited)),
            };
        }
        let for_good = ours.is_some_and(|trouble| trouble.class == Class::Permanent);
        for_good.then(|| Refusal::down(name, reason, true, waited))
    }

    /// Opens what is needed: a session for each client that waits, and `min_idle` beside.
    fn open(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        if !sight.live || self.trouble.as_ref().is_some_and(|trouble| now < trouble.until) {
            return;
        }
        let waiting = shared.stock.waiting();
        let spare = (terms.pool.min_idle as usize).saturating_sub(shared.stock.idle());
        let opening = self.opening - usize::from(self.replacing && self.opening > 0);
        let wanted = waiting.max(spare).saturating_sub(opening);
        let rooms = (terms.pool.size as usize).saturating_sub(shared.sessions.held());
        let at_once = self.ramp.width().saturating_sub(self.opening);
        let lane = if waiting > 0 { Lane::Reconnect } else { Lane::Refresh };
        for _ in 0..wanted.min(rooms).min(at_once) {
            self.dial(shared, terms, lane, false);
        }
    }

    /// Replaces one session that has grown old: by a new one where there is room for it, else it makes room first.
    fn replace(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        if !sight.live || self.replacing || self.trouble.is_some() || shared.stock.waiting() > 0 {
            return;
        }
        if !has_old(shared, now) {
            return;
        }
        if shared.sessions.held() < terms.pool.size as usize {
            self.dial(shared, terms, Lane::Refresh, true);
        } else {
            self.retire_oldest(now);
        }
    }

    /// Closes one old session, or marks it to be closed when its client has done with it.
    fn retire_oldest(&mut self, now: Instant) {
        let shared = Arc::clone(&self.keeper.shared);
        let mut found = false;
        let old = shared.stock.take_where(|server| {
            let fits = !found && server.backend.is_old(now);
            found |= fits;
            fits
        });
        if old.is_empty() {
            shared.registry.retire_one(|backend| backend.is_old(now));
        }
        old.into_iter().for_each(|server| self.begin(Chore::Close(server)));
    }

    fn dial(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, lane: Lane, replaces: bool) {
        self.opening += 1;
        self.replacing |= replaces;
        let place = Place::take(&shared.sessions, &shared.status);
        let (shared, terms, gate) = (Arc::clone(shared), Arc::clone(terms), self.keeper.gate.clone());
        self.work.spawn(async move {
            let target = Arc::clone(&terms.target);
            Done::Opened { opened: dial(shared, terms, gate, lane, place).await, target, replaces }
        });
    }

    fn ended(&mut self, done: Result<Done, JoinError>) {
        let shared = Arc::clone(&self.keeper.shared);
        match done {
            Ok(Done::Chore) => {}
            Ok(Done::Opened { opened, target, replaces }) => {
                self.opening = self.opening.saturating_sub(1);
                self.replacing &= !replaces;
                match opened {
                    Ok(server) => self.opened(&shared, server, &target, replaces),
                    Err(facts) => self.failed(&shared, &target, &facts),
                }
            }
            Err(failure) => {
                // A dial or a chore: which of them is not known, so that the count begins anew.
                error!(target = %shared.name, %failure, "a task of the pool has crashed; please report this");
                self.opening = 0;
                self.replacing = false;
            }
        }
    }

    fn opened(&mut self, shared: &Shared, server: Server, target: &Target, replaces: bool) {
        self.ramp.opened();
        if self.trouble.take().is_some() {
            info!(target = %shared.name, "the pool opens sessions again");
        }
        if !same_place(target, &shared.terms().target) {
            return self.begin(Chore::Close(server));
        }
        shared.give_back(server);
        if replaces {
            self.retire_oldest(Instant::now());
        }
    }

    fn failed(&mut self, shared: &Shared, target: &Target, facts: &Facts) {
        self.ramp.failed();
        let verdict = table::judge(facts);
        let failures = self.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        if failures == 0 {
            let (reason, remedy) = (verdict.reason, verdict.reason.remedy());
            warn!(target = %shared.name, %reason, phase = facts.phase.as_str(), detail = %facts, remedy, "the pool cannot open a session");
        }
        let (dice, backoff) = (fastrand::f64(), target.tuning.backoff);
        let transient = backoff::full_jitter(backoff.initial, backoff.max, failures, dice);
        let wait = match verdict.class {
            Class::Transient | Class::Local => transient,
            Class::Starting => STARTING,
            Class::Capacity => transient.max(FULL),
            Class::Permanent => backoff::slow_lane(failures, dice),
        };
        let now = Instant::now();
        self.trouble = Some(Trouble {
            reason: verdict.reason,
            class: verdict.class,
            since: now,
            failures: failures.saturating_add(1),
            until: now + wait.max(verdict.at_least),
        });
    }

    /// Tests the idle sessions that were quiet for as long as the supervised one may be.
    fn ping(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        let tuning = &terms.target.tuning;
        if tuning.idle_policy == IdlePolicy::LetSleep || !sight.live {
            return;
        }
        let every = sight.ping_every.unwrap_or(tuning.ping.interval);
        let limit = tuning.ping.timeout;
        for mut server in shared.stock.take_where(|server| now >= server.heard + every) {
            let shared = Arc::clone(shared);
            server.place.is_now(ServerState::Testing);
            self.work.spawn(async move {
                match timeout(limit, server.ping()).await {
                    Ok(true) => shared.give_back(server),
                    ended => {
                        debug!(target = %shared.name, ?ended, "an idle session did not answer");
                        server.close().await;
                    }
                }
                Done::Chore
            });
        }
    }

    /// The configuration has changed: sessions with another place than it names are of no use.
    fn retire_strangers(&mut self) {
        let terms = Arc::clone(&self.keeper.terms.borrow_and_update());
        let shared = Arc::clone(&self.keeper.shared);
        let stranger = |backend: &Backend| !same_place(&backend.target, &terms.target);
        let strangers = shared.stock.take_where(|server| stranger(&server.backend));
        strangers.into_iter().for_each(|server| self.begin(Chore::Close(server)));
        shared.registry.retire_where(stranger);
    }

    /// The pool ends: when the last client has left, its sessions are closed.
    fn leave(&mut self, shared: &Arc<Shared>, now: Instant) -> Option<Instant> {
        shared.leave();
        shared.registry.tell_all(Order::Leave);
        shared.stock.refuse_where(|_| Some(Refusal::draining()));
        for server in shared.stock.take_where(|_| true) {
            self.begin(Chore::Close(server));
        }
        let over = shared.clients.held() == 0 && shared.sessions.held() == 0 && self.work.is_empty();
        (!over).then(|| now + SWEEP)
    }
}

impl Chore {
    /// Of a session that is clean, and waits for a cancel request's end.
    pub fn wash(server: Server) -> Self {
        Chore::Wash { server, left: Left::Clean, reset: false }
    }
}

fn has_old(shared: &Shared, now: Instant) -> bool {
    shared.stock.any(|server| server.backend.is_old(now))
        || shared.registry.any(|backend| backend.is_old(now))
}

/// Idle sessions beyond `min_idle` that nobody has used for long. Under `let_sleep` all of them, after the target's own
/// time where it has one: a socket that is held keeps some databases awake.
fn close_unused(shared: &Shared, terms: &Terms, now: Instant) -> Vec<Server> {
    let tuning = &terms.target.tuning;
    let keep = terms.pool.min_idle as usize;
    let limit = match (tuning.idle_policy, tuning.close_idle_after) {
        (IdlePolicy::LetSleep, Some(after)) => after.min(UNUSED),
        _ => UNUSED,
    };
    let mut spare = shared.stock.idle().saturating_sub(keep);
    shared.stock.take_where(|server| {
        let unused = spare > 0 && now >= server.used + limit;
        spare -= usize::from(unused);
        unused
    })
}

/// Whether both name the same place and the same user.
fn same_place(a: &Target, b: &Target) -> bool {
    a.source == b.source && a.password_file == b.password_file && a.service == b.service
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
