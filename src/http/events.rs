//! `/api/v1/events`: the changes of the targets' states that are remembered, the latest first.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::Serialize;

use super::App;
use super::api::rounded;
use crate::health::rfc3339;
use crate::reason::Reason;
use crate::status::Moment;
use crate::status::history::{PoolCost, StateChange};
use crate::target::TargetName;

/// So many are told at once, at the most.
const MOST: usize = 1_000;

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct EventsQuery {
    /// Of this target only.
    pub target: Option<String>,
    /// Only those from then on.
    since: Option<SystemTime>,
}

#[derive(Debug, Serialize)]
struct EventsDocument<'a> {
    now: Option<String>,
    events: Vec<EventJson<'a>>,
    /// Earlier ones that are remembered and were asked for, but are too many for one answer.
    omitted: usize,
    /// Of the target that is asked for: the share that it was up of each half hour of the last day, the oldest first; null
    /// where nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<Vec<Option<f64>>>,
}

#[derive(Debug, Serialize)]
struct EventJson<'a> {
    at: Option<String>,
    target: &'a str,
    from: &'static str,
    to: &'static str,
    /// Why it is in the new state; null where that is up, or asleep.
    reason: Option<&'static str>,
    detail: Option<&'a str>,
    /// How long the state before lasted.
    lasted_seconds: f64,
    /// Why the target was in the state before.
    reasons_before: Vec<&'static str>,
    /// What the pool's clients met with in the state before; null where there was no pool.
    clients: Option<ClientsJson>,
}

/// How many clients of the pool did not get what they asked for at once.
#[derive(Debug, Serialize)]
struct ClientsJson {
    waited: u64,
    refused: u64,
    disconnected: u64,
}

impl EventsQuery {
    /// Reads the query of a request. The error is a sentence for the client.
    pub(super) fn of(query: &str) -> Result<Self, String> {
        let mut asked = EventsQuery::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = match &*key {
                "target" if value.is_empty() => return Err("name the target: target=NAME".to_owned()),
                "target" => asked.target.replace(value.into_owned()).is_some(),
                "since" => asked.since.replace(time(&value)?).is_some(),
                _ => return Err("there are the parameters target and since, and no others".to_owned()),
            };
            if twice {
                return Err(format!("the parameter {key} is there twice: give it once"));
            }
        }
        Ok(asked)
    }

    fn has(&self, target: &TargetName, change: &StateChange) -> bool {
        self.target.as_deref().is_none_or(|name| name == target.as_str())
            && self.since.is_none_or(|since| change.at >= since)
    }
}

/// A time as RFC 3339 writes it, or in seconds since 1970.
fn time(text: &str) -> Result<SystemTime, String> {
    // A + in a query is a space.
    let date = text.replace(' ', "+").parse::<Timestamp>().ok().map(SystemTime::from);
    let seconds = || Duration::try_from_secs_f64(text.parse().ok()?).ok();
    date.or_else(|| UNIX_EPOCH.checked_add(seconds()?)).ok_or_else(|| {
        "since is no time: write it as 2026-01-31T12:00:00Z, or in seconds since 1970".to_owned()
    })
}

/// The changes that are asked for; `None` where there is no such target, and was none.
pub(super) fn render(app: &App, query: &EventsQuery, now: Moment) -> Option<serde_json::Result<Vec<u8>>> {
    let due = |name: &String| app.board.look_at_one(name, now, |view| view.status.due);
    // Before the history is locked: whoever writes a status locks that next.
    let due = query.target.as_ref().map(due);
    let (changes, omitted, day) = app.board.history().look(|memory| {
        if due == Some(None) && query.target.as_ref().is_some_and(|name| !memory.knows(name, now)) {
            return None;
        }
        let day = query.target.as_ref().map(|name| {
            let due = due.flatten().unwrap_or(now.mono);
            memory.day(name, now, due).iter().map(|slot| slot.ratio().map(rounded)).collect()
        });
        let found = memory.changes(|target, change| query.has(target, change), now);
        let omitted = found.len().saturating_sub(MOST);
        let kept = found.into_iter().take(MOST);
        Some((
            kept.map(|(name, change)| (name.clone(), Arc::clone(change))).collect::<Vec<_>>(),
            omitted,
            day,
        ))
    })?;
    let events = changes.iter().map(|(name, change)| event(name, change)).collect();
    Some(serde_json::to_vec(&EventsDocument { now: rfc3339(now.wall), events, omitted, day }))
}

fn event<'a>(target: &'a TargetName, change: &'a StateChange) -> EventJson<'a> {
    EventJson {
        at: rfc3339(change.at),
        target: target.as_str(),
        from: change.from.as_str(),
        to: change.to.as_str(),
        reason: change.reason.map(Reason::as_str),
        detail: change.detail.as_deref(),
        lasted_seconds: change.lasted.as_secs_f64(),
        reasons_before: change.reasons.iter().map(Reason::as_str).collect(),
        clients: change.cost.map(|PoolCost { waited, refused, disconnected }| ClientsJson {
            waited,
            refused,
            disconnected,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_target_and_a_time_and_nothing_else() {
        let since = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        let target = Some("db".to_owned());
        for (query, expected) in [
            ("", EventsQuery::default()),
            ("target=db", EventsQuery { target: target.clone(), since: None }),
            ("since=1700000000", EventsQuery { target: None, since: since(1_700_000_000) }),
            ("since=2023-11-14T22:13:20Z&target=db", EventsQuery { target, since: since(1_700_000_000) }),
            ("since=2023-11-15T00:13:20+02:00", EventsQuery { target: None, since: since(1_700_000_000) }),
        ] {
            assert_eq!(EventsQuery::of(query).as_ref(), Ok(&expected), "{query}");
        }
        for (query, help) in [
            ("target=", "name the target: target=NAME"),
            ("target=a&target=b", "the parameter target is there twice: give it once"),
            ("since=1&since=2", "the parameter since is there twice: give it once"),
            ("tagret=db", "there are the parameters target and since, and no others"),
            ("since=yesterday", "since is no time: "),
            ("since=", "since is no time: "),
            ("since=-1", "since is no time: "),
            ("since=inf", "since is no time: "),
            ("since=NaN", "since is no time: "),
            ("since=1e300", "since is no time: "),
            ("since=99999-01-01T00:00:00Z", "since is no time: "),
        ] {
            let refused = EventsQuery::of(query).unwrap_err();
            assert!(refused.starts_with(help), "{query}: {refused}");
        }
    }
}
