//! A connection until it has logged in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::handshake::pending::LoginProgress;
use super::handshake::{
    self, AuthPolicy, Authenticated, CancelKey, LoginAttempt, LoginRejection, Outcome, Penalties, Rejected,
    Stop,
};
use super::shared::{ClientIdentity, PoolConfig, PoolStage, Shared};
use crate::connection::Stream;
use crate::protocol::ErrorFields;
use crate::status::login::LoginFailure;

/// What is left of `login_timeout` when the pool ends.
const LAST_LOGIN: Duration = Duration::from_millis(500);

/// One connection, and the config that were in force when it came: who was let to the socket under others proves itself
/// by those.
pub struct ClientLogin {
    pub shared: Arc<Shared>,
    pub config: Arc<PoolConfig>,
    pub stream: Stream,
    pub peer: String,
    pub progress: LoginProgress,
    pub penalties: Arc<Mutex<Penalties>>,
    pub stage: watch::Receiver<PoolStage>,
}

/// What became of a connection.
pub enum LoggedIn {
    /// It is a client's, and this is where it comes from.
    Client(Box<Authenticated>, String),
    /// It is over. The client was not let in, where there is a reason.
    Nobody(Option<LoginRejection>),
}

impl ClientLogin {
    /// To the proof of who it is, or to its end.
    pub async fn run(self) -> LoggedIn {
        let ClientLogin { shared, config, stream, peer, progress, penalties, stage } = self;
        let expired = Box::pin(expired(stage, config.pool.login_timeout));
        let mut attempt = LoginAttempt { progress, penalties, expired };
        let identity = match attempt.in_time(async { Ok(shared.auth_policy(&config).await) }).await {
            Ok(Ok(identity)) => identity,
            Ok(Err(facts)) => {
                let words = ErrorFields::fatal(
                    "57P03",
                    format!("what \"{}\" needs cannot be read: {facts}", shared.name),
                )
                .hint("pgtether's log and status page say more.");
                return reject(&shared, &config, stream, (LoginFailure::Config, words), attempt).await;
            }
            Err(stop) => return over(stop.unsaid()),
        };
        match handshake::authenticate(stream, policy(&identity), attempt).await {
            Ok(Outcome::Client(client)) => LoggedIn::Client(client, peer),
            Ok(Outcome::Cancel(key, stream)) => cancel(&shared, &key, stream).await,
            Err(rejected) => {
                debug!(target = %shared.name, peer, ?rejected, "a client was not let in");
                over(rejected)
            }
        }
    }

    /// To its end, without asking who it is.
    pub async fn reject(self, why: LoginFailure, words: ErrorFields<'static>) -> LoggedIn {
        let ClientLogin { shared, config, stream, progress, penalties, stage, .. } = self;
        let expired = Box::pin(expired(stage, config.pool.login_timeout));
        let attempt = LoginAttempt { progress, penalties, expired };
        reject(&shared, &config, stream, (why, words), attempt).await
    }
}

async fn reject(
    shared: &Shared,
    config: &PoolConfig,
    stream: Stream,
    because: (LoginFailure, ErrorFields<'static>),
    attempt: LoginAttempt,
) -> LoggedIn {
    match handshake::reject(stream, config.acceptor.as_deref(), because, attempt).await {
        Ok((key, stream)) => cancel(shared, &key, stream).await,
        Err(rejected) => over(rejected),
    }
}

/// Whoever asks takes the end of its connection for the sign that the request has been dealt with.
async fn cancel(shared: &Shared, key: &CancelKey, asked: Stream) -> LoggedIn {
    shared.cancel(key).await;
    handshake::close(asked, b"").await;
    LoggedIn::Nobody(None)
}

fn over(rejected: Rejected) -> LoggedIn {
    LoggedIn::Nobody(match rejected {
        Rejected::Gone => None,
        Rejected::Told(rejection) => Some(rejection),
    })
}

fn policy(identity: &ClientIdentity) -> AuthPolicy<'_> {
    AuthPolicy {
        auth: identity.auth,
        acceptor: identity.acceptor.as_deref(),
        user: &identity.endpoint.user,
        database: &identity.endpoint.database,
        verifier: identity.verifier.as_deref(),
        demand_tls: identity.demand_tls,
    }
}

/// Whoever says nothing must not hold up the end of its pool either.
async fn expired(mut stage: watch::Receiver<PoolStage>, login_timeout: Duration) -> Stop {
    let since = Instant::now();
    let ending = async { _ = stage.wait_for(|stage| *stage > PoolStage::Open).await };
    if timeout(login_timeout, ending).await.is_ok() {
        sleep(LAST_LOGIN.min(login_timeout.saturating_sub(since.elapsed()))).await;
        return Stop::Gone;
    }
    let message = format!("canceling authentication due to timeout ({login_timeout:?})");
    Stop::because(LoginFailure::Timeout, ErrorFields::fatal("57014", message))
}
