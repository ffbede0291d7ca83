//! Clients that are there and want nothing: what one of them costs in memory.

use futures_util::{StreamExt, TryStreamExt, stream};
use native_tls::TlsConnector;
use pgtether::demo::postgres::{Cluster, Setup};
use postgres_native_tls::MakeTlsConnector;
use tokio::time::{Duration, sleep};
use tokio_postgres::Client;

use super::{Poolers, Whose};
use crate::plan::Plan;
use crate::report::Figure;
use crate::servers::{PoolMode, Version, postgres};
use crate::usage::resident;

const CLIENTS: usize = 1000;
/// KiB for each.
const BOUND: f64 = 3.0;
/// Most of it is OpenSSL's: 12 KiB for keys, ciphers and the state of each connection.
const BOUND_TLS: f64 = 18.0;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let clients = if plan.quick { 100 } else { CLIENTS };
    let cluster = postgres(Version::V15, Setup::default());
    let mut figures = Vec::new();
    for (what, asks) in [("after one query", true), ("that were let in and never asked", false)] {
        // New ones each time: what was given back stays with a process, and would hide what comes next.
        let poolers = poolers(&cluster).await;
        let ours = each(&poolers, Whose::Ours, false, clients, asks).await;
        let theirs = each(&poolers, Whose::Theirs, false, clients, asks).await;
        figures.push(Figure::fact(
            &format!("memory of each of {clients} idle clients {what} (PgBouncer {theirs:.1} KiB)"),
            format!("{ours:.1} KiB"),
            &format!("≤ {BOUND} KiB"),
            ours <= BOUND,
        ));
    }
    let poolers = poolers(&cluster).await;
    let ours = each(&poolers, Whose::Ours, true, clients, true).await;
    figures.push(Figure::fact(
        &format!("… of {clients} idle clients under TLS"),
        format!("{ours:.1} KiB"),
        &format!("≤ {BOUND_TLS} KiB"),
        ours <= BOUND_TLS,
    ));
    figures
}

async fn poolers(cluster: &Cluster) -> Poolers {
    Poolers::open(cluster, PoolMode::Transaction, 10, ", max_clients: 1100", &["max_client_conn = 1100"])
        .await
}

/// What each of so many clients adds to the pooler's resident memory, in KiB.
async fn each(poolers: &Poolers, whose: Whose, tls: bool, clients: usize, asks: bool) -> f64 {
    const AT_ONCE: usize = 8;
    let mut url = poolers.url(whose);
    if tls {
        url = url.replace("sslmode=disable", "sslmode=require");
    }
    let trusting = TlsConnector::builder().danger_accept_invalid_certs(true).build();
    let connector = MakeTlsConnector::new(trusting.unwrap_or_else(|e| panic!("no TLS for clients: {e}")));
    // What the first one costs is the pooler's own.
    let first = client(&url, &connector, true).await.unwrap();
    let before = resident(poolers.pid(whose));
    let all = stream::iter(0..clients).map(|_| client(&url, &connector, asks)).buffer_unordered(AT_ONCE);
    let all: Vec<Client> = all.try_collect().await.unwrap_or_else(|e| panic!("{whose:?}: {e:?}"));
    sleep(Duration::from_secs(1)).await;
    let grown = resident(poolers.pid(whose)) - before;
    assert!(all.iter().chain([&first]).all(|client| !client.is_closed()), "{whose:?} let clients go");
    grown * 1024.0 / clients as f64
}

async fn client(
    url: &str,
    connector: &MakeTlsConnector,
    asks: bool,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, connector.clone()).await?;
    tokio::spawn(connection);
    if asks {
        client.simple_query("SELECT 1").await?;
    }
    Ok(client)
}
