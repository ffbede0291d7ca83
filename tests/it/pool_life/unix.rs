//! A pool on a Unix socket.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgtether::demo::postgres::{Cluster, Setup};

use super::{PASSWORD, USER, cluster_for_app};
use crate::process::Daemon;
use crate::servers::Version;
use crate::supervise::{SOON, await_state, config};

fn socket_config(cluster: &Cluster, file: &Path, more: &str) -> String {
    let pool = format!("pool: {{listen: \"unix:{}\"{more}}}", file.display());
    config(&cluster.url(USER, PASSWORD, "postgres"), &[&pool])
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join(".s.PGSQL.6432")
}

/// psql by that folder's socket, as its user finds it.
async fn psql(folder: &Path, password: &str, sql: &str) -> Output {
    let mut psql = Command::new(Version::V15.folder().join("psql"));
    psql.env_clear().env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "5").env("HOME", "/nonexistent");
    let conninfo = format!("host={} port=6432 user={USER} dbname=postgres", folder.display());
    psql.args(["-XAtqw", "-d", &conninfo, "-c", sql]);
    tokio::process::Command::from(psql).output().await.unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(text).unwrap().trim().to_owned()
}

#[tokio::test]
async fn psql_finds_the_socket_by_its_folder_and_proves_its_password() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(&socket_config(&cluster, &socket_in(folder.path()), ""));
    await_state(&daemon, SOON, "up").await;
    assert_eq!(said(&psql(folder.path(), PASSWORD, "SELECT 'by socket'").await), "by socket");
    let refused = psql(folder.path(), "wrong", "SELECT 1").await;
    assert!(
        !refused.status.success() && said(&refused).contains("password authentication failed"),
        "{refused:?}"
    );
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.exited(SOON).await.success());
    assert!(!socket_in(folder.path()).exists(), "the file is gone with its pool");
}

#[tokio::test]
async fn trust_asks_for_no_password_and_keeps_strangers_out_by_the_files_mode() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let daemon = Daemon::start(&socket_config(&cluster, &file, ", auth: trust"));
    await_state(&daemon, SOON, "up").await;
    let answer = psql(folder.path(), "", "SELECT current_user").await;
    assert_eq!(said(&answer), USER);
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o007, 0, "others may not connect: {mode:o}");
}

#[tokio::test]
async fn another_auth_changes_who_may_connect_with_the_reload() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let daemon = Daemon::start_with(&socket_config(&cluster, &file, ""), &["--web.enable-lifecycle"], &[]);
    await_state(&daemon, SOON, "up").await;
    let strangers = || fs::metadata(&file).unwrap().permissions().mode() & 0o007;
    assert_eq!(strangers(), 0o007);
    for (auth, left_to_strangers) in [("trust", 0), ("scram", 0o007)] {
        fs::write(daemon.config_file(), socket_config(&cluster, &file, &format!(", auth: {auth}"))).unwrap();
        let answer = daemon.post("/-/reload").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(strangers(), left_to_strangers, "{auth}");
        let without = psql(folder.path(), "", "SELECT 'let in'").await;
        assert_eq!(said(&without) == "let in", auth == "trust", "{auth}: {without:?}");
        assert_eq!(said(&psql(folder.path(), PASSWORD, "SELECT 'let in'").await), "let in");
    }
}

#[tokio::test]
async fn a_socket_that_was_replaced_is_not_opened_to_others_and_refuses_the_reload() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let daemon = Daemon::start_with(
        &socket_config(&cluster, &file, ", auth: trust"),
        &["--web.enable-lifecycle"],
        &[],
    );
    await_state(&daemon, SOON, "up").await;
    fs::remove_file(&file).unwrap();
    let theirs = UnixListener::bind(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(daemon.config_file(), socket_config(&cluster, &file, "")).unwrap();
    let answer = daemon.post("/-/reload").await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains(file.to_str().unwrap()), "{}", answer.text());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(theirs);
}

#[tokio::test]
async fn a_socket_file_that_nobody_listens_on_is_replaced() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    drop(UnixListener::bind(&file).unwrap());
    assert!(fs::metadata(&file).unwrap().file_type().is_socket(), "it stays behind");
    let mut daemon = Daemon::start(&socket_config(&cluster, &file, ""));
    await_state(&daemon, SOON, "up").await;
    assert_eq!(said(&psql(folder.path(), PASSWORD, "SELECT 1").await), "1");

    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.exited(SOON).await;
    assert!(file.exists(), "a process that is killed leaves its file");
    let daemon = Daemon::start(&socket_config(&cluster, &file, ""));
    await_state(&daemon, SOON, "up").await;
    assert_eq!(said(&psql(folder.path(), PASSWORD, "SELECT 2").await), "2");
}

#[tokio::test]
async fn a_socket_that_somebody_listens_on_and_a_file_that_is_no_socket_are_left_alone() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let plain = config(&cluster.url(USER, PASSWORD, "postgres"), &[]);
    let daemon = Daemon::start_with(&plain, &["--web.enable-lifecycle"], &[]);
    let theirs = UnixListener::bind(&file).unwrap();
    let refused = async || {
        fs::write(daemon.config_file(), socket_config(&cluster, &file, "")).unwrap();
        let answer = daemon.post("/-/reload").await;
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains(file.to_str().unwrap()), "{}", answer.text());
    };
    refused().await;
    assert!(std::os::unix::net::UnixStream::connect(&file).is_ok(), "theirs goes on");
    drop(theirs);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "precious").unwrap();
    refused().await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}
