//! A dial: past the gate to an accepted socket, and on to a session. For the supervised session and for those of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::gate::{FailedDial, Gate, Lane, Passed, Permit};
use crate::connection::{ConnectTimes, Connector, Login, Prepared};
use crate::policy::FOREVER;
use crate::reason::{Cause, Facts, Phase};
use crate::target::Target;

/// How much later than the connection's own deadline a dial is cut off: the net under the net.
const SLACK: Duration = Duration::from_secs(1);

/// An accepted socket, with its login permit and its deadline.
pub struct Accepted<C: Connector> {
    socket: C::Socket,
    permit: Permit,
    prepared: Prepared,
    deadline: Instant,
    pub times: ConnectTimes,
    /// How long the guard's limits held it up.
    pub waited: Duration,
}

/// Resolves and connects once the gate lets it; `budget` counts from there, for TCP connect and login together.
pub async fn connect<C: Connector>(
    connector: &C,
    gate: &Gate,
    prepared: Prepared,
    lane: Lane,
    budget: Duration,
) -> Result<Accepted<C>, FailedDial> {
    let key = prepared.endpoint.address_key();
    let dial = |admitted: Instant| {
        let deadline = admitted + budget.min(FOREVER);
        let connecting = connector.tcp_connect(prepared.clone(), deadline);
        async move {
            let outcome = timeout_at(deadline + SLACK, connecting).await;
            let (socket, times) =
                outcome.unwrap_or_else(|_| Err(Facts::new(Phase::Connect, Cause::Timeout)))?;
            Ok((socket, times, deadline))
        }
    };
    let Passed { value, permit, waited } = gate.pass(&key, lane, dial).await?;
    let (socket, times, deadline) = value;
    Ok(Accepted { socket, permit, prepared, deadline, times, waited })
}

impl<C: Connector> fmt::Debug for Accepted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("times", &self.times).finish_non_exhaustive()
    }
}

impl<C: Connector> Accepted<C> {
    /// Logs in, and gives the permit back.
    pub async fn login(self, connector: &C, target: Arc<Target>) -> Result<(C::Session, Login), Facts> {
        let Accepted { socket, permit, prepared, deadline, .. } = self;
        let login = connector.login(socket, target, prepared, deadline);
        let outcome = timeout_at(deadline + SLACK, login).await;
        drop(permit);
        outcome.unwrap_or_else(|_| Err(Facts::new(Phase::Startup, Cause::Timeout)))
    }
}
