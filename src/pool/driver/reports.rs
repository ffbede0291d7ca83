//! What the pool's task asks of the driver, and reports to it.

use std::task::{Context, Poll};
use std::time::Instant;

use super::{Inner, Leftover, PoolDriver, PoolSession, now};
use crate::pool::core::{Health, PoolEvent, SessionId, TestOutcome};
use crate::reason::Diagnosis;

impl<S: PoolSession> PoolDriver<S> {
    /// Over once the task is to report the time earlier than it knew.
    pub async fn is_earlier(&self) {
        self.earlier.notified().await;
    }

    /// When the task is to report the time.
    pub fn sleeps(&self) -> Instant {
        let mut inner = self.inner();
        let due = inner.core.due(now());
        inner.due = Some(due);
        due
    }

    pub fn tell(&self, event: PoolEvent) {
        self.happen(&mut self.inner(), event, now());
    }

    /// What is known of the target has changed. Whether that ends what kept sessions from being opened.
    pub fn follow(&self, health: Health) -> bool {
        let mut inner = self.inner();
        let before = inner.core.open_failure();
        self.happen(&mut inner, PoolEvent::Target(health), now());
        before.is_some() && inner.core.open_failure().is_none()
    }

    /// Whether it is the first after failures.
    pub fn opened(&self, server: Box<S>, generation: u64, due: Option<Instant>) -> bool {
        let mut inner = self.inner();
        let failed = inner.core.open_failure().is_some();
        let session = server.id();
        inner.park(server, Leftover::Nothing);
        inner.watch.looks_again();
        self.happen(&mut inner, PoolEvent::Opened { session, generation, due }, now());
        failed
    }

    /// Whether that is news.
    pub fn failed(&self, session: SessionId, generation: u64, diagnosis: Diagnosis) -> bool {
        let mut inner = self.inner();
        let before = inner.core.open_failure();
        self.happen(&mut inner, PoolEvent::Failed { session, generation, diagnosis }, now());
        let after = inner.core.open_failure();
        after.is_some() && after != before
    }

    /// The sessions that nobody has are dropped.
    pub fn clear(&self) {
        self.inner().parked.clear();
    }

    /// Watches the idle sessions. Ready where some have ended. The caller's task is woken whenever one has something to
    /// say.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut inner = self.inner();
        let Inner { core, parked, watch, .. } = &mut *inner;
        watch.begin(cx.waker());
        let mut ends =
            |id: &SessionId| parked.get_mut(*id).is_some_and(|parked| watch.has_ended(&mut *parked.server));
        let ended: Vec<_> = core.idle().iter().copied().filter(|id| ends(id)).collect();
        let now = now();
        ended.iter().for_each(|session| self.happen(&mut inner, PoolEvent::Ended(*session), now));
        if ended.is_empty() { Poll::Pending } else { Poll::Ready(ended.len()) }
    }

    pub fn tested(&self, server: Box<S>, outcome: TestOutcome) {
        let mut inner = self.inner();
        let session = server.id();
        inner.park(server, Leftover::Nothing);
        inner.watch.looks_again();
        self.happen(&mut inner, PoolEvent::Tested { session, outcome }, now());
    }
}
