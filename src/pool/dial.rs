//! Opens a session: through the same connector and the same gate as the supervised one.

use std::sync::Arc;

use tokio::time::Instant;

use super::place::Place;
use super::server::Server;
use super::shared::{Shared, Terms};
use crate::connection::{Connector, PgSession};
use crate::reason::{Cause, Facts, Phase};
use crate::supervisor::dial;
use crate::supervisor::gate::{Gate, Lane};
use crate::target::{Endpoint, IdlePolicy};

/// A session that has answered its first ping.
pub async fn dial(
    shared: Arc<Shared>,
    terms: Arc<Terms>,
    gate: Gate,
    lane: Lane,
    place: Place,
) -> Result<Server, Facts> {
    let (session, endpoint) = login(&shared, &terms, &gate, lane).await?;
    let detached = session.detach().map_err(|_| {
        let message = "the server went on talking after its first answer".to_owned();
        Facts::new(Phase::Startup, Cause::Protocol { message })
    })?;
    shared.with_spellings(|spellings| spellings.report(detached.parameters.iter()));
    Ok(Server::new(detached, Arc::clone(&terms.target), endpoint, due(&terms), place))
}

async fn login(
    shared: &Arc<Shared>,
    terms: &Arc<Terms>,
    gate: &Gate,
    lane: Lane,
) -> Result<(PgSession, Arc<Endpoint>), Facts> {
    let target = Arc::clone(&terms.target);
    let connector = &shared.connector;
    let prepared = connector.prepare(Arc::clone(&target)).await?;
    shared.learn(terms, &prepared);
    let endpoint = Arc::clone(&prepared.endpoint);
    let budget = prepared.sockets.connect_timeout;
    let accepted = dial::connect(connector, gate, prepared, lane, budget).await;
    let (session, _) = accepted.map_err(|refused| refused.facts)?.login(connector, target).await?;
    Ok((session, endpoint))
}

/// When a session opened now is to be replaced: spread, so that they are not all replaced at once.
fn due(terms: &Terms) -> Option<Instant> {
    let refresh = terms.target.tuning.refresh;
    let every = refresh.every.filter(|_| terms.target.tuning.idle_policy == IdlePolicy::KeepAwake)?;
    Some(Instant::now() + every.mul_f64(1.0 - refresh.jitter * fastrand::f64()))
}
