//! A second pgtether in the same Prometheus, of another namespace, whose targets have names that the first one's have too.

use std::fs;
use std::net::SocketAddr;

use pgtether::demo::postgres::{Cluster, free_port};
use tempfile::TempDir;

use crate::process::Daemon;
use crate::servers::Admin;
use crate::supervise::targets;

/// Its targets: what happens to those of these names in the other namespace is not theirs.
pub const TARGETS: f64 = 2.0;

pub struct Second {
    _daemon: Daemon,
    _folder: TempDir,
    address: SocketAddr,
}

impl Second {
    /// Starts it, with roles of its own on this server.
    pub async fn start(server: &Cluster, admin: &Admin) -> Second {
        let url = |role: &str| {
            format!("url: postgresql://{role}:sesame@127.0.0.1:{}/postgres?sslmode=disable", server.port())
        };
        for role in ["second", "second_calm"] {
            admin.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'sesame'")).await;
        }
        let ping = "ping: {interval: 2s, timeout: 2s}";
        let refresh = "refresh: {every: 2s}";
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        let its =
            targets(&[("main", &[&url("second"), ping, refresh]), ("calm", &[&url("second_calm"), ping])]);
        fs::write(&config, its).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let args = [format!("--config.file={}", config.display()), format!("--web.listen-address={address}")];
        let daemon = Daemon::start_bare(&args.each_ref().map(String::as_str), &[]);
        Second { _daemon: daemon, _folder: folder, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its `main` keeps its session, and no login succeeds any more.
    pub async fn strike(&self, admin: &Admin) {
        admin.query("ALTER ROLE second PASSWORD 'changed'").await;
    }

    pub async fn cure(&self, admin: &Admin) {
        admin.query("ALTER ROLE second PASSWORD 'sesame'").await;
    }
}
