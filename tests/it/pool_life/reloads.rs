//! A new configuration under connected clients: what applies to them, what ends them, and what changes nothing.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Setup, free_port};
use pgtether::status::pool::{ClientState, ServerState};

use super::{AppClient, PASSWORD, PoolUnderTest, Told, USER, cluster_for_app, pool_config, url_at};
use crate::certs::Authority;
use crate::process::{Daemon, wait_until};
use crate::servers::Admin;
use crate::supervise::{DB, SOON, await_log, config, targets};

const MOMENT: Duration = Duration::from_secs(1);

impl PoolUnderTest {
    /// Puts these keys of `pool` in force.
    async fn reload(&self, port: u16, pool: &str) {
        self.reload_to(&pool_config(&self.cluster, port, pool, &[])).await;
    }

    pub(super) async fn reload_to(&self, config: &str) {
        fs::write(self.daemon.config_file(), config).unwrap();
        let answer = self.daemon.post("/-/reload").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn size_and_wait_timeout_change_under_clients_that_do_not_notice() {
    let pool = PoolUnderTest::open("size: 1, wait_timeout: 30s", &[]).await;
    let (holder, other) = (pool.client().await, pool.client().await);
    holder.ask("BEGIN").await;
    let pid = holder.pid().await;

    pool.reload(pool.port, "size: 1, wait_timeout: 300ms").await;
    let asked = Instant::now();
    let told = Told::of(&other.try_ask("SELECT 1").await.unwrap_err());
    assert!(asked.elapsed() < MOMENT, "{:?}", asked.elapsed());
    assert!(told.sqlstate == "57P03" && told.message.contains("all 1 "), "{told:?}");

    pool.reload(pool.port, "size: 2, wait_timeout: 5s").await;
    assert_ne!(other.pid().await, pid);
    assert_eq!(holder.pid().await, pid, "it has noticed nothing");
    assert_eq!(pool.daemon.metric("pgtether_pool_size", DB).await, Some(2.0));
    holder.ask("COMMIT").await;
}

#[tokio::test]
async fn a_smaller_size_closes_what_is_too_much_as_soon_as_nobody_has_it() {
    let pool = PoolUnderTest::open("size: 4, min_idle: 4", &[]).await;
    pool.await_servers(ServerState::Idle, 4).await;
    let holders = [pool.client().await, pool.client().await, pool.client().await];
    for holder in &holders {
        holder.ask("BEGIN").await;
    }
    pool.reload(pool.port, "size: 1, min_idle: 1").await;
    pool.await_servers(ServerState::Idle, 0).await;
    for holder in &holders {
        holder.ask("COMMIT").await;
    }
    pool.await_pids("one and the supervised one", |pids| pids.len() == 2).await;
    assert_eq!(holders[0].pid().await, holders[1].pid().await, "all share the one that is left");
}

#[tokio::test]
async fn another_mode_lets_clients_finish_and_takes_new_ones_at_once() {
    let pool = PoolUnderTest::open("", &[]).await;
    let (idle, holder) = (pool.client().await, pool.client().await);
    holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
    pool.reload(pool.port, "mode: session").await;
    assert_eq!(idle.farewell(MOMENT).await.sqlstate, "57P01");
    let new = pool.client().await;
    new.ask("SET application_name = 'kept for me'").await;
    assert_eq!(new.ask("SHOW application_name").await, "kept for me");
    holder.ask("COMMIT").await;
    let told = holder.farewell(MOMENT).await;
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "57P01"), "{told:?}");
    assert_eq!(pool.admin.query("SELECT count(*) FROM kept").await, ["1"]);
    assert_eq!(new.ask("SHOW application_name").await, "kept for me");
}

#[tokio::test]
async fn another_address_is_listened_on_at_once_and_the_old_one_is_given_up() {
    let pool = PoolUnderTest::open("", &[]).await;
    let holder = pool.client().await;
    holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
    let port = free_port().unwrap();
    pool.reload(port, "").await;
    assert_eq!(AppClient::at(&url_at(port)).await.unwrap().ask("SELECT 1").await, "1");
    await_refusing(pool.port).await;
    holder.ask("COMMIT").await;
    assert_eq!(holder.farewell(MOMENT).await.sqlstate, "57P01");
    assert_eq!(pool.admin.query("SELECT count(*) FROM kept").await, ["1"]);
}

#[tokio::test]
async fn an_address_that_is_taken_refuses_the_whole_reload_and_the_old_pool_goes_on() {
    let pool = PoolUnderTest::open("size: 1", &[]).await;
    let client = pool.client().await;
    let pid = client.pid().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let keys = ["ping: {interval: 7s}"];
    fs::write(pool.daemon.config_file(), pool_config(&pool.cluster, address.port(), "size: 77", &keys))
        .unwrap();
    let answer = pool.daemon.post("/-/reload").await;
    assert_eq!(answer.status, 500);
    let address = address.to_string();
    for told in [answer.text(), pool.daemon.get("/api/v1/targets").await.json()["config"].to_string()] {
        assert!(told.contains(&address) && told.contains("\"db\"") || told.contains("\\\"db\\\""), "{told}");
    }
    assert_eq!(pool.daemon.get("/api/v1/targets").await.json()["config"]["last_read"], "refused");
    assert_eq!(pool.daemon.metric("pgtether_config_last_reload_successful", &[]).await, Some(0.0));
    await_log(&pool.daemon, "the previous one stays in use").await;
    assert!(pool.daemon.log().contains(&address), "{}", pool.daemon.log());

    assert_eq!(client.pid().await, pid, "clients have noticed nothing");
    assert_eq!(pool.client().await.ask("SELECT 1").await, "1");
    let metrics = pool.daemon.metrics().await;
    assert_eq!(metrics.get("pgtether_pool_size", DB), Some(1.0));
    assert_eq!(metrics.get("pgtether_ping_interval_seconds", DB), Some(30.0), "nothing of it is in force");

    drop(taken);
    pool.daemon.signal(Signal::SIGHUP);
    let size = Some(77.0);
    wait_until(SOON, "the new pool", async || match pool.daemon.metric("pgtether_pool_size", DB).await {
        seen if seen == size => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_pool_that_is_removed_frees_its_port_its_sessions_and_its_series() {
    let pool = PoolUnderTest::open("min_idle: 2", &[]).await;
    let client = pool.client().await;
    client.ask("SELECT 1").await;
    pool.reload_to(&config(&pool.cluster.url(USER, PASSWORD, "postgres"), &[])).await;
    assert_eq!(client.farewell(MOMENT).await.sqlstate, "57P01");
    await_refusing(pool.port).await;
    drop(TcpListener::bind(("127.0.0.1", pool.port)).expect("the port is free"));
    pool.await_pids("the supervised session alone", |pids| pids.len() == 1).await;
    wait_until(SOON, "no series of it", async || {
        let metrics = pool.daemon.metrics().await;
        let left = metrics.samples().iter().filter(|s| s.name.starts_with("pgtether_pool_")).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} series")) }
    })
    .await;

    pool.reload(pool.port, "").await;
    assert_eq!(pool.client().await.ask("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_changed_password_is_asked_of_new_clients_and_used_for_new_sessions_under_clients_that_stay() {
    let pool = PoolUnderTest::open("size: 2", &[]).await;
    let (holder, idle) = (pool.client().await, pool.client().await);
    holder.ask("BEGIN; INSERT INTO kept VALUES (1)").await;
    let before = pool.pids().await;
    pool.admin.query(&format!("ALTER ROLE {USER} PASSWORD 'renewed'")).await;
    let config = pool_config(&pool.cluster, pool.port, "size: 2", &[]);
    pool.reload_to(&config.replace(PASSWORD, "renewed")).await;
    let refused = AppClient::at(&pool.url()).await.err().expect("the old password still counts");
    assert_eq!(Told::of(&refused).sqlstate, "28P01");
    let new = AppClient::at(&pool.url().replace(PASSWORD, "renewed")).await.unwrap();
    assert!(!before.contains(&new.pid().await), "it has a session of before");
    assert!(!before.contains(&idle.pid().await), "it has a session of before");
    holder.ask("COMMIT").await;
    pool.await_pids("new sessions alone", |pids| !pids.iter().any(|pid| before.contains(pid))).await;
    assert_eq!(holder.ask("SELECT count(*) FROM kept").await, "1");
}

#[tokio::test]
async fn two_pools_exchange_their_addresses() {
    let cluster = cluster_for_app(Setup::default()).await;
    let admin = Admin::of(&cluster).await;
    admin.query(&format!("CREATE DATABASE other OWNER {USER}")).await;
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let both = |[first, second]: [u16; 2]| {
        let keys = |database: &str, port: u16| {
            let url = format!("url: \"{}\"", cluster.url(USER, PASSWORD, database));
            [url, format!("pool: {{listen: \"127.0.0.1:{port}\"}}")]
        };
        let (one, two) = (keys("postgres", first), keys("other", second));
        targets(&[("one", &[&one[0], &one[1]]), ("two", &[&two[0], &two[1]])])
    };
    let daemon = Daemon::start_with(&both(ports), &["--web.enable-lifecycle"], &[]);
    let found = async |ports: [u16; 2]| {
        for (port, database) in ports.into_iter().zip(["postgres", "other"]) {
            let url = url_at(port).replace("/postgres", &format!("/{database}"));
            let client = AppClient::at(&url).await.unwrap_or_else(|e| panic!("{database} at {port}: {e:?}"));
            assert_eq!(client.ask("SELECT current_database()").await, database);
        }
    };
    // Answered once the pools listen.
    daemon.metrics().await;
    found(ports).await;
    let swapped = [ports[1], ports[0]];
    fs::write(daemon.config_file(), both(swapped)).unwrap();
    let answer = daemon.post("/-/reload").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    found(swapped).await;
}

#[tokio::test]
async fn a_pool_is_added_to_a_target_that_is_up() {
    let cluster = cluster_for_app(Setup::default()).await;
    let plain = config(&cluster.url(USER, PASSWORD, "postgres"), &[]);
    let pool = PoolUnderTest::to(cluster, "", &[]).await;
    pool.reload_to(&plain).await;
    let port = free_port().unwrap();
    pool.reload(port, "min_idle: 1").await;
    assert_eq!(AppClient::at(&url_at(port)).await.unwrap().ask("SELECT 1").await, "1");
    assert_eq!(
        pool.daemon.metric("pgtether_reconnects_total", DB).await,
        Some(0.0),
        "the line was left alone"
    );
}

#[tokio::test]
async fn renewed_certificate_files_are_followed_and_connected_clients_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("the old"), Authority::new("the new"));
    let (cert, key) = old.server().write(folder.path(), "pool");
    let tls = format!("tls: {{cert_file: {}, key_file: {}}}", cert.display(), key.display());
    let pool = PoolUnderTest::open(&tls, &[]).await;
    assert!(secure(&pool, &new).await.is_err(), "it must not be verified by another authority");
    let before = secure(&pool, &old).await.unwrap();
    before.ask("SELECT 1").await;

    new.server().write(folder.path(), "pool");
    // Nobody asked for it, and the configuration is as it was.
    let renewed = wait_until(SOON, "the new certificate", async || {
        secure(&pool, &new).await.map_err(|error| error.to_string())
    });
    assert_eq!(renewed.await.ask("SELECT 1").await, "1");
    assert!(secure(&pool, &old).await.is_err());
    assert_eq!(before.ask("SELECT 2").await, "2");

    fs::write(&cert, "no certificate").unwrap();
    let answer = pool.daemon.post("/-/reload").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains(cert.to_str().unwrap()), "{}", answer.text());
    assert_eq!(
        secure(&pool, &new).await.unwrap().ask("SELECT 3").await,
        "3",
        "the old certificate stays in use"
    );
    pool.await_clients(ClientState::Idle, 1).await;
}

/// A client that demands a certificate of this authority.
async fn secure(pool: &PoolUnderTest, authority: &Authority) -> Result<AppClient, tokio_postgres::Error> {
    let (inner, connection) =
        tokio_postgres::connect(&format!("{}?sslmode=require", pool.url()), authority.demanded()).await?;
    Ok(AppClient { inner, wire: tokio::spawn(connection) })
}

async fn await_refusing(port: u16) {
    wait_until(SOON, "the port given up", async || {
        match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
}
