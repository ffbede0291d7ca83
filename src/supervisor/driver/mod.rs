//! Acts out what the machine decides: the only place with a clock, dice and sessions.
//!
//! One task with three slots (line, attempt, closing) and one `select!`. Actions only start futures, nothing is awaited
//! inside the loop, and a dropped future can't report: so slots need no ids.

mod attempt;
mod log;
mod record;
mod secrets;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::attempt::{AttemptSlot, Happened};
pub use self::record::Recorder;
use super::gate::{Gate, Lane};
use super::machine::{Action, Event, Machine, ProofResult};
use crate::connection::{Connector, Fingerprint, Session, SessionEvent, TcpConnects};
use crate::status::board::Slot;
use crate::status::{Moment, Purpose};
use crate::target::Target;

/// A clock that rings so late was not listened to: the process was stopped, or got no CPU.
const LATE: Duration = Duration::from_millis(100);

/// How much later than the session's own bound the driver gives up a goodbye: the net under the net.
const GOODBYE: Duration = Duration::from_secs(5);

/// What others ask of a target's task.
#[derive(Debug)]
pub enum Request {
    /// Somebody needs the session: wake it.
    Want,
    /// Prove a login and say how it went.
    Prove(oneshot::Sender<ProofResult>),
    /// The same, whatever the target waits for.
    TryNow(oneshot::Sender<ProofResult>),
}

/// One target's task.
pub struct Driver<C: Connector> {
    connector: C,
    gate: Gate,
    target: Arc<Target>,
    slot: Slot,
    /// The target as it is wanted now. When its other end is dropped, that is the order to stop.
    orders: watch::Receiver<Arc<Target>>,
    requests: mpsc::Receiver<Request>,
    machine: Machine,
    dice: fastrand::Rng,
    line: Option<C::Session>,
    attempt: AttemptSlot<C>,
    tcp_connects: TcpConnects,
    closing: Option<BoxFuture<'static, ()>>,
    /// Ends when a secret file differs from what the last attempt used; set while that is worth knowing.
    watch: Option<BoxFuture<'static, ()>>,
    used: Fingerprint,
    proving: Vec<oneshot::Sender<ProofResult>>,
    log: log::Transitions,
    recorder: Recorder,
    /// Nothing is taken from others any more.
    stopping: bool,
}

impl<C: Connector> std::fmt::Debug for Driver<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("target", &self.target.name).finish_non_exhaustive()
    }
}

impl<C: Connector> Driver<C> {
    /// For the target that `orders` holds; `requests` come from [`super::Requests`].
    pub fn new(
        connector: C,
        gate: Gate,
        slot: Slot,
        recorder: Recorder,
        orders: watch::Receiver<Arc<Target>>,
        requests: mpsc::Receiver<Request>,
        dice: fastrand::Rng,
    ) -> Self {
        let target = orders.borrow().clone();
        Driver {
            connector,
            gate,
            target,
            slot,
            orders,
            requests,
            machine: Machine::default(),
            dice,
            line: None,
            attempt: AttemptSlot::Empty,
            tcp_connects: TcpConnects::default(),
            closing: None,
            watch: None,
            used: Fingerprint::default(),
            proving: Vec::new(),
            log: log::Transitions::default(),
            recorder,
            stopping: false,
        }
    }

    /// Begins after `pause`, and runs until it is stopped and has closed everything.
    pub async fn run(mut self, pause: Duration) {
        tokio::select! {
            biased;
            () = stop_ordered(&mut self.orders) => return,
            () = sleep(pause) => {}
        }
        self.target = self.orders.borrow_and_update().clone();
        self.slot.send_modify(|status| status.tuning = self.target.tuning.clone());
        let mut event = Event::Started;
        while !self.step(event) {
            event = self.next().await;
        }
    }

    /// Waits for the next thing that happens.
    async fn next(&mut self) -> Event {
        let due = Instant::from_std(self.slot.borrow().due);
        let mut looked = false;
        loop {
            tokio::select! {
                biased;
                order = self.orders.changed(), if !self.stopping => match order {
                    Ok(()) => {
                        self.target = self.orders.borrow_and_update().clone();
                        return Event::Tuned(self.target.tuning.clone());
                    }
                    Err(_) => {
                        self.stopping = true;
                        return Event::Stop;
                    }
                },
                Some(request) = self.requests.recv(), if !self.stopping => match request {
                    Request::Want => return Event::Wanted,
                    Request::Prove(answer) => {
                        self.proving.push(answer);
                        return Event::Prove;
                    }
                    Request::TryNow(answer) => {
                        self.proving.push(answer);
                        return Event::TryNow;
                    }
                },
                event = line_event(&mut self.line) => {
                    if matches!(event, SessionEvent::Lost(_)) {
                        self.line = None;
                    }
                    return Event::Session(event);
                },
                happened = self.attempt.next() => match happened {
                    Happened::Event(event) => return event,
                    Happened::Used(fingerprint) => self.used = fingerprint,
                },
                () = or_never(&mut self.closing) => {
                    self.closing = None;
                    return Event::Closed;
                },
                () = or_never(&mut self.watch) => {
                    self.watch = None;
                    return Event::SecretChanged;
                },
                () = sleep_until(due) => {
                    if looked || due.elapsed() < LATE {
                        return Event::Timer;
                    }
                    // The answer may have come in time and lie in the socket unseen: the runtime looks there before
                    // it comes back, and then the answer goes first.
                    looked = true;
                    yield_now().await;
                }
            }
        }
    }

    /// Lets the machine decide, publishes the snapshot, acts. True when everything is closed.
    fn step(&mut self, event: Event) -> bool {
        let now = Moment::now();
        let (machine, dice, log) = (&mut self.machine, &mut self.dice, &mut self.log);
        // How it ends is our own doing, and no part of what was.
        let recorder = Some(&mut self.recorder).filter(|_| !self.stopping);
        let mut actions = Vec::new();
        log.event(&self.target.name, &event);
        let tcp_connects = self.tcp_connects.take();
        self.slot.send_modify(|status| {
            status.counters.tcp_connects += tcp_connects;
            let was_due = status.due;
            actions = machine.on(event, now, &mut || dice.f64(), status);
            log.after(status, now);
            if let Some(recorder) = recorder {
                recorder.after(status, was_due, now);
            }
        });
        let mut stopped = false;
        for action in actions {
            stopped |= action == Action::Stopped;
            self.act(action);
        }
        self.watch_secrets();
        stopped
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::TcpConnect { purpose } => {
                let (connector, gate) = (self.connector.clone(), self.gate.clone());
                let (target, made) = (self.target.clone(), self.tcp_connects.clone());
                self.attempt = AttemptSlot::begin(connector, gate, target, self.lane(purpose), purpose, made);
            }
            Action::Login => self.attempt.login(&self.target),
            Action::HangUp => self.attempt = AttemptSlot::Empty,
            Action::Ping => {
                let role = self.target.tuning.role;
                if let Some(line) = &mut self.line {
                    line.ping(role);
                }
            }
            Action::Adopt => {
                if let AttemptSlot::LoggedIn(session) =
                    std::mem::replace(&mut self.attempt, AttemptSlot::Empty)
                {
                    self.close_line();
                    self.line = Some(session);
                }
            }
            Action::Close => self.close_line(),
            Action::Answer(answer) => {
                for asker in self.proving.drain(..) {
                    // Whoever asked may have gone; the attempt was made all the same.
                    let _ = asker.send(answer);
                }
            }
            Action::Stopped => {}
        }
    }

    /// Starts to close the line, behind what is being closed already.
    fn close_line(&mut self) {
        if let Some(old) = self.line.take() {
            let before = self.closing.take();
            self.closing = Some(Box::pin(async move {
                let goodbye = timeout(GOODBYE, old.close());
                // Whether it ended in time or was dropped: the socket is closed.
                let _ = tokio::join!(or_at_once(before), goodbye);
            }));
        }
    }

    /// Reconnects go before refreshes.
    fn lane(&self, purpose: Purpose) -> Lane {
        match purpose {
            Purpose::Refresh | Purpose::Prove if self.line.is_some() => Lane::Refresh,
            _ => Lane::Reconnect,
        }
    }

    /// Watches the secret files for as long as only another secret can help, or would be left unproven.
    fn watch_secrets(&mut self) {
        if !secrets::are_worth_watching(&self.slot.borrow(), &self.target) {
            self.watch = None;
        } else if self.watch.is_none() {
            let (connector, target) = (self.connector.clone(), self.target.clone());
            self.watch = Some(Box::pin(secrets::changed(connector, target, self.used)));
        }
    }
}

async fn stop_ordered(orders: &mut watch::Receiver<Arc<Target>>) {
    while orders.changed().await.is_ok() {}
}

async fn line_event<S: Session>(line: &mut Option<S>) -> SessionEvent {
    match line {
        Some(session) => session.event().await,
        None => pending().await,
    }
}

async fn or_never(slot: &mut Option<BoxFuture<'static, ()>>) {
    match slot {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn or_at_once(slot: Option<BoxFuture<'static, ()>>) {
    if let Some(future) = slot {
        future.await;
    }
}
