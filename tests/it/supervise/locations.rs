//! Where a target lives: TLS that is verified, a connection string in a file, a Unix socket.

use std::fs;
use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Setup, Shutdown, free_port};

use super::{DB, SOON, ahead, await_down, await_state, config, targets, total, up, value};
use crate::certs::{Authority, with_tls};
use crate::process::Daemon;
use crate::scrape::Metrics;
use crate::servers::{Version, postgres, postgres15};

fn tls_cluster(version: Version, authority: &Authority) -> Cluster {
    let setup = Setup::default().hba("hostssl all all 127.0.0.1/32 scram-sha-256");
    postgres(version, with_tls(setup, authority, &authority.server()))
}

/// A label of the target's only sample of that family.
fn label(metrics: &Metrics, name: &str, label: &str) -> String {
    let samples = metrics.all(name, DB);
    assert_eq!(samples.len(), 1, "{name}: {samples:?}");
    samples[0].labels.get(label).unwrap_or_else(|| panic!("{name} has no {label}")).clone()
}

#[tokio::test]
async fn the_right_authority_is_trusted_and_its_certificate_told() {
    let authority = Authority::new("right");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    for (version, major) in Version::ALL.into_iter().zip(["15", "18"]) {
        let cluster = tls_cluster(version, &authority);
        let url = format!(
            "postgresql://postgres:{}@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
            cluster.password(),
            cluster.port(),
            ca.display()
        );
        let daemon = up(&config(&url, &["refresh: {every: 1s}"])).await;
        daemon.await_metric(SOON, "pgtether_refreshes_total", DB, 1.0).await;
        let metrics = daemon.metrics().await;
        assert_eq!(label(&metrics, "pgtether_session_info", "tls_version"), "TLSv1.3");
        assert!(label(&metrics, "pgtether_session_info", "server_version").starts_with(major));
        let expiry = metrics.get("pgtether_tls_certificate_expiry_timestamp_seconds", DB).unwrap();
        let days = ahead(expiry) / 86_400.0;
        assert!((9.9..=10.0).contains(&days), "the certificate ends in {days} days");
        let tls = [DB, &[("phase", "tls")]].concat();
        assert!(metrics.get("pgtether_last_connect_phase_seconds", &tls).unwrap() > 0.0);
    }
}

#[tokio::test]
async fn a_wrong_authority_is_a_tls_failure_that_waits_in_the_slow_lane() {
    let authority = Authority::new("right");
    let cluster = tls_cluster(Version::V15, &authority);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, Authority::new("wrong").pem()).unwrap();
    let base = cluster.superuser_url().replace("127.0.0.1", "localhost");
    let url = format!("{base}?sslmode=verify-full&sslrootcert={}", ca.display());
    let daemon = Daemon::start(&config(&url, &[]));
    await_down(&daemon, SOON, "tls").await;
    let next = ahead(value(&daemon, "pgtether_next_attempt_timestamp_seconds").await);
    assert!((25.0..=33.5).contains(&next), "the next login is {next} s away");
    assert_eq!(value(&daemon, "pgtether_connect_attempts_total").await, 1.0);
}

#[tokio::test]
async fn a_server_that_demands_tls_refuses_a_plain_login_as_tls() {
    let cluster = tls_cluster(Version::V15, &Authority::new("right"));
    let daemon = Daemon::start(&config(&format!("{}?sslmode=disable", cluster.superuser_url()), &[]));
    await_down(&daemon, SOON, "tls").await;
}

#[tokio::test]
async fn a_connection_string_in_a_file_is_read_again_at_each_attempt() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let dead = free_port().unwrap();
    fs::write(&file, format!("postgresql://postgres:x@127.0.0.1:{dead}/postgres")).unwrap();
    let daemon = Daemon::start(&targets(&[("db", &[&format!("url_file: {}", file.display())])]));
    await_down(&daemon, SOON, "refused").await;
    let port = label(&daemon.metrics().await, "pgtether_target_info", "port");
    assert_eq!(port, dead.to_string());

    fs::write(&file, cluster.superuser_url()).unwrap();
    await_state(&daemon, Duration::from_secs(3), "up").await;
    let port = label(&daemon.metrics().await, "pgtether_target_info", "port");
    assert_eq!(port, cluster.port().to_string());
}

#[tokio::test]
async fn a_connection_string_that_is_missing_or_nonsense_is_told_as_config_and_tried_when_it_is_there() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let daemon = Daemon::start(&targets(&[("db", &[&format!("url_file: {}", file.display())])]));
    await_down(&daemon, SOON, "config").await;
    fs::write(&file, "postgresql://app:se@cret@127.0.0.1/db?sslmode=maybe").unwrap();
    daemon.await_metric(SOON, "pgtether_connect_attempts_total", DB, 2.0).await;
    await_down(&daemon, SOON, "config").await;
    fs::write(&file, cluster.superuser_url()).unwrap();
    await_state(&daemon, SOON, "up").await;
}

#[tokio::test]
async fn a_unix_socket_is_held_lost_and_found_again() {
    let mut cluster = postgres15();
    let folder = cluster.socket_folder().display().to_string();
    let url = format!("host='{folder}' port={} user=postgres dbname=postgres", cluster.port());
    let daemon = up(&config(&url, &[])).await;
    let metrics = daemon.metrics().await;
    assert_eq!(label(&metrics, "pgtether_target_info", "host"), folder);
    assert_eq!(label(&metrics, "pgtether_session_info", "tls_version"), "none");

    cluster.stop(Shutdown::Fast).unwrap();
    await_state(&daemon, Duration::from_secs(1), "down").await;
    cluster.start().unwrap();
    await_state(&daemon, Duration::from_secs(3), "up").await;
    assert_eq!(total(&daemon.metrics().await, "pgtether_reconnects_total"), 1.0);
}

#[tokio::test]
async fn a_host_that_has_no_address_is_a_matter_of_dns() {
    let daemon = Daemon::start(&config("postgresql://app@nowhere.invalid/db", &[]));
    await_down(&daemon, SOON, "dns").await;
}
