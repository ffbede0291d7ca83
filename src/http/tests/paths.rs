//! What each path answers with, and what scrapes get.

use std::io::Read;

use futures_util::future::join_all;
use hyper::{StatusCode, header};

use super::asking::{ask, get, get_as, one_up};
use super::*;
use crate::status::sample::{lost, up};
use crate::supervisor::gate::Lane;

#[tokio::test]
async fn every_path_answers_with_its_type_and_lets_no_browser_guess() {
    let (app, _) = one_up();
    for (path, status, content_type) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/probe?target=primary", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/health", 200, "application/json"),
        ("/health/primary", 200, "application/json"),
        ("/health/secondary", 404, "application/json"),
        ("/health/", 404, "application/json"),
        ("/livez", 200, "text/plain; charset=utf-8"),
        ("/livez/loops", 200, "text/plain; charset=utf-8"),
        ("/livez/nothing", 404, "text/plain; charset=utf-8"),
        ("/readyz", 200, "text/plain; charset=utf-8"),
        ("/readyz/shutdown", 200, "text/plain; charset=utf-8"),
        ("/-/healthy", 200, "text/plain; charset=utf-8"),
        ("/-/ready", 200, "text/plain; charset=utf-8"),
        ("/-/reload", 405, "text/plain; charset=utf-8"),
        ("/api/v1/targets", 200, "application/json"),
        ("/api/v1/sd", 200, "application/json"),
        ("/badge/primary.svg", 200, "image/svg+xml; charset=utf-8"),
        ("/badge/primary.json?uptime=24h", 200, "application/json"),
        ("/badge/primary.svg?uptime=2h", 400, "text/plain; charset=utf-8"),
        ("/badge/secondary.svg", 404, "text/plain; charset=utf-8"),
        ("/badge/primary", 404, "text/plain; charset=utf-8"),
        ("/api/v1/events", 200, "application/json"),
        ("/api/v1/events?target=primary&since=0", 200, "application/json"),
        ("/api/v1/events?target=secondary", 404, "application/json"),
        ("/api/v1/events?since=soon", 400, "text/plain; charset=utf-8"),
        ("/healthz", 404, "text/plain; charset=utf-8"),
        ("/metrics/", 404, "text/plain; charset=utf-8"),
        ("/../etc/passwd", 404, "text/plain; charset=utf-8"),
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), content_type, "{path}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
    }
}

#[tokio::test]
async fn what_changes_by_the_second_is_not_kept() {
    let (app, _) = one_up();
    for path in [
        "/",
        "/health",
        "/health/primary",
        "/livez",
        "/readyz",
        "/-/ready",
        "/api/v1/targets",
        "/api/v1/sd",
        "/api/v1/events",
        "/probe?target=primary",
    ] {
        assert_eq!(get(&app, path).await.header(header::CACHE_CONTROL), "no-store", "{path}");
    }
}

#[tokio::test]
async fn the_listener_for_probes_serves_three_paths_and_no_more() {
    let (app, _) = one_up();
    for (path, status) in [
        ("/health", 200),
        ("/health/primary", 200),
        ("/livez", 200),
        ("/livez/ping", 200),
        ("/readyz", 200),
        ("/", 404),
        ("/metrics", 404),
        ("/probe?target=primary", 404),
        ("/api/v1/targets", 404),
        ("/api/v1/sd", 404),
        ("/badge/primary.svg", 404),
        ("/api/v1/events", 404),
        ("/-/healthy", 404),
    ] {
        let answer = ask(&app, Scope::Health, "GET", path, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
    assert_eq!(ask(&app, Scope::Health, "POST", "/-/reload", &[], "").await.status.as_u16(), 404);
}

#[tokio::test]
async fn the_telemetry_path_is_where_the_flag_says() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.telemetry_path = "/custom/path";
    let (app, _) = plan.build();
    assert_eq!(get(&app, "/metrics").await.status, StatusCode::NOT_FOUND);
    assert!(get(&app, "/custom/path").await.text().contains("pgtether_up{target=\"primary\"} 1\n"));
    assert!(get(&app, "/").await.text().contains("href=\"custom/path\""));

    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.telemetry_path = "/";
    let (app, _) = plan.build();
    assert!(get(&app, "/").await.text().starts_with("# HELP pgtether_up "));
}

#[tokio::test]
async fn a_scrape_is_whole_and_200_when_the_database_is_down() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("b", now), lost("a", now, 60.0)]).build();
    let gate = &app.process.gate;
    let dials = ["1", "2", "3"].map(|address| gate.pass(address, Lane::Reconnect, |_| async { Ok(()) }));
    let _logins_in_flight = join_all(dials).await;
    let answer = get(&app, "/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    for line in [
        "pgtether_up{target=\"a\"} 0\npgtether_up{target=\"b\"} 1\n",
        "\npgtether_targets 2\n",
        "\npgtether_logins_in_flight 3\n",
        "\nprocess_open_fds ",
    ] {
        assert!(answer.text().contains(line), "{line:?}");
    }
}

#[tokio::test]
async fn gzip_carries_the_same_bytes_small_or_large() {
    let now = Moment::now();
    for count in [1, 100] {
        let statuses = (0..count).map(|n| up(&format!("t{n}"), now)).collect();
        let (app, _) = Plan::new(statuses).build();
        let zipped = get_as(&app, "/metrics", "accept-encoding", "gzip;q=0.5, deflate").await;
        assert_eq!(zipped.header(header::CONTENT_ENCODING), "gzip");
        assert_eq!(zipped.header(header::VARY), "Accept-Encoding");
        let mut text = String::new();
        flate2::read::GzDecoder::new(zipped.body.as_slice()).read_to_string(&mut text).unwrap();
        let plain = get(&app, "/metrics").await;
        assert_eq!(plain.header(header::CONTENT_ENCODING), "");
        assert_eq!(plain.header(header::VARY), "Accept-Encoding");
        // The ages of sessions and the process's own instruments go on between the two.
        let still = |text: &str| -> Vec<String> {
            let moving = ["connection_age", "process_", "http_requests"];
            let lines = text.lines().filter(|line| !moving.iter().any(|word| line.contains(word)));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(still(&text), still(plain.text()));
        assert!(zipped.body.len() * 3 < text.len());
    }
}

#[tokio::test]
async fn requests_are_counted_by_handler_and_code() {
    let (app, _) = one_up();
    for path in ["/health", "/health/nobody", "/nowhere", "/nowhere/else", "/-/ready"] {
        get(&app, path).await;
    }
    let scrape = get(&app, "/metrics").await;
    for line in [
        "{code=\"200\",handler=\"health\"} 1\n",
        "{code=\"404\",handler=\"health\"} 1\n",
        "{code=\"404\",handler=\"other\"} 2\n",
        "{code=\"200\",handler=\"lifecycle\"} 1\n",
        "{code=\"200\",handler=\"metrics\"} 0\n",
    ] {
        assert!(scrape.text().contains(line), "{line}");
    }
    assert!(!scrape.text().contains("nowhere"));
}
