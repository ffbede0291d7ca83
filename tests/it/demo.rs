//! `pgtether demo`, as people run it: a server of its own, the daemon on it, and nothing left afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process::{Daemon, wait_until};
use crate::servers::Version;

/// The folder in which the demo's server lives, read off the address of its Unix socket.
fn scratch(daemon: &Daemon) -> PathBuf {
    let said = daemon.log();
    let line =
        said.lines().find_map(|l| l.trim().strip_prefix("config ")).unwrap_or_else(|| panic!("{said}"));
    Path::new(line.trim()).parent().unwrap().to_owned()
}

fn workers(folder: &Path) -> usize {
    let cwd = |entry: &std::fs::DirEntry| std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
    std::fs::read_dir("/proc").unwrap().flatten().filter(|e| cwd(e).starts_with(folder)).count()
}

async fn await_gone(folder: &Path) {
    wait_until(Duration::from_secs(10), "the demo's folder and processes to be gone", async || {
        match (folder.exists(), workers(folder)) {
            (false, 0) => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
}

fn start(args: &[&str]) -> Daemon {
    let bin = Version::V15.folder();
    Daemon::start_demo(args, &[("PGTETHER_POSTGRES_BIN", bin.to_str().unwrap())])
}

#[tokio::test]
async fn the_demo_is_up_tells_where_and_leaves_nothing_after_ctrl_c() {
    let mut daemon = start(&[]);
    let up = [("target", "demo")];
    daemon.await_metric(Duration::from_secs(10), "pgtether_up", &up, 1.0).await;
    let page = format!("http://{}/health", daemon.address());
    assert!(daemon.log().contains(&page), "{}", daemon.log());
    let folder = scratch(&daemon);
    assert!(workers(&folder) > 0, "no server works in {}", folder.display());
    daemon.signal(Signal::SIGINT);
    let status = daemon.exited(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    await_gone(&folder).await;
}

#[tokio::test]
async fn a_demo_that_is_killed_leaves_nothing_either() {
    let daemon = start(&[]);
    let folder = scratch(&daemon);
    daemon.signal(Signal::SIGKILL);
    await_gone(&folder).await;
}

/// What each fault must be called by, in the order of the schedule. A server that crashes may get its word out or not.
const REASONS: [&[&str]; 7] = [
    &["shutdown"],
    &["auth"],
    &["crash", "closed", "reset"],
    &["timeout"],
    &["shutdown"],
    &["capacity"],
    &["refused"],
];

#[tokio::test]
async fn each_fault_of_the_chaos_is_noticed_by_its_name_and_the_target_is_up_again() {
    let daemon = start(&["--chaos"]);
    let reports = wait_until(Duration::from_secs(200), "a report of each fault", async || {
        let said = daemon.log();
        let reports: Vec<String> =
            said.lines().filter(|l| l.contains("noticed")).map(|l| l.trim().to_owned()).collect();
        if reports.len() >= REASONS.len() { Ok(reports) } else { Err(format!("{reports:#?}")) }
    })
    .await;
    for (report, reasons) in reports.iter().zip(REASONS) {
        assert!(report.starts_with("noticed after"), "{reports:#?}");
        assert!(report.contains(", up again "), "{reports:#?}");
        assert!(reasons.iter().any(|reason| report.contains(reason)), "not {reasons:?}: {reports:#?}");
    }
}

#[test]
fn without_a_server_the_demo_says_what_to_install() {
    let none = tempfile::tempdir().unwrap();
    let ended = crate::process::run(&["demo"], &[("PGTETHER_POSTGRES_BIN", none.path().to_str().unwrap())]);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no initdb in"), "{said}");
}
