//! One client, from its login to its last byte.

mod obtain;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::timeout;

use super::client_slot::ClientSlot;
use super::followed::Followed;
use super::handshake::{self, Authenticated, LoginRejection};
use super::link::{Idle, NextMessage};
use super::registry::{ClientSignal, Registered};
use super::reject::{Progress, Reject};
use super::rejection::Refusal;
use super::relay::{Limit, Limits, Relay, give_back, poll_first, poll_out};
use super::settings::ClientSettings;
use super::shared::{PoolConfig, Shared};
use super::statements::ClientStatements;
use crate::connection::Stream;
use crate::protocol::{ErrorFields, Severity, Violation, backend};
use crate::status::login::LoginFailure;
use crate::status::pool::ClientState;
use crate::target::TargetName;
use crate::target::pool::Mode;

/// A client that is let in.
struct Client {
    shared: Arc<Shared>,
    config: Followed<PoolConfig>,
    slot: ClientSlot,
    registered: Registered,
    stream: Stream,
    /// What the client has not read yet.
    to_client: Vec<u8>,
    relay: Relay,
    statements: ClientStatements,
    settings: ClientSettings,
    /// It has AuthenticationOk and what follows.
    is_let_in: bool,
    /// It has been told what it cannot keep.
    is_warned: bool,
    /// What it sends while it has no session.
    idle: Idle,
}

/// Why a client is not served any more.
enum Farewell {
    /// There is nobody to tell.
    Gone,
    Told(Refusal),
    /// The server does not take the settings that the client came with; the body of its ErrorResponse.
    Refused(Vec<u8>),
    Violation(Violation),
    /// The session was lost under it.
    Lost(&'static str),
}

/// Serves a client that has proven who it is, as a task of its own. Why it was not let in, where it was not.
pub async fn serve(
    shared: Arc<Shared>,
    slot: ClientSlot,
    client: Box<Authenticated>,
) -> Option<LoginRejection> {
    let Authenticated { stream, startup, pending } = *client;
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let registered = shared.registry.enter(startup.minor, waker)?;
    let budget = shared.catalog().lock().budget().clone();
    let relay = Relay::new(shared.mode == Mode::Session);
    let config = shared.follow_config();
    let mut client = Client {
        shared,
        config,
        slot,
        registered,
        stream,
        to_client: pending,
        relay,
        statements: ClientStatements::new(&budget),
        settings: ClientSettings::default(),
        is_let_in: false,
        is_warned: false,
        idle: Idle::default(),
    };
    // What is seldom, or done once, has memory of its own while it lasts: an idle client keeps none for it.
    let introduced = Box::pin(client.introduce(&startup.parameters)).await;
    drop(startup);
    let (farewell, rejection) = match introduced {
        Ok(first) => (client.stay(first).await, None),
        Err(farewell) => {
            let rejection = farewell.rejection();
            (farewell, rejection)
        }
    };
    let (count, bytes) = client.statements.clear();
    client.shared.catalog().lock().given_up(count, bytes);
    let mut last_words = std::mem::take(&mut client.to_client);
    farewell.write(&client.shared.name, &mut last_words);
    handshake::close(client.stream, &last_words).await;
    rejection
}

impl Farewell {
    /// Where it is the client's login that has failed, and not the target.
    fn rejection(&self) -> Option<LoginRejection> {
        let Farewell::Refused(body) = self else {
            return None;
        };
        Some(LoginRejection::new(LoginFailure::Setting, &ErrorFields::read(body)))
    }

    /// The last words, where there are any.
    fn write(&self, target: &TargetName, out: &mut Vec<u8>) {
        match self {
            Farewell::Gone => {}
            Farewell::Told(refusal) => refusal.write(out, Severity::Fatal),
            Farewell::Refused(body) => backend::error_again(out, body, Severity::Fatal),
            Farewell::Violation(Violation { sqlstate, message }) => {
                backend::error(out, &ErrorFields::fatal(*sqlstate, &**message));
            }
            Farewell::Lost(how) => {
                let message = format!("{how}; the session with \"{target}\" is lost");
                let hint = "Whether the last statement took effect is not known; connect again.";
                backend::error(out, &ErrorFields::fatal("08006", message).hint(hint));
            }
        }
    }
}

impl Client {
    /// AuthenticationOk and what follows it, once the server's parameters are known. What the client said meanwhile is
    /// returned.
    async fn introduce(
        &mut self,
        asked: &std::collections::BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Farewell> {
        let mut first = Vec::new();
        if let Some(refusal) = self.shared.refuses_all() {
            if let Some(why) = refusal.why {
                self.shared.status.change(|pool| pool.checkout_failed(why));
            }
            return Err(Farewell::Told(refusal));
        }
        self.learn_settings(asked, &mut first).await?;
        let out = &mut self.to_client;
        backend::authentication_ok(out);
        for (name, value) in self.settings.told().iter() {
            backend::parameter_status(out, name, value);
        }
        let entry = &self.registered.entry;
        backend::backend_key_data(out, entry.process_id, entry.secret());
        backend::ready_for_query(out, b'I');
        self.is_let_in = true;
        Ok(first)
    }

    /// Until the client leaves, or cannot be served any more.
    async fn stay(&mut self, mut first: Vec<u8>) -> Farewell {
        loop {
            self.slot.is_now(ClientState::Idle);
            first = match self.question(first).await {
                Ok(first) => first,
                Err(farewell) => return farewell,
            };
            let server = match self.obtain(&mut first).await {
                Ok(server) => server,
                Err(Farewell::Told(refusal)) => {
                    first = match Box::pin(self.reject(refusal, first)).await {
                        Ok(rest) => rest,
                        Err(farewell) => return farewell,
                    };
                    continue;
                }
                Err(farewell) => return farewell,
            };
            first = match self.use_up(server, first).await {
                Ok(()) => Vec::new(),
                Err(farewell) => return farewell,
            };
        }
    }

    /// Waits for the first bytes of something that needs a session.
    async fn question(&mut self, mut have: Vec<u8>) -> Result<Vec<u8>, Farewell> {
        loop {
            let mut rest = &have[..];
            let next = self.idle.read(&mut rest, &mut self.statements, &mut self.to_client);
            let next = next.map_err(Farewell::Violation)?;
            let left = rest.len();
            take_off(&mut have, left);
            match next {
                NextMessage::Asks => return Ok(have),
                NextMessage::Terminate => return Err(Farewell::Gone),
                NextMessage::More => self.wait_for_more(&mut have).await?,
            }
        }
    }

    /// Reads more, of a client that may take its time; but not over the rest of a message.
    async fn wait_for_more(&mut self, have: &mut Vec<u8>) -> Result<(), Farewell> {
        let limit = if have.is_empty() { Limit::Idle } else { Limit::Rest };
        match Limits::new(&self.config.get().pool).length(limit) {
            Some(longest) => match timeout(longest, self.read_more(have)).await {
                Ok(read) => read,
                Err(_) => Err(Farewell::Violation(limit.violation())),
            },
            None => self.read_more(have).await,
        }
    }

    async fn read_more(&mut self, have: &mut Vec<u8>) -> Result<(), Farewell> {
        poll_fn(|cx| self.poll_idle(have, cx)).await
    }

    fn poll_idle(&mut self, have: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<(), Farewell>> {
        if self.registered.entry.signal() != ClientSignal::GoOn {
            return Poll::Ready(Err(Farewell::Told(Refusal::draining())));
        }
        if !self.to_client.is_empty() && ready!(poll_out(&mut self.stream, &mut self.to_client, cx)).is_err()
        {
            return Poll::Ready(Err(Farewell::Gone));
        }
        Poll::Ready(match ready!(poll_first(&mut self.stream, have, cx)) {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Farewell::Gone),
        })
    }

    /// Answers with the error what the client has asked, until it has nothing under way. Returns what it has begun since.
    async fn reject(&mut self, refusal: Refusal, mut have: Vec<u8>) -> Result<Vec<u8>, Farewell> {
        let mut reject = Reject::new(refusal);
        self.slot.is_now(ClientState::Idle);
        loop {
            let mut rest = &have[..];
            let progress = reject.read(&mut rest, &mut self.statements, &mut self.to_client);
            let progress = progress.map_err(Farewell::Violation)?;
            let left = rest.len();
            take_off(&mut have, left);
            match progress {
                Progress::Done => return Ok(have),
                Progress::Terminate => return Err(Farewell::Gone),
                Progress::InBatch => self.wait_for_more(&mut have).await?,
            }
        }
    }
}

/// Only the last `left` bytes are not read yet.
fn take_off(have: &mut Vec<u8>, left: usize) {
    match left {
        // An idle client keeps no memory.
        0 => give_back(std::mem::take(have)),
        _ => drop(have.drain(..have.len() - left)),
    }
}
