//! The same facts as `application/health+json`: draft-inadarei-api-health-check-06.
//!
//! A check's key is `component:measurement` and its value a list with one element a target: names are values, never
//! keys, because walkers of JSON split keys at dots.

use serde::Serialize;
use serde_json::Number;

use super::{Judged, Speaker, Status, rfc3339, rounded};
use crate::status::State;
use crate::status::pool::{ClientState, ServerState};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DraftDocument<'a> {
    status: &'static str,
    release_id: &'a str,
    service_id: &'a str,
    description: &'static str,
    /// Only where it is not `pass`: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks<'a>>,
}

#[derive(Debug, Serialize)]
struct Checks<'a> {
    #[serde(rename = "database:connections")]
    connections: Vec<DraftConnection<'a>>,
    #[serde(rename = "database:responseTime")]
    response_time: Vec<DraftCheck<'a>>,
}

/// What every check says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DraftCheck<'a> {
    component_id: &'a str,
    component_type: &'static str,
    observed_value: Number,
    observed_unit: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Only where it is not `pass`: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
}

/// A check, and the keys that the draft lets us add.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DraftConnection<'a> {
    #[serde(flatten)]
    check: DraftCheck<'a>,
    state: &'static str,
    since: Option<String>,
    age_seconds: Option<f64>,
    reconnects: u64,
    success_rate: Option<f64>,
    breaker: &'static str,
    next_attempt: Option<String>,
    /// Only where it is not `pass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<DraftPool>,
}

/// As in the plain document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DraftPool {
    clients_waiting: u64,
    servers_active: u64,
    size: u64,
}

pub(super) fn document<'a>(
    speaker: Speaker<'a>,
    status: Status,
    targets: &[Judged<'a>],
) -> DraftDocument<'a> {
    DraftDocument {
        status: word(status),
        release_id: speaker.version,
        service_id: speaker.service,
        description: "Tested connections to PostgreSQL databases",
        output: (status != Status::Healthy && speaker.details).then(|| summary(targets)),
        checks: speaker.details.then(|| Checks {
            connections: targets.iter().map(connection).collect(),
            response_time: targets.iter().filter_map(response_time).collect(),
        }),
    }
}

/// Counts what is not well, the worst first: "11 required targets down, 1 optional down, 3 degraded".
fn summary(targets: &[Judged<'_>]) -> String {
    if targets.is_empty() {
        return "no target is known yet".to_owned();
    }
    let is = |judged: &Judged<'_>, state| judged.view.state() == state;
    let required = |judged: &Judged<'_>| judged.view.status.tuning.required;
    let wrong_role = |judged: &Judged<'_>| is(judged, State::Degraded) && judged.status == Status::Failing;
    type Kind<'k> = (&'static str, &'static str, &'k dyn Fn(&Judged<'_>) -> bool);
    let kinds: [Kind<'_>; 6] = [
        ("required", "down", &|judged| is(judged, State::Down) && required(judged)),
        ("optional", "down", &|judged| is(judged, State::Down) && !required(judged)),
        ("", "of the wrong role", &wrong_role),
        ("", "degraded", &|judged| is(judged, State::Degraded) && !wrong_role(judged)),
        ("required", "starting", &|judged| is(judged, State::Starting) && required(judged)),
        ("optional", "starting", &|judged| is(judged, State::Starting) && !required(judged)),
    ];
    let mut said: Vec<String> = Vec::new();
    for (which, what, belongs) in kinds {
        let count = targets.iter().filter(|judged| belongs(judged)).count();
        let noun = match (said.is_empty(), count) {
            (_, 0) => continue,
            (true, 1) => "target",
            (true, _) => "targets",
            (false, _) => "",
        };
        let words = [&count.to_string(), which, noun, what];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        said.push(words.join(" "));
    }
    said.join(", ")
}

/// `pass` and `warn` go with 200, `fail` with 503.
const fn word(status: Status) -> &'static str {
    match status {
        Status::Healthy => "pass",
        Status::Degraded => "warn",
        Status::Starting | Status::Failing => "fail",
    }
}

fn connection<'a>(judged: &Judged<'a>) -> DraftConnection<'a> {
    let view = judged.view;
    let status = view.status;
    let held = u8::from(status.held().is_some()).into();
    DraftConnection {
        check: check(judged, held, "connections"),
        state: view.state().as_str(),
        since: rfc3339(view.since().wall),
        age_seconds: view.connection_age().map(|age| rounded(age.as_secs_f64())),
        reconnects: status.counters.reconnects,
        success_rate: status.recent.rate().map(rounded),
        breaker: status.breaker.state().as_str(),
        next_attempt: view.next_attempt().and_then(|at| rfc3339(at.wall)),
        remedy: view.remedy(),
        detail: view.detail(),
        pool: view.pool.map(|pool| DraftPool {
            clients_waiting: pool.clients(ClientState::Waiting),
            servers_active: pool.servers(ServerState::Active),
            size: pool.size,
        }),
    }
}

/// The last answered ping; no check before the first.
fn response_time<'a>(judged: &Judged<'a>) -> Option<DraftCheck<'a>> {
    let took = judged.view.status.last_ping?;
    let took = Number::from_f64(rounded(took.as_secs_f64() * 1000.0))?;
    Some(check(judged, took, "ms"))
}

fn check<'a>(judged: &Judged<'a>, observed_value: Number, observed_unit: &'static str) -> DraftCheck<'a> {
    let view = judged.view;
    let reason = view.reason().map_or(view.state().as_str(), |reason| reason.as_str());
    DraftCheck {
        component_id: view.status.name.as_str(),
        component_type: "datastore",
        observed_value,
        observed_unit,
        status: word(judged.status),
        time: view.status.last_check.and_then(|at| rfc3339(at.wall)),
        output: (judged.status != Status::Healthy).then_some(reason),
    }
}
