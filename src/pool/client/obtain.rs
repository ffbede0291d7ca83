//! Getting a session: at once or from the queue, with the client's settings.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Client, Farewell};
use crate::pool::core::{ClientId, Rejection};
use crate::pool::driver::{Acquired, Grant};
use crate::pool::registry::ClientSignal;
use crate::pool::rejection::Refusal;
use crate::pool::relay::poll_first;
use crate::pool::server::Server;
use crate::pool::shared::Shared;
use crate::status::pool::ClientState;

/// What a client sends while it waits is taken up to here.
const EARLY: usize = 1 << 16;

/// A client's end of the queue. A session that was granted and not taken goes back.
struct Queued<'a> {
    shared: &'a Shared,
    client: ClientId,
    granted: oneshot::Receiver<Grant>,
}

impl Client {
    /// A session that is ready for this client, with its settings. What the client sends meanwhile is kept in `first`, up
    /// to a bound.
    pub(super) async fn obtain(&mut self, first: &mut Vec<u8>) -> Result<Box<Server>, Farewell> {
        self.registered.entry.begins_to_wait();
        let acquired = match self.shared.driver.acquire(self.id(), None) {
            // As most do: nothing is awaited.
            Acquired::Now(Ok(server)) if self.settings.fit(&server.settings) => {
                self.shared.status.change(|pool| pool.checked_out(Duration::ZERO));
                return Ok(server);
            }
            acquired => acquired,
        };
        let since = Instant::now();
        let obtained = self.make_ready(acquired, first, since).await;
        self.count(&obtained, since);
        obtained
    }

    /// The same for what is no business of a client's own, and not counted.
    pub(super) async fn obtain_for_login(&mut self, first: &mut Vec<u8>) -> Result<Box<Server>, Farewell> {
        self.registered.entry.begins_to_wait();
        let since = Instant::now();
        let acquired = self.shared.driver.acquire(self.id(), None);
        self.make_ready(acquired, first, since).await
    }

    /// Any session, as it is.
    pub(super) async fn obtain_any(&mut self, first: &mut Vec<u8>) -> Result<Box<Server>, Farewell> {
        self.registered.entry.begins_to_wait();
        let since = Instant::now();
        let acquired = self.shared.driver.acquire(self.id(), None);
        let obtained = self.granted(acquired, first).await;
        self.count(&obtained, since);
        obtained
    }

    fn id(&self) -> ClientId {
        ClientId(self.registered.entry.process_id)
    }

    fn count(&self, obtained: &Result<Box<Server>, Farewell>, since: Instant) {
        self.shared.status.change(|pool| match obtained {
            Ok(_) => pool.checked_out(since.elapsed()),
            Err(Farewell::Told(Refusal { why: Some(why), .. })) => pool.checkout_failed(*why),
            Err(_) => {}
        });
    }

    async fn make_ready(
        &mut self,
        mut acquired: Acquired,
        first: &mut Vec<u8>,
        since: Instant,
    ) -> Result<Box<Server>, Farewell> {
        let until = since + self.shared.config().pool.wait_timeout;
        loop {
            let server = self.granted(acquired, first).await?;
            let synced = match self.settings.fit(&server.settings) {
                true => Some(server),
                false => self.sync_settings(server, until.min(self.patience())).await?,
            };
            if let Some(server) = synced {
                if self.registered.entry.is_cancelled() {
                    self.shared.driver.give_back(server);
                    return Err(Farewell::Told(Refusal::cancelled()));
                }
                return Ok(server);
            }
            // It has ended meanwhile: the client goes back to where it was.
            if Instant::now() >= until {
                return Err(self.too_late(since));
            }
            acquired = self.shared.driver.acquire(self.id(), Some(since.into_std()));
        }
    }

    async fn granted(&mut self, acquired: Acquired, first: &mut Vec<u8>) -> Result<Box<Server>, Farewell> {
        match acquired {
            Acquired::Now(grant) => grant.map_err(|why| self.rejected(why)),
            Acquired::Later(granted) => self.queue(granted, first).await,
        }
    }

    pub(super) fn too_late(&self, since: Instant) -> Farewell {
        self.rejected(self.shared.driver.too_late(since.elapsed()))
    }

    fn rejected(&self, why: Rejection) -> Farewell {
        Farewell::Told(self.shared.refusal(why))
    }

    /// Until when a session may take to answer something small.
    pub(super) fn patience(&self) -> Instant {
        Instant::now() + self.shared.config().target.tuning.ping.timeout
    }

    /// Waits in the queue.
    async fn queue(
        &mut self,
        granted: oneshot::Receiver<Grant>,
        first: &mut Vec<u8>,
    ) -> Result<Box<Server>, Farewell> {
        self.slot.is_now(ClientState::Waiting);
        let shared = Arc::clone(&self.shared);
        let mut queued = Queued { shared: &shared, client: self.id(), granted };
        poll_fn(|cx| {
            if let Poll::Ready(granted) = queued.poll(cx) {
                return Poll::Ready(granted.map_err(|why| Farewell::Told(shared.refusal(why))));
            }
            if self.registered.entry.signal(cx) != ClientSignal::GoOn {
                return Poll::Ready(Err(Farewell::Told(Refusal::draining())));
            }
            if self.registered.entry.is_cancelled() {
                return Poll::Ready(Err(Farewell::Told(Refusal::cancelled())));
            }
            while first.len() < EARLY {
                match poll_first(&mut self.stream, cx) {
                    Poll::Ready(Ok(bytes)) if !bytes.is_empty() => first.extend(bytes),
                    Poll::Ready(_) => return Poll::Ready(Err(Farewell::Gone)),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Queued<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Grant> {
        let granted = Pin::new(&mut self.granted).poll(cx);
        granted.map(|granted| granted.unwrap_or(Err(Rejection::Draining)))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.shared.driver.leave_queue(self.client, &mut self.granted);
    }
}
