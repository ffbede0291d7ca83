//! What rules of a web config file change: who sees how much, and what a handshake may cost.

use std::time::Instant;

use super::asking::ask;
use super::conversations::{SHORT, Server, limits};
use super::web::tests::live;
use super::*;
use crate::status::TargetStatus;
use crate::status::sample::{ago, up};

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}";
/// Of the password `test`.
const USERS: &str = "basic_auth_users: {alice: $2b$04$abcdefghijklmnopqrstuuoD8yw7MmybLKVooaTGGZAt3HXugv2.a}";
/// `alice:test`.
const ALICE: (&str, &str) = ("authorization", "Basic YWxpY2U6dGVzdA==");

fn guarded(mut plan: Plan, rules: &str) -> Arc<App> {
    plan.rules = live(rules);
    plan.build().0
}

/// A target whose loop is overdue.
fn overdue(name: &str) -> TargetStatus {
    let now = Moment::now();
    let mut status = up(name, now);
    status.due = ago(now, 60.0).mono;
    status
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up_at_its_limit() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.rules = live(TLS);
    let server = Server::start(plan, ConnectionLimits { handshake: SHORT, ..limits() }).await;
    let began = Instant::now();
    let mut client = server.connect().await;
    client.is_closed().await;
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_handshakes() {
    let mut plan = Plan::new(vec![up("primary", Moment::now())]);
    plan.rules = live(TLS);
    let server = Server::start(plan, limits()).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    assert_eq!(server.finish().await, 0);
    assert!(began.elapsed() < limits().drain, "{:?}", began.elapsed());
    client.is_closed().await;
}

#[tokio::test]
async fn without_credentials_health_is_an_outline_in_both_vocabularies() {
    let app = guarded(Plan::new(vec![overdue("secret-name")]), USERS);
    for accept in ["application/json", "application/health+json"] {
        for scope in [Scope::All, Scope::Health] {
            for page in ["/health", "/health/secret-name"] {
                let nobody = ask(&app, scope, "GET", page, &[("accept", accept)], "").await;
                assert_eq!(nobody.status, 503, "{page}");
                assert!(!nobody.text().contains("secret-name"), "{scope:?} {page}: {}", nobody.text());
                assert!(nobody.json()["status"].is_string());
            }
        }
        let known = ask(&app, Scope::All, "GET", "/health", &[("accept", accept), ALICE], "").await;
        assert!(known.text().contains("secret-name"), "{}", known.text());
    }
}

#[tokio::test]
async fn a_failed_check_names_targets_to_those_who_are_known_only() {
    for (rules, headers, named) in [("", &[][..], true), (USERS, &[ALICE], true), (USERS, &[], false)] {
        let app = guarded(Plan::new(vec![overdue("secret-name")]), rules);
        let answer = ask(&app, Scope::All, "GET", "/livez/loops", headers, "").await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert_eq!(answer.text().contains("secret-name"), named, "{}", answer.text());
        assert_eq!(answer.text().contains("reason withheld"), !named, "{}", answer.text());
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_where_none_would_do() {
    let app = guarded(Plan::new(vec![up("primary", Moment::now())]), USERS);
    let wrong = [("authorization", "Basic YWxpY2U6dGVzdA")];
    for page in ["/health", "/livez", "/readyz"] {
        assert_eq!(ask(&app, Scope::All, "GET", page, &wrong, "").await.status, 401, "{page}");
        assert_eq!(ask(&app, Scope::All, "GET", page, &[], "").await.status, 200, "{page}");
        assert_eq!(
            ask(&app, Scope::Health, "GET", page, &wrong, "").await.status,
            200,
            "nobody looks: {page}"
        );
    }
    assert_eq!(ask(&app, Scope::All, "HEAD", "/metrics", &[], "").await.status, 401);
    for path in ["/-/reload", "/-/pools/primary/pause"] {
        assert_eq!(ask(&app, Scope::All, "POST", path, &[], "").await.status, 401, "{path}");
    }
}
