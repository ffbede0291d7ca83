//! One scenario per rule: a server that behaves in a given way, time that passes, and what the machine makes of it.

mod counting;
mod held;
mod losses;
mod probe;
mod sleep;
mod tuning;
mod waits;

use std::io::ErrorKind;
use std::time::SystemTime;

use super::*;
use crate::connection::{ConnectTimes, Login, SessionFacts};
use crate::reason::{Cause, Facts, Phase, Reason};
use crate::status::{Location, State, View};
use crate::target::{Refresh, Role, TargetName};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn server(sqlstate: &str, message: &str) -> Cause {
    Cause::server(sqlstate, message)
}

fn io(kind: ErrorKind) -> Cause {
    Cause::Io { kind, os: None }
}

/// What is at the other end.
#[derive(Debug, Clone)]
enum RigServer {
    Up,
    Standby,
    /// Nothing listens there.
    Refuses,
    /// Takes the socket and fails the login.
    Rejects(Cause),
    /// Never answers anything.
    Silent,
}

/// A machine, a server that answers within no time at all, and a diary of what was done.
struct Rig {
    machine: Machine,
    status: TargetStatus,
    started: Moment,
    now: Moment,
    dice: f64,
    server: RigServer,
    /// A session is held, as the driver would.
    line: bool,
    diary: Vec<(Duration, Action)>,
}

impl Rig {
    fn new(tuning: Tuning, server: RigServer) -> Self {
        let now = Moment { mono: Instant::now() + s(1_000), wall: SystemTime::now() };
        let name = TargetName::new("rig").expect("a good name");
        let mut rig = Rig {
            machine: Machine::default(),
            status: TargetStatus::new(name, Arc::new(tuning), None, now),
            started: now,
            now,
            dice: 0.5,
            server,
            line: false,
            diary: Vec::new(),
        };
        rig.on(Event::Started);
        rig
    }

    /// A target with default settings whose server is well.
    fn up() -> Self {
        Rig::new(Tuning::default(), RigServer::Up)
    }

    fn with_dice(mut self, dice: f64) -> Self {
        self.dice = dice;
        self
    }

    /// Something happens, and the server answers to what is done about it. Returns what was done at once.
    fn on(&mut self, event: Event) -> Vec<Action> {
        let dice = self.dice;
        let actions = self.machine.on(event, self.now, &mut || dice, &mut self.status);
        for action in &actions {
            self.diary.push((self.now.since(self.started), *action));
            if let Some(answer) = self.answer(*action) {
                self.on(answer);
            }
        }
        actions
    }

    fn answer(&mut self, action: Action) -> Option<Event> {
        match (action, &self.server) {
            (Action::Close, _) => {
                self.line = false;
                Some(Event::Closed)
            }
            (Action::Adopt, _) => std::mem::replace(&mut self.line, true).then_some(Event::Closed),
            (_, RigServer::Silent) => None,
            (Action::TcpConnect { .. }, RigServer::Refuses) => Some(self.refused()),
            (Action::TcpConnect { .. }, _) => Some(connected()),
            (Action::Login, RigServer::Rejects(cause)) => Some(login_failed(self.now, cause.clone())),
            (Action::Login, RigServer::Standby) => Some(logged_in(Role::Standby)),
            (Action::Login, _) => Some(logged_in(Role::Primary)),
            (Action::Ping, RigServer::Up) => Some(pong(Role::Primary)),
            (Action::Ping, RigServer::Standby) => Some(pong(Role::Standby)),
            (Action::Ping, _) => None,
            (Action::HangUp | Action::Answer(_) | Action::Stopped, _) => None,
        }
    }

    fn refused(&self) -> Event {
        connect_failed(self.now, io(ErrorKind::ConnectionRefused), Dial::default())
    }

    /// Lets time pass; timers fire when they are due.
    fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        let mut at_once = 0;
        while self.status.due <= end.mono {
            let wait = self.status.due.saturating_duration_since(self.now.mono);
            at_once = if wait.is_zero() { at_once + 1 } else { 0 };
            assert!(at_once < 10, "the loop spins: {:?} {:?}", self.status.line, self.status.attempt);
            self.now = self.now.after(wait);
            self.on(Event::Timer);
        }
        self.now = end;
    }

    /// The session ends while nothing was asked.
    fn lose(&mut self, cause: Cause) -> Vec<Action> {
        self.line = false;
        self.on(Event::Session(SessionEvent::Lost(Facts::new(Phase::Idle, cause))))
    }

    fn view(&self) -> View<'_> {
        View::new(&self.status, self.now)
    }

    fn shows(&self) -> (State, Option<Reason>) {
        (self.view().state(), self.view().reason())
    }

    /// How long the attempt that waits will wait, and why.
    fn waits(&self) -> (Duration, Because) {
        match self.status.attempt {
            Attempt::Waiting { until, because, .. } => (until.since(self.now), because),
            ref other => panic!("not waiting but {other:?}"),
        }
    }

    /// When that was done, counted from the start.
    fn times(&self, wanted: impl Fn(&Action) -> bool) -> Vec<Duration> {
        self.diary.iter().filter(|(_, action)| wanted(action)).map(|(at, _)| *at).collect()
    }

    fn tcp_connects(&self) -> Vec<Duration> {
        self.times(|action| matches!(action, Action::TcpConnect { .. }))
    }

    fn logins(&self) -> Vec<Duration> {
        self.times(|action| *action == Action::Login)
    }

    fn pings(&self) -> Vec<Duration> {
        self.times(|action| *action == Action::Ping)
    }

    fn answers(&self) -> Vec<ProofResult> {
        let answer = |(_, action): &(_, Action)| match action {
            Action::Answer(answer) => Some(*answer),
            _ => None,
        };
        self.diary.iter().filter_map(answer).collect()
    }
}

fn gaps(times: &[Duration]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn connected() -> Event {
    Event::Connected { dial: Dial::default(), times: ConnectTimes::default() }
}

fn connect_failed(at: Moment, cause: Cause, dial: Dial) -> Event {
    Event::Failed { facts: Facts::new(Phase::Connect, cause), at: at.mono, dial: Some(dial) }
}

fn login_failed(at: Moment, cause: Cause) -> Event {
    Event::Failed { facts: Facts::new(Phase::Startup, cause), at: at.mono, dial: None }
}

fn logged_in(role: Role) -> Event {
    let facts = SessionFacts { role, ..SessionFacts::default() };
    Event::LoggedIn(Box::new(Login { tls: None, startup: ms(5), ping: ms(1), detour: Duration::ZERO, facts }))
}

fn ping_failed(cause: Cause) -> Event {
    Event::Session(SessionEvent::PingFailed(Facts::new(Phase::Ping, cause)))
}

fn pong(role: Role) -> Event {
    Event::Session(SessionEvent::Pong { took: ms(1), role })
}
