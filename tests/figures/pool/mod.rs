//! The pool beside Debian's PgBouncer: same server, same number of sessions, same passwords, same moments.

pub mod idle;
pub mod instructions;
#[path = "../../it/pool_faults/ledger.rs"]
mod ledger;
pub mod outage;
pub mod pipeline;
#[path = "../../it/pool_faults/session.rs"]
mod session;
pub mod speed;

use std::time::Duration;

use pgtether::demo::postgres::{Cluster, SUPERUSER, free_port};

use crate::process::Daemon;
use crate::rig::{PATIENCE, all_up, config, url};
use crate::servers::{PgBouncer, PoolMode};

/// Both poolers in one mode.
struct Poolers {
    daemon: Daemon,
    port: u16,
    bouncer: PgBouncer,
    password: String,
}

/// Whose pooler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Theirs,
}

impl Poolers {
    /// Both, ready, with that many sessions each at the most; `ours` are more keys of the pool, `theirs` more lines.
    async fn open(cluster: &Cluster, mode: PoolMode, size: usize, ours: &str, theirs: &[&str]) -> Poolers {
        let port = free_port().unwrap();
        let word = match mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        };
        let pool = format!(", pool: {{listen: \"127.0.0.1:{port}\", mode: {word}, size: {size}{ours}}}");
        let daemon = Daemon::start(&config([("pool", url(cluster, "pool") + &pool)]));
        all_up(&daemon, 1, PATIENCE).await;
        let size = format!("default_pool_size = {size}");
        let settings = [&[size.as_str(), "log_connections = 0", "log_disconnections = 0"], theirs].concat();
        let bouncer = PgBouncer::start(cluster, mode, &settings);
        Poolers { daemon, port, bouncer, password: cluster.password().to_owned() }
    }

    fn port(&self, whose: Whose) -> u16 {
        match whose {
            Whose::Ours => self.port,
            Whose::Theirs => self.bouncer.port(),
        }
    }

    /// A connection string for clients, in plain.
    fn url(&self, whose: Whose) -> String {
        let (password, port) = (&self.password, self.port(whose));
        format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{SUPERUSER}?sslmode=disable")
    }

    fn pid(&self, whose: Whose) -> i32 {
        match whose {
            Whose::Ours => self.daemon.pid(),
            Whose::Theirs => self.bouncer.pid(),
        }
    }
}

/// Seconds with one digit, for the notes beside a figure.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
