//! `pgtether healthcheck` beside a live daemon, as an image's HEALTHCHECK runs it: by the same variables.

use std::net::SocketAddr;

use super::Web;
use crate::commands::{Ended, pgtether};
use crate::process::{Daemon, run};
use crate::supervise::config;

/// By the environment alone, as in a container.
fn asked(path: &str, listens: SocketAddr, more: &[(&str, &str)]) -> Ended {
    let listens = listens.to_string();
    let env = [&[("PGTETHER_WEB_LISTEN_ADDRESS", listens.as_str())], more].concat();
    run(&["healthcheck", path], &env).into()
}

#[tokio::test]
async fn the_process_is_healthy_where_its_database_is_not() {
    let daemon = Daemon::start(&config("postgresql://app@127.0.0.1:1/db", &[]));
    let ended = asked("/livez", daemon.address(), &[]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "ok\n", ""));
    let ended = asked("/health", daemon.address(), &[]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    for part in ["/health answered 503", "\"status\":"] {
        assert!(ended.err.contains(part), "no {part} in {}", ended.err);
    }
    assert_eq!(asked("/no-such-path", daemon.address(), &[]).code, 1);
    // Which of them answers first is nothing that a daemon with several addresses could change.
    let flag = format!("--web.listen-address={},127.0.0.1:1", daemon.address());
    assert_eq!(pgtether(&["healthcheck", &flag]).out, "ok\n");
}

#[tokio::test]
async fn a_web_port_with_tls_and_users_is_asked_by_tls() {
    let web = Web::new();
    let daemon = web.start(&web.tls(&web.alice()), &[]);
    let file = web.path("web.yml").display().to_string();
    let ended = asked("/livez", daemon.address(), &[("PGTETHER_WEB_CONFIG_FILE", &file)]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "ok\n", ""));
    let ended = asked("/metrics", daemon.address(), &[("PGTETHER_WEB_CONFIG_FILE", &file)]);
    assert!(ended.code == 1 && ended.err.contains("answered 401"), "{ended:?}");
    // Without the file it does not know of TLS, and is told by the port.
    for _ in 0..20 {
        let ended = asked("/livez", daemon.address(), &[]);
        let told = ended.err.contains("speaks HTTPS") && ended.err.contains("PGTETHER_WEB_CONFIG_FILE");
        assert!(ended.code == 1 && told, "{ended:?}");
    }
    web.write("tls_server_config:\n  cert_file: gone.crt\n  key_file: server.key\n");
    let ended = asked("/livez", daemon.address(), &[("PGTETHER_WEB_CONFIG_FILE", &file)]);
    assert!(ended.code == 64 && ended.err.contains("gone.crt"), "{ended:?}");
}

#[tokio::test]
async fn where_certificates_are_demanded_the_health_address_is_asked() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let daemon = web.start(&web.tls(demand), &["--web.health-listen-address=127.0.0.1:0"]);
    let file = web.path("web.yml").display().to_string();
    let ended = asked("/livez", daemon.address(), &[("PGTETHER_WEB_CONFIG_FILE", &file)]);
    assert!(ended.code == 1 && ended.err.contains("--web.health-listen-address"), "{ended:?}");
    let health = super::health_port(&daemon).to_string();
    let both = [("PGTETHER_WEB_CONFIG_FILE", file.as_str()), ("PGTETHER_WEB_HEALTH_LISTEN_ADDRESS", &health)];
    assert_eq!(asked("/livez", daemon.address(), &both).out, "ok\n");
}
