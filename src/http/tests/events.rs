//! What `/api/v1/events` and the uptime in `/api/v1/targets` tell.

use std::time::Duration;

use super::asking::get;
use super::*;
use crate::status::board::PoolSlot;
use crate::status::history::{Observation, PER_TARGET};
use crate::status::pool::CheckoutFailure;
use crate::status::sample::{ago, busy_pool, lost, up};

/// An app with a target `db`, which has gone down and up so often, a second after each other, and is up now.
fn after(outages: usize) -> (Arc<App>, Moment) {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("db", now)]).build();
    let first = up("db", now);
    let _pool = app.board.show_pool(first.name.clone(), Arc::new(PoolSlot::new(busy_pool())));
    let mut seconds = 2.0 * outages as f64;
    let observe = |mut status: TargetStatus, seconds: f64| {
        let at = ago(now, seconds);
        status.since = at;
        status.due = at.mono;
        app.board.observe(&status.name, &Observation::of(&status, at.mono, at), at);
    };
    observe(first, seconds);
    for _ in 0..outages {
        seconds -= 1.0;
        observe(lost("db", ago(now, seconds), 0.0), seconds);
        seconds -= 1.0;
        observe(up("db", ago(now, seconds)), seconds);
    }
    (app, now)
}

#[tokio::test]
async fn events_are_told_the_latest_first_with_what_the_state_before_was_like() {
    let (app, now) = after(2);
    let told = get(&app, "/api/v1/events").await.json();
    assert_eq!(told["omitted"], 0);
    let events = told["events"].as_array().unwrap();
    assert_eq!(events.len(), 4);
    let reason = lost("db", now, 0.0).reason().unwrap();
    let (latest, before) = (&events[0], &events[1]);
    assert_eq!(
        (&latest["target"], &latest["from"], &latest["to"]),
        (&"db".into(), &"down".into(), &"up".into())
    );
    assert_eq!((&latest["reason"], &latest["detail"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(latest["lasted_seconds"], 1.0);
    assert_eq!(latest["reasons_before"], serde_json::json!([reason.as_str()]));
    assert_eq!(latest["clients"], serde_json::json!({"waited": 0, "refused": 0, "disconnected": 0}));
    assert_eq!((&before["to"], &before["reason"]), (&"down".into(), &reason.as_str().into()));
    assert_eq!(before["reasons_before"], serde_json::json!([]));
}

#[tokio::test]
async fn events_are_chosen_by_target_and_time() {
    let (app, now) = after(3);
    let count = async |query: &str| {
        get(&app, &format!("/api/v1/events{query}")).await.json()["events"].as_array().unwrap().len()
    };
    let since = crate::status::epoch_seconds(ago(now, 1.5).wall);
    assert_eq!(count("").await, 6);
    assert_eq!(count("?target=db").await, 6);
    let one = get(&app, "/api/v1/events?target=db").await.json();
    let day = one["day"].as_array().unwrap();
    assert_eq!((day.len(), &day[0]), (48, &serde_json::Value::Null));
    assert!(day[47].as_f64().is_some_and(|ratio| ratio > 0.0 && ratio < 1.0), "{day:?}");
    assert_eq!(get(&app, "/api/v1/events").await.json().get("day"), None);
    assert_eq!(count(&format!("?target=db&since={since}")).await, 2);
    assert_eq!(count(&format!("?since={}", since + 60.0)).await, 0);
    let unknown = get(&app, "/api/v1/events?target=other").await;
    assert_eq!(unknown.status.as_u16(), 404);
    assert_eq!(unknown.json(), serde_json::json!({"error": "no such target", "targets": ["db"]}));
    for (query, help) in
        [("?since=soon", "since is no time"), ("?until=1", "target and since, and no others")]
    {
        let refused = get(&app, &format!("/api/v1/events{query}")).await;
        assert_eq!(refused.status.as_u16(), 400);
        assert!(refused.text().contains(help), "{}", refused.text());
    }
}

#[tokio::test]
async fn an_answer_has_its_bound_and_says_what_it_leaves_out() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("t0", now)]).build();
    for target in 0..6 {
        for change in 0..=PER_TARGET {
            let at = now.after(Duration::from_secs(change as u64));
            let name = format!("t{target}");
            let mut status = if change % 2 == 0 { up(&name, at) } else { lost(&name, at, 0.0) };
            status.since = at;
            app.board.observe(&status.name, &Observation::of(&status, at.mono, at), at);
        }
    }
    let told = get(&app, "/api/v1/events").await.json();
    assert_eq!((told["events"].as_array().unwrap().len(), &told["omitted"]), (1_000, &200.into()));
}

#[tokio::test]
async fn clients_of_the_pool_are_counted_in_the_state_in_which_they_suffered() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("db", now)]).build();
    let slot = Arc::new(PoolSlot::new(busy_pool()));
    let mut status = up("db", now);
    let _shown = app.board.show_pool(status.name.clone(), Arc::clone(&slot));
    let observe = |status: &TargetStatus| {
        app.board.observe(&status.name, &Observation::of(status, now.mono, now), now);
    };
    observe(&status);
    status = lost("db", now, 0.0);
    observe(&status);
    slot.change(|pool| {
        pool.checkout_failed(CheckoutFailure::Down);
        pool.checkout_failed(CheckoutFailure::Permanent);
        pool.checked_out(Duration::from_secs(3));
        pool.disconnects += 4;
    });
    observe(&up("db", now));
    let told = get(&app, "/api/v1/events?target=db").await.json();
    assert_eq!(
        told["events"][0]["clients"],
        serde_json::json!({"waited": 1, "refused": 2, "disconnected": 4})
    );
}

#[tokio::test]
async fn uptime_is_told_of_what_is_known_and_an_outage_is_never_rounded_away() {
    let (app, _) = after(2);
    let told = get(&app, "/api/v1/targets").await.json();
    let uptime = &told["targets"][0]["uptime"];
    for (window, seconds) in [("1h", 3_600.0), ("24h", 86_400.0), ("7d", 604_800.0), ("30d", 2_592_000.0)] {
        let ratio = uptime[window]["ratio"].as_f64().unwrap();
        let known = uptime[window]["known"].as_f64().unwrap();
        assert!((0.49..=0.95).contains(&ratio), "{window}: {uptime}");
        assert!(known * seconds > 1.0 && known * seconds < 60.0, "{window}: {uptime}");
    }
    let (app, _) = Plan::new(vec![up("new", Moment::now())]).build();
    let told = get(&app, "/api/v1/targets").await.json();
    assert_eq!(told["targets"][0]["uptime"]["30d"], serde_json::json!({"ratio": null, "known": 0.0}));
}
