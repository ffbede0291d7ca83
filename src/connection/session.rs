//! A session that is held: its end is noticed when it happens, pings are asked on it, its stream can be taken back.
//!
//! Everything runs in [`PgSession::event`]: no task of its own, so whoever stops polling stops it. Decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, Connection, SimpleQueryMessage};

use super::ping::{PingQuery, fits, wanted};
use super::tap::{Stream, Tap};
use super::tcp::Address;
use super::{Session, SessionEvent, facts};
use crate::protocol::Severity;
use crate::reason::{Cause, Facts, Phase};
use crate::target::{Role, Secret, SessionAttrs};

/// A goodbye is a courtesy: no server may keep us longer with it.
const GOODBYE: Duration = Duration::from_secs(1);

/// A session that is logged in.
pub struct PgSession {
    /// Shared with the ping's future alone.
    client: Arc<Client>,
    connection: Connection<Tap, Tap>,
    tap: Tap,
    ping: Option<PendingPing>,
    /// The connection has ended, and this was not reported yet.
    ended: Option<Result<(), tokio_postgres::Error>>,
    /// Checked by each ping where it asks for something.
    attrs: SessionAttrs,
    /// Only to scrub it from what the server says.
    password: Option<Secret>,
    route: SessionRoute,
}

/// What is left of a session whose stream was taken back: enough to speak the protocol on it.
pub struct Detached {
    pub stream: Stream,
    /// BackendKeyData: the process id, and the key that a cancel request needs.
    pub process_id: i32,
    pub secret_key: i32,
    /// What the server reported of its settings, the last value of each.
    pub parameters: BTreeMap<String, String>,
    pub route: SessionRoute,
}

/// How a session was reached: a cancel request must go to the same server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRoute {
    /// The host's position in the connection string.
    pub(super) host: usize,
    pub(super) address: Address,
    /// Under TLS.
    pub(super) secured: bool,
}

#[cfg(test)]
impl SessionRoute {
    /// Of a session that no socket leads to.
    pub fn of_nowhere() -> Self {
        SessionRoute { host: 0, address: Address::Unix("/nowhere".into()), secured: false }
    }
}

struct PendingPing {
    asked: Instant,
    query: PingQuery,
    answer: BoxFuture<'static, Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>>,
}

impl PgSession {
    pub fn new(
        client: Client,
        connection: Connection<Tap, Tap>,
        tap: Tap,
        attrs: SessionAttrs,
        password: Option<Secret>,
        route: SessionRoute,
    ) -> Self {
        PgSession {
            client: Arc::new(client),
            connection,
            tap,
            ping: None,
            ended: None,
            attrs,
            password,
            route,
        }
    }

    /// What each later ping demands. A preference is served by the choice; a standby that is promoted meanwhile
    /// is no failure.
    pub fn hold_to(&mut self, attrs: SessionAttrs) {
        self.attrs = match attrs {
            SessionAttrs::PreferStandby => SessionAttrs::Any,
            other => other,
        };
    }

    /// Takes the stream back, with what the login said on it. Not possible, and the session lives on, while a ping is
    /// under way or a message has arrived in part.
    pub fn detach(self) -> Result<Detached, Box<PgSession>> {
        if self.ping.is_some() || !self.tap.at_rest() {
            return Err(Box::new(self));
        }
        let Some(stream) = self.tap.take_stream() else {
            return Err(Box::new(self));
        };
        let (key, parameters) = self.tap.observed(|observed| (observed.key, observed.parameters.clone()));
        // Dropping connection and client sends nothing: their handle is empty by now.
        let (process_id, secret_key) = key.unwrap_or_default();
        Ok(Detached { stream, process_id, secret_key, parameters, route: self.route })
    }

    /// Starts a ping; its end comes as a [`SessionEvent`].
    pub fn ask(&mut self, query: PingQuery) {
        self.tap.ask();
        let client = Arc::clone(&self.client);
        self.ping = Some(PendingPing {
            asked: Instant::now(),
            query,
            answer: Box::pin(async move { client.simple_query(query.sql()).await }),
        });
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SessionEvent> {
        // Sends the query, if it is still to be sent.
        if let Poll::Ready(event) = self.poll_ping(cx) {
            return Poll::Ready(event);
        }
        let ended = self.ended.is_some() || self.poll_connection(cx).is_ready();
        // What was just read may hold the answer: reported now, before the caller looks at its clock. One that came
        // before the end is still an answer.
        if let Poll::Ready(event) = self.poll_ping(cx) {
            return Poll::Ready(event);
        }
        if !ended {
            return Poll::Pending;
        }
        let end = self.ended.take().unwrap_or(Ok(()));
        Poll::Ready(self.lost(end))
    }

    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<SessionEvent> {
        let Some(ping) = &mut self.ping else {
            return Poll::Pending;
        };
        let answer = ready!(ping.answer.as_mut().poll(cx));
        let (took, query) = (ping.asked.elapsed(), ping.query);
        Poll::Ready(self.answered(took, query, answer))
    }

    /// Ready once the connection has ended.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.connection.poll_message(cx)) {
                // The tap has noted what a notice says; nobody listens to notifications.
                Some(Ok(_)) => {}
                Some(Err(error)) => break self.ended = Some(Err(error)),
                None => break self.ended = Some(Ok(())),
            }
        }
        Poll::Ready(())
    }

    fn answered(
        &mut self,
        took: Duration,
        query: PingQuery,
        answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>,
    ) -> SessionEvent {
        let rows = match answer {
            Ok(rows) => rows,
            Err(error) => return self.refused(error),
        };
        self.ping = None;
        match query.read(&rows) {
            Some(answer) if fits(self.attrs, answer) => {
                let role = self.tap.observed(|observed| answer.role_beside(&observed.parameters));
                SessionEvent::Pong { took, role }
            }
            Some(_) => SessionEvent::PingFailed(Facts::new(
                Phase::Ping,
                Cause::WrongRole { wanted: wanted(self.attrs).to_owned() },
            )),
            None => SessionEvent::PingFailed(Facts::new(
                Phase::Ping,
                Cause::Protocol {
                    message: format!("the answer to \"{}\" is not the one it has", query.sql()),
                },
            )),
        }
    }

    /// A fatal error ends the session, and so does an end that needs no error; any other error is the ping's own.
    fn refused(&mut self, error: tokio_postgres::Error) -> SessionEvent {
        let own = self
            .tap
            .observed(|observed| observed.error.clone())
            .filter(|error| error.severity != Severity::Fatal);
        let Some(error) = own else {
            let end = self.ended.take().unwrap_or(Err(error));
            return self.lost(end);
        };
        self.ping = None;
        // Reported now: an end that follows has a reason of its own.
        self.tap.forget_error();
        SessionEvent::PingFailed(Facts::new(Phase::Ping, facts::server(error, self.password.as_ref())))
    }

    fn lost(&mut self, end: Result<(), tokio_postgres::Error>) -> SessionEvent {
        let cause = match end {
            Ok(()) => Cause::Closed,
            Err(error) => self.tap.cause(&error, self.password.as_ref()),
        };
        let phase = match self.ping.take() {
            Some(_) => Phase::Ping,
            None => Phase::Idle,
        };
        SessionEvent::Lost(Facts::new(phase, cause))
    }
}

impl Session for PgSession {
    fn ping(&mut self, role: Role) {
        self.ask(PingQuery::for_role(role, self.attrs));
    }

    async fn event(&mut self) -> SessionEvent {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    async fn close(self) {
        let PgSession { client, mut connection, tap, ping, .. } = self;
        let goodbye = async move {
            drop(ping);
            // Without its client the connection says Terminate and shuts the stream.
            drop(client);
            while let Some(Ok(_)) = poll_fn(|cx| connection.poll_message(cx)).await {}
            // The server closes once its process is gone; only then its slot is free for the next login.
            if let Some(mut stream) = tap.take_stream() {
                let mut rest = [0; 512];
                while let Ok(1..) = stream.read(&mut rest).await {}
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

impl fmt::Debug for PgSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.tap.observed(|observed| observed.key.map(|(id, _)| id));
        f.debug_struct("PgSession").field("process_id", &process).finish_non_exhaustive()
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}
