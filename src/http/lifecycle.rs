//! What an operator asks for by a POST under `/-/`, where `--web.enable-lifecycle` allows it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::App;
use super::reply::{Reply, With, text};
use crate::printable;
use crate::reason::Reason;
use crate::status::pool::ServerState;
use crate::status::{Moment, View};
use crate::supervisor::{ProofReply, ProofResult};

/// Nothing here has a body; what clients send beside it is read up to here.
const BODY_LIMIT: usize = 4 * 1024;
/// For that body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// For reading files anew, or for a pool to take a request: longer than reloads take, of which one may be under way.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a pause may wait for the sessions that are in use.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(10);
/// So many targets are named to who asks for one that does not exist.
pub(super) const MOST_NAMES: usize = 20;

/// Somebody asks for the configuration to be read anew, and waits to hear how that went. The error is a line for the
/// client, without secrets.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What is asked of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifecycleAction {
    Pause,
    Resume,
    Reconnect,
}

/// Somebody asks it of the pool of that name, and waits. Who carries it out drops `answer` if it cannot, and does nothing
/// if it is closed.
#[derive(Debug)]
pub struct LifecycleRequest {
    pub pool: String,
    pub action: LifecycleAction,
    /// How many sessions the pool still has while it is paused; or `None` where there is no such pool.
    pub answer: oneshot::Sender<Option<watch::Receiver<Option<usize>>>>,
}

impl LifecycleAction {
    /// The last part of its path.
    pub(super) fn of(word: &str) -> Option<Self> {
        let all = [LifecycleAction::Pause, LifecycleAction::Resume, LifecycleAction::Reconnect];
        all.into_iter().find(|action| action.as_str() == word)
    }

    const fn as_str(self) -> &'static str {
        match self {
            LifecycleAction::Pause => "pause",
            LifecycleAction::Resume => "resume",
            LifecycleAction::Reconnect => "reconnect",
        }
    }
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order<'a> {
    Reload,
    Pool(&'a str, LifecycleAction),
    /// An attempt of that target.
    Reconnect(&'a str),
}

impl fmt::Display for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Reload => f.write_str("reload"),
            Order::Pool(name, action) => write!(f, "pools/{}/{}", printable::word(name), action.as_str()),
            Order::Reconnect(name) => write!(f, "targets/{}/reconnect", printable::word(name)),
        }
    }
}

/// Does it, and logs what came of it.
pub(super) async fn carry_out<B>(app: &App, order: Order<'_>, client: Option<IpAddr>, body: B) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let unanswered = app.lifecycle_log.begin(order, client);
    let reply = match order {
        Order::Reload => reload(app, body).await,
        Order::Pool(name, action) => pool(app, name, action, body).await,
        Order::Reconnect(name) => target(app, name, body).await,
    };
    unanswered.answered(&reply);
    reply
}

/// Whether it is allowed, and the request is whole.
async fn permitted<B>(app: &App, body: B) -> Result<(), Reply>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !app.web.enable_lifecycle {
        return Err(text(
            StatusCode::FORBIDDEN,
            "Lifecycle API is not enabled: start pgtether with --web.enable-lifecycle.\n",
        ));
    }
    // Told before a client that expects 100 sends what nobody wants.
    if body.size_hint().lower() > BODY_LIMIT as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(text(StatusCode::BAD_REQUEST, "the body broke off\n")),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the body took too long\n")),
    }
}

fn too_large() -> Reply {
    text(StatusCode::PAYLOAD_TOO_LARGE, "this request takes no body\n")
}

/// `/-/reload`.
async fn reload<B>(app: &App, body: B) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(refused) = permitted(app, body).await {
        return refused;
    }
    let (request, outcome) = oneshot::channel();
    let asked = async {
        app.process.reloads.send(request).await.ok()?;
        outcome.await.ok()
    };
    let failed = |why: String| text(StatusCode::INTERNAL_SERVER_ERROR, why);
    match timeout(PATIENCE, asked).await {
        Ok(Some(Ok(()))) => text(StatusCode::OK, ""),
        Ok(Some(Err(why))) => failed(format!("failed to reload config: {why}\n")),
        Ok(None) => failed("failed to reload config: pgtether is ending\n".to_owned()),
        Err(_) => failed(format!(
            "the reload has not ended within {} s, and goes on: see the log and the status page\n",
            PATIENCE.as_secs()
        )),
    }
}

/// `/-/pools/NAME/ACTION`.
async fn pool<B>(app: &App, name: &str, action: LifecycleAction, body: B) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(refused) = permitted(app, body).await {
        return refused;
    }
    let (answer, answered) = oneshot::channel();
    let request = LifecycleRequest { pool: name.to_owned(), action, answer };
    let asked = async {
        app.process.lifecycle.send(request).await.ok()?;
        answered.await.ok()
    };
    let reply = match timeout(PATIENCE, asked).await {
        Ok(Some(Some(paused))) => match action {
            LifecycleAction::Pause => pause(name, paused).await,
            LifecycleAction::Resume => text(StatusCode::OK, format!("the pool of {name} is resumed\n")),
            LifecycleAction::Reconnect => reconnect(app, name),
        },
        Ok(Some(None)) => no_such_pool(app),
        Ok(None) => text(StatusCode::SERVICE_UNAVAILABLE, "nothing was done: pgtether is ending\n"),
        Err(_) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "nothing was done: the pool did not take the request within {} s, for a reload that takes so long, \
                 perhaps; see the log, and try again\n",
                PATIENCE.as_secs()
            ),
        ),
    };
    reply.fresh()
}

/// `/-/targets/NAME/reconnect`.
async fn target<B>(app: &App, name: &str, body: B) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(refused) = permitted(app, body).await {
        return refused;
    }
    let reply = match app.process.requests.try_now(name, PATIENCE).await {
        Some(ProofReply::Ended(ProofResult::Proven)) => {
            text(StatusCode::OK, format!("a new session of {name} is open: the login succeeded\n"))
        }
        Some(ProofReply::Ended(ProofResult::Failed(reason))) => {
            text(StatusCode::BAD_GATEWAY, format!("the attempt failed: {}\n", told(app, name, reason)))
        }
        Some(ProofReply::Ended(ProofResult::Refused(_))) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("nothing was done: the supervision of {name} is ending\n"),
        ),
        Some(ProofReply::Late) => text(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "the attempt has not ended within {} s, and goes on: see the log and the status page\n",
                PATIENCE.as_secs()
            ),
        ),
        None => no_such_target(app),
    };
    reply.fresh()
}

/// Reason, detail and remedy of the failure, as all other places tell them.
fn told(app: &App, name: &str, reason: Reason) -> String {
    let of_view = |view: &View<'_>| {
        let failure = view.status.last_failure.as_ref().filter(|failure| failure.reason == reason)?;
        Some(format!("{reason}: {}. {}", failure.detail, failure.remedy))
    };
    let seen = app.board.look_at_one(name, Moment::now(), of_view).flatten();
    seen.unwrap_or_else(|| format!("{reason}. {}", reason.remedy()))
}

pub(super) fn no_such_target(app: &App) -> Reply {
    not_among(
        app,
        |_| true,
        |count, names| match count {
            0 => "there is no target".to_owned(),
            1..=MOST_NAMES => format!("no target has that name; there are: {names}"),
            _ => format!("no target has that name; there are {count}, among them: {names}"),
        },
    )
}

/// A 404 that names those which there are, up to a bound: `say` gets their number and names.
fn not_among(app: &App, is_one: fn(&View<'_>) -> bool, say: fn(usize, &str) -> String) -> Reply {
    let (count, names) = app.board.look(Moment::now(), |views| {
        let names: Vec<&str> =
            views.iter().filter(|view| is_one(view)).map(|view| view.status.name.as_str()).collect();
        (names.len(), names[..names.len().min(MOST_NAMES)].join(", "))
    });
    text(StatusCode::NOT_FOUND, say(count, &names) + "\n")
}

/// Waits until no session is left, within its bound.
async fn pause(name: &str, mut paused: watch::Receiver<Option<usize>>) -> Reply {
    let settled = paused.wait_for(|sessions| matches!(sessions, None | Some(0)));
    // What it shows is copied: it must not be held over the next line.
    let settled = timeout(PAUSE_TIMEOUT, settled).await.map(|shown| shown.ok().and_then(|shown| *shown));
    match settled {
        Ok(Some(_)) => text(StatusCode::OK, format!("the pool of {name} is paused, and has no session\n")),
        Ok(None) => text(
            StatusCode::CONFLICT,
            format!("the pool of {name} is not paused any more: it was resumed meanwhile, or it is ending\n"),
        ),
        Err(_) => {
            let left = paused.borrow().unwrap_or_default();
            text(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "the pool of {name} is paused, but {left} of its sessions did not come free within {} s; pause \
                     it again to wait on, or resume it\n",
                    PAUSE_TIMEOUT.as_secs()
                ),
            )
        }
    }
}

fn reconnect(app: &App, name: &str) -> Reply {
    let in_use = |view: &View<'_>| view.pool.map(|pool| pool.servers(ServerState::Active));
    let in_use = app.board.look_at_one(name, Moment::now(), in_use).flatten();
    let message = match in_use {
        None | Some(0) => format!("the sessions of the pool of {name} are replaced\n"),
        Some(some) => format!(
            "the idle sessions of the pool of {name} are replaced; {some} in use follow when their clients give them \
             back\n"
        ),
    };
    text(StatusCode::OK, message)
}

fn no_such_pool(app: &App) -> Reply {
    not_among(
        app,
        |view| view.pool.is_some(),
        |count, names| match count {
            0 => "no target has a pool".to_owned(),
            1..=MOST_NAMES => format!("no target of that name has a pool; these have: {names}"),
            _ => format!("no target of that name has a pool; {count} targets have, among them: {names}"),
        },
    )
}
