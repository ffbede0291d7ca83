//! Servers in memory, and the two ends of a session with one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Happening, Simulation, ms};
use crate::pool::core::SessionId;
use crate::pool::driver::PoolSession;
use crate::pool::session_slot::SessionSlot;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Up,
    Refuses,
    /// Nothing comes back, not even to a TCP connect.
    BlackHole,
    /// The kernel takes sockets, the server does not answer.
    Hung,
    Starting,
    RejectsPassword,
    LacksDatabase,
}

/// A server.
pub struct Host {
    pub mood: Mood,
    /// `max_connections`.
    pub slots: usize,
    /// `idle_session_timeout`.
    pub idle_limit: Option<Duration>,
    /// Everything that was ever connected, until it is swept.
    pub wires: Vec<Arc<Wire>>,
}

/// A connection, as the server has it.
pub struct Wire {
    pub host: usize,
    state: Mutex<WireState>,
}

struct WireState {
    /// When the server ended it.
    ended: Option<Instant>,
    /// The client's end was dropped.
    is_left: bool,
    /// When something was last asked or answered.
    used: Instant,
    waker: Option<Waker>,
}

/// What others than its holder may know of a session.
#[derive(Default)]
pub struct SimBackend {
    cancels: AtomicUsize,
    is_retired: AtomicBool,
}

/// A session of a pool.
pub struct SimSession {
    pub slot: SessionSlot,
    pub wire: Arc<Wire>,
    pub backend: Arc<SimBackend>,
    pub heard: Instant,
    /// Which of the pool's places it leads to.
    pub place: u64,
    /// A client has left something on it.
    pub is_dirty: bool,
}

impl Wire {
    pub fn new(host: usize, now: Instant) -> Arc<Self> {
        let state = WireState { ended: None, is_left: false, used: now, waker: None };
        Arc::new(Wire { host, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, WireState> {
        self.state.lock().expect("nobody panics while it is held")
    }

    /// Whether the server holds it still.
    pub fn is_open(&self) -> bool {
        let state = self.state();
        state.ended.is_none() && !state.is_left
    }

    pub fn ended(&self) -> Option<Instant> {
        self.state().ended
    }

    pub fn end(&self, now: Instant) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.ended = Some(now);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    pub fn leave(&self) {
        self.state().is_left = true;
    }

    pub fn is_used(&self, now: Instant) {
        self.state().used = now;
    }

    pub fn used(&self) -> Instant {
        self.state().used
    }
}

impl SimBackend {
    pub fn cancel_begins(&self) {
        self.cancels.fetch_add(1, Ordering::Relaxed);
    }

    /// One that did not reach the server may do so later.
    pub fn cancel_ends(&self, reached: bool) {
        self.cancels.fetch_sub(1, Ordering::Relaxed);
        if !reached {
            self.is_retired.store(true, Ordering::Relaxed);
        }
    }

    pub fn cancels(&self) -> usize {
        self.cancels.load(Ordering::Relaxed)
    }
}

impl PoolSession for SimSession {
    fn id(&self) -> SessionId {
        self.slot.id()
    }

    fn heard(&self) -> Instant {
        self.heard
    }

    fn is_retired(&self) -> bool {
        self.backend.is_retired.load(Ordering::Relaxed)
    }

    fn is_being_cancelled(&self) -> bool {
        self.backend.cancels() > 0
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.wire.state();
        if state.ended.is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for SimSession {
    fn drop(&mut self) {
        self.wire.leave();
    }
}

impl Mood {
    /// Whether it answers on sessions that are there.
    pub fn answers(self) -> bool {
        matches!(self, Mood::Up | Mood::RejectsPassword | Mood::LacksDatabase)
    }
}

impl Simulation {
    pub fn set_mood(&mut self, host: usize, mood: Mood) {
        let before = std::mem::replace(&mut self.hosts[host].mood, mood);
        // What it had before it crashed or was cut off is gone.
        if matches!(mood, Mood::Refuses | Mood::Starting) || before == Mood::BlackHole {
            self.end_wires(host, |_| true);
        }
    }

    pub fn end_wires(&mut self, host: usize, mut ends: impl FnMut(&mut fastrand::Rng) -> bool) {
        self.hosts[host].wires.retain(|wire| wire.is_open());
        let wires = self.hosts[host].wires.iter().filter(|_| ends(&mut self.dice));
        for wire in wires.cloned().collect::<Vec<_>>() {
            self.end_wire(&wire);
        }
    }

    /// As `pg_terminate_backend` does.
    fn end_wire(&mut self, wire: &Arc<Wire>) {
        wire.end(self.agenda.now());
        for target in 0..self.targets.len() {
            if self.targets[target].is_on(wire) {
                let delay = self.latency();
                self.agenda.put(delay, Happening::LineEnds { target, wire: Arc::clone(wire) });
            }
        }
        (0..self.pools.len()).for_each(|pool| self.settle(pool));
    }

    /// A session that the server has taken in.
    pub fn connect(&mut self, host: usize) -> Option<Arc<Wire>> {
        let now = self.agenda.now();
        let server = &mut self.hosts[host];
        server.wires.retain(|wire| wire.is_open());
        if server.wires.len() >= server.slots {
            return None;
        }
        let wire = Wire::new(host, now);
        server.wires.push(Arc::clone(&wire));
        self.watch_quiet(&wire);
        Some(wire)
    }

    /// The server's own limit on silence.
    pub fn watch_quiet(&mut self, wire: &Arc<Wire>) {
        if let Some(limit) = self.hosts[wire.host].idle_limit {
            self.agenda.put_at(wire.used() + limit, Happening::QuietEnds(Arc::clone(wire)));
        }
    }

    pub fn quiet_ends(&mut self, wire: Arc<Wire>) {
        let now = self.agenda.now();
        let limit = self.hosts[wire.host].idle_limit;
        match limit {
            Some(limit) if wire.is_open() && now < wire.used() + limit => self.watch_quiet(&wire),
            Some(_) if wire.is_open() && self.hosts[wire.host].mood.answers() => {
                self.tally.quiet += 1;
                self.end_wire(&wire);
            }
            _ => {}
        }
    }

    /// How long something takes to be noticed.
    pub fn latency(&mut self) -> Duration {
        Duration::from_micros(self.dice.u64(0..2_000))
    }

    /// How long an answer takes.
    pub fn trip(&mut self) -> Duration {
        ms(1) + self.latency()
    }
}
