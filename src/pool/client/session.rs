//! A client that has a session: until the session is free, or one of the two is gone.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Client, Farewell};
use crate::pool::leftovers::Kinds;
use crate::pool::link::{Left, Link};
use crate::pool::rejection::Refusal;
use crate::pool::relay::{Ended, Limits, Sides};
use crate::pool::server::{Said, Server};
use crate::status::pool::ClientState;
use crate::target::IdlePolicy;

/// What a session needs that its client keeps.
enum Kept {
    HasReset,
    IsQuiet,
}

impl Client {
    /// Until the client has no session any more.
    pub(super) async fn use_up(&mut self, mut server: Box<Server>, first: Vec<u8>) -> Result<(), Farewell> {
        self.relay.begin(first);
        while let Some((kept, why)) = self.transact(server).await? {
            server = match why {
                Kept::HasReset => Box::pin(self.restore_settings(kept)).await?,
                Kept::IsQuiet => Box::pin(self.keep_alive(kept)).await?,
            };
        }
        self.relay.rest();
        Ok(())
    }

    /// Asks for a sign of life, of which the client sees nothing: what ends sessions that are idle for long does not end
    /// this one. A Sync disturbs no statement and no portal that the client has.
    async fn keep_alive(&mut self, mut server: Box<Server>) -> Result<Box<Server>, Farewell> {
        let limit = self.config.get().target.tuning.ping.timeout;
        let answered = timeout(limit, async {
            server.sync().await?;
            server.until_ready(1).await
        });
        match answered.await {
            Ok(Ok(Said { error: None, unasked, .. })) => {
                self.to_client.extend(unasked);
                self.settings.are_told(&server.settings);
                Ok(server)
            }
            _ => {
                self.shared.driver.close(server);
                self.shared.status.change(|pool| pool.disconnects += 1);
                Err(Farewell::Lost("the server did not answer while the connection was idle"))
            }
        }
    }

    /// How long a session that a client keeps may be quiet.
    fn keep_alive_every(&mut self) -> Option<Duration> {
        let tuning = &self.config.get().target.tuning;
        let learned = self.shared.driver.ping_every();
        (tuning.idle_policy == IdlePolicy::KeepAwake).then(|| learned.unwrap_or(tuning.ping.interval))
    }

    /// Relays until the session is free, and gives it back; returns one that the client keeps, and that needs something.
    async fn transact(&mut self, mut server: Box<Server>) -> Result<Option<(Box<Server>, Kept)>, Farewell> {
        let quiet = if self.relay.is_for_good() { self.keep_alive_every() } else { None };
        self.slot.is_now(ClientState::Active);
        self.registered.entry.hold(Some(Arc::clone(&server.backend)));
        // It is not kept while bytes pass.
        let pool = &self.config.get().pool;
        self.statements.prepares_unnamed = pool.prepare_unnamed;
        let limits = Limits::new(pool).with_quiet(quiet);
        let relay = &mut self.relay;
        relay.goes_on(server.heard);
        let mut sides = Sides {
            shared: &self.shared,
            registered: &self.registered,
            client: &mut self.stream,
            server: &mut server,
            statements: &mut self.statements,
            settings: &mut self.settings,
            to_client: &mut self.to_client,
            limits,
        };
        let ended = poll_fn(|cx| relay.poll(cx, &mut sides)).await;
        self.registered.entry.hold(None);
        let left = if relay.has_sent_all() { relay.link.left() } else { Left::Broken };
        if relay.link.has_changed() && !matches!(ended, Ended::Reset | Ended::Quiet) {
            self.shared.catalog().lock().begin_generation();
        }
        server.hints.add(&relay.link.take_hints());
        if !self.relay.is_for_good() && server.settings.have_changed() {
            server.hints.kinds |= Kinds::SETTINGS;
        }
        self.part(server, ended, left).await
    }

    /// What becomes of the session.
    async fn part(
        &mut self,
        server: Box<Server>,
        ended: Ended,
        left: Left,
    ) -> Result<Option<(Box<Server>, Kept)>, Farewell> {
        let (link, for_good) = (&self.relay.link, self.relay.is_for_good());
        if matches!(ended, Ended::ServerGone(_) | Ended::Cut) {
            self.shared.status.change(|pool| pool.disconnects += 1);
        }
        match ended {
            Ended::Free if for_good => {
                self.shared.driver.clean_up(server, left, true, false);
                Err(Farewell::Told(Refusal::draining()))
            }
            Ended::Reset => Ok(Some((server, Kept::HasReset))),
            Ended::Quiet => Ok(Some((server, Kept::IsQuiet))),
            Ended::Free if link.was_told() => {
                let left = server.hints.kinds;
                self.lose(server, left)?;
                Ok(None)
            }
            Ended::Free => {
                self.settle(server).await?;
                Ok(None)
            }
            Ended::Goodbye => {
                self.shared.driver.clean_up(server, left, for_good, true);
                Err(Farewell::Gone)
            }
            Ended::ClientGone(violation) => {
                let left = if violation.is_some() { Left::Broken } else { left };
                self.shared.driver.clean_up(server, left, for_good, false);
                Err(violation.filter(|_| link.can_tell()).map_or(Farewell::Gone, Farewell::Violation))
            }
            Ended::ClientStopped(limit) => {
                self.shared.driver.clean_up(server, left, for_good, false);
                Err(match link.can_tell() {
                    true => Farewell::Violation(limit.violation()),
                    false => Farewell::Gone,
                })
            }
            Ended::ServerGone(violation) => {
                self.shared.driver.close(server);
                Err(match violation {
                    _ if link.was_told() => Farewell::Gone,
                    None => lost(link, "the server closed the connection unexpectedly"),
                    Some(_) => lost(link, "the server's answer is not PostgreSQL's protocol"),
                })
            }
            Ended::Over => {
                self.shared.driver.close(server);
                Err(match link.can_tell() {
                    true => Farewell::Told(Refusal::draining()),
                    false => Farewell::Gone,
                })
            }
            Ended::Cut => {
                self.shared.driver.give_up(server);
                Err(lost(link, "the server has been silent for too long, and its database is down"))
            }
        }
    }
}

/// In the middle of a message nothing can be said.
fn lost(link: &Link, how: &'static str) -> Farewell {
    if link.can_tell() { Farewell::Lost(how) } else { Farewell::Gone }
}
