//! A real Prometheus, on loopback.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper::Method;
use pgtether::demo::postgres::free_port;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::{request, wait_until};

/// A Prometheus of the test's own. Dropping it ends it.
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts it with this configuration.
    pub fn start(config: &str) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("prometheus is missing ({e}); `make tools` installs it"));
        Prometheus { process, address, folder }
    }

    /// The first value of a query; `None` until there is one.
    async fn query(&self, query: &str) -> Option<String> {
        TcpStream::connect(self.address).await.ok()?;
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = request(self.address, Method::GET, &format!("/api/v1/query?query={query}"), &[]).await;
        let value = answer.status.is_success().then(|| answer.json())?;
        Some(value["data"]["result"][0]["value"][1].as_str()?.to_owned())
    }

    pub async fn await_value(&self, query: &str, wanted: &str) {
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        wait_until(Duration::from_secs(30), query, async || match self.query(query).await {
            Some(value) if value == wanted => Ok(()),
            seen => Err(format!("{seen:?}\n{}", log())),
        })
        .await;
    }
}
