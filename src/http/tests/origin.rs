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
    ("/-/healthy", READ),
    ("/-/ready", READ),
    ("/-/reload", &["POST"]),
    ("/-/pools/primary/pause", &["POST"]),
    ("/-/pools/primary/resume", &["POST"]),
    ("/-/pools/primary/reconnect", &["POST"]),
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

#[tokio::test]
async fn a_page_of_another_site_can_neither_reload_nor_probe_nor_pause() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.enable_lifecycle = true;
    let (sender, mut requests) = mpsc::channel(1);
    plan.lifecycle = sender;
    let (app, outside) = plan.build();
    let cross: &[(&str, &str)] = &[("sec-fetch-site", "Cross-Site")];
    let hidden: &[(&str, &str)] = &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")];
    for (method, path) in
        [("POST", "/-/reload"), ("GET", "/probe?target=primary"), ("POST", "/-/pools/primary/pause")]
    {
        for headers in [cross, hidden] {
            let answer = ask(&app, Scope::All, method, path, headers, "").await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert!(answer.text().contains("Sec-Fetch-Site: cross-site"), "{}", answer.text());
        }
        assert_eq!(outside.reloads.load(Ordering::Relaxed), 0);
        assert_eq!(outside.proofs.load(Ordering::Relaxed), 0, "no login is tried");
        assert!(requests.try_recv().is_err(), "no pool is asked");
    }
    for (method, path) in [("POST", "/-/reload"), ("GET", "/probe?target=primary")] {
        for site in ["same-origin", "same-site", "none"] {
            let answer = ask(&app, Scope::All, method, path, &[("sec-fetch-site", site)], "").await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {site}");
        }
    }
    let page = ask(&app, Scope::All, "GET", "/", cross, "").await;
    assert_eq!(page.status, StatusCode::OK, "a link to the page may be followed");
}
