use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, Version, header};
use serde_json::Value;

use super::*;
use crate::http::routes::answer;
use crate::reason::Reason;
use crate::status::Because;
use crate::status::board::PoolSlot;
use crate::status::sample::{ago, busy_pool, lost, starting, tuned, up};
use crate::supervisor::gate::Lane;

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) async fn ask(
    app: &App,
    scope: Scope,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers = [("host", "localhost")].iter().chain(headers);
    ask_with(app, scope, Version::HTTP_11, method, uri, headers, body).await
}

/// With no more headers than these.
pub(super) async fn ask_with<'a>(
    app: &App,
    scope: Scope,
    version: Version,
    method: &str,
    uri: &str,
    headers: impl IntoIterator<Item = &'a (&'a str, &'a str)>,
    body: &str,
) -> Answer {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let reply = answer(app, scope, request).await;
    let (head, body) = reply.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn get(app: &App, uri: &str) -> Answer {
    ask(app, Scope::All, "GET", uri, &[], "").await
}

async fn get_as(app: &App, uri: &str, name: &str, value: &str) -> Answer {
    ask(app, Scope::All, "GET", uri, &[(name, value)], "").await
}

async fn post(app: &App, uri: &str, body: &str) -> Answer {
    ask(app, Scope::All, "POST", uri, &[], body).await
}

fn one_up() -> (Arc<App>, Arc<Outside>) {
    Plan::new(vec![up("primary", Moment::now())]).build()
}

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
    assert_eq!(get(&app, "/health/unknown").await.json()["error"], "no such target");
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

#[tokio::test]
async fn a_probe_names_one_target_that_exists() {
    let (app, outside) = one_up();
    for bad in ["/probe", "/probe?target=", "/probe?target=a&target=b", "/probe?module=x"] {
        assert_eq!(get(&app, bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(get(&app, "/probe?target=missing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(outside.proofs.load(Ordering::Relaxed), 0);
    let answer = get(&app, "/probe?target=primary").await;
    assert!(answer.text().contains("\nprobe_success 1\n"));
    assert!(answer.text().contains("_phase_seconds{phase=\"tls\"} 0.0029\n"), "{}", answer.text());
    assert_eq!(outside.proofs.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_answers_in_time_even_if_nobody_else_does() {
    let (app, _) = Plan::new(vec![up("deaf", Moment::now())]).build();
    for (scrape_timeout, millis) in [("", 9_500), ("3", 2_500)] {
        let began = Instant::now();
        let uri = "/probe?target=deaf";
        let answer = get_as(&app, uri, "x-prometheus-scrape-timeout-seconds", scrape_timeout).await;
        assert_eq!(began.elapsed().as_millis(), millis);
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text().contains("\nprobe_success 0\n"));
        assert!(answer.text().contains("reason=\"timeout\""));
    }
}

#[tokio::test]
async fn a_reload_needs_the_flag_and_a_good_file() {
    let (app, outside) = one_up();
    let answer = post(&app, "/-/reload", "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.text(), "Lifecycle API is not enabled.\n");
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 0);

    let mut plan = Plan::new(vec![]);
    plan.enable_lifecycle = true;
    let (app, outside) = plan.build();
    assert_eq!(post(&app, "/-/reload", "").await.status, StatusCode::OK);
    assert_eq!(post(&app, "/-/reload", &"x".repeat(4096)).await.status, StatusCode::OK);
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 2);
    let answer = post(&app, "/-/reload", &"x".repeat(4097)).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(outside.reloads.load(Ordering::Relaxed), 2, "a refused request reloads nothing");

    let mut plan = Plan::new(vec![]);
    plan.enable_lifecycle = true;
    plan.bad_file = Some("config.yaml:3: unknown key \"tragets\"".to_owned());
    let (app, _) = plan.build();
    let answer = post(&app, "/-/reload", "").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.text(), "failed to reload config: config.yaml:3: unknown key \"tragets\"\n");
}

#[tokio::test]
async fn the_page_shows_state_and_remedy_and_takes_no_text_for_html() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![lost("archive", now, 61.0), up("primary", now)]).build();
    let page = get(&app, "/").await;
    let html = page.text();
    assert!(html.contains("image &lt;editor&gt;") && !html.contains("<editor>"));
    for piece in [
        "class=\"down\" data-name=\"archive\"",
        "class=\"up\" data-name=\"primary\"",
        "administrator or a server shutdown",
        "for 61 s",
        "0.41 ms",
    ] {
        assert!(html.contains(piece), "{piece}");
    }
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for element in ["style", "script"] {
        let (_, after) = html.split_once(&format!("<{element}")).unwrap();
        let (_, after) = after.split_once('>').unwrap();
        let (inside, _) = after.split_once(&format!("</{element}>")).unwrap();
        let hash = openssl::base64::encode_block(&openssl::sha::sha256(inside.as_bytes()));
        assert!(
            policy.contains(&format!("; {element}-src 'sha256-{hash}';")),
            "{element}: {hash} in {policy}"
        );
    }
    assert!(!html.contains("src=") && !html.contains("http:") && !html.contains("https:"));
}

#[tokio::test]
async fn page_and_api_are_zipped_for_those_who_accept_it() {
    let now = Moment::now();
    let (app, _) = Plan::new(vec![up("primary", now)]).build();
    for uri in ["/", "/api/v1/targets"] {
        let zipped = get_as(&app, uri, "accept-encoding", "gzip").await;
        assert_eq!(zipped.header(header::CONTENT_ENCODING), "gzip", "{uri}");
        assert_eq!(zipped.header(header::CACHE_CONTROL), "no-store", "{uri}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut text).unwrap();
        assert!(text.contains("primary"), "{uri}");
        assert_eq!(get(&app, uri).await.header(header::CONTENT_ENCODING), "", "{uri}");
    }
}

#[tokio::test]
async fn the_api_tells_everything_of_a_view() {
    let now = Moment::now();
    let mut down = lost("archive", now, 61.0);
    down.last_failure = Some(crate::status::Failure {
        at: now,
        reason: Reason::Refused,
        remedy: Reason::Refused.remedy(),
        detail: "Connection refused (os error 111)".to_owned(),
    });
    down.attempt = crate::status::Attempt::Waiting {
        until: now.after(Duration::from_secs(5)),
        tcp_connect: Some(now.after(Duration::from_secs(1))),
        purpose: crate::status::Purpose::Reconnect,
        because: Because::Breaker,
    };
    down.pings.push(None);
    let primary = up("primary", now);
    let name = primary.name.clone();
    let (app, _) = Plan::new(vec![down, primary]).build();
    let _shown = app.board.show_pool(name, Arc::new(PoolSlot::new(busy_pool())));
    let document = get(&app, "/api/v1/targets").await.json();
    assert_eq!(document["status"], "failing");
    let (archive, primary) = (&document["targets"][0], &document["targets"][1]);
    assert_eq!(archive["reason"], "refused");
    assert_eq!(archive["remedy"], Reason::Refused.remedy());
    assert_eq!(archive["last_failure"]["detail"], "Connection refused (os error 111)");
    assert_eq!(archive["attempt"]["doing"], "waiting");
    assert_eq!(archive["attempt"]["because"], "breaker");
    assert_eq!(archive["pings_ms"], serde_json::json!([0.412, null]));
    assert_eq!(archive["session"], Value::Null);
    assert_eq!(primary["phases"][2], serde_json::json!({"phase": "tls", "ms": 2.9}));
    assert_eq!(primary["location"]["host"], "db.example.org");
    assert_eq!(primary["session"]["tls_version"], "TLSv1.3");
    assert_eq!(primary["attempt"], serde_json::json!({"doing": "nothing"}));
    let pool = serde_json::json!({
        "listen": "127.0.0.1:6432", "mode": "transaction", "size": 10, "max_clients": 1000,
        "paused": false,
        "clients": {"login": 0, "idle": 2, "waiting": 1, "active": 1},
        "servers": {"login": 0, "idle": 1, "testing": 1, "active": 1},
        "checkouts": 3, "failures": {"busy": 1, "down": 0, "permanent": 0, "paused": 0, "draining": 0},
    });
    assert_eq!((&primary["pool"], archive.get("pool")), (&pool, None));
}
