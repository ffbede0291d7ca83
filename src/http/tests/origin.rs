//! Requests that no honest client sends, or that a page of another site makes a browser send.

use std::sync::atomic::Ordering;

use hyper::{StatusCode, Version, header};

use super::asking::{ask, ask_with};
use super::*;
use crate::status::sample::up;

/// Every path that means something on the listener for all, with the methods that it takes.
const PATHS: &[(&str, &[&str])] = &[
    ("/", READ),
    ("/metrics", READ),
    ("/health", READ),
    ("/health/primary", READ),
    ("/livez", READ),
    ("/livez/ping", READ),
    ("/readyz", READ),
    ("/readyz/config", READ),
    ("/probe?target=primary", READ),
    ("/api/v1/targets", READ),
    ("/api/v1/sd", READ),
    ("/badge/primary.svg", READ),
    ("/api/v1/events", READ),
    ("/-/healthy", READ),
    ("/-/ready", READ),
    ("/-/reload", &["POST"]),
    ("/-/pools/primary/pause", &["POST"]),
    ("/-/pools/primary/resume", &["POST"]),
    ("/-/pools/primary/reconnect", &["POST"]),
    ("/-/targets/primary/reconnect", &["POST"]),
];
const READ: &[&str] = &["GET", "HEAD"];

fn app() -> (Arc<App>, Arc<Outside>) {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.enable_lifecycle = true;
    plan.build()
}

#[tokio::test]
async fn every_path_tells_other_methods_which_ones_serve() {
    let (app, outside) = app();
    let methods =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "BREW", "get"];
    for (path, allowed) in PATHS {
        for method in methods.iter().filter(|method| !allowed.contains(method)) {
            let answer = ask(&app, Scope::All, method, path, &[], "").await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.header(header::ALLOW), allowed.join(", "), "{method} {path}");
        }
    }
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_host_is_given_once_and_only_http_1_0_may_leave_it_out() {
    let (app, outside) = app();
    let one: &[(&str, &str)] = &[("host", "a")];
    let two: &[(&str, &str)] = &[("host", "a"), ("host", "a")];
    for (version, hosts, fault) in [
        (Version::HTTP_11, one, None),
        (Version::HTTP_10, one, None),
        (Version::HTTP_10, &[], None),
        (Version::HTTP_11, &[], Some("the request has no Host header; HTTP/1.1 requires one\n")),
        (Version::HTTP_11, two, Some("the request has more than one Host header; send one\n")),
        (Version::HTTP_10, two, Some("the request has more than one Host header; send one\n")),
    ] {
        for (scope, method, path) in [
            (Scope::All, "GET", "/metrics"),
            (Scope::All, "GET", "/nowhere"),
            (Scope::All, "POST", "/-/reload"),
            (Scope::Health, "GET", "/livez"),
        ] {
            let before = outside.reloads.load(Ordering::Relaxed);
            let answer = ask_with(&app, scope, version, method, path, hosts, "").await;
            let case = format!("{version:?} {hosts:?} {path}");
            assert_eq!(answer.status == StatusCode::BAD_REQUEST, fault.is_some(), "{case}");
            if let Some(fault) = fault {
                assert_eq!(answer.text(), fault, "{case}");
                assert_eq!(outside.reloads.load(Ordering::Relaxed), before, "{case}");
            }
        }
    }
}

/// Every path that does something.
const ACTING: &[(&str, &str)] = &[
    ("POST", "/-/reload"),
    ("GET", "/probe?target=primary"),
    ("HEAD", "/probe?target=primary"),
    ("POST", "/-/pools/primary/pause"),
    ("POST", "/-/pools/primary/resume"),
    ("POST", "/-/pools/primary/reconnect"),
    ("POST", "/-/targets/primary/reconnect"),
];

#[tokio::test]
async fn a_page_of_another_site_can_make_a_browser_do_nothing() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.enable_lifecycle = true;
    let (sender, mut requests) = mpsc::channel(1);
    plan.lifecycle = sender;
    let (app, outside) = plan.build();
    let site = "Sec-Fetch-Site: cross-site";
    let origin = "Origin is not Host";
    let name = "DNS rebinding";
    for (headers, why) in [
        (&[("host", "a"), ("sec-fetch-site", "Cross-Site")][..], site),
        (&[("host", "a"), ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], site),
        (&[("host", "10.0.0.5:1"), ("origin", "http://evil.example")], origin),
        (&[("host", "10.0.0.5:1"), ("origin", "http://10.0.0.5:2")], origin),
        (&[("host", "10.0.0.5:1"), ("origin", "null")], origin),
        (&[("host", "a:1"), ("origin", "http://a:1"), ("origin", "http://a:1")], origin),
        (&[("host", "a:1"), ("origin", "http://\u{e9}:1"), ("sec-fetch-site", "same-origin")], origin),
        (&[("host", "evil.example:1"), ("origin", "http://evil.example:1")], name),
        (
            &[
                ("host", "evil.example:1"),
                ("origin", "http://evil.example:1"),
                ("sec-fetch-site", "same-origin"),
            ],
            name,
        ),
    ] {
        for (method, path) in ACTING {
            let case = format!("{method} {path} {headers:?}");
            let answer = ask_with(&app, Scope::All, Version::HTTP_11, method, path, headers, "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}");
            assert!(answer.text().contains(why), "{case}: {}", answer.text());
        }
        assert_eq!(outside.reloads.load(Ordering::Relaxed), 0);
        assert_eq!(outside.proofs.load(Ordering::Relaxed), 0, "no login is tried");
        assert!(requests.try_recv().is_err(), "no pool is asked");
        for path in ["/", "/metrics", "/health", "/livez"] {
            let page = ask_with(&app, Scope::All, Version::HTTP_11, "GET", path, headers, "").await;
            assert_eq!(page.status, StatusCode::OK, "what only tells is told to all: {path} {headers:?}");
        }
    }
    // HTTP/1.0 may leave out the host; a browser does not.
    let headers = &[("origin", "http://a:1")];
    let answer = ask_with(&app, Scope::All, Version::HTTP_10, "POST", "/-/reload", headers, "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn whoever_is_no_browser_may_call_us_by_any_name_and_our_own_page_may_ask() {
    let (app, _) = app();
    for headers in [
        &[("host", "pgtether.monitoring.svc.cluster.local:10432")][..],
        &[("host", "evil.example")],
        &[("host", "")],
        &[("host", "a"), ("sec-fetch-site", "same-origin")],
        &[("host", "a"), ("sec-fetch-site", "same-site")],
        &[("host", "a"), ("sec-fetch-site", "none")],
        &[("host", "10.0.0.5:1"), ("origin", "http://10.0.0.5:1")],
        &[("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")],
        &[("host", "pgtether.example.com"), ("origin", "https://pgtether.example.com")],
    ] {
        for (method, path) in ACTING.iter().filter(|(_, path)| !path.contains("pools")) {
            let answer = ask_with(&app, Scope::All, Version::HTTP_11, method, path, headers, "").await;
            assert_eq!(answer.status, StatusCode::OK, "{method} {path} {headers:?}");
        }
    }
}
