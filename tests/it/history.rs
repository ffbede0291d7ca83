//! What pgtether remembers of its targets, against real servers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Cluster, Shutdown};
use serde_json::{Value, json};

use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, postgres15};
use crate::supervise::{SOON, await_down, await_log, await_state, config, up};

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
    assert!(ratio > 0.0 && ratio < 0.99, "{uptime}");
    assert!(uptime["known"].as_f64().unwrap() < 0.001, "{uptime}");
    // What is asked of later times has none of this.
    let none = daemon.get("/api/v1/events?since=2100-01-01T00:00:00Z").await.json();
    assert_eq!((&none["events"], &none["omitted"]), (&json!([]), &json!(0)));
}

const WRITABLE: &str = "pgtether_history_file_writable";

/// A daemon with this history file, whose target is up.
async fn with_file(cluster: &Cluster, file: &Path) -> Daemon {
    let flag = format!("--history.file={}", file.display());
    let daemon = Daemon::start_with(&config(&cluster.superuser_url(), &[]), &[&flag], &[]);
    await_state(&daemon, SOON, "up").await;
    daemon
}

/// Ends the daemon's session by the server, and waits for the events to be so many.
async fn lose(cluster: &Cluster, daemon: &Daemon, wanted: usize) -> Vec<Value> {
    let admin = Admin::of(cluster).await;
    for pid in admin.pids("tether").await {
        admin.query(&format!("SELECT pg_terminate_backend({pid})")).await;
    }
    admin.close().await;
    await_events(daemon, wanted).await
}

async fn await_events(daemon: &Daemon, wanted: usize) -> Vec<Value> {
    wait_until(SOON * 3, &format!("{wanted} events"), async || match events(daemon).await {
        events if events.len() >= wanted => Ok(events),
        events => Err(format!("{events:?}")),
    })
    .await
}

/// What it says of the last hour: how much was up, and how much is known, of 1.
async fn hour(daemon: &Daemon) -> (f64, f64) {
    let hour = &daemon.get("/api/v1/targets").await.json()["targets"][0]["uptime"]["1h"];
    (hour["ratio"].as_f64().unwrap_or_default(), hour["known"].as_f64().unwrap())
}

#[tokio::test]
async fn events_and_uptime_outlive_the_process_whether_it_ends_is_killed_or_tears_its_last_line() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    let mut daemon = with_file(&cluster, &file).await;
    let first = lose(&cluster, &daemon, 3).await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.exited(SOON).await.success(), "{}", daemon.log());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // What was is there before the target is up again.
    let mut daemon = with_file(&cluster, &file).await;
    let second = await_events(&daemon, 4).await;
    assert_eq!(second[..3], first[..3]);
    assert_eq!(steps(&second)[3], ("starting", "up"));
    let (up, known) = hour(&daemon).await;
    assert!(up > 0.0 && up < 1.0 && known > 0.0, "{up} {known}");
    let third = lose(&cluster, &daemon, 6).await;
    // It is in the file a moment later, and then the process is killed.
    wait_until(SOON, "the last event in the file", async || match fs::read_to_string(&file).unwrap() {
        text if text.matches("\"record\":\"changed\"").count() == 6 => Ok(()),
        text => Err(text),
    })
    .await;
    daemon.signal(Signal::SIGKILL);
    daemon.exited(SOON).await;
    let torn = fs::read_to_string(&file).unwrap() + "{\"record\":\"changed\",\"at\":\"2026-11-28T0";
    fs::write(&file, torn).unwrap();

    let daemon = with_file(&cluster, &file).await;
    let fourth = await_events(&daemon, 7).await;
    assert_eq!(fourth[..6], third[..6]);
    await_log(&daemon, "lines of the history file cannot be read").await;
    assert!(!fs::read_to_string(&file).unwrap().contains("2026-11-28T0\n"));
    assert_eq!(daemon.metric(WRITABLE, &[]).await, Some(1.0));
}

#[tokio::test]
async fn a_process_waits_for_the_file_of_another_and_goes_on_with_it() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.jsonl");
    let mut first = with_file(&cluster, &file).await;
    first.await_metric(SOON, WRITABLE, &[], 1.0).await;
    wait_until(SOON, "the file", async || fs::metadata(&file).map(drop).map_err(|error| error.to_string()))
        .await;
    let second = with_file(&cluster, &file).await;
    await_log(&second, "another process writes it").await;
    second.await_metric(SOON, WRITABLE, &[], 0.0).await;
    assert_eq!(steps(&events(&second).await), [("starting", "up")], "without the other's events");
    first.signal(Signal::SIGTERM);
    first.exited(SOON).await;
    let both = await_events(&second, 2).await;
    assert_eq!(steps(&both), [("starting", "up"), ("starting", "up")]);
    await_log(&second, "the history file is written again").await;
    second.await_metric(SOON, WRITABLE, &[], 1.0).await;
}

#[tokio::test]
async fn what_cannot_be_a_history_file_is_left_alone_and_everything_else_works() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("passwd");
    fs::write(&foreign, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    for (file, told) in [
        (PathBuf::from("/dev/full"), "it is no regular file"),
        (folder.path().join("no/such/folder"), "it cannot be opened: No such file or directory"),
        (foreign.clone(), "it is not a history of this version of pgtether"),
    ] {
        let daemon = with_file(&cluster, &file).await;
        await_log(&daemon, told).await;
        daemon.await_metric(SOON, WRITABLE, &[], 0.0).await;
        lose(&cluster, &daemon, 3).await;
        assert_eq!(daemon.get("/livez").await.status, 200);
    }
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "root:x:0:0:root:/root:/bin/bash\n");
}

/// A daemon that sees a disk of its own, made by `mount`, at the folder that it returns.
async fn on_a_disk(cluster: &Cluster, mount: &str) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let within = format!("{} && exec \"$0\" \"$@\"", mount.replace("AT", &at));
    let file = format!("{at}/history.jsonl");
    let by = ["unshare", "--mount", "sh", "-c", &within];
    let settings = [("PGTETHER_HISTORY_FILE", file.as_str())];
    let daemon = Daemon::start_by(&by, &config(&cluster.superuser_url(), &[]), &settings);
    await_state(&daemon, SOON, "up").await;
    (daemon, folder)
}

#[tokio::test]
async fn a_full_disk_is_told_and_when_it_has_room_again_nothing_is_missing() {
    let cluster = postgres15();
    let (daemon, folder) = on_a_disk(&cluster, "mount -t tmpfs -o size=64k tmpfs AT").await;
    // As the daemon sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}", daemon.pid(), folder.path().display()));
    let file = disk.join("history.jsonl");
    wait_until(SOON, "the first event in the file", async || match fs::read_to_string(&file) {
        Ok(text) if text.contains("changed") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // Empty lines up to the end of its last block: it cannot grow by anything then.
    let left = 4096 - fs::metadata(&file).unwrap().len() % 4096;
    let mut open = fs::OpenOptions::new().append(true).open(&file).unwrap();
    open.write_all(&vec![b'\n'; usize::try_from(left).unwrap()]).unwrap();
    let filler = disk.join("filler");
    assert!(fs::write(&filler, vec![b'x'; 1 << 20]).is_err(), "the disk is full");
    lose(&cluster, &daemon, 3).await;
    daemon.await_metric(SOON, WRITABLE, &[], 0.0).await;
    await_log(&daemon, "the history file cannot be used").await;
    assert!(daemon.log().contains("No space left on device"), "{}", daemon.log());
    let all = lose(&cluster, &daemon, 5).await;
    fs::remove_file(&filler).unwrap();
    daemon.await_metric(SOON * 3, WRITABLE, &[], 1.0).await;
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("\"record\":\"changed\"").count(), all.len(), "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
}

#[tokio::test]
async fn a_disk_that_is_read_only_is_told() {
    let cluster = postgres15();
    let (daemon, _folder) = on_a_disk(&cluster, "mount -t tmpfs -o ro tmpfs AT").await;
    await_log(&daemon, "Read-only file system").await;
    daemon.await_metric(SOON, WRITABLE, &[], 0.0).await;
    lose(&cluster, &daemon, 3).await;
}
