//! The story that pgtether comes from: a program that keeps one connection, and a server that closes what is idle.

use futures_util::future::join;
use pgtether::demo::postgres::{Cluster, Setup};
use tokio::process::Command;

use super::{ended, one_door, passes, python, said, through};
use crate::process::Daemon;
use crate::servers::{Admin, Version, postgres};
use crate::supervise::await_state;

/// Longer than the server's patience of 5 s.
const WAIT: &str = "7";

/// A server that closes sessions after 5 s of silence, but not in the database `patient`.
async fn impatient() -> Cluster {
    let cluster = postgres(Version::V15, Setup::default().set("idle_session_timeout", "5s"));
    let admin = Admin::of(&cluster).await;
    for database in ["pooled", "impatient", "patient"] {
        admin.query(&format!("CREATE DATABASE {database}")).await;
    }
    admin.query("ALTER DATABASE patient SET idle_session_timeout = 0").await;
    admin.close().await;
    cluster
}

/// The program goes on after its wait where the server is patient, and through the pool; it fails without.
async fn goes_on_only_through_the_pool(program: impl Fn(&str) -> Command) {
    let cluster = impatient().await;
    let at = |database: &str| cluster.url("postgres", cluster.password(), database);
    let (config, port) = one_door(&at("pooled"), &[], &["mode: transaction"]);
    let daemon = Daemon::start(&config);
    await_state(&daemon, super::SOON, "up").await;
    let (mut patient, mut direct) = (program(&at("patient")), program(&at("impatient")));
    let mut pooled = program(&through(&at("pooled"), &cluster, port));
    let (_, (direct, _)) = join(passes(&mut patient), join(ended(&mut direct), passes(&mut pooled))).await;
    assert!(!direct.status.success(), "without the pool the program went on:\n{}", said(&direct));
    let words =
        ["idle-session timeout", "idle_session_timeout", "closed the connection", "connection is closed"];
    let said = said(&direct);
    assert!(said.contains("first steps taken"), "it failed before its wait:\n{said}");
    assert!(words.iter().any(|word| said.contains(word)), "it failed of something else:\n{said}");
}

#[tokio::test]
async fn an_agent_on_one_connection_outlives_the_servers_idle_timeout_only_through_the_pool() {
    goes_on_only_through_the_pool(|url| python("agent.py", url, &[WAIT])).await;
}

#[tokio::test]
async fn sqlalchemy_without_pre_ping_outlives_the_servers_idle_timeout_only_through_the_pool() {
    tokio::join!(
        goes_on_only_through_the_pool(|url| python("sqlalchemy_wait.py", url, &["psycopg", WAIT])),
        goes_on_only_through_the_pool(|url| python("sqlalchemy_wait.py", url, &["psycopg2", WAIT])),
        goes_on_only_through_the_pool(|url| python("sqlalchemy_wait.py", url, &["asyncpg", WAIT])),
    );
}
