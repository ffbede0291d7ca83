//! The driver's slot for an attempt: TCP connect, login, the session that is logged in.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::connection::{Connector, Fingerprint, Login, Prepared, TcpConnects};
use crate::reason::{Cause, Facts, Phase};
use crate::status::{Location, Purpose};
use crate::supervisor::dial::{Accepted, Dialer};
use crate::supervisor::gate::{Gate, Lane};
use crate::supervisor::machine::{Dial, Event};
use crate::target::Target;

/// How long the target's files may take, over the connection's own bound.
const FILES: Duration = Duration::from_secs(15);

/// Where the attempt is.
pub enum AttemptSlot<C: Connector> {
    Empty,
    Preparing {
        future: BoxFuture<'static, Started<C>>,
    },
    Connecting {
        future: BoxFuture<'static, Dialled<C>>,
    },
    /// Accepted, not logged in yet.
    Accepted(Box<Accepted<C>>),
    LoggingIn {
        future: BoxFuture<'static, Result<(C::Session, Login), Facts>>,
    },
    /// Logged in, not adopted yet.
    LoggedIn(C::Session),
}

/// What the slot reports.
pub enum Happened {
    Event(Event),
    /// What of the secret files this attempt uses.
    Used(Fingerprint),
}

/// The files are read: the fingerprint of what was read, and the dial to go on with.
pub struct Started<C: Connector> {
    used: Fingerprint,
    dialling: BoxFuture<'static, Dialled<C>>,
}

/// A dial that ended.
pub struct Dialled<C: Connector> {
    dial: Dial,
    outcome: Result<Accepted<C>, (Facts, Instant)>,
}

impl<C: Connector> AttemptSlot<C> {
    /// Reads the files, passes the gate, connects; each TCP connect is counted in `made`.
    pub fn begin(
        connector: C,
        gate: Gate,
        target: Arc<Target>,
        lane: Lane,
        purpose: Purpose,
        made: TcpConnects,
    ) -> Self {
        AttemptSlot::Preparing { future: Box::pin(prepare(connector, gate, target, lane, purpose, made)) }
    }

    /// Logs in on the accepted socket.
    pub fn login(&mut self, target: &Arc<Target>) {
        let AttemptSlot::Accepted(accepted) = std::mem::replace(self, AttemptSlot::Empty) else {
            return;
        };
        *self = AttemptSlot::LoggingIn { future: Box::pin(accepted.login(target.clone())) };
    }

    /// The next thing that the attempt reports; dropping the future loses nothing.
    pub async fn next(&mut self) -> Happened {
        match self {
            AttemptSlot::Preparing { future } => {
                let started = future.await;
                *self = AttemptSlot::Connecting { future: started.dialling };
                Happened::Used(started.used)
            }
            AttemptSlot::Connecting { future } => {
                let dialled = future.await;
                Happened::Event(self.dialled(dialled))
            }
            AttemptSlot::LoggingIn { future } => match future.await {
                Ok((session, login)) => {
                    *self = AttemptSlot::LoggedIn(session);
                    Happened::Event(Event::LoggedIn(Box::new(login)))
                }
                Err(facts) => {
                    *self = AttemptSlot::Empty;
                    let at = Instant::now().into_std();
                    Happened::Event(Event::Failed { facts, at, dial: None })
                }
            },
            AttemptSlot::Empty | AttemptSlot::Accepted(_) | AttemptSlot::LoggedIn(_) => pending().await,
        }
    }

    fn dialled(&mut self, dialled: Dialled<C>) -> Event {
        let Dialled { dial, outcome } = dialled;
        match outcome {
            Ok(accepted) => {
                let times = accepted.times.clone();
                *self = AttemptSlot::Accepted(Box::new(accepted));
                Event::Connected { dial, times }
            }
            Err((facts, at)) => {
                *self = AttemptSlot::Empty;
                Event::Failed { facts, at: at.into_std(), dial: Some(dial) }
            }
        }
    }
}

async fn prepare<C: Connector>(
    connector: C,
    gate: Gate,
    target: Arc<Target>,
    lane: Lane,
    purpose: Purpose,
    made: TcpConnects,
) -> Started<C> {
    let read = async {
        match connector.prepare(target.clone()).await {
            Ok(prepared) => Ok(prepared),
            Err(facts) => Err((facts, connector.fingerprint(target.clone()).await)),
        }
    };
    let (facts, used) = match timeout(FILES, read).await {
        Ok(Ok(prepared)) => {
            let prepared = Prepared { pace: prepared.pace.clone().counted_by(&made), ..prepared };
            let used = prepared.fingerprint;
            let budget = match purpose {
                // The deadline after sleep.
                Purpose::Wake => target.tuning.wake_timeout,
                _ => prepared.sockets.connect_timeout,
            };
            let dialer = Dialer { connector, gate, target, lane, budget };
            return Started { used, dialling: Box::pin(dial(dialer, prepared, purpose)) };
        }
        Ok(Err(failed)) => failed,
        Err(_) => {
            let message = format!("the files that the target names could not be read within {FILES:?}");
            (Facts::new(Phase::Prepare, Cause::Local { message }), Fingerprint::default())
        }
    };
    let outcome = Err((facts, Instant::now()));
    Started { used, dialling: Box::pin(async { Dialled { dial: Dial::default(), outcome } }) }
}

async fn dial<C: Connector>(dialer: Dialer<C>, prepared: Prepared, purpose: Purpose) -> Dialled<C> {
    let location = Some(Location::of(&prepared.endpoint));
    let outcome = match purpose {
        Purpose::Confirm => dialer.connect(prepared).await,
        _ => dialer.connect_to_log_in(prepared).await,
    };
    match outcome {
        Ok(accepted) => {
            Dialled { dial: Dial { shared: false, waited: accepted.waited, location }, outcome: Ok(accepted) }
        }
        Err(refused) => Dialled {
            dial: Dial { shared: refused.shared, waited: refused.waited, location },
            outcome: Err((refused.facts, refused.failed_at)),
        },
    }
}
