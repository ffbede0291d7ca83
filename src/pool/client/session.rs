//! A client that has a session: until the session is free, or one of the two is gone.

use std::future::poll_fn;
use std::sync::Arc;

use super::{Client, Farewell};
use crate::pool::keeper::Chore;
use crate::pool::leftovers::Kinds;
use crate::pool::link::{Left, Link};
use crate::pool::refusal::Refusal;
use crate::pool::relay::{Ended, Relay};
use crate::pool::server::Server;
use crate::status::pool::ClientState;
use crate::target::pool::Mode;

impl Client {
    /// Until the client has no session any more.
    pub(super) async fn use_up(&mut self, mut server: Server, mut first: Vec<u8>) -> Result<(), Farewell> {
        let for_good = self.shared.terms().pool.mode == Mode::Session;
        let mut link = Link::new(!for_good);
        while let Some(kept) = self.transact(server, &mut link, std::mem::take(&mut first), for_good).await? {
            server = self.restore_settings(kept).await?;
        }
        Ok(())
    }

    /// Relays until the session is free, and gives it back; returns one that the client keeps, and that needs its settings
    /// again.
    async fn transact(
        &mut self,
        mut server: Server,
        link: &mut Link,
        first: Vec<u8>,
        for_good: bool,
    ) -> Result<Option<Server>, Farewell> {
        self.seat.is_now(ClientState::Active);
        self.registered.entry.hold(Some(Arc::clone(&server.backend)));
        let mut relay = Relay {
            shared: &self.shared,
            registered: &self.registered,
            client: &mut self.stream,
            server: &mut server,
            link,
            statements: &mut self.statements,
            settings: &mut self.settings,
            for_good,
            first,
            to_client: std::mem::take(&mut self.to_client),
            to_server: Vec::new(),
            asked: None,
            over: false,
        };
        let ended = poll_fn(|cx| relay.poll(cx)).await;
        self.to_client = std::mem::take(&mut relay.to_client);
        let sent_all = relay.to_server.is_empty();
        self.registered.entry.hold(None);
        server.used = server.heard;
        server.hints.add(&link.take_hints());
        if !for_good && server.settings.have_changed() {
            server.hints.kinds |= Kinds::SETTINGS;
        }
        let left = if sent_all { link.left() } else { Left::Broken };
        match ended {
            Ended::Free if for_good => {
                self.shared.chore(Chore::Wash { server, left, reset: true, patient: false });
                Err(Farewell::Told(Refusal::draining()))
            }
            Ended::Reset => Ok(Some(server)),
            Ended::Free if link.was_told() => {
                self.shared.chore(Chore::Close(server));
                Ok(None)
            }
            Ended::Free => {
                self.settle(server).await?;
                Ok(None)
            }
            Ended::Goodbye => {
                self.shared.chore(Chore::Wash { server, left, reset: for_good, patient: true });
                Err(Farewell::Gone)
            }
            Ended::ClientGone(violation) => {
                let left = if violation.is_some() { Left::Broken } else { left };
                self.shared.chore(Chore::Wash { server, left, reset: for_good, patient: false });
                Err(violation.filter(|_| link.can_tell()).map_or(Farewell::Gone, Farewell::Violation))
            }
            Ended::ServerGone(violation) => {
                self.shared.chore(Chore::Close(server));
                Err(match violation {
                    _ if link.was_told() => Farewell::Gone,
                    None => lost(link, "the server closed the connection unexpectedly"),
                    Some(_) => lost(link, "the server's answer is not PostgreSQL's protocol"),
                })
            }
            Ended::Cut => {
                self.shared.chore(Chore::GiveUp(server));
                Err(lost(link, "the server has been silent for too long, and its database is down"))
            }
        }
    }
}

/// In the middle of a message nothing can be said.
fn lost(link: &Link, how: &'static str) -> Farewell {
    if link.can_tell() { Farewell::Lost(how) } else { Farewell::Gone }
}
