//! The decisions of one target: a pure transition table, without clock, dice, sockets or sessions of its own.
//!
//! It holds two things apart: the *line*, what we hold, and the *attempt*, what we do about the next one. The driver
//! turns what happens into an [`Event`], and carries out the [`Action`]s. [`Machine::on`] is the only way in.

mod attempt;
mod demand;
mod event;
mod line;
mod patience;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::event::{Action, Dial, Event, ProofResult};
use crate::connection::{ConnectTimes, SessionEvent};
use crate::policy::breaker::Breaker;
use crate::policy::idle::Learner;
use crate::policy::loss::Losses;
use crate::policy::retry::FailureRow;
use crate::policy::{ASKED_APART, later};
use crate::reason::Reason;
use crate::status::{Attempt, Because, Line, Moment, Purpose, TargetStatus};
use crate::target::{IdlePolicy, Tuning};

/// The loop runs at least this often, so that one that has stopped is noticed whatever it was waiting for.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What a target remembers beside its snapshot.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Failures in a row, for backoff and slow lane: a login ends the row.
    failures: FailureRow,
    /// When sessions were lost: often within a short time is flapping.
    losses: Losses<(Moment, Reason)>,
    /// Logins in a row that found the wrong role.
    wrong_roles: u32,
    /// Since when the server says that it is starting.
    starting_since: Option<Instant>,
    /// The idle limit of the other side.
    learner: Learner,
    /// How long the session that was lost last had been idle.
    idle_for: Duration,
    /// What the last TCP connect cost.
    connect_times: ConnectTimes,
    ping: PingState,
    refresh_at: Option<Instant>,
    close_idle_at: Option<Instant>,
    /// When sleep is confirmed by another TCP connect, and how long after the one before: a server that is shutting down
    /// takes sockets to its end.
    confirm_at: Option<(Instant, Duration)>,
    /// A session is being closed: the one that was held, or the one before it.
    closing: bool,
    /// When the next attempt was due before somebody brought it forward, and after which failure.
    planned: Option<(Moment, Because, Reason)>,
    /// How the last attempt ended, for `/probe`.
    last_end: Option<(Instant, ProofResult)>,
    mode: MachineMode,
}

/// The ping of the session that is held.
#[derive(Debug, Clone, Copy, Default)]
enum PingState {
    /// There is no session, or none that is pinged.
    #[default]
    None,
    Due(Instant),
    /// It is under way since then.
    Asked(Moment),
}

/// Whether it goes on, and what else was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum MachineMode {
    #[default]
    Running,
    /// Somebody waits for a proof.
    Proving,
    /// The same, and no wait after a failure keeps them waiting.
    ProvingNow,
    /// Nothing else matters any more.
    Stopping,
}

impl Machine {
    /// One step: `status` is the snapshot that is published afterwards; `dice` gives numbers in 0..1.
    pub fn on(
        &mut self,
        event: Event,
        now: Moment,
        dice: &mut dyn FnMut() -> f64,
        status: &mut TargetStatus,
    ) -> Vec<Action> {
        let before = status.state();
        let mut step = MachineStep { machine: self, status, now, dice, actions: Vec::new() };
        step.take(event);
        step.prove_at_last();
        let actions = step.actions;
        if self.losses.flapping_until(now.mono).is_none() {
            status.flapping = None;
        }
        if status.state() != before {
            status.since = now;
        }
        status.idle_limit = self.learner.limit(now.mono);
        status.due = self.due(now, status);
        actions
    }

    /// When it wants to be asked again, at the latest.
    fn due(&self, now: Moment, status: &TargetStatus) -> Instant {
        let live = matches!(status.line, Line::Live(_));
        let free = matches!(status.attempt, Attempt::None) && !self.closing;
        let asleep = matches!(status.line, Line::Asleep { .. });
        let rested = live || asleep;
        let attempt = match &status.attempt {
            Attempt::Waiting { until, tcp_connect, .. } => Some(tcp_connect.unwrap_or(*until).mono),
            _ => None,
        };
        let operator = (self.mode == MachineMode::ProvingNow).then_some(self.last_end).flatten();
        let ping = match self.ping {
            PingState::Asked(at) => Some(later(at.mono, status.tuning.ping.timeout)),
            PingState::Due(at) => Some(at),
            PingState::None => None,
        };
        [
            Some(later(now.mono, HEARTBEAT)),
            self.losses.flapping_until(now.mono),
            attempt,
            operator.map(|(at, _)| later(at, ASKED_APART)).filter(|at| *at > now.mono),
            ping.filter(|_| live),
            self.refresh_at.filter(|_| free && rested),
            self.close_idle_at.filter(|_| free && live && !self.is_pinging()),
            self.confirm_at.map(|(at, _)| at).filter(|_| free && asleep),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now.mono)
    }

    const fn is_proving(&self) -> bool {
        matches!(self.mode, MachineMode::Proving | MachineMode::ProvingNow)
    }

    const fn is_pinging(&self) -> bool {
        matches!(self.ping, PingState::Asked(_))
    }
}

/// One step under way.
struct MachineStep<'a> {
    machine: &'a mut Machine,
    status: &'a mut TargetStatus,
    now: Moment,
    dice: &'a mut dyn FnMut() -> f64,
    actions: Vec<Action>,
}

impl MachineStep<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Stop => self.stop(),
            Event::Closed => self.closed(),
            _ if self.machine.mode == MachineMode::Stopping => {}
            Event::Started => self.started(),
            Event::Timer => self.timer(),
            Event::Connected { dial, times } => self.connected(dial, times),
            Event::LoggedIn(login) => self.logged_in(*login),
            Event::Failed { facts, at, dial } => self.failed(facts, at, dial),
            Event::Session(SessionEvent::Pong { took, role }) => self.pong(took, role),
            Event::Session(SessionEvent::PingFailed(facts)) => self.ping_failed(facts),
            Event::Session(SessionEvent::Lost(facts)) => self.lost(facts),
            Event::SecretChanged => self.secret_changed(),
            Event::Tuned(tuning) => self.tuned(tuning),
            Event::Wanted => self.wanted(),
            Event::Prove => self.prove(),
            Event::TryNow => self.try_now(),
        }
    }

    fn started(&mut self) {
        let purpose = if self.had_session() { Purpose::Reconnect } else { Purpose::First };
        self.rhythm();
        self.begin(purpose);
    }

    fn timer(&mut self) {
        self.rhythm();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now.mono);
        let free = matches!(self.status.attempt, Attempt::None) && !self.machine.closing;
        let (refresh, close) = (due(self.machine.refresh_at), due(self.machine.close_idle_at));
        let confirm = due(self.machine.confirm_at.map(|(at, _)| at));
        match &self.status.line {
            Line::Live(_) => match self.machine.ping {
                PingState::Asked(at) if self.now.since(at) >= self.status.tuning.ping.timeout => {
                    self.suspect(at)
                }
                PingState::Due(at) if due(Some(at)) => self.ask(),
                _ if refresh && free => self.begin(Purpose::Refresh),
                PingState::Due(_) | PingState::None if close && free => self.close_to_sleep(),
                _ => {}
            },
            Line::Asleep { .. } if refresh && free => self.begin(Purpose::Wake),
            Line::Asleep { .. } if confirm && free => self.begin(Purpose::Confirm),
            _ => {}
        }
        if let Attempt::Waiting { until, tcp_connect, purpose, because } = self.status.attempt {
            if until.mono <= self.now.mono && tcp_connect.is_none_or(|at| at.mono <= self.now.mono) {
                self.begin(purpose);
            } else if tcp_connect.is_some_and(|at| at.mono <= self.now.mono) {
                self.connect_early(purpose, until, because);
            }
        }
    }

    /// New timings, applied to what runs already.
    fn tuned(&mut self, tuning: Arc<Tuning>) {
        let woken = self.status.tuning.idle_policy == IdlePolicy::LetSleep
            && tuning.idle_policy == IdlePolicy::KeepAwake;
        let other_role = self.status.tuning.role != tuning.role;
        self.status.tuning = tuning;
        if other_role {
            self.judge_role_anew();
        }
        self.schedule();
        match self.status.attempt {
            Attempt::Waiting { purpose, because: Because::SlowLane, .. } => self.begin(purpose),
            Attempt::None if woken && matches!(self.status.line, Line::Asleep { .. }) => {
                self.begin(Purpose::Wake)
            }
            _ => {}
        }
    }

    fn stop(&mut self) {
        self.answer(ProofResult::Refused(Because::Asked));
        self.machine.mode = MachineMode::Stopping;
        if !matches!(self.status.attempt, Attempt::None) {
            self.status.attempt = Attempt::None;
            self.actions.push(Action::HangUp);
        }
        if self.status.held().is_some() {
            self.close();
        }
        self.status.line = Line::Closing { unbroken_since: None };
        if !self.machine.closing {
            self.actions.push(Action::Stopped);
        }
    }

    fn closed(&mut self) {
        self.machine.closing = false;
        if self.machine.mode == MachineMode::Stopping {
            self.actions.push(Action::Stopped);
        } else if let (Line::Closing { .. }, Attempt::Connecting { since, purpose, .. }) =
            (&self.status.line, &self.status.attempt)
        {
            // A refresh without overlap: the socket is accepted, the old session is gone, now log in.
            self.status.attempt = Attempt::LoggingIn { since: *since, purpose: *purpose };
            self.actions.push(Action::Login);
        }
    }

    fn close(&mut self) {
        self.machine.closing = true;
        self.machine.ping = PingState::None;
        self.status.session = None;
        self.actions.push(Action::Close);
    }

    /// Changes the breaker and counts the transition.
    fn breaker(&mut self, change: impl FnOnce(&mut Breaker)) {
        let before = self.status.breaker.state();
        change(&mut self.status.breaker);
        let after = self.status.breaker.state();
        if after != before {
            self.status.counters.breaker_transitions[after as usize] += 1;
        }
    }

    /// Whether this endpoint ever gave a session: the next is then a reconnect.
    fn had_session(&self) -> bool {
        self.status.last_login.is_some()
    }

    fn lets_sleep(&self) -> bool {
        self.status.tuning.idle_policy == IdlePolicy::LetSleep
    }
}
