//! The pages of a live daemon with targets in several states.

mod crowd;

use std::io::Write as _;
use std::process::{Command, Stdio};

use hyper::Method;
use pgtether::demo::postgres::{Cluster, Setup, free_port};

use crate::certs::{Authority, with_tls};
use crate::process::{Daemon, request, wait_until};
use crate::prometheus::Prometheus;
use crate::servers::{Admin, Version, postgres};
use crate::supervise::{SOON, targets};

/// Every page that takes GET, with what it answers here: one target that is required is down.
const PAGES: &[(&str, u16)] = &[
    ("/", 200),
    ("/metrics", 200),
    ("/health", 503),
    ("/health/up", 200),
    ("/health/down", 503),
    ("/health/asleep", 200),
    ("/health/nobody", 404),
    ("/livez", 200),
    ("/livez?verbose", 200),
    ("/readyz", 200),
    ("/readyz?verbose", 200),
    ("/probe", 400),
    ("/probe?target=nobody", 404),
    ("/probe?target=up", 200),
    ("/-/healthy", 200),
    ("/-/ready", 200),
    ("/api/v1/targets", 200),
    ("/api/v1/sd", 200),
    ("/badge/up.svg", 200),
    ("/badge/down.json?uptime=1h", 200),
    ("/badge/nobody.svg", 404),
    ("/api/v1/events", 200),
    ("/favicon.ico", 404),
];

/// One target in each state, by TLS where there is a session.
pub async fn in_every_state() -> (Cluster, Daemon) {
    let authority = Authority::new("pages");
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &authority.server()));
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE ROLE sleepy LOGIN PASSWORD 'sesame'").await;
    admin.query("ALTER ROLE sleepy SET idle_session_timeout = '1s'").await;
    let url = format!("url: {}", cluster.superuser_url());
    let sleepy = format!("url: {}", cluster.url("sleepy", "sesame", "postgres"));
    let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let pool = format!("pool: {{listen: 127.0.0.1:{}}}", free_port().unwrap());
    let config = targets(&[
        ("up", &[&url, "ping: {interval: 1s, timeout: 1s}", "refresh: {every: 5s}", &pool]),
        ("down", &[&dead]),
        ("asleep", &[&sleepy, "idle_policy: let_sleep"]),
        ("degraded", &[&url, "role: standby", "required: false", "backoff: {initial: 10s, max: 10s}"]),
        ("file", &["url_file: /nonexistent/url", "required: false"]),
    ]);
    let daemon = Daemon::start(&config);
    for (name, state) in [("up", "up"), ("down", "down"), ("asleep", "sleeping"), ("file", "down")] {
        let labels = [("target", name), ("state", state)];
        daemon.await_metric(SOON, "pgtether_target_state", &labels, 1.0).await;
    }
    (cluster, daemon)
}

#[tokio::test]
async fn head_answers_as_get_does_and_other_methods_are_told_which_to_use() {
    let (_cluster, daemon) = in_every_state().await;
    wait_until(SOON, "readiness", async || match daemon.get("/readyz").await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    })
    .await;
    let brew = Method::from_bytes(b"BREW").unwrap();
    for (page, status) in PAGES {
        let get = daemon.get(page).await;
        assert_eq!(get.status.as_u16(), *status, "{page}: {}", get.text());
        let head = daemon.head(page).await;
        assert_eq!(head.status, get.status, "HEAD {page}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "HEAD {page}");
        assert!(head.body.is_empty(), "HEAD {page}");
        if *status == 404 && !page.contains("nobody") {
            continue;
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, brew.clone()] {
            let other = request(daemon.address(), method.clone(), page, &[]).await;
            assert_eq!(other.status, 405, "{method} {page}");
            assert_eq!(other.header("allow"), Some("GET, HEAD"), "{method} {page}");
        }
    }
    let reload = daemon.get("/-/reload").await;
    assert_eq!((reload.status.as_u16(), reload.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_a_live_scrape() {
    let (_cluster, daemon) = in_every_state().await;
    let answer = daemon.get("/metrics").await;
    let (ended, said) = promtool(&answer.body);
    assert!(ended && said.is_empty(), "{said}\n{}", answer.text());
    let (ended, said) = promtool(&daemon.get("/probe?target=up").await.body);
    assert!(ended && said.is_empty(), "{said}");
    // It would have spoken up.
    let (ended, said) = promtool(b"# HELP oops_total\n# TYPE oops_total gauge\noops_total 1\n");
    assert!(!ended && said.contains("oops_total"), "{said}");
}

/// Whether promtool is content, and what it says.
fn promtool(scrape: &[u8]) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool is missing ({e}); `make tools` installs it"));
    promtool.stdin.take().unwrap().write_all(scrape).unwrap();
    let ended = promtool.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn prometheus_finds_the_targets_for_probes_by_itself() {
    let (_cluster, daemon) = in_every_state().await;
    let recipes = include_str!("../../docs/recipes.md");
    let (_, recipe) = recipes.split_once("<!-- file: prometheus-probe.yml -->\n```yaml\n").unwrap();
    let (recipe, _) = recipe.split_once("```").unwrap();
    let recipe = recipe
        .replace("127.0.0.1:10432", &daemon.address().to_string())
        .replace("scrape_interval: 5m", "scrape_interval: 1s")
        .replace("scrape_timeout: 30s", "scrape_timeout: 1s");
    let prometheus = Prometheus::start(&recipe);
    prometheus.await_value("count(probe_success)", "5").await;
    prometheus.await_value("probe_success{instance=\"up\"}", "1").await;
    prometheus.await_value("probe_success{instance=\"down\"}", "0").await;
    // No login was tried, because the target waits: its reason is told nevertheless.
    let why = "pgtether_probe_failure_info{instance=\"down\",reason=\"refused\"}";
    prometheus.await_value(why, "1").await;
    let sd = daemon.get("/api/v1/sd").await.json();
    let named = |name: &str| {
        let groups = sd.as_array().unwrap();
        groups.iter().find(|group| group["targets"] == serde_json::json!([name])).unwrap()["labels"].clone()
    };
    assert_eq!(named("up")["__meta_pgtether_pool"], "true");
    assert_eq!(named("up")["__meta_pgtether_host"], "127.0.0.1");
    assert_eq!(named("degraded")["__meta_pgtether_required"], "false");
    let unread = named("file");
    assert_eq!(unread.as_object().unwrap().keys().len(), 2, "{unread}");
}

#[tokio::test]
async fn metrics_health_and_api_tell_the_same() {
    let (_cluster, daemon) = in_every_state().await;
    let same = async || {
        let before = daemon.metrics().await;
        let health = daemon.get("/health").await.json();
        let api = daemon.get("/api/v1/targets").await.json();
        if daemon.metrics().await.all("pgtether_target_state", &[])
            != before.all("pgtether_target_state", &[])
        {
            return Err("the states changed meanwhile".to_owned());
        }
        Ok((before, health, api))
    };
    let (metrics, health, api) = wait_until(SOON, "a quiet moment", same).await;
    let told = health["targets"].as_array().unwrap();
    assert_eq!(told.len(), 5);
    for target in told {
        let (name, state) = (target["name"].as_str().unwrap(), target["state"].as_str().unwrap());
        let labels = [("target", name), ("state", state)];
        assert_eq!(metrics.get("pgtether_target_state", &labels), Some(1.0), "{target}");
        let up = if state == "down" { 0.0 } else { 1.0 };
        assert_eq!(metrics.get("pgtether_up", &labels[..1]), Some(up), "{target}");
        let rows = api["targets"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}: {api}"));
        assert_eq!((&row["state"], &row["reason"]), (&target["state"], &target["reason"]), "{name}");
    }
}
