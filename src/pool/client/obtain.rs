//! Getting a session: from the stock or the queue, proven, with the client's settings.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Client, Farewell};
use crate::pool::keeper::Chore;
use crate::pool::message;
use crate::pool::refusal::Refusal;
use crate::pool::registry::Order;
use crate::pool::relay::poll_first;
use crate::pool::server::Server;
use crate::status::pool::{ClientState, ServerState};

/// What a client sends while it waits is taken up to here.
const EARLY: usize = 1 << 16;

impl Client {
    /// A session that is ready for this client: proven where it was quiet for long, with the client's settings.
    pub(super) async fn obtain(&mut self, first: &mut Vec<u8>) -> Result<Server, Farewell> {
        // Who gets one at once asks no clock.
        let mut since = None;
        loop {
            let mut server = match self.shared.stock.take() {
                Some(server) => server,
                None => self.wait(first, *since.get_or_insert_with(Instant::now)).await?,
            };
            if self.shared.is_doubtful(&server) {
                since.get_or_insert_with(Instant::now);
                server.place.is_now(ServerState::Testing);
                let limit = self.shared.terms().target.tuning.ping.timeout;
                if !timeout(limit, server.ping()).await.unwrap_or(false) {
                    self.shared.chore(Chore::Close(server));
                    self.shared.close_doubtful();
                    continue;
                }
            }
            server.place.is_now(ServerState::Active);
            let dressed = match server.settings.is_same(&self.settings) {
                true => Some(server),
                false => self.dress(server).await?,
            };
            if let Some(server) = dressed {
                let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
                self.shared.status.checked_out(waited);
                return Ok(server);
            }
        }
    }

    /// Gives the session the client's settings; `None` where it has ended meanwhile.
    pub(super) async fn dress(&mut self, mut server: Server) -> Result<Option<Server>, Farewell> {
        let before = std::mem::replace(&mut server.settings, self.settings.clone());
        let Some(sql) = before.change_to(&self.settings) else {
            return Ok(Some(server));
        };
        let limit = self.shared.terms().target.tuning.ping.timeout;
        let said = match timeout(limit, server.run(&sql)).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) | Err(_) => {
                self.shared.chore(Chore::Close(server));
                return Ok(None);
            }
        };
        if let Some(error) = said.error {
            server.settings = before;
            self.shared.give_back(server);
            return Err(Farewell::Told(Refusal::settings(error)));
        }
        // The server spells some values its own way: the client is told how.
        for (name, value) in
            server.settings.iter().filter(|(name, value)| self.settings.get(name) != Some(value))
        {
            message::parameter_status(&mut self.to_client, name, value);
        }
        self.settings = server.settings.clone();
        Ok(Some(server))
    }

    /// Waits in the queue. What the client sends meanwhile is kept in `first`, up to a bound.
    pub(super) async fn wait(&mut self, first: &mut Vec<u8>, since: Instant) -> Result<Server, Farewell> {
        self.seat.is_now(ClientState::Waiting);
        self.registered.entry.begins_to_wait();
        let shared = Arc::clone(&self.shared);
        let mut waiting = shared.stock.wait(since, since + shared.terms().pool.wait_timeout);
        let granted = poll_fn(|cx| {
            if let Poll::Ready(granted) = waiting.poll(cx) {
                return Poll::Ready(
                    granted.unwrap_or_else(|| Err(Refusal::draining())).map_err(Farewell::Told),
                );
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
        .await;
        if let Err(Farewell::Told(refusal)) = &granted
            && let Some(why) = refusal.why
        {
            shared.status.checkout_failed(why);
        }
        granted
    }
}
