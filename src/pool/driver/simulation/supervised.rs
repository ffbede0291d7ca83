//! The supervisor's machine, and what its driver does.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::dials::{LoginId, Opens};
use super::{Happening, Simulation, Wire, ms};
use crate::connection::{ConnectTimes, Login, SessionEvent, SessionFacts};
use crate::policy::guard::Lane;
use crate::reason::{Cause, Facts, Phase};
use crate::status::{Attempt, Moment, Purpose, TargetStatus};
use crate::supervisor::machine::{Action, Dial, Event, Machine};
use crate::target::{Role, TargetName, Tuning};

/// A ping that is under way: since then, of the so many-th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    number: u64,
    at: Instant,
}

/// A target, supervised.
pub struct SimTarget {
    pub status: TargetStatus,
    /// Where it leads now.
    pub host: usize,
    machine: Machine,
    line: Option<Arc<Wire>>,
    attempt: Option<LoginId>,
    logged_in: Option<Arc<Wire>>,
    asked: Option<Asked>,
    pings: u64,
    /// Of the timer that counts.
    version: u64,
    closing: u32,
}

impl SimTarget {
    pub fn new(number: usize, host: usize, tuning: &Arc<Tuning>, now: Instant) -> Self {
        let name = TargetName::new(&format!("t{number}")).expect("a good name");
        let status = TargetStatus::new(name, Arc::clone(tuning), None, moment(now));
        SimTarget {
            status,
            host,
            machine: Machine::default(),
            line: None,
            attempt: None,
            logged_in: None,
            asked: None,
            pings: 0,
            version: 0,
            closing: 0,
        }
    }

    pub fn is_on(&self, wire: &Arc<Wire>) -> bool {
        self.line.as_ref().is_some_and(|line| Arc::ptr_eq(line, wire))
    }

    /// Whether the server has a session for it.
    pub fn holds_open(&self) -> bool {
        let held = self.line.iter().chain(&self.logged_in);
        held.into_iter().any(|wire| wire.is_open())
    }

    /// attempts = connections + failures + those in flight.
    fn check_counters(&self) {
        let counters = &self.status.counters;
        let in_flight = match self.status.attempt {
            Attempt::LoggingIn { .. } => 1,
            Attempt::Connecting { early, purpose, .. } => {
                u64::from(early.is_none() && purpose != Purpose::Confirm)
            }
            Attempt::Waiting { .. } | Attempt::None => 0,
        };
        let ended = counters.connections + counters.failures.total();
        assert_eq!(counters.attempts, ended + in_flight, "{:?}", self.status.attempt);
    }
}

impl Simulation {
    pub fn tell(&mut self, target: usize, event: Event) {
        let now = self.agenda.now();
        let (found, dice) = (&mut self.targets[target], &mut self.dice);
        let actions = found.machine.on(event, moment(now), &mut || dice.f64(), &mut found.status);
        found.check_counters();
        found.version += 1;
        let (due, version) = (found.status.due, found.version);
        self.agenda.put_at(due, Happening::Supervised { target, version });
        for action in actions {
            self.act(target, action);
        }
        let pools = 0..self.pools.len();
        pools.filter(|pool| self.pools[*pool].target == target).collect::<Vec<_>>().into_iter().for_each(
            |pool| {
                let wait = self.latency();
                self.wake_task(pool, wait);
            },
        );
    }

    fn act(&mut self, target: usize, action: Action) {
        match action {
            Action::TcpConnect { purpose } => {
                let found = &self.targets[target];
                let lane = match purpose {
                    Purpose::Refresh | Purpose::Prove if found.line.is_some() => Lane::Refresh,
                    _ => Lane::Reconnect,
                };
                let budget = match purpose {
                    Purpose::Wake => found.status.tuning.wake_timeout,
                    _ => found.status.tuning.connect_timeout,
                };
                let host = found.host;
                self.forget_attempt(target);
                let login = self.log_in(host, Opens::Line(target), lane, budget);
                self.targets[target].attempt = Some(login);
            }
            Action::Login => {
                let login = self.targets[target].attempt.expect("a socket was accepted");
                self.authenticate(login);
            }
            Action::HangUp => self.forget_attempt(target),
            Action::Ping => {
                let (at, wait) = (self.agenda.now(), self.trip());
                let found = &mut self.targets[target];
                found.pings += 1;
                let asked = Asked { number: found.pings, at };
                found.asked = Some(asked);
                self.agenda.put(wait, Happening::Pong { target, asked });
            }
            Action::Adopt => {
                let session = self.targets[target].logged_in.take().expect("a session is there");
                self.close_line(target);
                self.targets[target].line = Some(session);
            }
            Action::Close => self.close_line(target),
            Action::Answer(_) | Action::Stopped => {}
        }
    }

    fn forget_attempt(&mut self, target: usize) {
        if let Some(login) = self.targets[target].attempt.take() {
            self.hang_up(login);
        }
        if let Some(wire) = self.targets[target].logged_in.take() {
            wire.leave();
        }
    }

    fn close_line(&mut self, target: usize) {
        let found = &mut self.targets[target];
        found.asked = None;
        if let Some(line) = found.line.take() {
            line.leave();
            found.closing += 1;
            let wait = self.trip();
            self.agenda.put(wait, Happening::LineClosed(target));
        }
    }

    pub fn line_closed(&mut self, target: usize) {
        let found = &mut self.targets[target];
        found.closing -= 1;
        if found.closing == 0 {
            self.tell(target, Event::Closed);
        }
    }

    pub fn timer(&mut self, target: usize, version: u64) {
        if self.targets[target].version == version {
            self.tell(target, Event::Timer);
        }
    }

    pub fn line_connected(&mut self, target: usize) {
        let times = ConnectTimes { connect: ms(1), ..ConnectTimes::default() };
        self.tell(target, Event::Connected { dial: Dial::default(), times });
    }

    pub fn line_logged_in(&mut self, target: usize, wire: Arc<Wire>) {
        let found = &mut self.targets[target];
        found.attempt = None;
        found.logged_in = Some(Arc::clone(&wire));
        let login =
            Login { tls: None, startup: ms(4), ping: ms(1), detour: ms(0), facts: SessionFacts::default() };
        self.tell(target, Event::LoggedIn(Box::new(login)));
        // It may have ended before it was watched.
        if wire.ended().is_some() {
            self.agenda.put(Duration::ZERO, Happening::LineEnds { target, wire });
        }
    }

    pub fn line_failed(&mut self, target: usize, facts: Facts, dial: bool) {
        self.targets[target].attempt = None;
        let at = self.agenda.now();
        self.tell(target, Event::Failed { facts, at, dial: dial.then(Dial::default) });
    }

    pub fn line_ends(&mut self, target: usize, wire: &Arc<Wire>) {
        if !self.targets[target].is_on(wire) {
            return;
        }
        self.targets[target].line = None;
        self.targets[target].asked = None;
        let cause = match self.dice.bool() {
            true => Cause::server("57P01", "terminating connection due to administrator command"),
            false => Cause::Closed,
        };
        self.tell(target, Event::Session(SessionEvent::Lost(Facts::new(Phase::Idle, cause))));
    }

    /// The answer to a ping, which may come late.
    pub fn pong(&mut self, target: usize, asked: Asked) {
        let found = &mut self.targets[target];
        if found.asked != Some(asked) {
            return;
        }
        let Some(line) = found.line.as_ref().filter(|line| line.is_open()) else {
            return;
        };
        if !self.hosts[line.host].mood.answers() {
            return self.agenda.put(ms(50), Happening::Pong { target, asked });
        }
        let now = self.agenda.now();
        line.is_used(now);
        found.asked = None;
        let (took, role) = (now - asked.at, Role::Any);
        self.tell(target, Event::Session(SessionEvent::Pong { took, role }));
    }

    /// Another place: another machine, as the supervisor makes it; the counters go on.
    pub fn supervise_anew(&mut self, target: usize, host: usize) {
        self.forget_attempt(target);
        let now = self.agenda.now();
        let found = &mut self.targets[target];
        if let Some(line) = found.line.take() {
            line.leave();
        }
        let (version, pings, closing) = (found.version, found.pings, found.closing);
        let fresh = SimTarget::new(target, host, &found.status.tuning.clone(), now);
        *found = SimTarget { version, pings, closing, ..fresh };
        self.tell(target, Event::Started);
    }
}

fn moment(now: Instant) -> Moment {
    Moment { mono: now, wall: SystemTime::UNIX_EPOCH }
}
