//! The temporary servers themselves: they do what the other tests rely on, and leave nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Setup, Shutdown};
use tokio_postgres::NoTls;

use crate::certs::{Authority, with_tls};
use crate::servers::{Admin, PgBouncer, PoolMode, Version, postgres, postgres15};

async fn client(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[tokio::test]
async fn both_majors_start_and_ask_for_the_password() {
    for (version, major) in Version::ALL.into_iter().zip(["15", "18"]) {
        let cluster = postgres(version, Setup::default());
        let admin = Admin::of(&cluster).await;
        let shown = admin.query("SHOW server_version").await;
        assert!(shown[0].starts_with(major), "{shown:?}");
        assert!(client(&cluster.superuser_url()).await.is_ok());
        let wrong = client(&cluster.url("postgres", "wrong", "postgres")).await;
        assert_eq!(wrong.err().unwrap().code().unwrap().code(), "28P01");
    }
}

#[tokio::test]
async fn a_cluster_comes_back_on_its_port_after_each_kind_of_stop() {
    let mut cluster = postgres15();
    let port = cluster.port();
    let admin = Admin::of(&cluster).await;
    admin.query("CREATE TABLE kept ()").await;
    admin.close().await;
    for how in [Shutdown::Fast, Shutdown::Immediate, Shutdown::Smart] {
        cluster.stop(how).unwrap();
        assert!(!cluster.is_running());
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        cluster.start().unwrap();
        assert_eq!(cluster.port(), port);
        let admin = Admin::of(&cluster).await;
        let kept = admin.query("SELECT to_regclass('kept')").await;
        assert_eq!(kept, ["kept"], "after {how:?}");
        admin.close().await;
    }
}

#[tokio::test]
async fn a_paused_cluster_answers_nothing_until_it_is_resumed() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    cluster.pause();
    let asked = tokio::time::timeout(Duration::from_millis(300), admin.query("SELECT 1")).await;
    assert!(asked.is_err(), "a stopped server answered");
    cluster.resume();
    assert_eq!(admin.query("SELECT 2").await.last().unwrap(), "2");
}

#[tokio::test]
async fn a_killed_backend_ends_all_sessions() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let victim = client(&format!("{}?application_name=victim", cluster.superuser_url())).await.unwrap();
    let pids = admin.pids("victim").await;
    assert_eq!(pids.len(), 1);
    cluster.kill_backend(pids[0]).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while victim.simple_query("").await.is_ok() {}
    });
    ended.await.expect("the session outlived its backend");
    assert!(cluster.kill_backend(1).is_err(), "process 1 is not the cluster's");
}

#[tokio::test]
async fn a_standby_is_read_only_until_promoted() {
    let mut cluster = postgres(Version::V15, Setup::default().standby());
    let admin = Admin::of(&cluster).await;
    assert_eq!(admin.query("SELECT pg_is_in_recovery()").await, ["t"]);
    cluster.promote().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while admin.query("SELECT pg_is_in_recovery()").await != ["f"] {
        assert!(Instant::now() < deadline, "not promoted:\n{}", cluster.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn settings_and_hba_lines_apply_at_once() {
    let mut cluster = postgres(Version::V15, Setup::default().set("idle_session_timeout", "123s"));
    let admin = Admin::of(&cluster).await;
    assert_eq!(admin.query("SHOW idle_session_timeout").await, ["123s"]);
    cluster.set_hba(&["host all all 127.0.0.1/32 reject", "local all all trust"]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client(&cluster.superuser_url()).await.is_ok() {
        assert!(Instant::now() < deadline, "never rejected:\n{}", cluster.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn pgbouncer_takes_sessions_in_both_modes() {
    let cluster = postgres15();
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let bouncer = PgBouncer::start(&cluster, mode, &[]);
        let client = client(&bouncer.url("postgres"))
            .await
            .unwrap_or_else(|e| panic!("{mode:?}: {e:?}\n{}", bouncer.log()));
        client.simple_query("SELECT 1").await.unwrap();
    }
}

#[tokio::test]
async fn tls_is_answered_with_the_certificate_made_for_it() {
    let authority = Authority::new("test authority");
    for version in Version::ALL {
        let cluster = postgres(version, with_tls(Setup::default(), &authority, &authority.server()));
        let url = format!("{}?sslmode=require", cluster.superuser_url());
        let ended = tokio_postgres::connect(&url, authority.demanded()).await.map(drop);
        assert!(ended.is_ok(), "{version:?}: {ended:?}\n{}", cluster.log());
    }
}

#[tokio::test]
async fn a_dropped_cluster_leaves_no_process_no_memory_and_no_file_even_when_it_hangs() {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let backend = admin.query("SELECT pg_backend_pid()").await.remove(0);
    let folder = cluster.data_folder().to_owned();
    let first = std::fs::read_to_string(folder.join("postmaster.pid")).unwrap();
    let postmaster = first.lines().next().unwrap().to_owned();
    // The fifth column is the process that made a segment.
    let segments = || {
        let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let made_by = |line: &str| line.split_whitespace().nth(4).is_some_and(|pid| pid == postmaster);
        all.lines().filter(|line| made_by(line)).count()
    };
    assert_eq!(segments(), 1);
    cluster.pause();
    drop(cluster);
    assert_eq!(segments(), 0, "shared memory is left");
    assert!(!folder.exists());
    assert!(!folder.parent().unwrap().exists());
    assert!(!Path::new(&format!("/proc/{postmaster}/exe")).exists());
    assert!(!alive(&backend), "backend {backend} lives on");
}
