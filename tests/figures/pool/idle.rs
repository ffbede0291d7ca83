//! Clients that are there and want nothing: what one of them costs in memory.

use futures_util::{StreamExt, TryStreamExt, stream};
use pgtether::demo::postgres::{Cluster, Setup};
use tokio::time::{Duration, sleep};
use tokio_postgres::{Client, NoTls};

use super::{Poolers, Whose};
use crate::plan::Plan;
use crate::report::Figure;
use crate::servers::{PoolMode, Version, postgres};
use crate::usage::resident;

const CLIENTS: usize = 1000;
/// KiB for each.
const BOUND: f64 = 12.0;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let clients = if plan.quick { 100 } else { CLIENTS };
    let cluster = postgres(Version::V15, Setup::default());
    let mut figures = Vec::new();
    for (what, asks) in [("after one query", true), ("that were let in and never asked", false)] {
        // New ones each time: what was given back stays with a process, and would hide what comes next.
        let poolers = poolers(&cluster).await;
        let ours = each(&poolers, Whose::Ours, clients, asks).await;
        let theirs = each(&poolers, Whose::Theirs, clients, asks).await;
        figures.push(Figure::fact(
            &format!("memory of each of {clients} idle clients {what} (PgBouncer {theirs:.1} KiB)"),
            format!("{ours:.1} KiB"),
            &format!("≤ {BOUND} KiB"),
            ours <= BOUND,
        ));
    }
    figures
}

async fn poolers(cluster: &Cluster) -> Poolers {
    Poolers::open(cluster, PoolMode::Transaction, 10, ", max_clients: 1100", &["max_client_conn = 1100"])
        .await
}

/// What each of so many clients adds to the pooler's resident memory, in KiB.
async fn each(poolers: &Poolers, whose: Whose, clients: usize, asks: bool) -> f64 {
    const AT_ONCE: usize = 8;
    let url = poolers.url(whose);
    // What the first one costs is the pooler's own.
    let first = client(&url, true).await.unwrap();
    let before = resident(poolers.pid(whose));
    let all = stream::iter(0..clients).map(|_| client(&url, asks)).buffer_unordered(AT_ONCE);
    let all: Vec<Client> = all.try_collect().await.unwrap_or_else(|e| panic!("{whose:?}: {e:?}"));
    sleep(Duration::from_secs(1)).await;
    let grown = resident(poolers.pid(whose)) - before;
    assert!(all.iter().chain([&first]).all(|client| !client.is_closed()), "{whose:?} let clients go");
    grown * 1024.0 / clients as f64
}

async fn client(url: &str, asks: bool) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    if asks {
        client.simple_query("SELECT 1").await?;
    }
    Ok(client)
}
