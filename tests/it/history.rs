//! What pgtether remembers of its targets, against real servers.

use std::time::Instant;

use pgtether::demo::postgres::Shutdown;
use serde_json::{Value, json};

use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, postgres15};
use crate::supervise::{SOON, await_down, await_state, config, up};

/// The events of `/api/v1/events`, the oldest first.
async fn events(daemon: &Daemon) -> Vec<Value> {
    let told = daemon.get("/api/v1/events?target=db").await.json();
    let mut events = told["events"].as_array().unwrap().clone();
    events.reverse();
    events
}

/// From where to where the events go.
fn steps(events: &[Value]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event["from"].as_str().unwrap(), event["to"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_lost_session_and_a_stopped_server_are_events_that_say_why_and_for_how_long() {
    let mut cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), &[])).await;
    let admin = Admin::of(&cluster).await;
    let pids = admin.pids("tether").await;
    admin.query(&format!("SELECT pg_terminate_backend({})", pids[0])).await;
    admin.close().await;
    let down_and_up = async || match events(&daemon).await {
        events if events.len() == 3 => Ok(events),
        events => Err(format!("{events:?}")),
    };
    let killed = wait_until(SOON, "the loss of a session", down_and_up).await;
    assert_eq!(steps(&killed), [("starting", "up"), ("up", "down"), ("down", "up")]);
    assert_eq!(killed[1]["reason"], "shutdown");
    assert!(killed[1]["detail"].as_str().unwrap().contains("terminating connection"), "{}", killed[1]);
    assert_eq!(killed[2]["reasons_before"], json!(["shutdown"]));
    assert_eq!(killed[2]["clients"], Value::Null);

    cluster.stop(Shutdown::Immediate).unwrap();
    await_state(&daemon, SOON, "down").await;
    let began = Instant::now();
    await_down(&daemon, SOON, "refused").await;
    let lasted = began.elapsed().as_secs_f64();
    cluster.start().unwrap();
    await_state(&daemon, SOON, "up").await;
    let all = events(&daemon).await;
    let [.., lost, back] = &all[..] else { panic!("{all:?}") };
    assert_eq!(steps(&all)[3..], [("up", "down"), ("down", "up")]);
    assert!(lost["reason"].is_string() && back["lasted_seconds"].as_f64().unwrap() >= lasted, "{back}");
    let reasons = back["reasons_before"].as_array().unwrap();
    assert!(reasons.contains(&json!("refused")), "{reasons:?}");
    let targets = daemon.get("/api/v1/targets").await.json();
    let uptime = &targets["targets"][0]["uptime"]["30d"];
    let ratio = uptime["ratio"].as_f64().unwrap();
    assert!((0.01..0.99).contains(&ratio), "{uptime}");
    assert!(uptime["known"].as_f64().unwrap() < 0.001, "{uptime}");
    // What is asked of later times has none of this.
    let none = daemon.get("/api/v1/events?since=2100-01-01T00:00:00Z").await.json();
    assert_eq!((&none["events"], &none["omitted"]), (&json!([]), &json!(0)));
}
