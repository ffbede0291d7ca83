//! The storm guard: who may dial now, over all targets of the process.
//!
//! Four limits at once: logins in flight and connects a second, each for the process and for one address. Callers
//! queue for a [`Ticket`]; [`Guard::turn`] says which tickets are up and when it is worth asking again. An admitted
//! ticket holds its login slot until it is released, so an accepted socket never waits for one. It knows neither
//! clocks nor tasks, and nothing of whether an address answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The window that the rates are kept in. A connect reaches its server some time after it was admitted here, and
/// not always the same time: the tenth of a second more keeps any one second *at the server* within the limit too.
const WINDOW: Duration = Duration::from_millis(1100);

/// `fleet:` of the configuration. A limit of 0 counts as 1: a guard that lets nobody pass is a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Dials and logins under way at the same time; one address gets a quarter of it.
    pub logins_in_flight: u32,
    pub connects_per_second: u32,
    pub connects_per_host_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { logins_in_flight: 16, connects_per_second: 50, connects_per_host_per_second: 10 }
    }
}

impl Limits {
    fn in_flight(&self) -> usize {
        self.logins_in_flight.max(1) as usize
    }

    fn in_flight_per_host(&self) -> usize {
        (self.logins_in_flight / 4).max(1) as usize
    }

    fn in_flight_in_the_dark(&self) -> usize {
        (self.logins_in_flight / 2).max(1) as usize
    }
}

/// Who goes first where not all can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Nothing is held: first connects, reconnects, wakes.
    Reconnect,
    /// A live session is held meanwhile: refreshes and proofs.
    Refresh,
    /// The one knock at an address where nobody answered the last. It may be long and in vain, so such knocks go last
    /// and hold half of the logins in flight at the most: dead addresses can't starve the live ones.
    Dark,
}

impl Lane {
    const ALL: [Lane; 3] = [Lane::Reconnect, Lane::Refresh, Lane::Dark];
}

/// A place in the queue; in the order of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    lane: Lane,
    number: u64,
    key: Arc<str>,
}

/// What [`Guard::turn`] decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// These may dial now, each until [`Guard::release`].
    pub admitted: Vec<Ticket>,
    /// When the next one will be let through by the clock alone; `None` if a release must come first.
    pub again_at: Option<Instant>,
}

/// The guard. Its memory is bounded by what waits, what is in flight, and the connects of the last second.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    hosts: HashMap<Arc<str>, Host>,
    connects: Connects,
    in_flight: usize,
    in_the_dark: usize,
    next_number: u64,
}

impl Guard {
    pub fn new(limits: Limits) -> Self {
        Guard {
            limits,
            hosts: HashMap::new(),
            connects: Connects::default(),
            in_flight: 0,
            in_the_dark: 0,
            next_number: 0,
        }
    }

    /// New limits hold from the next turn on; what was admitted before stays admitted.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Dials and logins under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Joins the queue of `key`, an address that shares the limits per host.
    pub fn queue(&mut self, key: &str, lane: Lane) -> Ticket {
        let key: Arc<str> = match self.hosts.get_key_value(key) {
            Some((known, _)) => known.clone(),
            None => key.into(),
        };
        let number = self.next_number;
        self.next_number += 1;
        let ticket = Ticket { lane, number, key };
        let host = self.hosts.entry(ticket.key.clone()).or_default();
        host.waiting_in(lane).push_back(number);
        ticket
    }

    /// Leaves the queue without having been admitted.
    pub fn leave(&mut self, ticket: &Ticket) {
        if let Some(host) = self.hosts.get_mut(&ticket.key) {
            let queue = host.waiting_in(ticket.lane);
            if let Ok(place) = queue.binary_search(&ticket.number) {
                queue.remove(place);
            }
        }
    }

    /// Sends everybody away who waits for `key`.
    pub fn clear(&mut self, key: &str) -> Vec<Ticket> {
        let Some((key, host)) = self.hosts.get_key_value(key) else {
            return Vec::new();
        };
        let tickets = host.waiting().map(|(lane, number)| Ticket { lane, number, key: key.clone() });
        let tickets = tickets.collect();
        let key = key.clone();
        self.hosts.entry(key).and_modify(Host::clear);
        tickets
    }

    /// An admitted ticket's dial or login is over.
    pub fn release(&mut self, ticket: &Ticket) {
        if let Some(host) = self.hosts.get_mut(&ticket.key) {
            host.in_flight = host.in_flight.saturating_sub(1);
            self.in_flight = self.in_flight.saturating_sub(1);
            if ticket.lane == Lane::Dark {
                self.in_the_dark = self.in_the_dark.saturating_sub(1);
            }
        }
    }

    /// Admits all that the limits allow now: reconnects before refreshes, in the order of their coming. Who waits
    /// for a busy address holds up nobody else's.
    pub fn turn(&mut self, now: Instant) -> Turn {
        self.connects.forget(now);
        self.hosts.retain(|_, host| host.is_of_interest(now));
        let mut admitted = Vec::new();
        loop {
            match self.next(now) {
                Next::Up(ticket) => {
                    self.admit(&ticket, now);
                    admitted.push(ticket);
                }
                Next::At(again_at) => return Turn { admitted, again_at },
            }
        }
    }

    /// The first ticket in the queue that may go now, or when one may.
    fn next(&self, now: Instant) -> Next {
        if self.in_flight >= self.limits.in_flight() {
            return Next::At(None);
        }
        let dark_is_full = self.in_the_dark >= self.limits.in_flight_in_the_dark();
        let process_free_at = self.connects.free_at(self.limits.connects_per_second, now);
        let may_go = self
            .hosts
            .iter()
            .filter(|(_, host)| host.in_flight < self.limits.in_flight_per_host())
            .filter_map(|(key, host)| {
                let (lane, number) = host.waiting().find(|(lane, _)| *lane != Lane::Dark || !dark_is_full)?;
                let per_host = self.limits.connects_per_host_per_second;
                let at = process_free_at.max(host.connects.free_at(per_host, now));
                Some((at, lane, number, key))
            })
            .min_by_key(|&(at, lane, number, _)| (at, lane, number));
        match may_go {
            Some((at, lane, number, key)) if at <= now => Next::Up(Ticket { lane, number, key: key.clone() }),
            Some((at, ..)) => Next::At(Some(at)),
            None => Next::At(None),
        }
    }

    fn admit(&mut self, ticket: &Ticket, now: Instant) {
        self.leave(ticket);
        self.in_flight += 1;
        self.in_the_dark += usize::from(ticket.lane == Lane::Dark);
        self.connects.add(now);
        if let Some(host) = self.hosts.get_mut(&ticket.key) {
            host.in_flight += 1;
            host.connects.add(now);
        }
    }
}

enum Next {
    Up(Ticket),
    At(Option<Instant>),
}

/// One address.
#[derive(Debug, Default)]
struct Host {
    /// The numbers of the tickets in each lane; they grow, so each queue is sorted by itself.
    queues: [VecDeque<u64>; Lane::ALL.len()],
    in_flight: usize,
    connects: Connects,
}

impl Host {
    fn waiting_in(&mut self, lane: Lane) -> &mut VecDeque<u64> {
        &mut self.queues[lane as usize]
    }

    /// In the order of the queue.
    fn waiting(&self) -> impl Iterator<Item = (Lane, u64)> {
        let lanes = Lane::ALL.into_iter().zip(&self.queues);
        lanes.flat_map(|(lane, queue)| queue.iter().map(move |number| (lane, *number)))
    }

    fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
    }

    fn is_of_interest(&mut self, now: Instant) -> bool {
        self.connects.forget(now);
        self.in_flight > 0 || self.waiting().next().is_some() || !self.connects.0.is_empty()
    }
}

/// When the connects of the last window were admitted, oldest first.
#[derive(Debug, Default)]
struct Connects(VecDeque<Instant>);

impl Connects {
    fn add(&mut self, now: Instant) {
        self.0.push_back(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.0.front().is_some_and(|at| *at + WINDOW <= now) {
            self.0.pop_front();
        }
    }

    /// When fewer than `limit` connects will be within the window; `now` if that is so already.
    fn free_at(&self, limit: u32, now: Instant) -> Instant {
        let spare = limit.max(1) as usize;
        match self.0.len().checked_sub(spare) {
            Some(too_many) => (self.0[too_many] + WINDOW).max(now),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests;
