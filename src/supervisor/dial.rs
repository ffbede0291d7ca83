//! A dial: past the gate to an accepted socket, and on to a session. For the supervised session and for those of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::gate::{DialAdmission, FailedDial, Gate, Lane, Passed, Permit};
use crate::connection::{ConnectTimes, Connector, Login, Prepared};
use crate::policy::FOREVER;
use crate::reason::{Cause, Facts, Phase, Reason, table};
use crate::target::Target;

/// How much later than the connection's own deadline a dial is cut off: the net under the net.
const SLACK: Duration = Duration::from_secs(1);

/// Who dials, and how.
#[derive(Clone)]
pub struct Dialer<C: Connector> {
    pub connector: C,
    pub gate: Gate,
    pub target: Arc<Target>,
    pub lane: Lane,
    /// For TCP connect and login together, from the moment that the gate lets it go.
    pub budget: Duration,
}

/// An accepted socket, with its login permit and its deadline.
pub struct Accepted<C: Connector> {
    dialer: Dialer<C>,
    socket: C::Socket,
    permit: Permit,
    prepared: Prepared,
    deadline: Instant,
    pub times: ConnectTimes,
    /// How long the guard's limits held it up.
    pub waited: Duration,
}

impl<C: Connector> Dialer<C> {
    /// Resolves and connects once the gate lets it. Not more: nobody logs in on that socket.
    pub async fn connect(self, prepared: Prepared) -> Result<Accepted<C>, FailedDial> {
        let key = prepared.endpoint.address_key();
        let dial = |DialAdmission { at, pace }| {
            let deadline = at + self.budget.min(FOREVER);
            let pace = pace.counted_by(&prepared.pace.made);
            let prepared = Prepared { pace, ..prepared };
            let connecting = self.connector.tcp_connect(prepared.clone(), deadline);
            async move {
                let outcome = timeout_at(deadline + SLACK, connecting).await;
                let (socket, times) =
                    outcome.unwrap_or_else(|_| Err(Facts::new(Phase::Connect, Cause::Timeout)))?;
                Ok((socket, times, deadline, prepared))
            }
        };
        let Passed { value, permit, waited } = self.gate.pass(&key, self.lane, dial).await?;
        let (socket, times, deadline, prepared) = value;
        Ok(Accepted { dialer: self, socket, permit, prepared, deadline, times, waited })
    }

    /// The same for a login. A command is asked for the password only where somebody answers, and while no socket and no
    /// permit is held.
    pub async fn connect_to_log_in(self, prepared: Prepared) -> Result<Accepted<C>, FailedDial> {
        let accepted = self.connect(prepared).await?;
        let Dialer { connector, target, .. } = &accepted.dialer;
        let must_run = connector.lacks_password(target, &accepted.prepared);
        let asking = connector.with_password(Arc::clone(target), accepted.prepared.clone());
        let waited = accepted.waited;
        let failed = |facts| FailedDial { facts, failed_at: Instant::now(), shared: false, waited };
        if !must_run {
            return Ok(Accepted { prepared: asking.await.map_err(failed)?, ..accepted });
        }
        let dialer = accepted.hang_up();
        dialer.connect(asking.await.map_err(failed)?).await
    }
}

impl<C: Connector> Accepted<C> {
    /// Logs in, and gives the permit back. Where the server rejects a password that a command printed some time ago, the
    /// command is asked anew, and one more login is tried: once, and by the gate like any other.
    pub async fn login(self, target: Arc<Target>) -> Result<(C::Session, Login), Facts> {
        let (dialer, prepared) = (self.dialer.clone(), self.prepared.clone());
        let rejected = match self.log_in_once(Arc::clone(&target)).await {
            Err(facts) if table::diagnose(&facts).reason == Reason::Auth => facts,
            ended => return ended,
        };
        if !dialer.connector.password_rejected(&target, &prepared) {
            return Err(rejected);
        }
        let renewed = dialer.connector.with_password(Arc::clone(&target), prepared.clone()).await?;
        if renewed.endpoint.password == prepared.endpoint.password {
            dialer.connector.password_rejected(&target, &renewed);
            return Err(rejected);
        }
        let connector = dialer.connector.clone();
        let again = dialer.connect(renewed.clone()).await.map_err(|refused| refused.facts)?;
        let ended = again.log_in_once(Arc::clone(&target)).await;
        if ended.as_ref().is_err_and(|facts| table::diagnose(facts).reason == Reason::Auth) {
            connector.password_rejected(&target, &renewed);
        }
        ended
    }

    async fn log_in_once(self, target: Arc<Target>) -> Result<(C::Session, Login), Facts> {
        let Accepted { dialer, socket, permit, prepared, deadline, .. } = self;
        let login = dialer.connector.login(socket, target, prepared, deadline);
        let outcome = timeout_at(deadline + SLACK, login).await;
        drop(permit);
        outcome.unwrap_or_else(|_| Err(Facts::new(Phase::Startup, Cause::Timeout)))
    }

    fn hang_up(self) -> Dialer<C> {
        self.dialer
    }
}

impl<C: Connector> fmt::Debug for Dialer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("target", &self.target.name).finish_non_exhaustive()
    }
}

impl<C: Connector> fmt::Debug for Accepted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("times", &self.times).finish_non_exhaustive()
    }
}
