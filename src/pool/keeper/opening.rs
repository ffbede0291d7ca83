//! Sessions are opened when they are needed, the line is up and the last one could be opened; few at once at first.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::sight::Sight;
use super::{Done, Mind};
use crate::policy::retry::FailureRow;
use crate::pool::dial::dial;
use crate::pool::place::Place;
use crate::pool::server::Server;
use crate::pool::shared::{Shared, Terms};
use crate::reason::{Class, Facts, Reason, table};
use crate::status::pool::ServerState;
use crate::supervisor::gate::Lane;
use crate::target::Target;

/// Sessions can't be opened, although the line may be up.
pub struct Trouble {
    pub reason: Reason,
    pub class: Class,
    pub since: Instant,
    pub failures: FailureRow,
    pub until: Instant,
}

impl Mind {
    /// Opens what is needed: a session for each client that waits, and `min_idle` beside.
    pub(super) fn open(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        if !sight.live || self.trouble.as_ref().is_some_and(|trouble| now < trouble.until) {
            return;
        }
        let waiting = shared.stock.waiting();
        // One that is being tested will be idle again.
        let testing = usize::try_from(shared.status.servers(ServerState::Testing)).unwrap_or(usize::MAX);
        let idle = shared.stock.idle().saturating_add(testing);
        let spare = (terms.pool.min_idle as usize).saturating_sub(idle);
        let opening = self.opening - usize::from(self.replacing && self.opening > 0);
        let wanted = waiting.max(spare).saturating_sub(opening);
        let rooms = (terms.pool.size as usize).saturating_sub(shared.sessions.held());
        let at_once = self.ramp.width().saturating_sub(self.opening);
        let lane = if waiting > 0 { Lane::Reconnect } else { Lane::Refresh };
        for _ in 0..wanted.min(rooms).min(at_once) {
            self.dial(shared, terms, lane, false);
        }
    }

    pub(super) fn dial(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, lane: Lane, replaces: bool) {
        self.opening += 1;
        self.replacing |= replaces;
        let place = Place::take(&shared.sessions, &shared.status);
        let (shared, terms, gate) = (Arc::clone(shared), Arc::clone(terms), self.keeper.gate.clone());
        self.work.spawn(async move {
            let target = Arc::clone(&terms.target);
            Done::Opened { opened: dial(shared, terms, gate, lane, place).await, target, replaces }
        });
    }

    pub(super) fn opened(&mut self, shared: &Shared, server: Server, replaces: bool) {
        self.ramp.opened();
        if self.trouble.take().is_some() {
            info!(target = %shared.name, "the pool opens sessions again");
        }
        shared.give_back(server);
        if replaces {
            self.retire_oldest(Instant::now());
        }
    }

    pub(super) fn failed(&mut self, shared: &Shared, target: &Target, facts: &Facts) {
        if !target.is_same_location(&shared.terms().target) {
            // It failed by what was configured before.
            return;
        }
        self.ramp.failed();
        let verdict = table::diagnose(facts);
        let mut failures = self.trouble.as_ref().map_or_else(FailureRow::default, |trouble| trouble.failures);
        if self.trouble.as_ref().is_none_or(|trouble| trouble.reason != verdict.reason) {
            let (reason, remedy) = (verdict.reason, verdict.reason.remedy());
            warn!(target = %shared.name, %reason, phase = facts.phase.as_str(), detail = %facts, remedy, "the pool cannot open a session");
        }
        let wait = failures.wait_after(verdict.class, target.tuning.backoff, fastrand::f64());
        let now = Instant::now();
        self.trouble = Some(Trouble {
            reason: verdict.reason,
            class: verdict.class,
            since: now,
            failures,
            until: now + wait.max(verdict.at_least),
        });
    }
}
