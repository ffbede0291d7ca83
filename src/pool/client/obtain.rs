//! Getting a session: from the stock or the queue, proven, with the client's settings.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Client, Farewell};
use crate::pool::keeper::Chore;
use crate::pool::refusal::Refusal;
use crate::pool::registry::Order;
use crate::pool::relay::poll_first;
use crate::pool::server::Server;
use crate::pool::shared::Shared;
use crate::pool::stock::Grant;
use crate::status::pool::{ClientState, ServerState};

/// What a client sends while it waits is taken up to here.
const EARLY: usize = 1 << 16;

/// How long a client waits, testing of sessions included.
#[derive(Clone, Copy)]
struct Wait {
    since: Instant,
    until: Instant,
}

/// A client's end of the queue. A session that was granted and not taken goes back.
struct Queued<'a> {
    shared: &'a Shared,
    granted: oneshot::Receiver<Grant>,
}

impl Client {
    /// A session that is ready for this client: proven where it was quiet for long, with the client's settings. What the
    /// client sends meanwhile is kept in `first`, up to a bound.
    pub(super) async fn obtain(&mut self, first: &mut Vec<u8>) -> Result<Server, Farewell> {
        let found = match self.shared.stock.take() {
            // As most do: no clock is asked, nothing awaited.
            Some(mut server) if self.suits(&server) => {
                server.place.is_now(ServerState::Active);
                self.shared.status.checked_out(Duration::ZERO);
                return Ok(server);
            }
            found => found,
        };
        let wait = self.begin_to_wait();
        let obtained = self.make_ready(found, first, wait).await;
        self.count(&obtained, wait);
        obtained
    }

    /// The same for what is no business of a client's own, and not counted.
    pub(super) async fn obtain_for_login(&mut self, first: &mut Vec<u8>) -> Result<Server, Farewell> {
        let wait = self.begin_to_wait();
        let found = self.shared.stock.take();
        self.make_ready(found, first, wait).await
    }

    /// Any session, as it is.
    pub(super) async fn obtain_any(&mut self, first: &mut Vec<u8>) -> Result<Server, Farewell> {
        let wait = self.begin_to_wait();
        let obtained = self.queue(first, wait).await;
        self.count(&obtained, wait);
        obtained
    }

    fn begin_to_wait(&self) -> Wait {
        self.registered.entry.begins_to_wait();
        let since = Instant::now();
        Wait { since, until: since + self.shared.wait_timeout() }
    }

    fn count(&self, obtained: &Result<Server, Farewell>, wait: Wait) {
        let status = &self.shared.status;
        match obtained {
            Ok(_) => status.checked_out(wait.since.elapsed()),
            Err(Farewell::Told(Refusal { why: Some(why), .. })) => status.checkout_failed(*why),
            Err(_) => {}
        }
    }

    fn suits(&self, server: &Server) -> bool {
        self.settings.fit(&server.settings)
            && !self.shared.is_doubtful(server)
            && !self.shared.is_stranger(&server.backend)
    }

    async fn make_ready(
        &mut self,
        mut found: Option<Server>,
        first: &mut Vec<u8>,
        wait: Wait,
    ) -> Result<Server, Farewell> {
        loop {
            let server = match found.take().or_else(|| self.shared.stock.take()) {
                Some(server) => server,
                None => self.queue(first, wait).await?,
            };
            let Some(mut server) = self.prove(server, wait).await else {
                self.still_waits(wait)?;
                continue;
            };
            server.place.is_now(ServerState::Active);
            if !self.settings.fit(&server.settings) {
                match self.sync_settings(server, wait.until.min(self.patience())).await? {
                    Some(synced) => server = synced,
                    None => {
                        self.still_waits(wait)?;
                        continue;
                    }
                }
            }
            if self.shared.is_stranger(&server.backend) {
                self.shared.chore(Chore::Close(server));
                continue;
            }
            if self.registered.entry.is_cancelled() {
                self.shared.give_back(server);
                return Err(Farewell::Told(Refusal::cancelled()));
            }
            return Ok(server);
        }
    }

    /// Why it gives up, where its time is over.
    fn still_waits(&self, wait: Wait) -> Result<(), Farewell> {
        if Instant::now() < wait.until {
            return Ok(());
        }
        Err(Farewell::Told(self.shared.too_late(wait.since.elapsed())))
    }

    /// Asks the session whether it lives, where that is in doubt; `None` where it does not.
    async fn prove(&mut self, mut server: Server, wait: Wait) -> Option<Server> {
        if !self.shared.is_doubtful(&server) {
            return Some(server);
        }
        self.seat.is_now(ClientState::Waiting);
        server.place.is_now(ServerState::Testing);
        let answered = timeout_at(wait.until.min(self.patience()), server.ping()).await;
        if answered == Ok(true) {
            return Some(server);
        }
        self.shared.chore(Chore::Close(server));
        // A session that has ended says so at once; one that is silent is not alone.
        if answered.is_err() {
            self.shared.close_doubtful();
        }
        None
    }

    /// Until when a session may take to answer something small.
    pub(super) fn patience(&self) -> Instant {
        Instant::now() + self.shared.terms().target.tuning.ping.timeout
    }

    /// Waits in the queue.
    async fn queue(&mut self, first: &mut Vec<u8>, wait: Wait) -> Result<Server, Farewell> {
        self.seat.is_now(ClientState::Waiting);
        let shared = Arc::clone(&self.shared);
        let granted = shared.stock.wait(wait.since, wait.until);
        let mut queued = Queued { shared: &shared, granted };
        poll_fn(|cx| {
            if let Poll::Ready(granted) = queued.poll(cx) {
                return Poll::Ready(granted.map_err(Farewell::Told));
            }
            if self.registered.entry.order(cx) != Order::GoOn {
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
        granted.map(|granted| granted.unwrap_or_else(|_| Err(Refusal::draining())))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.granted.close();
        if let Ok(Ok(server)) = self.granted.try_recv() {
            self.shared.give_back(server);
        }
    }
}
