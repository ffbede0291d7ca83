//! Getting a session: at once or from the queue, with the client's settings.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::{Client, Farewell};
use crate::pool::core::{ClientId, Rejection};
use crate::pool::driver::{Acquired, Grant};
use crate::pool::registry::ClientSignal;
use crate::pool::rejection::Refusal;
use crate::pool::relay::{HALF_CLOSED, poll_first, poll_out, probe};
use crate::pool::server::Server;
use crate::pool::shared::Shared;
use crate::protocol::Frame;
use crate::status::pool::ClientState;

/// What a client sends while it waits is taken up to here.
const EARLY: usize = 1 << 16;

/// A client's end of the queue. A session that was granted and not taken goes back.
struct Queued<'a> {
    shared: &'a Shared,
    client: ClientId,
    granted: oneshot::Receiver<Grant>,
    /// Whether the queue knows it no more.
    is_over: bool,
}

impl Client {
    /// A session that is ready for this client, with its settings. What the client sends meanwhile is kept in `first`, up
    /// to a bound.
    pub(super) async fn obtain(&mut self, first: &mut Vec<u8>) -> Result<Box<Server>, Farewell> {
        self.registered.entry.begins_to_wait();
        let acquired = match self.shared.driver.acquire(self.id(), None) {
            // As most do: nothing is awaited.
            Acquired::Now(Ok(server)) if self.settings.fit(&server.settings) => {
                self.slot.moves(ClientState::Active, |pool| pool.checked_out(Duration::ZERO));
                return Ok(server);
            }
            acquired => acquired,
        };
        let since = Instant::now();
        let obtained = Box::pin(self.make_ready(acquired, first, since)).await;
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
        let until = since + self.config.get().pool.wait_timeout;
        loop {
            let server = self.granted(acquired, first).await?;
            let synced = match self.settings.fit(&server.settings) {
                true => Some(server),
                false => {
                    let until = until.min(self.patience());
                    self.sync_settings(server, until).await?
                }
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
    pub(super) fn patience(&mut self) -> Instant {
        Instant::now() + self.config.get().target.tuning.ping.timeout
    }

    /// Waits in the queue.
    async fn queue(
        &mut self,
        granted: oneshot::Receiver<Grant>,
        first: &mut Vec<u8>,
    ) -> Result<Box<Server>, Farewell> {
        self.slot.is_now(ClientState::Waiting);
        let shared = Arc::clone(&self.shared);
        let mut queued = Queued { shared: &shared, client: self.id(), granted, is_over: false };
        let mut half_closed = HalfClosed::default();
        poll_fn(|cx| {
            if let Poll::Ready(granted) = queued.poll(cx) {
                return Poll::Ready(granted.map_err(|why| Farewell::Told(shared.refusal(why))));
            }
            if self.registered.entry.signal() != ClientSignal::GoOn {
                return Poll::Ready(Err(Farewell::Told(Refusal::draining())));
            }
            if self.registered.entry.is_cancelled() {
                return Poll::Ready(Err(Farewell::Told(Refusal::cancelled())));
            }
            while first.len() < EARLY && !half_closed.is_begun() {
                match poll_first(&mut self.stream, first, cx) {
                    Poll::Ready(Ok(1..)) => {}
                    // It may have closed one direction only, and wait for the answer.
                    Poll::Ready(Ok(_)) if self.is_let_in && awaits_answer(first) => half_closed.begin(),
                    Poll::Ready(_) => return Poll::Ready(Err(Farewell::Gone)),
                    Poll::Pending => break,
                }
            }
            while half_closed.poll(cx).is_ready() {
                if self.probe(cx).is_err() {
                    return Poll::Ready(Err(Farewell::Gone));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends something that every client reads over: one that is gone refuses it, and then the next thing that it is
    /// sent.
    fn probe(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.to_client.is_empty() {
            probe(self.settings.told(), &mut self.to_client);
        }
        match poll_out(&mut self.stream, &mut self.to_client, cx) {
            Poll::Ready(result) => result,
            // It does not read, but it is there.
            Poll::Pending => Ok(()),
        }
    }
}

/// When a client that will send nothing more is looked after.
#[derive(Default)]
struct HalfClosed(Option<Pin<Box<Sleep>>>);

impl HalfClosed {
    fn begin(&mut self) {
        self.0 = Some(Box::pin(sleep(Duration::ZERO)));
    }

    fn is_begun(&self) -> bool {
        self.0.is_some()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(next.as_mut().poll(cx));
        next.as_mut().reset(Instant::now() + HALF_CLOSED);
        Poll::Ready(())
    }
}

/// Whether a client that has sent this, and nothing more, still waits for something: it has not said goodbye.
fn awaits_answer(mut sent: &[u8]) -> bool {
    while let Ok(Some(frame)) = Frame::read(sent) {
        let Some(rest) = sent.get(frame.len..) else {
            return false;
        };
        if frame.tag == b'X' {
            return false;
        }
        if rest.is_empty() {
            return true;
        }
        sent = rest;
    }
    false
}

impl Queued<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Grant> {
        let granted = ready!(Pin::new(&mut self.granted).poll(cx));
        self.is_over = true;
        Poll::Ready(granted.unwrap_or(Err(Rejection::Draining)))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.driver.leave_queue(self.client, &mut self.granted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frontend::{query, terminate};

    #[test]
    fn who_has_asked_something_whole_and_not_said_goodbye_awaits_an_answer() {
        let asked = query("SELECT 1");
        for (sent, awaits) in [
            (vec![], false),
            (asked.clone(), true),
            ([asked.clone(), asked.clone()].concat(), true),
            (asked[..asked.len() - 1].to_vec(), false),
            ([&asked[..], &asked[..4]].concat(), false),
            ([asked.clone(), terminate()].concat(), false),
            (terminate(), false),
            (vec![b'Q', 0, 0, 0, 1], false),
        ] {
            assert_eq!(awaits_answer(&sent), awaits, "{}", sent.escape_ascii());
        }
    }
}
