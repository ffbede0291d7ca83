//! The sessions that nobody has, and the clients that wait for one. First come, first served; the session that was
//! used last goes out first, so that those that are not needed grow idle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::refusal::Refusal;
use super::server::Server;
use crate::status::pool::ServerState;

/// What a waiting client gets.
pub type Grant = Result<Server, Refusal>;

/// The stock of one pool.
#[derive(Debug)]
pub struct Stock {
    inner: Mutex<Inner>,
    /// Told when a client begins to wait: the keeper's.
    keeper: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<Server>,
    waiting: VecDeque<Waiter>,
    /// Woken when an idle session says something or ends.
    watcher: Option<Waker>,
    /// The keeper is told of each client that begins to wait.
    told: bool,
}

/// A client in the queue.
#[derive(Debug)]
pub struct Waiter {
    pub since: Instant,
    pub deadline: Instant,
    grant: oneshot::Sender<Grant>,
}

impl Stock {
    pub fn new(keeper: Arc<Notify>) -> Self {
        Stock { inner: Mutex::default(), keeper }
    }

    /// A session for a client that comes now; none while others wait. One that has just ended, which the keeper may not
    /// have heard of yet, is passed over.
    pub fn take(&self) -> Option<Server> {
        let mut inner = self.inner();
        if !inner.waiting.is_empty() {
            return None;
        }
        while let Some(mut server) = inner.idle.pop() {
            if !inner.has_ended(&mut server) {
                return Some(server);
            }
        }
        None
    }

    /// Takes a place in the queue. Nothing comes where the pool has ended.
    pub fn wait(&self, since: Instant, deadline: Instant) -> oneshot::Receiver<Grant> {
        let (grant, granted) = oneshot::channel();
        let mut inner = self.inner();
        inner.waiting.push_back(Waiter { since, deadline, grant });
        if inner.told {
            self.keeper.notify_one();
        }
        granted
    }

    /// Gives a session to who has waited longest, else puts it aside. Returned where it has ended meanwhile.
    pub fn put(&self, mut server: Server) -> Option<Server> {
        let mut inner = self.inner();
        if inner.has_ended(&mut server) {
            return Some(server);
        }
        while let Some(waiter) = inner.waiting.pop_front() {
            match waiter.grant.send(Ok(server)) {
                Ok(()) => return None,
                Err(Ok(back)) => server = back,
                Err(Err(_)) => return None,
            }
        }
        server.place.is_now(ServerState::Idle);
        inner.idle.push(server);
        None
    }

    /// Watches the idle sessions: those that have ended. The caller's task is woken whenever one has something to say.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Vec<Server>> {
        let mut inner = self.inner();
        if !inner.watcher.as_ref().is_some_and(|watcher| watcher.will_wake(cx.waker())) {
            inner.watcher = Some(cx.waker().clone());
        }
        let ended: Vec<_> = inner.idle.extract_if(.., |server| server.poll_idle(cx).is_ready()).collect();
        if ended.is_empty() { Poll::Pending } else { Poll::Ready(ended) }
    }

    /// Takes out the idle sessions that fit.
    pub fn take_where(&self, fits: impl FnMut(&mut Server) -> bool) -> Vec<Server> {
        self.inner().idle.extract_if(.., fits).collect()
    }

    /// Whether an idle session fits.
    pub fn any(&self, fits: impl FnMut(&Server) -> bool) -> bool {
        self.inner().idle.iter().any(fits)
    }

    /// Whether the keeper wants to be told of each client that begins to wait; else it looks soon by itself.
    pub fn tell_keeper(&self, told: bool) {
        self.inner().told = told;
    }

    pub fn idle(&self) -> usize {
        self.inner().idle.len()
    }

    pub fn waiting(&self) -> usize {
        self.inner().waiting.len()
    }

    /// Lets those go that `judge` has an answer for, and those that have gone by themselves.
    pub fn refuse_where(&self, mut judge: impl FnMut(&Waiter) -> Option<Refusal>) {
        let mut inner = self.inner();
        let waiting = std::mem::take(&mut inner.waiting);
        for waiter in waiting {
            if waiter.grant.is_closed() {
                continue;
            }
            match judge(&waiter) {
                Some(refusal) => _ = waiter.grant.send(Err(refusal)),
                None => inner.waiting.push_back(waiter),
            }
        }
    }

    /// Nobody panics while holding the lock.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether it has ended already, as far as can be told without asking. The keeper watches it from here on.
    fn has_ended(&self, server: &mut Server) -> bool {
        let watcher = self.watcher.as_ref().unwrap_or(Waker::noop());
        server.poll_idle(&mut Context::from_waker(watcher)).is_ready()
    }
}
