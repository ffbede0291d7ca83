//! The guard, the connection rate limit of the process: who may dial now, over all its targets.
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

/// `fleet:` of the configuration, where its defaults are declared. A limit of 0 counts as 1: a guard that lets nobody pass is a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardLimits {
    /// Dials and logins under way at the same time; one address gets a quarter of it.
    pub logins_in_flight: u32,
    pub connects_per_second: u32,
    pub connects_per_host_per_second: u32,
}

impl GuardLimits {
    fn in_flight(&self) -> usize {
        self.logins_in_flight.max(1) as usize
    }

    fn in_flight_per_host(&self) -> usize {
        (self.logins_in_flight / 4).max(1) as usize
    }

    fn in_flight_unreachable(&self) -> usize {
        (self.logins_in_flight / 2).max(1) as usize
    }

    fn per_second_unreachable(&self) -> u32 {
        self.connects_per_second / 2
    }
}

/// Who goes first where not all can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Nothing is held: first connects, reconnects, wakes.
    Reconnect,
    /// The one TCP connect to an address where nobody answered the last. It goes like a reconnect; but it may be long and in
    /// vain, so that all such connects get half of the process's limits: unreachable addresses cannot starve reachable ones.
    Unreachable,
    /// A live session is held meanwhile: refreshes and proofs. After all others.
    Refresh,
}

impl Lane {
    const ALL: [Lane; 3] = [Lane::Reconnect, Lane::Unreachable, Lane::Refresh];

    const fn rank(self) -> u8 {
        match self {
            Lane::Reconnect | Lane::Unreachable => 0,
            Lane::Refresh => 1,
        }
    }
}

/// A position in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    limits: GuardLimits,
    hosts: HashMap<Arc<str>, HostTraffic>,
    all: Traffic,
    unreachable: Traffic,
    next_number: u64,
}

impl Guard {
    /// With nobody in flight.
    pub fn new(limits: GuardLimits) -> Self {
        Guard {
            limits,
            hosts: HashMap::new(),
            all: Traffic::default(),
            unreachable: Traffic::default(),
            next_number: 0,
        }
    }

    /// New limits hold from the next turn on; what was admitted before stays admitted.
    pub fn set_limits(&mut self, limits: GuardLimits) {
        self.limits = limits;
    }

    /// Dials and logins under way.
    pub fn in_flight(&self) -> usize {
        self.all.in_flight
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
        self.hosts.entry(key).and_modify(HostTraffic::clear);
        tickets
    }

    /// Counts one more connect of an admitted ticket, if the limits allow it now; else when it is worth asking again.
    pub fn connect_again(&mut self, ticket: &Ticket, now: Instant) -> Result<(), Instant> {
        let GuardLimits { connects_per_second, connects_per_host_per_second, .. } = self.limits;
        let host = self.hosts.entry(ticket.key.clone()).or_default();
        let mut counted =
            vec![(&mut self.all, connects_per_second), (&mut host.traffic, connects_per_host_per_second)];
        if ticket.lane == Lane::Unreachable {
            counted.push((&mut self.unreachable, self.limits.per_second_unreachable()));
        }
        let free_at = counted.iter_mut().map(|(traffic, limit)| traffic.connect_free_at(*limit, now)).max();
        match free_at.filter(|at| *at > now) {
            Some(at) => Err(at),
            None => {
                counted.into_iter().for_each(|(traffic, _)| traffic.connects.push_back(now));
                Ok(())
            }
        }
    }

    /// An admitted ticket's dial or login is over.
    pub fn release(&mut self, ticket: &Ticket) {
        if let Some(host) = self.hosts.get_mut(&ticket.key) {
            host.traffic.release();
            self.all.release();
            if ticket.lane == Lane::Unreachable {
                self.unreachable.release();
            }
        }
    }

    /// Admits all that the limits allow now: reconnects before refreshes, in the order of their coming. Who waits
    /// for a busy address holds up nobody else's.
    pub fn turn(&mut self, now: Instant) -> Turn {
        self.all.forget(now);
        self.unreachable.forget(now);
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
        let GuardLimits { connects_per_second, connects_per_host_per_second, .. } = self.limits;
        let process = self.all.free_at(self.limits.in_flight(), connects_per_second, now);
        let unreachable_limits = (self.limits.in_flight_unreachable(), self.limits.per_second_unreachable());
        let unreachable = self.unreachable.free_at(unreachable_limits.0, unreachable_limits.1, now);
        let Some(process) = process else {
            return Next::At(None);
        };
        let candidates = self.hosts.iter().flat_map(|(key, host)| {
            let in_flight = self.limits.in_flight_per_host();
            let host_at = host.traffic.free_at(in_flight, connects_per_host_per_second, now);
            host.first_in_each_lane().filter_map(move |(lane, number)| {
                let lane_at = if lane == Lane::Unreachable { unreachable } else { Some(now) };
                let at = process.max(host_at?).max(lane_at?);
                Some((at, lane, number, key))
            })
        });
        match candidates.min_by_key(|&(at, lane, number, _)| (at, lane.rank(), number)) {
            Some((at, lane, number, key)) if at <= now => Next::Up(Ticket { lane, number, key: key.clone() }),
            Some((at, ..)) => Next::At(Some(at)),
            None => Next::At(None),
        }
    }

    fn admit(&mut self, ticket: &Ticket, now: Instant) {
        self.leave(ticket);
        self.all.add(now);
        if ticket.lane == Lane::Unreachable {
            self.unreachable.add(now);
        }
        if let Some(host) = self.hosts.get_mut(&ticket.key) {
            host.traffic.add(now);
        }
    }
}

enum Next {
    Up(Ticket),
    At(Option<Instant>),
}

/// One address.
#[derive(Debug, Default)]
struct HostTraffic {
    /// The numbers of the tickets in each lane; they grow, so each queue is sorted by itself.
    queues: [VecDeque<u64>; Lane::ALL.len()],
    traffic: Traffic,
}

impl HostTraffic {
    fn waiting_in(&mut self, lane: Lane) -> &mut VecDeque<u64> {
        &mut self.queues[lane as usize]
    }

    fn lanes(&self) -> impl Iterator<Item = (Lane, &VecDeque<u64>)> {
        Lane::ALL.into_iter().zip(&self.queues)
    }

    fn waiting(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.lanes().flat_map(|(lane, queue)| queue.iter().map(move |number| (lane, *number)))
    }

    fn first_in_each_lane(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.lanes().filter_map(|(lane, queue)| Some((lane, *queue.front()?)))
    }

    fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
    }

    fn is_of_interest(&mut self, now: Instant) -> bool {
        self.traffic.forget(now);
        !self.traffic.is_quiet() || self.waiting().next().is_some()
    }
}

/// What was admitted and counts still.
#[derive(Debug, Default)]
struct Traffic {
    in_flight: usize,
    /// When the connects of the last window were admitted, oldest first.
    connects: VecDeque<Instant>,
}

impl Traffic {
    fn add(&mut self, now: Instant) {
        self.in_flight += 1;
        self.connects.push_back(now);
    }

    fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn forget(&mut self, now: Instant) {
        while self.connects.front().is_some_and(|at| *at + WINDOW <= now) {
            self.connects.pop_front();
        }
    }

    /// When one more connect keeps the limit.
    fn connect_free_at(&mut self, per_second: u32, now: Instant) -> Instant {
        self.forget(now);
        self.rate_free_at(per_second, now)
    }

    fn rate_free_at(&self, per_second: u32, now: Instant) -> Instant {
        match self.connects.len().checked_sub(per_second.max(1) as usize) {
            Some(too_many) => (self.connects[too_many] + WINDOW).max(now),
            None => now,
        }
    }

    fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.connects.is_empty()
    }

    /// When one more keeps both limits: now, later, or `None` before a release.
    fn free_at(&self, in_flight: usize, per_second: u32, now: Instant) -> Option<Instant> {
        (self.in_flight < in_flight).then(|| self.rate_free_at(per_second, now))
    }
}

#[cfg(test)]
pub(crate) mod tests;
