//! How sessions are opened, the supervised ones and those of the pools: past the guard, to a server that may take
//! the socket and may let in who comes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::hosts::Mood;
use super::{Happening, SimSession, Simulation, ms};
use crate::policy::guard::{Guard, GuardLimits, Lane, Ticket};
use crate::pool::session_slot::SessionSlot;
use crate::reason::{Cause, Facts, Phase};

/// A server that is hung, or not there, is asked again so often.
const AGAIN: Duration = ms(50);

pub type LoginId = u64;

/// All that are under way.
pub struct Logins {
    guard: Guard,
    limits: GuardLimits,
    number: LoginId,
    under_way: BTreeMap<LoginId, SimLogin>,
    waiting: HashMap<Ticket, LoginId>,
    turn_at: Option<Instant>,
    /// When who was let through to which host.
    connects: VecDeque<(Instant, usize)>,
}

/// One of them.
pub struct SimLogin {
    pub host: usize,
    pub opens: Opens,
    ticket: Ticket,
    budget: Duration,
    /// Set once it is let through.
    deadline: Option<Instant>,
}

/// What it is for.
pub enum Opens {
    Line(usize),
    Session { pool: usize, slot: SessionSlot, generation: u64, place: u64 },
}

impl Logins {
    pub fn new(limits: GuardLimits) -> Self {
        Logins {
            guard: Guard::new(limits),
            limits,
            number: 0,
            under_way: BTreeMap::new(),
            waiting: HashMap::new(),
            turn_at: None,
            connects: VecDeque::new(),
        }
    }

    /// The limits hold in every second.
    fn connect(&mut self, host: usize, now: Instant) {
        self.connects.push_back((now, host));
        while self.connects.front().is_some_and(|(at, _)| now.duration_since(*at) >= ms(1_000)) {
            self.connects.pop_front();
        }
        let to_host = self.connects.iter().filter(|(_, other)| *other == host).count();
        assert!(self.connects.len() <= self.limits.connects_per_second as usize, "too many connects");
        assert!(
            to_host <= self.limits.connects_per_host_per_second as usize,
            "too many connects to one host"
        );
        let in_flight = self.under_way.values().filter(|login| login.deadline.is_some()).count();
        assert!(in_flight <= self.limits.logins_in_flight as usize, "too many logins at once");
    }
}

impl Simulation {
    pub fn log_in(&mut self, host: usize, opens: Opens, lane: Lane, budget: Duration) -> LoginId {
        let logins = &mut self.logins;
        let ticket = logins.guard.queue(&format!("host{host}"), lane);
        logins.number += 1;
        let login = logins.number;
        logins.waiting.insert(ticket.clone(), login);
        logins.under_way.insert(login, SimLogin { host, opens, ticket, budget, deadline: None });
        self.take_turn();
        login
    }

    /// Nobody wants it any more.
    pub fn hang_up(&mut self, login: LoginId) {
        if self.end_login(login).is_some() {
            self.take_turn();
        }
    }

    fn end_login(&mut self, login: LoginId) -> Option<SimLogin> {
        let ended = self.logins.under_way.remove(&login)?;
        match ended.deadline {
            Some(_) => self.logins.guard.release(&ended.ticket),
            None => {
                self.logins.waiting.remove(&ended.ticket);
                self.logins.guard.leave(&ended.ticket);
            }
        }
        Some(ended)
    }

    pub fn take_turn(&mut self) {
        let now = self.agenda.now();
        let turn = self.logins.guard.turn(now);
        for ticket in turn.admitted {
            let login = self.logins.waiting.remove(&ticket).expect("only who waits is let through");
            let found = self.logins.under_way.get_mut(&login).expect("it is under way");
            let (host, deadline) = (found.host, now + found.budget);
            found.deadline = Some(deadline);
            self.logins.connect(host, now);
            let wait = self.trip();
            self.agenda.put(wait, Happening::Dial(login));
        }
        if let Some(at) = turn.again_at
            && self.logins.turn_at.is_none_or(|known| at < known || known <= now)
        {
            self.logins.turn_at = Some(at);
            self.agenda.put_at(at, Happening::Turn);
        }
    }

    pub fn dialled(&mut self, login: LoginId) {
        let Some(found) = self.logins.under_way.get(&login) else {
            return;
        };
        let (now, deadline) = (self.agenda.now(), found.deadline.expect("it was let through"));
        let cause = match self.hosts[found.host].mood {
            Mood::Refuses => Cause::Io { kind: ErrorKind::ConnectionRefused, os: None },
            Mood::BlackHole if now < deadline => {
                return self.agenda.put_at((now + AGAIN).min(deadline), Happening::Dial(login));
            }
            Mood::BlackHole => Cause::Timeout,
            _ => match found.opens {
                Opens::Line(target) => return self.line_connected(target),
                Opens::Session { .. } => return self.authenticate(login),
            },
        };
        self.login_failed(login, Facts::new(Phase::Connect, cause), true);
    }

    pub fn authenticate(&mut self, login: LoginId) {
        let wait = ms(4) + self.trip();
        self.agenda.put(wait, Happening::Login(login));
    }

    pub fn logged_in(&mut self, login: LoginId) {
        let Some(found) = self.logins.under_way.get(&login) else {
            return;
        };
        let (now, deadline) = (self.agenda.now(), found.deadline.expect("it was let through"));
        let host = found.host;
        let cause = match self.hosts[host].mood {
            Mood::Hung | Mood::BlackHole if now < deadline => {
                return self.agenda.put_at((now + AGAIN).min(deadline), Happening::Login(login));
            }
            Mood::Hung | Mood::BlackHole => Cause::Timeout,
            Mood::Refuses => Cause::Closed,
            Mood::Starting => Cause::server("57P03", "the database system is starting up"),
            Mood::RejectsPassword => {
                Cause::server("28P01", "password authentication failed for user \"app\"")
            }
            Mood::LacksDatabase => Cause::server("3D000", "database \"db\" does not exist"),
            Mood::Up => match self.connect(host) {
                None => Cause::server("53300", "sorry, too many clients already"),
                Some(wire) => {
                    let ended = self.end_login(login).expect("it is under way");
                    match ended.opens {
                        Opens::Line(target) => self.line_logged_in(target, wire),
                        Opens::Session { pool, slot, generation, place } => {
                            let backend = std::sync::Arc::default();
                            let session =
                                SimSession { slot, wire, backend, heard: now, place, is_dirty: false };
                            self.session_opened(pool, Box::new(session), generation);
                        }
                    }
                    return self.take_turn();
                }
            },
        };
        self.login_failed(login, Facts::new(Phase::Startup, cause), false);
    }

    fn login_failed(&mut self, login: LoginId, facts: Facts, dial: bool) {
        let ended = self.end_login(login).expect("it is under way");
        match ended.opens {
            Opens::Line(target) => self.line_failed(target, facts, dial),
            Opens::Session { pool, slot, generation, .. } => {
                self.session_failed(pool, slot, generation, &facts)
            }
        }
        self.take_turn();
    }
}
