//! `/health`, `/livez` and `/readyz`.

use hyper::{StatusCode, header};

use super::asking::{get, get_as, one_up};
use super::*;
use crate::status::sample::{ago, lost, starting, tuned, up};

#[tokio::test]
async fn health_has_the_code_and_the_vocabulary_that_fit() {
    let now = Moment::now();
    let down = tuned(lost("replica", now, 60.0), |tuning| tuning.required = false);
    let (app, _) = Plan::new(vec![up("primary", now), down]).build();
    let answer = get(&app, "/health").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &"degraded".into()));
    assert_eq!(answer.header(header::VARY), "Accept");
    assert_eq!(answer.json()["service"], "image <editor>");
    let answer = get(&app, "/health/replica").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (503, &"failing".into()));
    assert_eq!(answer.json()["targets"].as_array().unwrap().len(), 1);
    let answer = get_as(&app, "/health", "accept", "application/health+json").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/health+json");
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &"warn".into()));
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let answer = get_as(&app, "/health", "accept", browser).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
}

#[tokio::test]
async fn who_asks_for_an_unknown_target_is_told_which_there_are_and_no_keyword_monitor_is_misled() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("primary", now), up("healthy", now)]).build();
    let answer = get(&app, "/health/unknown").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let expected = serde_json::json!({"error": "no such target", "targets": ["healthy", "primary"]});
    assert_eq!(answer.json(), expected);
    assert!(!answer.text().contains("healthy"), "{}", answer.text());
    let many = (0..30).map(|n| up(&format!("t{n}"), now)).collect();
    let (app, _) = Plan::new(many).build();
    assert_eq!(get(&app, "/health/unknown").await.json()["targets"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn an_overdue_loop_fails_liveness_and_a_down_database_does_not() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![lost("primary", now, 600.0)]).build();
    assert_eq!(get(&app, "/livez").await.text(), "ok");
    assert_eq!(get(&app, "/-/healthy").await.text(), "pgtether is Healthy.\n");

    let mut stalled = up("primary", now);
    stalled.due = ago(now, 60.0).mono;
    let (app, _) = Plan::new(vec![stalled, up("replica", now)]).build();
    let answer = get(&app, "/livez").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.text(), "[+]ping ok\n[-]loops failed: reason withheld\nlivez check failed\n");
    let alone = get(&app, "/livez/loops").await;
    assert_eq!(alone.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(alone.text(), "internal server error: the loops of these targets are overdue: primary\n");
    let excluded = get(&app, "/livez?exclude=loops&verbose").await;
    assert_eq!(excluded.text(), "[+]ping ok\n[+]loops excluded: ok\nlivez check passed\n");
    assert_eq!(get(&app, "/-/healthy").await.status.as_u16(), 503);
}

#[tokio::test]
async fn readiness_waits_for_first_attempts_but_not_forever() {
    let now = Moment::now();
    let statuses = || vec![up("primary", now), starting("slow", now)];
    let (app, _) = Plan::new(statuses()).build();
    let answer = get(&app, "/readyz").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (
            500,
            "[+]config ok\n[-]first-attempt failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n"
        )
    );
    let alone = get(&app, "/readyz/first-attempt").await;
    assert_eq!(alone.text(), "internal server error: not attempted yet: slow\n");
    assert_eq!(get(&app, "/-/ready").await.status.as_u16(), 503);
    assert_eq!(get(&app, "/readyz?exclude=first-attempt").await.text(), "ok");

    let mut tried = starting("slow", now);
    tried.tried = true;
    let (app, _) = Plan::new(vec![tried]).build();
    assert_eq!(get(&app, "/readyz").await.text(), "ok", "a failed attempt is an attempt");

    let mut plan = Plan::new(statuses());
    plan.started = ago(now, 30.0);
    let (app, _) = plan.build();
    assert_eq!(get(&app, "/readyz").await.text(), "ok");
}

#[tokio::test]
async fn readiness_fails_without_a_configuration_and_once_the_process_is_leaving() {
    let (app, _) = Plan::new(Vec::new()).build();
    assert!(get(&app, "/readyz").await.text().contains("[-]config failed: reason withheld\n"));
    let (app, outside) = one_up();
    assert_eq!(get(&app, "/readyz").await.text(), "ok");
    outside.status.send_modify(|process| process.draining = true);
    assert!(get(&app, "/readyz").await.text().contains("[-]shutdown failed: reason withheld\n"));
    assert_eq!(get(&app, "/livez").await.text(), "ok", "leaving is no reason to be killed");
}
