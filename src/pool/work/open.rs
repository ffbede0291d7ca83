//! Opens a session: through the same connector and the same gate as the supervised one.

use std::sync::Arc;
use std::time::Instant;

use crate::connection::{Connector, Detached};
use crate::pool::server::Server;
use crate::pool::session_slot::SessionSlot;
use crate::pool::shared::{PoolConfig, Shared};
use crate::reason::{Cause, Facts, Phase};
use crate::supervisor::dial::Dialer;
use crate::supervisor::gate::{Gate, Lane};
use crate::target::IdlePolicy;

/// What came of it, and the generation that it belongs to.
pub struct Opened {
    pub generation: u64,
    pub outcome: Result<New, (SessionSlot, Facts)>,
}

/// A session that has answered its first ping.
pub struct New {
    pub server: Box<Server>,
    /// When it is to be replaced.
    pub due: Option<Instant>,
}

pub async fn open(shared: &Arc<Shared>, gate: &Gate, lane: Lane, slot: SessionSlot) -> Opened {
    let config = shared.config();
    let mut generation = shared.driver.generation();
    let outcome = match log_in(shared, &config, gate, lane, &mut generation).await {
        Ok(detached) => {
            shared.with_spellings(|spellings| spellings.report(detached.parameters.iter()));
            let server = Box::new(Server::new(detached, Arc::clone(&config.target), slot));
            Ok(New { server, due: due(&config) })
        }
        Err(facts) => Err((slot, facts)),
    };
    Opened { generation, outcome }
}

async fn log_in(
    shared: &Arc<Shared>,
    config: &Arc<PoolConfig>,
    gate: &Gate,
    lane: Lane,
    generation: &mut u64,
) -> Result<Detached, Facts> {
    let target = Arc::clone(&config.target);
    let connector = &shared.connector;
    let prepared = connector.prepare(Arc::clone(&target)).await?;
    if !target.password.is_command() {
        shared.learn(config, &prepared);
    }
    // Of what was read: the login is still to come.
    *generation = shared.driver.locate(&target, &prepared.endpoint);
    let budget = prepared.sockets.connect_timeout;
    let dialer = Dialer {
        connector: connector.clone(),
        gate: gate.clone(),
        target: Arc::clone(&target),
        lane,
        budget,
    };
    let accepted = dialer.connect_to_log_in(prepared).await;
    let (session, _) = accepted.map_err(|refused| refused.facts)?.login(target).await?;
    session.detach().map_err(|_| {
        let message = "the server went on talking after its first answer".to_owned();
        Facts::new(Phase::Startup, Cause::Protocol { message })
    })
}

/// When a session opened now is to be replaced: spread, so that they are not all replaced at once.
fn due(config: &PoolConfig) -> Option<Instant> {
    let refresh = config.target.tuning.refresh;
    let every = refresh.every.filter(|_| config.target.tuning.idle_policy == IdlePolicy::KeepAwake)?;
    Some(tokio::time::Instant::now().into_std() + every.mul_f64(1.0 - refresh.jitter * fastrand::f64()))
}
