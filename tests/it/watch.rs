//! The configuration file changes, and nobody tells the daemon.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use pgtether::demo::postgres::free_port;
use tokio::time::sleep;

use crate::process::{Daemon, wait_until};
use crate::supervise::{await_log, targets};

const OK: &str = "pgtether_config_last_reload_successful";
const AT: &str = "pgtether_config_last_reload_success_timestamp_seconds";
/// A change is seen at the second look after it, and looks are a second apart; the rest is for a busy machine.
const SEEN: Duration = Duration::from_secs(10);

/// As many targets; their server is not there, which is nothing to the file.
fn of(count: usize) -> String {
    let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
    let names: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
    let keys = [dead.as_str()];
    targets(&names.iter().map(|name| (name.as_str(), &keys[..])).collect::<Vec<_>>())
}

async fn await_targets(daemon: &Daemon, count: usize) {
    daemon.await_metric(SEEN, "pgtether_targets", &[], count as f64).await;
    assert_eq!(daemon.metric(OK, &[]).await, Some(1.0));
}

async fn reloads(daemon: &Daemon) -> usize {
    daemon.log().matches("configuration reloaded").count()
}

#[tokio::test]
async fn a_file_that_is_written_anew_is_followed_and_one_that_rests_is_not_read_again() {
    let daemon = Daemon::start(&of(1));
    fs::write(daemon.config_file(), of(2)).unwrap();
    await_targets(&daemon, 2).await;
    // As editors and `mv` do it.
    let beside = daemon.folder().join("config.yaml.new");
    fs::write(&beside, of(3)).unwrap();
    fs::rename(&beside, daemon.config_file()).unwrap();
    await_targets(&daemon, 3).await;
    await_log(&daemon, "configuration reloaded").await;
    let (at, before) = (daemon.metric(AT, &[]).await, reloads(&daemon).await);
    sleep(Duration::from_secs(3)).await;
    assert_eq!((daemon.metric(AT, &[]).await, reloads(&daemon).await), (at, before));
}

/// Lays a file as kubelet does for a ConfigMap: a folder by time, `..data` leading to it, the file leading through that.
fn project(folder: &Path, generation: usize, config: &str) {
    let stamp = format!("..2026_11_23_0{generation}");
    fs::create_dir(folder.join(&stamp)).unwrap();
    fs::write(folder.join(&stamp).join("pgtether.yaml"), config).unwrap();
    std::os::unix::fs::symlink(&stamp, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if generation == 0 {
        std::os::unix::fs::symlink("..data/pgtether.yaml", folder.join("pgtether.yaml")).unwrap();
    } else {
        fs::remove_dir_all(folder.join(format!("..2026_11_23_0{}", generation - 1))).unwrap();
    }
}

#[tokio::test]
async fn a_config_maps_links_are_followed_every_time_they_turn() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), 0, &of(1));
    let file = format!("--config.file={}", folder.path().join("pgtether.yaml").display());
    let daemon = Daemon::start_bare(&[&file, "--web.listen-address=127.0.0.1:0"], &[]);
    for generation in 1..4 {
        project(folder.path(), generation, &of(generation + 1));
        await_targets(&daemon, generation + 1).await;
    }
    assert!(!daemon.log().contains("the previous one stays in use"), "{}", daemon.log());
}

#[tokio::test]
async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
    let daemon = Daemon::start(&of(1));
    let (file, whole) = (daemon.config_file(), of(8));
    // A thread of its own, which nothing holds up. Every part of the file is a good one or a bad one: neither must be
    // taken.
    let writer = std::thread::spawn(move || {
        let mut file = fs::File::create(file).unwrap();
        for line in whole.lines() {
            writeln!(file, "{line}").unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    await_targets(&daemon, 8).await;
    writer.join().unwrap();
    await_log(&daemon, "configuration reloaded").await;
    let log = daemon.log();
    assert!(reloads(&daemon).await == 1 && !log.contains("the previous one stays in use"), "{log}");
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_and_is_told_once_in_log_metric_and_api() {
    let daemon = Daemon::start(&of(2));
    let bad = of(2).replace("service:", "servize:");
    fs::write(daemon.config_file(), &bad).unwrap();
    daemon.await_metric(SEEN, OK, &[], 0.0).await;
    assert_eq!(daemon.metric("pgtether_targets", &[]).await, Some(2.0));
    let config = async || daemon.get("/api/v1/targets").await.json()["config"].clone();
    let told = config().await;
    assert_eq!(told["last_read"], "refused", "{told}");
    let problem = format!("{}:1:1: servize: unknown key", daemon.config_file().display());
    assert!(told["problems"][0].as_str().unwrap().starts_with(&problem), "{told}");

    // The same mistake in a file that was written again.
    fs::write(daemon.config_file(), &bad).unwrap();
    wait_until(SEEN, "another look", async || match config().await {
        again if again["at"] != told["at"] => Ok(()),
        again => Err(again.to_string()),
    })
    .await;
    await_log(&daemon, "the previous one stays in use").await;
    assert_eq!(daemon.log().matches("the previous one stays in use").count(), 1, "{}", daemon.log());

    fs::remove_file(daemon.config_file()).unwrap();
    await_log(&daemon, "there is no such file").await;
    assert_eq!(daemon.metric("pgtether_targets", &[]).await, Some(2.0));

    fs::write(daemon.config_file(), of(3)).unwrap();
    await_targets(&daemon, 3).await;
    assert_eq!(config().await["last_read"], "loaded");
}

#[tokio::test]
async fn a_reload_that_was_asked_for_is_not_done_again_by_the_watch() {
    let daemon = Daemon::start_with(&of(1), &["--web.enable-lifecycle"], &[]);
    fs::write(daemon.config_file(), of(2)).unwrap();
    assert_eq!(daemon.post("/-/reload").await.status, 200);
    assert_eq!(daemon.metric("pgtether_targets", &[]).await, Some(2.0));
    await_log(&daemon, "request=\"POST /-/reload\"").await;
    let at = daemon.metric(AT, &[]).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!((daemon.metric(AT, &[]).await, reloads(&daemon).await), (at, 0), "{}", daemon.log());
}

#[tokio::test]
async fn a_file_that_hangs_keeps_the_old_configuration_and_is_followed_once_it_can_be_read() {
    let daemon = Daemon::start(&of(1));
    // Opened for reading, a pipe waits for somebody who writes.
    let pipe = daemon.folder().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::rename(&pipe, daemon.config_file()).unwrap();
    daemon.await_metric(Duration::from_secs(30), OK, &[], 0.0).await;
    await_log(&daemon, "is it on a disk that hangs, or a pipe?").await;
    assert_eq!(daemon.metric("pgtether_targets", &[]).await, Some(1.0));

    // Somebody writes, and the file is one again.
    let pipe = daemon.folder().join("pipe");
    fs::rename(daemon.config_file(), &pipe).unwrap();
    fs::write(daemon.config_file(), of(2)).unwrap();
    drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    await_targets(&daemon, 2).await;
}
