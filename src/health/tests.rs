use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::reason::Reason;
use crate::status::sample::{asleep, busy_pool, lost, moment, starting, tuned, up};
use crate::status::{Line, Moment, TargetStatus};

const SPEAKER: Speaker<'_> = Speaker { service: "image-editor", version: "0.1.0", details: true };

fn all(statuses: &[TargetStatus], now: Moment, vocabulary: Vocabulary) -> (Status, String) {
    let views: Vec<_> = statuses.iter().map(|status| View::new(status, now)).collect();
    let document = of_all(SPEAKER, &views, vocabulary).unwrap();
    (document.status, String::from_utf8(document.body).unwrap())
}

fn plain(statuses: &[TargetStatus], now: Moment) -> (Status, String) {
    all(statuses, now, Vocabulary::Plain)
}

fn optional(status: TargetStatus) -> TargetStatus {
    tuned(status, |tuning| tuning.required = false)
}

/// A live session with something wrong.
fn ailing(now: Moment, ail: impl FnOnce(&mut crate::status::Held)) -> TargetStatus {
    let mut status = up("primary", now);
    if let Line::Live(held) = &mut status.line {
        ail(held);
    }
    status
}

fn suspect(now: Moment) -> TargetStatus {
    let mut status = up("primary", now);
    let held = status.held().unwrap().clone();
    status.line = Line::Suspect { held, asked_at: now };
    status
}

#[test]
fn the_document_keeps_its_keys_and_their_order() {
    let now = moment();
    let (status, body) = plain(&[up("primary", now)], now);
    assert_eq!(status, Status::Healthy);
    let expected = concat!(
        r#"{"status":"healthy","service":"image-editor","#,
        r#""database":{"status":"connected","timestamp":1789999999.123},"version":"0.1.0","#,
        r#""targets":[{"name":"primary","status":"connected","state":"up","since":"2026-09-21T14:11:46.873Z","#,
        r#""age_seconds":93.25,"reconnects":0,"ping_ms":0.412,"success_rate":1.0,"breaker":"closed","#,
        r#""reason":null,"remedy":null,"detail":null,"next_attempt":null}]}"#,
    );
    assert_eq!(body, expected);
}

#[test]
fn nothing_is_made_up_before_the_first_attempt() {
    let now = moment();
    let (_, body) = plain(&[starting("primary", now)], now);
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["database"], serde_json::json!({"status": "unreachable", "timestamp": null}));
    for key in ["age_seconds", "ping_ms", "success_rate", "reason", "remedy", "detail", "next_attempt"] {
        assert_eq!(document["targets"][0][key], Value::Null, "{key}");
    }
}

#[test]
fn every_state_says_what_the_contract_says_for_required_and_optional_targets() {
    use Status::*;
    let now = moment();
    let query_failed = ailing(now, |held| held.ping = Err(Reason::QueryFailed));
    let login_failed = ailing(now, |held| held.login = Err(Reason::Auth));
    let wrong_role = ailing(now, |held| held.role = Err(Reason::WrongRole));
    let both = ailing(now, |held| {
        held.login = Err(Reason::Auth);
        held.role = Err(Reason::WrongRole);
    });
    let mut failed_once = lost("primary", now, 0.2);
    failed_once.consecutive_failures = 1;
    let mut overdue = up("primary", now);
    overdue.due = now.mono - View::GRACE - Duration::from_secs(1);
    let table = [
        ("starting", starting("primary", now), Starting, Degraded),
        ("up", up("primary", now), Healthy, Healthy),
        ("sleeping", asleep("primary", now), Healthy, Healthy),
        ("degraded by a ping", query_failed, Degraded, Degraded),
        ("degraded by a login", login_failed, Degraded, Degraded),
        ("wrong role", wrong_role, Failing, Degraded),
        ("wrong role behind a failed login", both, Failing, Degraded),
        ("down for less than a second", lost("primary", now, 0.9), Degraded, Degraded),
        ("down for more", lost("primary", now, 1.1), Failing, Degraded),
        ("down, the first reconnect has failed", failed_once, Failing, Degraded),
        ("suspect", suspect(now), Failing, Degraded),
        ("stalled", overdue, Failing, Degraded),
    ];
    for (what, status, required, otherwise) in table {
        assert_eq!(plain(std::slice::from_ref(&status), now).0, required, "{what}, required");
        let alone = of_one(SPEAKER, &View::new(&status, now), Vocabulary::Plain).unwrap();
        assert_eq!(alone.status, required, "{what}, asked for by name");
        let status = optional(status);
        assert_eq!(plain(std::slice::from_ref(&status), now).0, otherwise, "{what}, optional");
        let alone = of_one(SPEAKER, &View::new(&status, now), Vocabulary::Plain).unwrap();
        assert_eq!(alone.status, required, "{what}, optional but asked for by name");
    }
    assert_eq!([Healthy, Degraded, Starting, Failing].map(Status::code), [200, 200, 503, 503]);
}

#[test]
fn the_whole_is_as_bad_as_its_worst_target() {
    let now = moment();
    let (up, down) = (up("a", now), lost("b", now, 60.0));
    let starting = starting("c", now);
    assert_eq!(plain(&[up.clone(), down.clone(), starting.clone()], now).0, Status::Failing);
    assert_eq!(plain(&[up.clone(), starting], now).0, Status::Starting);
    assert_eq!(plain(&[up, optional(down)], now).0, Status::Degraded);
    assert_eq!(plain(&[], now).0, Status::Starting);
}

#[test]
fn database_speaks_for_the_worst_required_target_and_without_one_for_the_worst_of_all() {
    let now = moment();
    let database = |statuses: &[TargetStatus]| -> (String, Value) {
        let (_, body) = plain(statuses, now);
        let document: Value = serde_json::from_str(&body).unwrap();
        let database = &document["database"];
        (database["status"].as_str().unwrap().to_owned(), database["timestamp"].clone())
    };
    let mut old = up("old", now);
    old.last_success = Some(crate::status::sample::ago(now, 20.0));
    let (down, fresh) = (lost("down", now, 60.0), up("fresh", now));
    assert_eq!(database(&[fresh.clone(), old.clone()]).1, 1_789_999_980.123);
    assert_eq!(database(&[old.clone(), fresh.clone()]).1, 1_789_999_980.123);
    assert_eq!(database(&[asleep("s", now), fresh.clone()]).0, "sleeping");
    assert_eq!(database(&[down.clone(), asleep("s", now), fresh.clone()]).0, "unreachable");
    assert_eq!(database(&[optional(down.clone()), fresh.clone()]).0, "connected");
    assert_eq!(database(&[optional(down), optional(fresh)]).0, "unreachable");
    assert_eq!(database(&[]), ("unreachable".to_owned(), Value::Null));
}

#[test]
fn the_word_healthy_is_in_the_body_only_when_all_is() {
    let now = moment();
    let speaker = Speaker { service: "healthy \\healthy unhealthy", version: "0.1.0", details: true };
    for vocabulary in [Vocabulary::Plain, Vocabulary::Draft] {
        for status in [starting("healthy", now), lost("healthy", now, 0.1), lost("unhealthy", now, 9.0)] {
            let views = [View::new(&status, now)];
            let document = of_all(speaker, &views, vocabulary).unwrap();
            let body = String::from_utf8(document.body).unwrap();
            assert!(!body.contains("healthy"), "{body}");
            let parsed: Value = serde_json::from_str(&body).unwrap();
            assert!(parsed.to_string().contains(status.name.as_str()), "the name is no longer the name");
            let service = parsed.get("service").or(parsed.get("serviceId")).unwrap();
            assert_eq!(service, speaker.service);
        }
    }
    assert!(plain(&[up("primary", now)], now).1.contains(r#"{"status":"healthy","#));
}

#[test]
fn an_outage_tells_reason_remedy_and_detail_to_those_who_may_see_targets_and_to_nobody_else() {
    let now = moment();
    let mut status = lost("primary", now, 30.0);
    status.last_failure = Some(crate::status::Failure {
        at: crate::status::sample::ago(now, 1.0),
        reason: Reason::Auth,
        remedy: "Run ALTER ROLE … LOGIN.",
        detail: "password authentication failed for user \"orders\"".to_owned(),
    });
    status.attempt = crate::status::Attempt::Waiting {
        until: now.after(Duration::from_millis(1500)),
        tcp_connect: None,
        purpose: crate::status::Purpose::Reconnect,
        because: crate::status::Because::SlowLane,
    };
    for vocabulary in [Vocabulary::Plain, Vocabulary::Draft] {
        let (_, body) = all(std::slice::from_ref(&status), now, vocabulary);
        let target = match (serde_json::from_str::<Value>(&body).unwrap(), vocabulary) {
            (document, Vocabulary::Plain) => document["targets"][0].clone(),
            (document, Vocabulary::Draft) => document["checks"]["database:connections"][0].clone(),
        };
        assert!(body.contains("\"auth\"") && body.contains("\"2026-09-21T14:13:21.623Z\""), "{body}");
        assert_eq!(target["remedy"], "Run ALTER ROLE … LOGIN.");
        assert_eq!(target["detail"], "password authentication failed for user \"orders\"");
        let outline = Speaker { details: false, ..SPEAKER };
        let view = View::new(&status, now);
        for document in [of_all(outline, &[view], vocabulary), of_one(outline, &view, vocabulary)] {
            let body = String::from_utf8(document.unwrap().body).unwrap();
            for word in ["auth", "password", "orders", "primary", "target"] {
                assert!(!body.contains(word), "{word} in {body}");
            }
        }
    }
}

#[test]
fn the_draft_says_the_same_in_its_own_words() {
    let now = moment();
    let statuses = [lost("archive", now, 30.0), starting("new", now), up("primary", now)];
    let statuses = statuses.map(|status| match status.name.as_str() {
        "archive" => optional(status),
        _ => status,
    });
    let (_, body) = all(&statuses, now, Vocabulary::Draft);
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(document["status"], "fail");
    assert_eq!(document["releaseId"], "0.1.0");
    assert_eq!(document["serviceId"], "image-editor");
    assert_eq!(document["output"], "1 optional target down, 1 required starting");
    let connections = document["checks"]["database:connections"].as_array().unwrap();
    let said: Vec<_> = connections
        .iter()
        .map(|c| (c["componentId"].as_str().unwrap(), c["status"].as_str().unwrap(), c["output"].as_str()))
        .collect();
    let expected =
        [("archive", "warn", Some("shutdown")), ("new", "fail", Some("starting")), ("primary", "pass", None)];
    assert_eq!(said, expected);
    assert_eq!(connections[2]["observedValue"], 1);
    assert_eq!(connections[0]["observedValue"], 0);
    let times = document["checks"]["database:responseTime"].as_array().unwrap();
    assert_eq!(times.len(), 2, "a target that was never pinged has no response time");
    let primary = serde_json::json!({
        "componentId": "primary", "componentType": "datastore", "observedValue": 0.412, "observedUnit": "ms",
        "status": "pass", "time": "2026-09-21T14:13:19.123Z",
    });
    assert_eq!(times[1], primary);
}

#[test]
fn the_draft_counts_what_is_not_well_by_what_it_is() {
    let now = moment();
    let summary = |statuses: &[TargetStatus]| -> Value {
        let (_, body) = all(statuses, now, Vocabulary::Draft);
        serde_json::from_str::<Value>(&body).unwrap()["output"].clone()
    };
    let degraded = ailing(now, |held| held.login = Err(Reason::Auth));
    let wrong_role = ailing(now, |held| held.role = Err(Reason::WrongRole));
    let down = lost("down", now, 60.0);
    let mut fleet = vec![down.clone(); 11];
    fleet.push(optional(down.clone()));
    fleet.extend([degraded.clone(), degraded.clone(), degraded.clone()]);
    fleet.extend([up("a", now), asleep("b", now)]);
    assert_eq!(summary(&fleet), "11 required targets down, 1 optional down, 3 degraded");
    fleet.extend([
        wrong_role.clone(),
        optional(wrong_role.clone()),
        starting("c", now),
        optional(starting("d", now)),
    ]);
    let expected = "11 required targets down, 1 optional down, 1 of the wrong role, 4 degraded, 1 required starting, \
                    1 optional starting";
    assert_eq!(summary(&fleet), expected);
    assert_eq!(summary(&[degraded.clone(), up("a", now), degraded]), "2 targets degraded");
    assert_eq!(summary(&[wrong_role]), "1 target of the wrong role");
    assert_eq!(summary(&[suspect(now), down]), "2 required targets down");
    assert_eq!(summary(&[starting("c", now)]), "1 required target starting");
    assert_eq!(summary(&[]), "no target is known yet");
}

#[test]
fn a_pool_is_told_of_and_does_not_count() {
    let now = moment();
    let (alone, pooled, pool) = (up("alone", now), up("pooled", now), busy_pool());
    let views = [View::new(&alone, now), View::new(&pooled, now).with_pool(Some(&pool))];
    let told = |vocabulary| of_all(SPEAKER, &views, vocabulary).unwrap();
    let Document { status, body } = told(Vocabulary::Plain);
    let document: Value = serde_json::from_slice(&body).unwrap();
    let expected = serde_json::json!({"clients_waiting": 1, "servers_active": 1, "size": 10});
    assert_eq!((status, &document["targets"][1]["pool"]), (Status::Healthy, &expected));
    assert_eq!(document["targets"][0].get("pool"), None);
    let document: Value = serde_json::from_slice(&told(Vocabulary::Draft).body).unwrap();
    let connections = &document["checks"]["database:connections"];
    let expected = serde_json::json!({"clientsWaiting": 1, "serversActive": 1, "size": 10});
    assert_eq!((&connections[1]["pool"], connections[0].get("pool")), (&expected, None));
}

#[test]
fn a_pass_needs_no_output() {
    let now = moment();
    let (_, body) = all(&[up("primary", now)], now, Vocabulary::Draft);
    assert!(body.starts_with(r#"{"status":"pass","#) && !body.contains("output"), "{body}");
}

#[test]
fn times_are_rfc_3339_to_the_millisecond() {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(1_000);
    assert_eq!(rfc3339(at).unwrap(), "1970-01-01T00:00:01.000Z");
}
