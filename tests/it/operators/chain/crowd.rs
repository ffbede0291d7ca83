//! Applications at the pools: one that is served, a crowd before a pool of one session, one that is always turned away.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// More than the alert on waits wants to have seen.
const CROWD: usize = 30;
/// How long the only session is kept from the crowd each time.
const HOLD: Duration = Duration::from_secs(2);
/// From one query of a client to its next.
const PAUSE: Duration = Duration::from_millis(50);

/// Clients at work. Dropping it ends them.
pub struct Crowd {
    _clients: JoinSet<()>,
}

impl Crowd {
    /// One client of this pool, which asks again and again, whatever happens to it.
    pub fn of_one(url: String) -> Crowd {
        let mut clients = JoinSet::new();
        clients.spawn(work(url));
        Crowd { _clients: clients }
    }

    /// Many that wait for the one session of `busy`, and one that never gets that of `short`.
    pub fn of_many(busy: &str, short: &str) -> Crowd {
        let mut clients = JoinSet::new();
        clients.spawn(hold(busy.to_owned(), HOLD));
        clients.spawn(hold(short.to_owned(), Duration::MAX));
        for _ in 0..CROWD {
            clients.spawn(work(busy.to_owned()));
        }
        clients.spawn(work(short.to_owned()));
        Crowd { _clients: clients }
    }
}

/// Where applications find a pool of the scene.
pub fn through(role: &str, password: &str, pool: SocketAddr) -> String {
    format!("postgresql://{role}:{password}@{pool}/postgres?sslmode=disable")
}

/// Asks, and comes again when it is hung up on.
async fn work(url: String) {
    loop {
        let client = connected(&url).await;
        while !client.is_closed() {
            // An error is what the scene is about.
            let _ = client.batch_execute("SELECT 1").await;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Keeps a session so long each time.
async fn hold(url: String, long: Duration) {
    loop {
        let client = connected(&url).await;
        while client.batch_execute("BEGIN").await.is_ok() {
            tokio::time::sleep(long).await;
            let _ = client.batch_execute("COMMIT").await;
        }
    }
}

async fn connected(url: &str) -> Client {
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await {
            tokio::spawn(connection);
            return client;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
