//! Who is connected, what each is doing, how long it may, and who goes when there is no room.
//!
//! hyper's own timer cannot tell a client that never spoke from one that rests between two scrapes, so the socket is
//! watched here: bytes and answers move a connection from phase to phase, and each phase has its limit.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::probe;

/// How long and how many. The defaults are what runs; tests are less patient.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// For shaking hands, where there is TLS.
    pub handshake: Duration,
    /// For the first byte of a new connection: who has nothing to say holds a place that others need.
    pub first_byte: Duration,
    /// For a request's head, once it has begun: slow loris.
    pub head: Duration,
    /// Between two requests: longer than any scrape interval in use, so that Prometheus keeps its connection.
    pub idle: Duration,
    /// For making an answer: `/probe`'s longest, and some.
    pub answer: Duration,
    /// For taking an answer: a client that does not read holds memory.
    pub write: Duration,
    /// After the last answer, for what the client still sends: bytes that nobody reads would make the kernel reset the
    /// connection, and the client would lose the answer.
    pub linger: Duration,
    /// At that many the one that has waited longest for its client goes, so that a scrape is never refused.
    pub connections: usize,
    /// Where none of them waits, for one to come to its end; then the one that is busy longest goes. Clients that ask
    /// much and read nothing would keep all others out else.
    pub busy: Duration,
    /// For requests in flight when the process ends.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            answer: probe::LONGEST + Duration::from_secs(10),
            write: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            connections: 512,
            busy: Duration::from_secs(5),
            drain: Duration::from_secs(2),
        }
    }
}

impl ConnectionLimits {
    /// For the health address: who probes asks at once, and is gone.
    pub fn for_probes() -> Self {
        ConnectionLimits {
            first_byte: Duration::from_secs(2),
            head: Duration::from_secs(2),
            idle: Duration::from_secs(2),
            answer: Duration::from_secs(2),
            write: Duration::from_secs(2),
            linger: Duration::from_secs(2),
            connections: 128,
            busy: Duration::from_millis(50),
            ..ConnectionLimits::default()
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// TLS is being agreed on.
    Handshake,
    /// Not a byte has come yet.
    New,
    /// A request's head has begun.
    Reading,
    /// The answer is being made.
    Answering,
    /// The answer is on its way.
    Writing,
    /// Between two requests.
    Idle,
    /// After the last answer.
    Lingering,
}

impl Activity {
    /// Whether it is the client's turn, and nothing is lost if it goes.
    const fn may_go(self) -> bool {
        match self {
            Activity::Handshake
            | Activity::New
            | Activity::Reading
            | Activity::Idle
            | Activity::Lingering => true,
            Activity::Answering | Activity::Writing => false,
        }
    }
}

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionSignal {
    Stay,
    /// Finish what is in flight, take no further request.
    Finish,
    Leave,
}

/// All connections of the process.
#[derive(Debug)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    admitted: Mutex<Admitted>,
    /// One has gone, or has become idle.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Admitted {
    next: u64,
    records: HashMap<u64, Arc<Record>>,
}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Connections { limits, admitted: Mutex::default(), changed: Notify::new() })
    }

    /// A place, made by sending away the longest waiting one if need be. Waits only while all others are being
    /// answered, and none of them for too long.
    pub(super) async fn admit(self: &Arc<Self>) -> ConnectionSlot {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.try_admit() {
                Ok(place) => return place,
                // Somebody went, or one has been busy for too long: either way there is room.
                Err(busy_until) => _ = timeout_at(busy_until, changed).await,
            }
        }
    }

    /// A place, or when to try again.
    fn try_admit(self: &Arc<Self>) -> Result<ConnectionSlot, Instant> {
        let mut admitted = lock(&self.admitted);
        if admitted.records.len() >= self.limits.connections && !admitted.send_one_away() {
            let now = Instant::now();
            match admitted.busiest() {
                Some((id, since)) if since + self.limits.busy <= now => admitted.send_away(id),
                Some((_, since)) => return Err(since + self.limits.busy),
                // No connection is allowed at all.
                None => return Err(now + self.limits.busy),
            }
        }
        let id = admitted.next;
        admitted.next += 1;
        let (record, orders) = Record::new(Instant::now());
        let record = Arc::new(record);
        admitted.records.insert(id, record.clone());
        Ok(ConnectionSlot { connections: self.clone(), id, record, orders })
    }

    /// Sends the longest waiting one away, which frees a descriptor.
    pub(super) fn make_room(&self) -> bool {
        lock(&self.admitted).send_one_away()
    }

    /// Lets answers in flight finish within the limit, sends the others away, and tells how many were cut off.
    pub(super) async fn drain(&self) -> usize {
        for record in lock(&self.admitted).records.values() {
            record.order.send_replace(if record.state().phase.may_go() {
                ConnectionSignal::Leave
            } else {
                ConnectionSignal::Finish
            });
        }
        let _ = timeout(self.limits.drain, self.emptied()).await;
        let cut_off: Vec<_> = lock(&self.admitted).records.drain().collect();
        for (_, record) in &cut_off {
            record.order.send_replace(ConnectionSignal::Leave);
        }
        cut_off.len()
    }

    async fn emptied(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if lock(&self.admitted).records.is_empty() {
                return;
            }
            changed.await;
        }
    }
}

impl Admitted {
    fn send_one_away(&mut self) -> bool {
        let states = self.records.iter().map(|(id, record)| (*id, record.state()));
        let longest = states.filter(|(_, state)| state.phase.may_go()).min_by_key(|(_, state)| state.since);
        let longest = longest.map(|(id, _)| id);
        if let Some(id) = longest {
            self.send_away(id);
        }
        longest.is_some()
    }

    /// The one that has been busy without a pause for the longest time, and since when.
    fn busiest(&self) -> Option<(u64, Instant)> {
        let records = self.records.iter();
        records.map(|(id, record)| (*id, record.state().turned)).min_by_key(|(_, since)| *since)
    }

    fn send_away(&mut self, id: u64) {
        if let Some(record) = self.records.remove(&id) {
            record.order.send_replace(ConnectionSignal::Leave);
        }
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    connections: Arc<Connections>,
    id: u64,
    record: Arc<Record>,
    orders: watch::Receiver<ConnectionSignal>,
}

impl ConnectionSlot {
    /// Every order since the place was taken.
    pub(super) fn orders(&self) -> watch::Receiver<ConnectionSignal> {
        self.orders.clone()
    }

    /// When the phase that the connection is in has lasted too long.
    pub(super) fn deadline(&self) -> Instant {
        let ActivityState { phase, since, .. } = self.record.state();
        let limits = &self.connections.limits;
        since
            + match phase {
                Activity::Handshake => limits.handshake,
                Activity::New => limits.first_byte,
                Activity::Reading => limits.head,
                Activity::Answering => limits.answer,
                Activity::Writing => limits.write,
                Activity::Idle => limits.idle,
                Activity::Lingering => limits.linger,
            }
    }

    /// TLS is wanted first.
    pub(super) fn handshake(&self) {
        self.record.go(Activity::Handshake);
    }

    /// TLS is agreed on.
    pub(super) fn handshake_done(&self) {
        self.record.go(Activity::New);
    }

    /// A request was read whole and is being answered. True where it came in the wake of another one, without a byte
    /// to wait for.
    pub(super) fn asked(&self) -> bool {
        let pipelined = self.record.state().phase != Activity::Reading;
        self.record.go(Activity::Answering);
        pipelined
    }

    /// The answer is made.
    pub(super) fn answered(&self) {
        self.record.go(Activity::Writing);
    }

    /// All that was written has gone out.
    pub(super) fn flushed(&self) {
        if self.record.go_from(&[Activity::Writing], Activity::Idle) {
            self.connections.changed.notify_waiters();
        }
    }

    /// There will be no further answer.
    pub(super) fn lingers(&self) {
        self.record.go(Activity::Lingering);
        self.connections.changed.notify_waiters();
    }

    /// Bytes have come.
    pub(super) fn received(&self) {
        self.record.go_from(&[Activity::New, Activity::Idle], Activity::Reading);
    }

    /// Bytes are about to go: hyper itself answers what it cannot read, before anybody was asked.
    pub(super) fn sending(&self) {
        self.record.go_from(&[Activity::Reading, Activity::Idle], Activity::Writing);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        lock(&self.connections.admitted).records.remove(&self.id);
        self.connections.changed.notify_waiters();
    }
}

#[derive(Debug)]
struct Record {
    state: Mutex<ActivityState>,
    order: watch::Sender<ConnectionSignal>,
}

#[derive(Debug, Clone, Copy)]
struct ActivityState {
    phase: Activity,
    since: Instant,
    /// When it last became our turn, or the client's.
    turned: Instant,
}

impl Record {
    fn new(now: Instant) -> (Self, watch::Receiver<ConnectionSignal>) {
        let (order, orders) = watch::channel(ConnectionSignal::Stay);
        let state = Mutex::new(ActivityState { phase: Activity::New, since: now, turned: now });
        (Record { state, order }, orders)
    }

    fn state(&self) -> ActivityState {
        *lock(&self.state)
    }

    fn go(&self, phase: Activity) {
        let (mut state, now) = (lock(&self.state), Instant::now());
        let turned = if state.phase.may_go() == phase.may_go() { state.turned } else { now };
        *state = ActivityState { phase, since: now, turned };
    }

    fn go_from(&self, from: &[Activity], phase: Activity) -> bool {
        let due = from.contains(&self.state().phase);
        if due {
            self.go(phase);
        }
        due
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
