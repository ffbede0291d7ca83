//! The sessions that nobody has are pinged, replaced before they grow old, and closed when nobody needs them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use super::sight::Sight;
use super::{Chore, Done, Mind, SWEEP};
use crate::pool::refusal::Refusal;
use crate::pool::registry::Order;
use crate::pool::server::{Backend, Server};
use crate::pool::shared::{Shared, Terms};
use crate::status::pool::ServerState;
use crate::supervisor::gate::Lane;
use crate::target::IdlePolicy;

/// A session beyond `min_idle` that no client has used for that long is closed. PgBouncer's `server_idle_timeout`.
const UNUSED: Duration = Duration::from_secs(600);
/// How long sessions may take to be closed once the last client has left.
const CLOSING: Duration = Duration::from_millis(1500);

impl Mind {
    /// Replaces one session that has grown old: by a new one where there is room for it, else it makes room first.
    pub(super) fn replace(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        let not_yet = self.trouble.as_ref().is_some_and(|trouble| now < trouble.until);
        if !sight.live || self.opening > 0 || not_yet || !has_old(shared, now) {
            return;
        }
        if shared.sessions.held() >= terms.pool.size as usize {
            self.retire_oldest(now);
        } else if shared.stock.waiting() == 0 {
            self.dial(shared, terms, Lane::Refresh, true);
        }
    }

    /// After a reload there may be more sessions than `size`: those too many are closed, the idle ones first, the others
    /// when their clients have done with them.
    pub(super) fn shrink(&mut self, shared: &Shared, terms: &Terms) {
        let too_many = shared.sessions.held().saturating_sub(terms.pool.size as usize + self.closing);
        if too_many == 0 {
            return;
        }
        let mut too_many = too_many.saturating_sub(shared.registry.count(Backend::is_retired));
        let idle = shared.stock.take_where(|_| {
            let goes = too_many > 0;
            too_many -= usize::from(goes);
            goes
        });
        idle.into_iter().for_each(|server| self.begin(Chore::Close(server)));
        for _ in 0..too_many {
            shared.registry.retire_one(|backend| !backend.is_retired());
        }
    }

    /// Closes one old session, or marks it to be closed when its client has done with it.
    pub(super) fn retire_oldest(&mut self, now: Instant) {
        let shared = Arc::clone(&self.keeper.shared);
        let mut found = false;
        let old = shared.stock.take_where(|server| {
            let fits = !found && server.backend.is_old(now);
            found |= fits;
            fits
        });
        if old.is_empty() {
            shared.registry.retire_one(|backend| backend.is_old(now));
        }
        old.into_iter().for_each(|server| self.begin(Chore::Close(server)));
    }

    /// Tests the idle sessions that were quiet for as long as the supervised one may be.
    pub(super) fn ping(&mut self, shared: &Arc<Shared>, terms: &Arc<Terms>, sight: &Sight, now: Instant) {
        let tuning = &terms.target.tuning;
        if tuning.idle_policy == IdlePolicy::LetSleep || !sight.live {
            return;
        }
        let every = sight.ping_every.unwrap_or(tuning.ping.interval);
        let limit = tuning.ping.timeout;
        for mut server in shared.stock.take_where(|server| now >= server.heard + every) {
            let shared = Arc::clone(shared);
            server.place.is_now(ServerState::Testing);
            self.work.spawn(async move {
                match timeout(limit, server.ping()).await {
                    Ok(true) => shared.give_back(server),
                    ended => {
                        debug!(target = %shared.name, ?ended, "an idle session did not answer");
                        server.close().await;
                    }
                }
                Done::Chore
            });
        }
    }

    /// The pool ends: when the last client has left, its sessions are closed. A server that hangs is not waited for.
    pub(super) fn leave(&mut self, shared: &Arc<Shared>, now: Instant) -> Option<Instant> {
        shared.leave();
        shared.registry.tell_all(Order::Leave);
        shared.stock.refuse_where(|_| Some(Refusal::draining()));
        for server in shared.stock.take_where(|_| true) {
            self.begin(Chore::Close(server));
        }
        if shared.clients.held() > 0 {
            return Some(now + SWEEP);
        }
        let until = *self.closing_until.get_or_insert(now + CLOSING);
        let over = now >= until || (shared.sessions.held() == 0 && self.work.is_empty());
        (!over).then(|| now + SWEEP)
    }
}

fn has_old(shared: &Shared, now: Instant) -> bool {
    shared.stock.any(|server| server.backend.is_old(now))
        || shared.registry.any(|backend| backend.is_old(now))
}

/// Idle sessions beyond `min_idle` that nobody has used for long. Under `let_sleep` all of them, after the target's own
/// time where it has one: a socket that is held keeps some databases awake.
pub fn close_unused(shared: &Shared, terms: &Terms, now: Instant) -> Vec<Server> {
    let tuning = &terms.target.tuning;
    let keep = terms.pool.min_idle as usize;
    let limit = match (tuning.idle_policy, tuning.close_idle_after) {
        (IdlePolicy::LetSleep, Some(after)) => after.min(UNUSED),
        _ => UNUSED,
    };
    let mut spare = shared.stock.idle().saturating_sub(keep);
    shared.stock.take_where(|server| {
        let unused = spare > 0 && now >= server.used + limit;
        spare -= usize::from(unused);
        unused
    })
}
