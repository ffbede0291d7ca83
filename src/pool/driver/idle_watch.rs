//! Looking after the sessions that nobody has: they are asked only where one of them has something to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::PoolSession;

/// See the module.
pub struct IdleWatch {
    alarm: Arc<Alarm>,
    waker: Waker,
}

/// What a session wakes.
struct Alarm {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl IdleWatch {
    /// All sessions are asked now, by the task that is woken from here on.
    pub fn begin(&self, task: &Waker) {
        self.alarm.task.register(task);
        self.alarm.rang.store(false, Ordering::Release);
    }

    /// There is one that was not asked yet.
    pub fn looks_again(&self) {
        self.alarm.rang.store(true, Ordering::Release);
    }

    /// Whether one may have ended since all were asked.
    pub fn has_news(&self) -> bool {
        self.alarm.rang.load(Ordering::Acquire)
    }

    /// Whether it has ended already, as far as can be told without asking. It is watched from here on.
    pub fn has_ended<S: PoolSession>(&self, session: &mut S) -> bool {
        session.poll_idle(&mut Context::from_waker(&self.waker)).is_ready()
    }
}

/// Nothing was asked yet.
impl Default for IdleWatch {
    fn default() -> Self {
        let alarm = Arc::new(Alarm { rang: AtomicBool::new(true), task: AtomicWaker::new() });
        IdleWatch { waker: Arc::clone(&alarm).into(), alarm }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.task.wake();
    }
}
