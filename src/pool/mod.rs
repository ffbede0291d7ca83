//! The entry for clients: applications connect here, and get a session that lives.
//!
//! A pool listens like PostgreSQL, knows one target, and shares that target's sessions among its clients. It opens
//! sessions while the supervised session is up, through the same connector and gate, and tells at once those whom it
//! can't serve. It reads the target's snapshot and asks the supervisor for a wake; neither of them knows it. What people
//! see of it is in a slot of its own on the board.
//!
//! All pools run on one thread of their own, so that a busy application delays no ping and no scrape.
//!
//! ```text
//! manager    starts, changes, ends pools        core/       decides who gets which session; pure
//! reception  takes clients in                   driver/     acts it out, for clients in the same call
//! handshake/ TLS, startup, SCRAM                work/       what takes time: opens, tests, resets, closes
//! login      until a client has logged in       server      a session, and what the pool asks of it
//! client     from there to its last byte        shared      what clients, driver and work have in common
//! relay      bytes both ways                    client_slot counts clients
//! link/      what passes, what is changed       registry    who is connected, and their keys
//! statements prepared ones, over sessions       rejection   why there is no session
//! settings   what follows a client              reject      says so, message by message
//! inspect    what a client may have left        certificate reads what is shown under TLS
//! followed   the configuration, without a lock  lexer       SQL text, as far as it is read
//! ```

mod certificate;
mod client;
mod client_slot;
mod core;
mod driver;
mod followed;
pub mod handshake;
mod inspect;
mod leftovers;
mod lexer;
mod link;
mod login;
mod manager;
mod reception;
mod registry;
mod reject;
mod rejection;
mod relay;
#[cfg(test)]
mod rig;
mod server;
mod session_slot;
mod settings;
mod shared;
mod statements;
mod work;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use self::certificate::Certificate;
pub use self::core::PoolRequest;
pub use self::manager::Deps;
pub use self::manager::PoolReply;
use self::manager::{Commit, Manager, PoolCommand, WantedPool};
use crate::blocking::OneCall;
use crate::target::pool::{Listen, Pool};
use crate::target::{Target, TargetName};

/// Commands that wait.
const COMMANDS: usize = 4;
const ENDED: &str = "the pools' thread has ended";
/// How long the certificate files of all pools may take to be read.
const READING: Duration = Duration::from_secs(10);
/// How long a new configuration may take to be prepared: certificates are made, and a start is a bad time to give up.
const PREPARING: Duration = Duration::from_secs(10);
/// How long the pools' thread may take to answer beyond what it is given.
const ANSWERING: Duration = Duration::from_secs(2);

/// All pools. Nothing runs until one is configured.
pub struct Pools {
    deps: Deps,
    /// To the pools' thread.
    commands: Option<mpsc::Sender<PoolCommand>>,
    reading: OneCall<Vec<WantedPool>>,
}

impl Pools {
    pub fn new(deps: Deps) -> Self {
        Pools { deps, commands: None, reading: OneCall::default() }
    }

    /// Makes the pools of `targets` the pools there are: unchanged ones keep sessions and clients. On an error, which
    /// says what cannot be listened on or read, nothing has changed. Returns where they listen.
    pub async fn apply(&mut self, targets: &[Arc<Target>]) -> Result<Vec<Listen>, Vec<String>> {
        let specs = self.specs(targets).await.map_err(|message| vec![message])?;
        if specs.is_empty() && self.commands.is_none() {
            return Ok(Vec::new());
        }
        let commands = match &self.commands {
            Some(commands) => commands,
            None => {
                let started = start(self.deps.clone())
                    .map_err(|error| vec![format!("the pools' thread cannot be started: {error}")])?;
                self.commands.insert(started)
            }
        };
        let (prepared, answered) = oneshot::channel();
        let told = async {
            commands.send(PoolCommand::Apply { pools: specs, prepared }).await.ok()?;
            answered.await.ok()
        };
        let Commit { listening, go, done } = match timeout(PREPARING, told).await {
            Ok(Some(outcome)) => outcome?,
            Ok(None) => return Err(vec![ENDED.to_owned()]),
            // Dropped with what it waited for: the thread will find that nobody wants the change any more.
            Err(_) => return Err(vec![format!("the pools' thread has not answered within {PREPARING:?}")]),
        };
        go.send(()).map_err(|()| vec![ENDED.to_owned()])?;
        // It is decided, whether or not it is done in time.
        if timeout(ANSWERING, done).await.is_err() {
            warn!("the pools' thread is slow to take the new configuration");
        }
        Ok(listening)
    }

    /// Waits until the pools' thread has room for a request. Whoever takes requests out of a queue waits first, so that
    /// none is taken that cannot be passed on.
    pub(crate) async fn room(&self) -> RequestRoom<'_> {
        RequestRoom::at(self.commands.as_ref()).await
    }

    /// The pools of these targets, with what is in their files.
    async fn specs(&mut self, targets: &[Arc<Target>]) -> Result<Vec<WantedPool>, String> {
        let pools: Vec<_> =
            targets.iter().filter_map(|target| Some((Arc::clone(target), target.pool.clone()?))).collect();
        if pools.is_empty() {
            return Ok(Vec::new());
        }
        let with_certificate = |(target, pool): (Arc<Target>, Arc<Pool>)| {
            let certificate: Certificate = certificate::read(&pool.tls);
            WantedPool { target, pool, certificate }
        };
        let read = self.reading.run(move || pools.into_iter().map(with_certificate).collect());
        match timeout(READING, read).await {
            Ok(Ok(specs)) => Ok(specs),
            Ok(Err(failure)) => Err(format!("reading the pools' certificates failed: {failure}")),
            Err(_) => Err(format!(
                "the pools' certificates could not be read within {READING:?}: are they on a disk that hangs?"
            )),
        }
    }

    /// Lets clients finish their transactions, and ends. Returns how many had to be cut off.
    pub async fn drain(self, within: Duration) -> usize {
        let Some(commands) = self.commands else {
            return 0;
        };
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + within;
        let told = async {
            commands.send(PoolCommand::Drain { until, answer }).await.ok()?;
            answered.await.ok()
        };
        let Ok(cut) = timeout(within + ANSWERING, told).await else {
            error!("the pools' thread does not answer, and is not waited for any longer");
            return 1;
        };
        cut.unwrap_or_default()
    }
}

/// Where the next request to a pool goes.
pub(crate) enum RequestRoom<'a> {
    Free(mpsc::Permit<'a, PoolCommand>),
    /// There is no thread, for there is no pool.
    NoPools,
    Ended,
}

impl<'a> RequestRoom<'a> {
    async fn at(commands: Option<&'a mpsc::Sender<PoolCommand>>) -> RequestRoom<'a> {
        match commands {
            None => RequestRoom::NoPools,
            Some(commands) => commands.reserve().await.map_or(RequestRoom::Ended, RequestRoom::Free),
        }
    }

    /// What an operator asks of the pool of that name. `answer` is dropped where the pools' thread has ended, and a
    /// request whose asker is gone is not carried out.
    pub(crate) fn request(self, name: &str, request: PoolRequest, answer: oneshot::Sender<PoolReply>) {
        match (self, TargetName::new(name)) {
            (RequestRoom::Free(place), Some(name)) => {
                place.send(PoolCommand::Request { name, request, answer })
            }
            (RequestRoom::Free(_), None) | (RequestRoom::NoPools, _) => _ = answer.send(None),
            (RequestRoom::Ended, _) => {}
        }
    }
}

/// Starts the thread of all pools. It ends once it has drained, or when the commands' sender is gone.
fn start(deps: Deps) -> io::Result<mpsc::Sender<PoolCommand>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (commands, received) = mpsc::channel(COMMANDS);
    let run = move || {
        runtime.block_on(Manager::new(deps).run(received));
        // A resolver that hangs must not keep the process.
        runtime.shutdown_background();
    };
    Builder::new().name("pools".to_owned()).spawn(run)?;
    Ok(commands)
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("running", &self.commands.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_request_waits_for_room_and_none_is_dropped() {
        let (commands, mut received) = mpsc::channel(COMMANDS);
        #[expect(clippy::async_yields_async, reason = "whether there is room is known before the answer")]
        let ask = async |name: &str| {
            let (answer, answered) = oneshot::channel();
            RequestRoom::at(Some(&commands)).await.request(name, PoolRequest::Resume, answer);
            answered
        };
        let mut asked = Vec::new();
        for i in 0..COMMANDS {
            asked.push(ask(&format!("pool-{i}")).await);
        }
        assert!(ask("late").now_or_never().is_none(), "there is no room");
        let mut next = async || match received.recv().await {
            Some(PoolCommand::Request { name, answer, .. }) => (name.to_string(), answer),
            _ => panic!("no request"),
        };
        for i in 0..COMMANDS {
            assert_eq!(next().await.0, format!("pool-{i}"));
        }
        let answered = ask("in time").now_or_never().expect("there is room");
        assert!(answered.await.unwrap().is_none(), "no pool has such a name");
        asked.push(ask("again").await);
        assert_eq!(next().await.0, "again");
        drop(received);
        assert!(ask("pool").await.await.is_err(), "nobody is there");
        let (answer, answered) = oneshot::channel();
        RequestRoom::at(None).await.request("pool", PoolRequest::Pause, answer);
        assert!(answered.await.unwrap().is_none());
    }
}
