//! Passwords that a command prints, for real servers. Each command writes down that it ran.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pgtether::demo::postgres::{Cluster, free_port};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::{
    DB, SOON, await_down, await_log, await_state, by_reason, config, count, targets, total, up, value,
};
use crate::commands::{file, pgtether};
use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, postgres15};

/// A command that prints what its file holds.
struct Printer {
    folder: TempDir,
}

impl Printer {
    fn new(password: &str) -> Printer {
        let printer = Printer { folder: tempfile::tempdir().unwrap() };
        printer.set(password);
        printer.script("cat");
        printer
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, password: &str) {
        fs::write(self.path("new"), format!("{password}\n")).unwrap();
        fs::rename(self.path("new"), self.path("password")).unwrap();
    }

    /// What it does with the file, after it has written down that it runs.
    fn script(&self, what: &str) {
        let (runs, password) = (self.path("runs"), self.path("password"));
        let lines = format!("echo run >> {}\n{what} {}\n", runs.display(), password.display());
        fs::write(self.path("new"), lines).unwrap();
        fs::rename(self.path("new"), self.path("script")).unwrap();
    }

    fn key(&self) -> String {
        format!("password_command: [sh, {}]", self.path("script").display())
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }
}

async fn role(cluster: &Cluster, password: &str) -> (Admin, String) {
    let admin = Admin::of(cluster).await;
    admin.query(&format!("CREATE ROLE app LOGIN PASSWORD '{password}'")).await;
    (admin, format!("postgresql://app@127.0.0.1:{}/postgres", cluster.port()))
}

async fn await_refreshes(daemon: &Daemon, least: f64) {
    wait_until(SOON * 2, "refreshes", async || {
        let refreshes = value(daemon, "pgtether_refreshes_total").await;
        if refreshes >= least { Ok(()) } else { Err(refreshes.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn one_run_serves_many_logins_and_a_rejected_password_is_asked_anew_at_once() {
    let cluster = postgres15();
    let (admin, url) = role(&cluster, "first").await;
    let printer = Printer::new("first");
    let keys = [printer.key(), "password_command_ttl: 1d".to_owned(), "refresh: {every: 1s}".to_owned()];
    let daemon = up(&config(&url, &keys.each_ref().map(String::as_str))).await;
    // Long enough after the run that another one is worth it.
    await_refreshes(&daemon, 4.0).await;
    assert_eq!(printer.runs(), 1);

    printer.set("newer");
    admin.query("ALTER ROLE app PASSWORD 'newer'").await;
    let refreshes = value(&daemon, "pgtether_refreshes_total").await;
    await_refreshes(&daemon, refreshes + 3.0).await;
    assert_eq!(printer.runs(), 2);
    let metrics = daemon.metrics().await;
    assert_eq!(total(&metrics, "pgtether_connect_failures_total"), 0.0, "{}", daemon.log());
    assert_eq!(count(&daemon.log(), "from=up"), 0, "{}", daemon.log());
    assert_eq!(count(&cluster.log(), "password authentication failed"), 1, "{}", cluster.log());

    // The command prints no other: one login with each attempt.
    admin.query("ALTER ROLE app PASSWORD 'third'").await;
    await_state(&daemon, SOON * 2, "degraded").await;
    assert_eq!(by_reason(&daemon.metrics().await, "pgtether_connect_failures_total", "auth"), 1.0);
    assert_eq!(printer.runs(), 3);
    assert_eq!(count(&cluster.log(), "password authentication failed"), 2, "{}", cluster.log());
    assert!(!daemon.log().contains("newer"), "{}", daemon.log());
}

/// The next login of its own would be a minute away.
#[tokio::test]
async fn a_password_that_the_command_prints_later_is_tried_at_once() {
    let cluster = postgres15();
    let (admin, url) = role(&cluster, "newer").await;
    let printer = Printer::new("first");
    let daemon = Daemon::start(&config(&url, &[&printer.key()]));
    let health = await_down(&daemon, SOON, "auth").await;
    assert!(health["targets"][0]["remedy"].as_str().unwrap().contains("password_command"), "{health}");
    wait_until(SOON * 3, "a look", async || {
        if printer.runs() >= 2 { Ok(()) } else { Err(printer.runs().to_string()) }
    })
    .await;
    // A look logs in nowhere.
    assert_eq!(count(&cluster.log(), "password authentication failed"), 1, "{}", cluster.log());
    printer.set("newer");
    // A look comes every ten seconds.
    await_state(&daemon, SOON * 3, "up").await;
    assert!(daemon.log().contains("the secret changed"), "{}", daemon.log());
    assert_eq!(count(&cluster.log(), "password authentication failed"), 1, "{}", cluster.log());
    drop(admin);
}

#[tokio::test]
async fn a_command_that_fails_is_the_reason_and_tells_why() {
    let cluster = postgres15();
    let (_admin, url) = role(&cluster, "sesame").await;
    let printer = Printer::new("sesame");
    printer.script("echo 'no token today' >&2; exit 42; cat");
    let daemon = Daemon::start(&config(&url, &[&printer.key()]));
    let health = await_down(&daemon, SOON, "password_command").await;
    let told = "ended with exit code 42; stderr: no token today";
    assert!(health["targets"][0]["detail"].as_str().unwrap().contains(told), "{health}");
    await_log(&daemon, told).await;
    assert_eq!(daemon.metric("pgtether_up", DB).await, Some(0.0));
    assert!(!cluster.log().contains("authentication failed"), "{}", cluster.log());

    printer.script("cat");
    await_state(&daemon, Duration::from_secs(60), "up").await;
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_and_neither_probes_nor_other_targets_wait_for_it() {
    let cluster = postgres15();
    let (_admin, url) = role(&cluster, "sesame").await;
    let printer = Printer::new("sesame");
    printer.script("sleep 1000; cat");
    let url_of = |url: &str| format!("url: {url}");
    let (slow, other) = (url_of(&url), url_of(&cluster.superuser_url()));
    let (key, limit) = (printer.key(), "password_command_timeout: 5m");
    let daemon = Daemon::start(&targets(&[("slow", &[&slow, &key, limit]), ("db", &[&other])]));
    await_state(&daemon, SOON, "up").await;
    wait_until(SOON, "the run", async || (printer.runs() == 1).then_some(()).ok_or("none".to_owned())).await;
    assert_eq!(daemon.get("/livez").await.status, 200);
    // Its place among the logins is free.
    assert_eq!(daemon.metrics().await.get("pgtether_logins_in_flight", &[]), Some(0.0));
}

#[tokio::test]
async fn a_command_does_not_run_while_nothing_answers() {
    let printer = Printer::new("sesame");
    let url = format!("postgresql://app@127.0.0.1:{}/postgres", free_port().unwrap());
    let daemon = Daemon::start(&config(&url, &[&printer.key()]));
    await_down(&daemon, SOON, "refused").await;
    wait_until(SOON * 2, "more TCP connects", async || {
        let connects = value(&daemon, "pgtether_tcp_connects_total").await;
        if connects >= 3.0 { Ok(()) } else { Err(connects.to_string()) }
    })
    .await;
    assert_eq!(printer.runs(), 0);
}

#[tokio::test]
async fn all_sessions_of_a_pool_and_its_clients_share_one_run() {
    let cluster = postgres15();
    let (admin, url) = role(&cluster, "sesame").await;
    let (printer, port) = (Printer::new("sesame"), free_port().unwrap());
    let pool = format!("pool: {{listen: 127.0.0.1:{port}, size: 8}}");
    let daemon = up(&config(&url, &[&printer.key(), "password_command_ttl: 1d", &pool])).await;
    let through = format!("postgresql://app:sesame@127.0.0.1:{port}/postgres?application_name=visitor");
    let clients = (0..8).map(|_| tokio_postgres::connect(&through, NoTls));
    let clients = futures_util::future::join_all(clients).await;
    let mut held = Vec::new();
    for client in clients {
        let (client, connection) = client.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.log()));
        tokio::spawn(connection);
        held.push(client);
    }
    futures_util::future::join_all(held.iter().map(|client| client.batch_execute("BEGIN; SELECT 1"))).await;
    assert_eq!(admin.pids("visitor").await.len(), 8);
    assert_eq!(printer.runs(), 1);
    let wrong = through.replace("sesame", "wrong");
    let refused = tokio_postgres::connect(&wrong, NoTls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "28P01");
}

#[test]
fn a_program_that_is_not_there_is_told_without_running_anything() {
    let (_folder, flag) =
        file(&config("postgresql://app@localhost/db", &["password_command: [no-such-token]"]));
    let ended = pgtether(&["--config.check", &flag]);
    let told = "targets[0].password_command: password_command cannot run here: there is no executable program no-such-token in PATH";
    assert!(ended.code == 0 && ended.out.contains(told), "{ended:?}");
    let printer = Printer::new("sesame");
    let (_folder, flag) = file(&config("postgresql://app@localhost/db", &[&printer.key()]));
    let ended = pgtether(&["--config.check", &flag]);
    assert!(ended.code == 0 && !ended.out.contains("cannot run"), "{ended:?}");
    assert_eq!(printer.runs(), 0);
}

#[tokio::test]
async fn check_runs_the_command_and_times_it() {
    let cluster = postgres15();
    let (_admin, url) = role(&cluster, "sesame").await;
    let printer = Printer::new("sesame");
    let (_folder, flag) = file(&config(&url, &[&printer.key()]));
    let ended = pgtether(&["check", &flag]);
    assert!(ended.code == 0 && ended.out.contains("printed by sh"), "{ended:?}");
    assert!(!ended.out.contains("sesame"), "{ended:?}");
    assert_eq!(printer.runs(), 1, "both logins share it");
    printer.script("exit 7; cat");
    let ended = pgtether(&["check", &flag]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("exit code 7") && ended.out.contains("run it as the user"), "{ended:?}");
}

#[tokio::test]
async fn a_url_file_with_a_password_beside_a_command_is_a_mistake() {
    let cluster = postgres15();
    let printer = Printer::new("sesame");
    fs::write(printer.path("url"), cluster.url("app", "sesame", "postgres")).unwrap();
    let url_file = format!("url_file: {}", printer.path("url").display());
    let daemon = Daemon::start(&targets(&[("db", &[&url_file, &printer.key()])]));
    let health = await_down(&daemon, SOON, "config").await;
    let detail = health["targets"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("url_file has a password, and password_command gives one, too"), "{detail}");
    assert_eq!(printer.runs(), 0);
}

#[tokio::test]
async fn what_libpq_would_take_from_the_environment_is_told_once_without_its_value() {
    let cluster = postgres15();
    let config = config(&cluster.superuser_url(), &[]);
    let env = [("PGPASSWORD", "opensesame"), ("PGHOST", "elsewhere.invalid")];
    let daemon = Daemon::start_with(&config, &[], &env);
    await_state(&daemon, SOON, "up").await;
    let log = daemon.log();
    assert_eq!(count(&log, "not used, unlike by libpq: PGHOST, PGPASSWORD"), 1, "{log}");
    assert!(!log.contains("opensesame") && !log.contains("elsewhere"), "{log}");
}

/// While what it printed before still counts, and before any login fails by it.
#[tokio::test]
async fn a_command_that_breaks_is_told_while_its_last_output_is_still_good() {
    let cluster = postgres15();
    let (_admin, url) = role(&cluster, "first").await;
    let printer = Printer::new("first");
    let keys = [printer.key(), "password_command_ttl: 20s".to_owned(), "refresh: {every: 1s}".to_owned()];
    let daemon = up(&config(&url, &keys.each_ref().map(String::as_str))).await;
    printer.script("echo broken >&2; exit 3; cat");
    let failure = async || {
        daemon.get("/api/v1/targets").await.json()["targets"][0]["session"]["password_command_failure"]
            .clone()
    };
    wait_until(SOON * 2, "the failure", async || match failure().await {
        serde_json::Value::String(text) if text.contains("exit code 3") && text.contains("broken") => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    await_log(&daemon, "password_command fails; what it printed before is used").await;
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_up", DB), Some(1.0));
    assert_eq!(total(&metrics, "pgtether_connect_failures_total"), 0.0, "{}", daemon.log());
    let health = wait_until(SOON * 3, "the end of its time", async || {
        let health = daemon.get("/health").await.json();
        if health["targets"][0]["reason"] == "password_command" {
            Ok(health)
        } else {
            Err(health.to_string())
        }
    })
    .await;
    assert_eq!(health["targets"][0]["state"], "degraded", "{health}");
    printer.script("cat");
    await_state(&daemon, SOON * 2, "up").await;
}
