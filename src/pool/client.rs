//! One client, from its first byte to its last.

mod obtain;
mod session;
mod settings;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::handshake::{self, AuthPolicy, Authenticated, CancelKey, Outcome};
use super::keeper::Stage;
use super::link::{Idle, Next};
use super::place::Seat;
use super::refusal::Refusal;
use super::registry::{Order, Registered};
use super::reject::{Progress, Reject};
use super::relay::{poll_first, poll_out};
use super::settings::ClientSettings;
use super::shared::{Shared, Terms};
use super::statements::ClientStatements;
use crate::connection::Stream;
use crate::protocol::{ErrorFields, Severity, Violation, backend};
use crate::status::pool::ClientState;

/// TLS, startup and password together. PostgreSQL's `authentication_timeout` is a minute; nobody types here.
const LOGIN: Duration = Duration::from_secs(15);
/// What is left of it when the pool ends.
const LAST_LOGIN: Duration = Duration::from_millis(500);

/// A client that is let in.
struct Client {
    shared: Arc<Shared>,
    seat: Seat,
    registered: Registered,
    stream: Stream,
    /// What the client has not read yet.
    to_client: Vec<u8>,
    statements: ClientStatements,
    settings: ClientSettings,
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

/// Serves one connection.
pub async fn serve(
    shared: Arc<Shared>,
    terms: Arc<Terms>,
    stream: Stream,
    seat: Seat,
    peer: String,
    stage: watch::Receiver<Stage>,
) {
    let authenticated = tokio::select! {
        authenticated = authenticate(&shared, &terms, stream) => authenticated,
        () = too_late(stage) => {
            debug!(target = %shared.name, peer, "a client did not log in in time");
            None
        }
    };
    if let Some(client) = authenticated {
        admit(shared, seat, client, &peer).await;
    }
}

/// Who says nothing must not hold up the end of its pool.
async fn too_late(mut stage: watch::Receiver<Stage>) {
    let ending = async { _ = stage.wait_for(|stage| *stage > Stage::Open).await };
    if timeout(LOGIN, ending).await.is_ok() {
        sleep(LAST_LOGIN).await;
    }
}

/// Under the terms that were in force when it came: who was let to the socket under others proves itself by those.
async fn authenticate(shared: &Arc<Shared>, terms: &Arc<Terms>, stream: Stream) -> Option<Authenticated> {
    let identity = match shared.auth_policy(terms).await {
        Ok(identity) => identity,
        Err(facts) => {
            let words = ErrorFields::fatal(
                "57P03",
                format!("what \"{}\" needs cannot be read: {facts}", shared.name),
            )
            .hint("pgtether's log and status page say more.");
            if let Ok((key, asked)) = handshake::reject(stream, terms.acceptor.as_deref(), &words).await {
                cancel(shared, &key, asked).await;
            }
            return None;
        }
    };
    let policy = AuthPolicy {
        auth: identity.auth,
        acceptor: identity.acceptor.as_deref(),
        user: &identity.endpoint.user,
        database: &identity.endpoint.database,
        verifier: identity.verifier.as_deref(),
        demand_tls: identity.demand_tls,
    };
    match handshake::authenticate(stream, policy).await {
        Ok(Outcome::Client(client)) => Some(*client),
        Ok(Outcome::Cancel(key, stream)) => {
            cancel(shared, &key, stream).await;
            None
        }
        Err(rejected) => {
            debug!(target = %shared.name, ?rejected, "a client was not let in");
            None
        }
    }
}

/// Whoever asks takes the end of its connection for the sign that the request has been dealt with.
pub async fn cancel(shared: &Shared, key: &CancelKey, asked: Stream) {
    shared.cancel(key).await;
    handshake::close(asked, b"").await;
}

async fn admit(shared: Arc<Shared>, seat: Seat, client: Authenticated, peer: &str) {
    let Authenticated { stream, startup, pending } = client;
    let Some(registered) = shared.registry.enter(startup.minor) else {
        return;
    };
    let mut client = Client {
        shared,
        seat,
        registered,
        stream,
        to_client: pending,
        statements: ClientStatements::default(),
        settings: ClientSettings::default(),
        is_warned: false,
        idle: Idle::default(),
    };
    debug!(target = %client.shared.name, peer, user = startup.user, "a client is let in");
    let farewell = match client.introduce(&startup.parameters).await {
        Ok(first) => client.stay(first).await,
        Err(farewell) => farewell,
    };
    client.farewell(farewell).await;
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
                self.shared.status.checkout_failed(why);
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
        Ok(first)
    }

    /// Until the client leaves, or cannot be served any more.
    async fn stay(&mut self, mut first: Vec<u8>) -> Farewell {
        loop {
            self.seat.is_now(ClientState::Idle);
            first = match self.question(first).await {
                Ok(first) => first,
                Err(farewell) => return farewell,
            };
            let server = match self.obtain(&mut first).await {
                Ok(server) => server,
                Err(Farewell::Told(refusal)) => {
                    first = match self.reject(refusal, first).await {
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
                Next::Asks => return Ok(have),
                Next::Terminate => return Err(Farewell::Gone),
                Next::More => self.read_more(&mut have).await?,
            }
        }
    }

    async fn read_more(&mut self, have: &mut Vec<u8>) -> Result<(), Farewell> {
        let more = poll_fn(|cx| self.poll_idle(cx)).await?;
        if have.is_empty() {
            *have = more
        } else {
            have.extend(more)
        }
        Ok(())
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<u8>, Farewell>> {
        if self.registered.entry.order(cx) != Order::GoOn {
            return Poll::Ready(Err(Farewell::Told(Refusal::draining())));
        }
        if !self.to_client.is_empty() && ready!(poll_out(&mut self.stream, &mut self.to_client, cx)).is_err()
        {
            return Poll::Ready(Err(Farewell::Gone));
        }
        Poll::Ready(match ready!(poll_first(&mut self.stream, cx)) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(_) | Err(_) => Err(Farewell::Gone),
        })
    }

    /// Answers with the error what the client has asked, until it has nothing under way. Returns what it has begun since.
    async fn reject(&mut self, refusal: Refusal, mut have: Vec<u8>) -> Result<Vec<u8>, Farewell> {
        let mut reject = Reject::new(refusal);
        self.seat.is_now(ClientState::Idle);
        loop {
            let mut rest = &have[..];
            let progress = reject.read(&mut rest, &mut self.statements, &mut self.to_client);
            let progress = progress.map_err(Farewell::Violation)?;
            let left = rest.len();
            take_off(&mut have, left);
            match progress {
                Progress::Done => return Ok(have),
                Progress::Terminate => return Err(Farewell::Gone),
                Progress::InBatch => self.read_more(&mut have).await?,
            }
        }
    }

    /// The last words, where there are any.
    async fn farewell(mut self, farewell: Farewell) {
        let out = &mut self.to_client;
        match &farewell {
            Farewell::Gone => {}
            Farewell::Told(refusal) => refusal.write(out, Severity::Fatal),
            Farewell::Refused(body) => backend::error_again(out, body, Severity::Fatal),
            Farewell::Violation(Violation { sqlstate, message }) => {
                backend::error(out, &ErrorFields::fatal(*sqlstate, &**message));
            }
            Farewell::Lost(how) => {
                let message = format!("{how}; the session with \"{}\" is lost", self.shared.name);
                let hint = "Whether the last statement took effect is not known; connect again.";
                backend::error(out, &ErrorFields::fatal("08006", message).hint(hint));
            }
        }
        handshake::close(self.stream, out).await;
    }
}

/// Only the last `left` bytes are not read yet.
fn take_off(have: &mut Vec<u8>, left: usize) {
    match left {
        // An idle client keeps no memory.
        0 => *have = Vec::new(),
        _ => drop(have.drain(..have.len() - left)),
    }
}
