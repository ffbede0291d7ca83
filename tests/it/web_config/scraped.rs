//! A real Prometheus scrapes by TLS, with a user and a client certificate.

use super::*;
use crate::prometheus::Prometheus;

/// One that scrapes `target` once a second as `scrape` says, which is a part of its configuration.
fn scraping(target: SocketAddr, scrape: &str) -> Prometheus {
    Prometheus::start(&format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: pgtether\n    \
         static_configs: [{{targets: ['{target}']}}]\n{scrape}"
    ))
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
    let good = scraping(daemon.address(), &scrape(PASSWORD));
    good.await_value("up", "1").await;
    good.await_value("pgtether_targets", "1").await;
    let wrong = scraping(daemon.address(), &scrape("guess"));
    wrong.await_value("up", "0").await;
    good.await_value("up", "1").await;
    web.kept_secrets(&daemon);
}
