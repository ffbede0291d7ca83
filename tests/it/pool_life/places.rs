//! The database moves under its clients: from then on nobody gets a session of the place where it was.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgtether::demo::postgres::free_port;
use pgtether::status::pool::ServerState;

use super::{AppClient, PASSWORD, PoolUnderTest, USER, cluster_for_app, pool_config, url_at};
use crate::process::{Daemon, wait_until};
use crate::servers::Admin;
use crate::supervise::{SOON, await_state, targets};

fn url_of_other(port: u16) -> String {
    url_at(port).replace("/postgres", "/other")
}

/// The process of the session whose query sleeps.
async fn asleep(admin: &Admin) -> Pid {
    let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{USER}' AND wait_event = 'PgSleep'");
    let pid = wait_until(SOON, "a query that sleeps", async || {
        admin.query(&sql).await.pop().ok_or_else(|| "none".to_owned())
    });
    Pid::from_raw(pid.await.parse().unwrap())
}

#[tokio::test]
async fn a_session_that_is_cleaned_up_while_the_url_changes_is_nobodys_afterwards() {
    let pool = PoolUnderTest::open("size: 1", &[]).await;
    pool.admin.query(&format!("CREATE DATABASE other OWNER {USER}")).await;
    let client = pool.client().await;
    // What is stopped is cleaned up for as long as the test wants.
    let stopped = tokio::select! {
        ended = client.try_ask("SELECT pg_sleep(60)") => panic!("it ended: {ended:?}"),
        pid = asleep(&pool.admin) => pid,
    };
    kill(stopped, Signal::SIGSTOP).unwrap();
    client.vanish().await;
    pool.await_servers(ServerState::Testing, 1).await;
    let config = pool_config(&pool.cluster, pool.port, "size: 1", &[]).replace("/postgres", "/other");
    pool.reload_to(&config).await;
    assert_eq!(pool.servers(ServerState::Testing).await, 1.0);
    kill(stopped, Signal::SIGCONT).unwrap();
    let new = AppClient::at(&url_of_other(pool.port)).await.unwrap();
    assert_eq!(new.ask("SELECT current_database()").await, "other");
}

#[tokio::test]
async fn a_url_file_that_names_another_database_leads_every_client_there() {
    let cluster = cluster_for_app(Default::default()).await;
    let admin = Admin::of(&cluster).await;
    admin.query(&format!("CREATE DATABASE other OWNER {USER}")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let url = cluster.url(USER, PASSWORD, "postgres");
    fs::write(&file, &url).unwrap();
    let port = free_port().unwrap();
    let keys = [
        format!("url_file: {}", file.display()),
        format!("pool: {{listen: \"127.0.0.1:{port}\", size: 4, min_idle: 2}}"),
    ];
    let daemon = Daemon::start(&targets(&[("db", &[&keys[0], &keys[1]])]));
    await_state(&daemon, SOON, "up").await;
    let pool = PoolUnderTest { daemon, cluster, admin, port };
    pool.await_servers(ServerState::Idle, 2).await;

    fs::write(&file, url.replace("/postgres", "/other")).unwrap();
    let first = wait_until(SOON, "the other database's clients let in", async || {
        AppClient::at(&url_of_other(port)).await.map_err(|error| format!("{error:?}"))
    })
    .await;
    let mut clients = vec![first];
    for _ in 0..2 {
        clients.push(AppClient::at(&url_of_other(port)).await.unwrap());
    }
    for client in &clients {
        assert_eq!(client.ask("BEGIN; SELECT current_database()").await, "other");
    }
}
