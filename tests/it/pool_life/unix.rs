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
async fn trust_asks_for_no_password_and_keeps_other_users_out_by_the_files_mode() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let daemon = Daemon::start(&socket_config(&cluster, &file, ", auth: trust"));
    await_state(&daemon, SOON, "up").await;
    let answer = psql(folder.path(), "", "SELECT current_user").await;
    assert_eq!(said(&answer), USER);
    assert_eq!(mode(&file) & 0o007, 0, "others may not connect: {:o}", mode(&file));
}

#[tokio::test]
async fn a_reload_from_scram_to_trust_closes_the_file_to_others_and_back() {
    let cluster = cluster_for_app(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = socket_in(folder.path());
    let (scram, trust) =
        (socket_config(&cluster, &file, ""), socket_config(&cluster, &file, ", auth: trust"));
    let daemon = Daemon::start_with(&scram, &["--web.enable-lifecycle"], &[]);
    await_state(&daemon, SOON, "up").await;
    assert_eq!(mode(&file), 0o777);
    for (config, wanted) in [(&trust, 0o660), (&scram, 0o777)] {
        fs::write(daemon.config_file(), config).unwrap();
        assert_eq!(daemon.post("/-/reload").await.status, 200);
        assert_eq!(mode(&file), wanted, "{:o} for {config}", mode(&file));
    }
    let refused = psql(folder.path(), "", "SELECT 1").await;
    assert!(!refused.status.success(), "nobody is trusted any more: {refused:?}");
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_file_that_another_process_has_put_in_the_sockets_place_is_left_as_it_is() {
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
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(mode(&file), 0o600);
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
