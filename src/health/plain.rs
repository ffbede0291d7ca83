//! The document that was there from the beginning, with additions. Keys stand in the order of the fields.

use serde::Serialize;

use super::{Judged, Reach, Speaker, Status, rfc3339, rounded};
use crate::status::pool::{ClientState, ServerState};
use crate::status::{View, epoch_seconds};

#[derive(Debug, Serialize)]
pub(super) struct PlainDocument<'a> {
    status: &'static str,
    service: &'a str,
    database: Database,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Vec<PlainTarget<'a>>>,
}

/// Speaks for the worst target that counts.
#[derive(Debug, Serialize)]
struct Database {
    status: &'static str,
    /// The last good check, as seconds since 1970.
    timestamp: Option<f64>,
}

#[derive(Debug, Serialize)]
struct PlainTarget<'a> {
    name: &'a str,
    status: &'static str,
    state: &'static str,
    since: Option<String>,
    age_seconds: Option<f64>,
    reconnects: u64,
    ping_ms: Option<f64>,
    success_rate: Option<f64>,
    breaker: &'static str,
    reason: Option<&'static str>,
    remedy: Option<&'static str>,
    /// What was seen last: the words of a server or of the operating system.
    detail: Option<&'a str>,
    next_attempt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<PlainPool>,
}

/// The pool, for display: it does not count for the status.
#[derive(Debug, Serialize)]
struct PlainPool {
    clients_waiting: u64,
    servers_active: u64,
    size: u64,
}

pub(super) fn document<'a>(
    speaker: Speaker<'a>,
    status: Status,
    targets: &[Judged<'a>],
    spoken_for: &[&View<'_>],
) -> PlainDocument<'a> {
    PlainDocument {
        status: status.as_str(),
        service: speaker.service,
        database: database(spoken_for),
        version: speaker.version,
        targets: speaker.details.then(|| targets.iter().map(|judged| target(judged.view)).collect()),
    }
}

/// The worst one; of several equally bad, the one whose last good check is the oldest.
fn database(spoken_for: &[&View<'_>]) -> Database {
    let reach = |view: &View<'_>| Reach::of(view.state());
    let worst = spoken_for.iter().max_by(|a, b| {
        let oldest_last = |view: &View<'_>| view.status.last_success.map(|at| at.mono);
        reach(a).cmp(&reach(b)).then(oldest_last(b).cmp(&oldest_last(a)))
    });
    Database {
        status: worst.map_or(Reach::Unreachable, |view| reach(view)).as_str(),
        timestamp: worst.and_then(|view| view.status.last_success).map(|at| epoch_seconds(at.wall)),
    }
}

fn target<'a>(view: &View<'a>) -> PlainTarget<'a> {
    let status = view.status;
    PlainTarget {
        name: status.name.as_str(),
        status: Reach::of(view.state()).as_str(),
        state: view.state().as_str(),
        since: rfc3339(view.since().wall),
        age_seconds: view.connection_age().map(|age| rounded(age.as_secs_f64())),
        reconnects: status.counters.reconnects,
        ping_ms: status.last_ping.map(|took| rounded(took.as_secs_f64() * 1000.0)),
        success_rate: status.recent.rate().map(rounded),
        breaker: status.breaker.state().as_str(),
        reason: view.reason().map(|reason| reason.as_str()),
        remedy: view.remedy(),
        detail: view.detail(),
        next_attempt: view.next_attempt().and_then(|at| rfc3339(at.wall)),
        pool: view.pool.map(|pool| PlainPool {
            clients_waiting: pool.clients(ClientState::Waiting),
            servers_active: pool.servers(ServerState::Active),
            size: pool.size,
        }),
    }
}
