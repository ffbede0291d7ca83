//! Opens a session: through the same connector and the same gate as the supervised one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::place::Place;
use super::server::Server;
use super::shared::{Shared, Terms};
use crate::connection::{Connector, PgSession};
use crate::reason::{Cause, Facts, Phase};
use crate::supervisor::gate::{Gate, Lane};
use crate::target::IdlePolicy;

/// How much later than the connection's own deadline the dial is cut off: the net under the net.
const SLACK: Duration = Duration::from_secs(1);

/// A session that has answered its first ping.
pub async fn dial(
    shared: Arc<Shared>,
    terms: Arc<Terms>,
    gate: Gate,
    lane: Lane,
    place: Place,
) -> Result<Server, Facts> {
    let session = login(&shared, &terms, &gate, lane).await?;
    let raw = session.into_raw().map_err(|_| {
        let message = "the server went on talking after its first answer".to_owned();
        Facts::new(Phase::Startup, Cause::Protocol { message })
    })?;
    shared.set_parameters(raw.parameters.clone());
    Ok(Server::new(raw, Arc::clone(&terms.target), due(&terms), place))
}

async fn login(
    shared: &Arc<Shared>,
    terms: &Arc<Terms>,
    gate: &Gate,
    lane: Lane,
) -> Result<PgSession, Facts> {
    let target = Arc::clone(&terms.target);
    let connector = &shared.connector;
    let prepared = connector.prepare(Arc::clone(&target)).await?;
    shared.learn(terms, &prepared);
    let key = prepared.endpoint.address_key();
    let knock = |admitted: Instant| {
        let deadline = admitted + prepared.sockets.connect_timeout;
        let knock = connector.knock(prepared.clone(), deadline);
        async move {
            let knocked = timeout_at(deadline + SLACK, knock).await;
            let (door, _) = knocked.unwrap_or_else(|_| Err(Facts::new(Phase::Connect, Cause::Timeout)))?;
            Ok((door, deadline))
        }
    };
    let passed = gate.pass(&key, lane, knock).await.map_err(|refused| refused.facts)?;
    let (door, deadline) = passed.value;
    let login = connector.login(door, target, prepared.clone(), deadline);
    let entered = timeout_at(deadline + SLACK, login).await;
    let (session, _) = entered.unwrap_or_else(|_| Err(Facts::new(Phase::Startup, Cause::Timeout)))?;
    Ok(session)
}

/// When a session opened now is to be replaced: spread, so that they are not all replaced at once.
fn due(terms: &Terms) -> Option<Instant> {
    let refresh = terms.target.tuning.refresh;
    let every = refresh.every.filter(|_| terms.target.tuning.idle_policy == IdlePolicy::KeepAwake)?;
    Some(Instant::now() + every.mul_f64(1.0 - refresh.jitter * fastrand::f64()))
}
