//! A real Prometheus scrapes by TLS, with a user and a client certificate.

use std::process::{Child, Command, Stdio};

use super::*;

/// A Prometheus of the test's own. Dropping it ends it.
struct Prometheus {
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
    /// Scrapes `target` once a second as `scrape` says, which is a part of its configuration.
    fn start(target: SocketAddr, scrape: &str) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: pgtether\n    \
             static_configs: [{{targets: ['{target}']}}]\n{scrape}"
        );
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
        let path = format!("/api/v1/query?query={query}");
        let answer = request(self.address, Method::GET, &path, &[]).await;
        let value = answer.status.is_success().then(|| answer.json())?;
        Some(value["data"]["result"][0]["value"][1].as_str()?.to_owned())
    }

    async fn await_value(&self, query: &str, wanted: &str) {
        let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        wait_until(Duration::from_secs(30), query, async || match self.query(query).await {
            Some(value) if value == wanted => Ok(()),
            seen => Err(format!("{seen:?}\n{}", log())),
        })
        .await;
    }
}

#[tokio::test]
async fn prometheus_scrapes_with_its_own_certificate_and_password() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
                  client_allowed_sans: [prometheus.example]\n";
    let daemon = web.start(&(web.tls(demand) + &web.alice()), &[]);
    badge(&web.authority, "prometheus.example").write(web.folder.path(), "client");
    let at = |name: &str| web.path(name).display().to_string();
    let scrape = |password: &str| {
        format!(
            "    scheme: https\n    basic_auth: {{username: alice, password: {password}}}\n    tls_config:\n      \
             ca_file: {}\n      cert_file: {}\n      key_file: {}\n",
            at("ca.crt"),
            at("client.crt"),
            at("client.key")
        )
    };
    let good = Prometheus::start(daemon.address(), &scrape(PASSWORD));
    good.await_value("up", "1").await;
    good.await_value("pgtether_targets", "1").await;
    let wrong = Prometheus::start(daemon.address(), &scrape("guess"));
    wrong.await_value("up", "0").await;
    good.await_value("up", "1").await;
    web.kept_secrets(&daemon);
}
