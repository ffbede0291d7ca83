//! How a pool lives: what its clients notice of deaths, replacements, outages, sleep, reloads and its end.

mod deaths;
mod drain;
mod guard;
mod hangs;
mod losses;
mod maintenance;
mod outages;
mod places;
mod refresh;
mod reloads;
mod sleep;
mod truth;
mod unix;
mod waits;

use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Setup, free_port};
use pgtether::status::pool::{ClientState, ServerState};
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use crate::process::{Daemon, wait_until};
use crate::servers::{Admin, Version, postgres};
use crate::supervise::{DB, SOON, await_state, config};

/// The user of all that comes from the daemon: its sessions are told from the test's own by it.
const USER: &str = "app";
const PASSWORD: &str = "sesame";

/// A server, a daemon whose target `db` has a pool, and the test's own look at the server.
struct PoolUnderTest {
    daemon: Daemon,
    cluster: Cluster,
    admin: Admin,
    port: u16,
}

impl PoolUnderTest {
    /// Opens it with these keys of `pool`, `listen` excepted, and these lines of the target; waits until it is up.
    async fn open(pool: &str, keys: &[&str]) -> PoolUnderTest {
        PoolUnderTest::of(Setup::default(), pool, keys).await
    }

    async fn of(setup: Setup, pool: &str, keys: &[&str]) -> PoolUnderTest {
        let cluster = cluster_for_app(setup).await;
        PoolUnderTest::to(cluster, pool, keys).await
    }

    async fn to(cluster: Cluster, pool: &str, keys: &[&str]) -> PoolUnderTest {
        let port = free_port().unwrap();
        let config = pool_config(&cluster, port, pool, keys);
        let daemon = Daemon::start_with(&config, &["--web.enable-lifecycle"], &[]);
        await_state(&daemon, SOON, "up").await;
        let admin = Admin::of(&cluster).await;
        PoolUnderTest { daemon, cluster, admin, port }
    }

    fn url(&self) -> String {
        url_at(self.port)
    }

    /// A client that is let in.
    async fn client(&self) -> AppClient {
        AppClient::at(&self.url()).await.unwrap_or_else(|e| panic!("not let in: {e:?}"))
    }

    /// Server sessions in this state, as the metrics tell it.
    async fn servers(&self, state: ServerState) -> f64 {
        gauge(&self.daemon, "pgtether_pool_servers", state.as_str()).await
    }

    async fn await_servers(&self, state: ServerState, wanted: u32) {
        let labels = [DB, &[("state", state.as_str())]].concat();
        self.daemon.await_metric(SOON, "pgtether_pool_servers", &labels, wanted.into()).await;
    }

    async fn await_clients(&self, state: ClientState, wanted: u32) {
        let labels = [DB, &[("state", state.as_str())]].concat();
        self.daemon.await_metric(SOON, "pgtether_pool_clients", &labels, wanted.into()).await;
    }

    /// The daemon's sessions on the server: the pool's and the supervised one.
    async fn pids(&self) -> Vec<i32> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{USER}' ORDER BY backend_start");
        self.admin.query(&sql).await.iter().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Ends a session, and waits until it has ended.
    async fn kill(&self, pid: i32) {
        let ended = self.admin.query(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
        assert_eq!(ended, ["t"], "session {pid} was not there");
    }

    async fn await_pids(&self, what: &str, fits: impl Fn(&[i32]) -> bool) -> Vec<i32> {
        wait_until(SOON, what, async || {
            let pids = self.pids().await;
            if fits(&pids) { Ok(pids) } else { Err(format!("{pids:?}")) }
        })
        .await
    }
}

/// A server with a user and a password of its own for the daemon.
async fn cluster_for_app(setup: Setup) -> Cluster {
    let cluster = postgres(Version::V15, setup);
    let admin = Admin::of(&cluster).await;
    admin.query(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")).await;
    admin.query(&format!("GRANT ALL ON SCHEMA public TO {USER}")).await;
    admin.query(&format!("CREATE TABLE kept (n int); GRANT ALL ON kept TO {USER}")).await;
    admin.close().await;
    cluster
}

fn pool_config(cluster: &Cluster, port: u16, pool: &str, keys: &[&str]) -> String {
    let pool = match pool {
        "" => format!("pool: {{listen: \"127.0.0.1:{port}\"}}"),
        pool => format!("pool: {{listen: \"127.0.0.1:{port}\", {pool}}}"),
    };
    config(&cluster.url(USER, PASSWORD, "postgres"), &[keys, &[pool.as_str()]].concat())
}

fn url_at(port: u16) -> String {
    format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres")
}

async fn gauge(daemon: &Daemon, name: &str, state: &str) -> f64 {
    let labels = [DB, &[("state", state)]].concat();
    daemon.metric(name, &labels).await.unwrap_or_else(|| panic!("no {name} for {state}"))
}

/// An application's connection.
struct AppClient {
    inner: Client,
    wire: JoinHandle<Result<(), Error>>,
}

impl AppClient {
    async fn at(url: &str) -> Result<AppClient, Error> {
        let (inner, connection) = tokio_postgres::connect(url, NoTls).await?;
        Ok(AppClient { inner, wire: tokio::spawn(connection) })
    }

    /// The first column of the last row, by a simple query.
    async fn try_ask(&self, sql: &str) -> Result<String, Error> {
        let messages = self.inner.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(rows.last().unwrap_or_default().to_owned())
    }

    async fn ask(&self, sql: &str) -> String {
        self.try_ask(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// Which session it has now.
    async fn pid(&self) -> i32 {
        self.ask("SELECT pg_backend_pid()").await.parse().unwrap()
    }

    /// What it is told, unasked, as its connection ends within the limit.
    async fn farewell(self, limit: Duration) -> Told {
        let AppClient { inner, wire } = self;
        let ended = tokio::time::timeout(limit, wire).await;
        let ended = ended.unwrap_or_else(|_| panic!("the connection was still open after {limit:?}"));
        drop(inner);
        Told::of(&ended.unwrap().expect_err("the connection ended without a word"))
    }

    /// Is gone as by SIGKILL: no goodbye.
    async fn vanish(self) {
        self.wire.abort();
        assert!(self.wire.await.unwrap_err().is_cancelled());
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    severity: String,
    sqlstate: String,
    message: String,
    hint: String,
}

impl Told {
    fn of(error: &Error) -> Told {
        let told: &DbError = error.as_db_error().unwrap_or_else(|| panic!("not told, but lost: {error:?}"));
        Told {
            severity: told.severity().to_owned(),
            sqlstate: told.code().code().to_owned(),
            message: told.message().to_owned(),
            hint: told.hint().unwrap_or_default().to_owned(),
        }
    }
}
