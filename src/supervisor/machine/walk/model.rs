//! A driver without sockets: carries out the machine's actions, and rejects any that it could not.

use std::time::SystemTime;

use super::*;
use crate::connection::{ConnectTimes, Login, SessionFacts};
use crate::policy::loss;
use crate::reason::{Cause, Facts, Phase};
use crate::target::TargetName;

/// The driver's slot for an attempt, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ModelSlot {
    Empty,
    Connecting,
    Accepted,
    LoggingIn,
    LoggedIn,
}

#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) machine: Machine,
    pub(super) status: TargetStatus,
    now: Moment,
    dice: f64,
    line: bool,
    pinging: bool,
    attempt: ModelSlot,
    closing: bool,
    pub(super) stopped: bool,
    /// Settings that a reload may bring, in turns with the present ones.
    pub(super) other: Option<Arc<Tuning>>,
}

pub(super) type StateKey = String;

/// A goodbye is bounded by a second: no later timer comes before its end.
const CLOSING_TAKES: Duration = Duration::from_secs(1);

fn server(sqlstate: &str, message: &str) -> Cause {
    Cause::server(sqlstate, message)
}

fn login(role: Role) -> Event {
    let ms = Duration::from_millis;
    let facts = SessionFacts { role, ..SessionFacts::default() };
    Event::LoggedIn(Box::new(Login { tls: None, startup: ms(5), ping: ms(1), detour: Duration::ZERO, facts }))
}

fn pong(role: Role) -> Event {
    Event::Session(SessionEvent::Pong { took: Duration::from_millis(1), role })
}

impl Model {
    pub(super) fn new(tuning: Tuning, dice: f64) -> Self {
        let now = Moment { mono: Instant::now() + Duration::from_secs(100), wall: SystemTime::now() };
        let name = TargetName::new("walk").expect("a good name");
        let mut model = Model {
            machine: Machine::default(),
            status: TargetStatus::new(name, Arc::new(tuning), None, now),
            now,
            dice,
            line: false,
            pinging: false,
            attempt: ModelSlot::Empty,
            closing: false,
            stopped: false,
            other: None,
        };
        model.happen(Event::Started);
        model
    }

    /// Everything that the driver could deliver now.
    pub(super) fn possible(&self) -> Vec<Event> {
        let mut events = vec![Event::Wanted, Event::Prove, Event::TryNow, Event::Stop];
        let soon = self.now.mono + CLOSING_TAKES;
        if !self.closing || self.status.due <= soon {
            events.push(Event::Timer);
        }
        let facts = |phase, cause| Facts::new(phase, cause);
        if self.line {
            let causes =
                [server("57P01", "shut"), server("57P05", "idle"), server("57P02", "crash"), Cause::Closed];
            let lost = |cause| Event::Session(SessionEvent::Lost(facts(Phase::Idle, cause)));
            events.extend(causes.map(lost));
        }
        if self.line && self.pinging {
            events.extend([pong(Role::Primary), pong(Role::Standby)]);
            let canceled = facts(Phase::Ping, server("57014", "canceled"));
            events.push(Event::Session(SessionEvent::PingFailed(canceled)));
        }
        let at = self.now.mono;
        match self.attempt {
            ModelSlot::Connecting => {
                let times = ConnectTimes::default();
                events.push(Event::Connected { dial: Dial::default(), times });
                let refused = Cause::Io { kind: std::io::ErrorKind::ConnectionRefused, os: Some(111) };
                let config = Cause::Config { message: "no file".into() };
                let local = Cause::Local { message: "no descriptors".into() };
                for facts in [
                    facts(Phase::Connect, refused),
                    facts(Phase::Prepare, config),
                    facts(Phase::Connect, local),
                ] {
                    events.push(Event::Failed { facts, at, dial: Some(Dial::default()) });
                }
            }
            ModelSlot::LoggingIn => {
                events.extend([login(Role::Primary), login(Role::Standby)]);
                for cause in [
                    server("28P01", "password authentication failed for user \"x\""),
                    server("3D000", "database \"x\" does not exist"),
                    server("57P03", "the database system is starting up"),
                    server("53300", "sorry, too many clients already"),
                    Cause::Timeout,
                ] {
                    events.push(Event::Failed { facts: facts(Phase::Startup, cause), at, dial: None });
                }
            }
            ModelSlot::Empty | ModelSlot::Accepted | ModelSlot::LoggedIn => {}
        }
        events.extend(self.other.clone().map(Event::Tuned));
        if self.closing {
            events.push(Event::Closed);
        }
        let slow = matches!(self.status.attempt, Attempt::Waiting { because: Because::SlowLane, .. });
        if slow || matches!(self.status.line, Line::Asleep { .. }) {
            events.push(Event::SecretChanged);
        }
        events
    }

    pub(super) fn happen(&mut self, event: Event) {
        let timer = matches!(event, Event::Timer);
        if timer {
            let wait = self.status.due.saturating_duration_since(self.now.mono);
            self.now = self.now.after(wait);
        } else {
            self.now = self.now.after(Duration::from_millis(10));
        }
        match &event {
            Event::Session(SessionEvent::Lost(_)) => (self.line, self.pinging) = (false, false),
            Event::Session(_) => self.pinging = false,
            Event::Connected { .. } => self.attempt = ModelSlot::Accepted,
            Event::Failed { .. } => self.attempt = ModelSlot::Empty,
            Event::LoggedIn(_) => self.attempt = ModelSlot::LoggedIn,
            Event::Closed => self.closing = false,
            Event::Tuned(_) => self.other = Some(self.status.tuning.clone()),
            _ => {}
        }
        let dice = self.dice;
        let actions = self.machine.on(event, self.now, &mut || dice, &mut self.status);
        let spins = timer && actions.is_empty() && self.status.due <= self.now.mono;
        assert!(!spins, "the loop would spin in {}", self.key());
        for action in actions {
            self.act(action);
        }
        self.check();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::TcpConnect { .. } => {
                assert_eq!(self.attempt, ModelSlot::Empty, "never two attempts");
                self.attempt = ModelSlot::Connecting;
            }
            Action::Login => {
                assert_eq!(self.attempt, ModelSlot::Accepted, "only an accepted socket is logged in on");
                self.attempt = ModelSlot::LoggingIn;
            }
            Action::HangUp => self.attempt = ModelSlot::Empty,
            Action::Ping => {
                assert!(self.line && !self.pinging, "one ping at a time, on a session");
                self.pinging = true;
            }
            Action::Adopt => {
                assert_eq!(self.attempt, ModelSlot::LoggedIn, "only a session that is logged in is adopted");
                self.closing |= self.line;
                (self.attempt, self.line, self.pinging) = (ModelSlot::Empty, true, false);
            }
            Action::Close => {
                assert!(self.line, "only a line is closed");
                (self.line, self.pinging, self.closing) = (false, false, true);
            }
            Action::Answer(_) => {}
            Action::Stopped => {
                assert!(
                    !self.line && !self.closing && self.attempt == ModelSlot::Empty,
                    "nothing is left behind"
                );
                self.stopped = true;
            }
        }
    }

    /// What holds in every state.
    fn check(&self) {
        let status = &self.status;
        assert_eq!(self.line, status.held().is_some(), "the snapshot shows what is held");
        assert_eq!(self.closing, self.machine.closing, "the machine knows what is being closed");
        assert!(
            !matches!(self.attempt, ModelSlot::LoggedIn),
            "what is logged in is adopted in the same step"
        );
        let waiting = matches!(status.attempt, Attempt::None | Attempt::Waiting { .. });
        assert_eq!(waiting, self.attempt == ModelSlot::Empty, "the snapshot shows the attempt");
        let logging_in = self.attempt == ModelSlot::LoggingIn;
        assert!(!(self.line && logging_in && self.closing), "never three sessions");
        if self.line && logging_in && matches!(status.line, Line::Live(_)) {
            let planned = matches!(
                status.attempt,
                Attempt::LoggingIn { purpose: Purpose::Refresh | Purpose::Prove, .. }
            );
            assert!(planned, "two sessions only in a refresh: {:?}", status.attempt);
        }
        if matches!(status.attempt, Attempt::None) && self.machine.mode != MachineMode::Stopping {
            let closed = matches!(status.breaker, Breaker::Closed { .. });
            assert!(closed, "an open breaker has an attempt that waits for it");
        }
        if matches!(status.attempt, Attempt::None) && !self.closing {
            let mode = self.machine.mode;
            assert_ne!(mode, MachineMode::Proving, "who asked for a proof is not forgotten");
        }
        if waiting && !self.closing && self.machine.mode == MachineMode::ProvingNow {
            let (ended, _) = self.machine.last_end.expect("who asked for an attempt is not forgotten");
            let due = later(ended, ASKED_APART);
            assert!(due > self.now.mono && status.due <= due, "an operator waits for a second at the most");
        }
        if let Attempt::Waiting { until, tcp_connect: None, because: Because::Backoff, .. } = status.attempt
            && self.machine.failures == FailureRow::default()
        {
            let wait = until.since(self.now);
            assert!(wait <= Duration::from_secs(2), "{wait:?} after a login that succeeded");
        }
        let latest = self.now.mono + HEARTBEAT;
        assert!(status.due <= latest, "the loop always says when it runs next");
        self.check_counters();
    }

    fn check_counters(&self) {
        let counters = &self.status.counters;
        let under_way = match &self.status.attempt {
            Attempt::Connecting { early: Some(_), .. }
            | Attempt::Connecting { purpose: Purpose::Confirm, .. } => 0,
            Attempt::Connecting { .. } | Attempt::LoggingIn { .. } => 1,
            Attempt::None | Attempt::Waiting { .. } => 0,
        };
        let ended = counters.connections + counters.failures.total();
        if self.machine.mode != MachineMode::Stopping {
            assert_eq!(counters.attempts, ended + under_way, "attempts = connections + failures + under way");
        }
        assert!(counters.connections >= counters.reconnects + counters.refreshes);
    }

    /// Coarse enough to come to an end, fine enough to keep decisions apart.
    pub(super) fn key(&self) -> StateKey {
        let (m, s) = (&self.machine, &self.status);
        let lived =
            |held: &crate::status::Held| loss::wait_after(self.now.since(held.unbroken_since), 0.0).is_zero();
        let line = match &s.line {
            Line::Live(h) => {
                let ill = (h.ping.is_err(), h.login.is_err(), h.role.is_err());
                format!("live {} {ill:?}", lived(h))
            }
            Line::Suspect { held, .. } => {
                format!("suspect {} {}", held.login.is_err(), lived(held))
            }
            Line::Lost { .. } => "lost".into(),
            Line::Asleep { .. } => {
                format!("asleep {:?}", m.confirm_at.map(|(_, waited)| waited.as_secs()))
            }
            other => format!("{other:?}"),
        };
        let attempt = match &s.attempt {
            Attempt::Waiting { tcp_connect, purpose, because, .. } => {
                format!("waiting {} {purpose:?} {because:?}", tcp_connect.is_some())
            }
            Attempt::Connecting { purpose, early, .. } => {
                format!("connecting {purpose:?} {}", early.is_some())
            }
            Attempt::LoggingIn { purpose, .. } => format!("login {purpose:?}"),
            Attempt::None => "none".into(),
        };
        let breaker = match s.breaker {
            Breaker::Closed { failures } => failures,
            other => 100 * (other.state() as u32),
        };
        let starting = m.starting_since.map(|at| self.now.mono.duration_since(at).as_secs() / 30);
        let slow = matches!(s.attempt, Attempt::Waiting { because: Because::SlowLane, .. });
        let hurried =
            slow && s.last_failure.as_ref().is_some_and(|failure| failure.reason.is_safe_to_hurry());
        let known = m.learner.limit(self.now.mono).is_some();
        format!(
            "{line}|{attempt}|{breaker}|{starting:?}|{hurried}|{} {} {} {:?}|{:?} {} {}|{known}|{}",
            m.closing,
            m.is_pinging(),
            s.last_login.is_some(),
            m.mode,
            (m.failures == FailureRow::default(), m.planned.is_some()),
            m.losses.within_window(self.now.mono),
            m.wrong_roles.min(1),
            s.tuning.idle_policy.as_str(),
        )
    }

    /// The server is well from now on: everything that is asked succeeds.
    pub(super) fn heal(&mut self) {
        let until = self.now.after(Duration::from_secs(15 * 60));
        for _ in 0..2_000 {
            let rested = matches!(self.status.state(), State::Up | State::Sleeping);
            if rested && matches!(self.status.attempt, Attempt::None) {
                return;
            }
            assert!(self.now.mono < until.mono, "no way back in 15 minutes from {}", self.key());
            let event = match self.attempt {
                _ if self.closing => Event::Closed,
                ModelSlot::Connecting => {
                    Event::Connected { dial: Dial::default(), times: ConnectTimes::default() }
                }
                ModelSlot::LoggingIn => login(Role::Primary),
                _ if self.pinging => pong(Role::Primary),
                _ => Event::Timer,
            };
            self.happen(event);
        }
        panic!("no way back from {}", self.key());
    }

    pub(super) fn end(&mut self) {
        self.happen(Event::Stop);
        if self.closing {
            self.happen(Event::Closed);
        }
        assert!(self.stopped, "a stop ends the task");
    }
}
