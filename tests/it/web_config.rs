//! The web port of a live daemon by TLS, with users, client certificates and headers; what changes while it runs.

mod healthcheck;
mod live;
mod scraped;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use openssl::ssl::SslVersion;
use pgtether::demo::postgres::free_port;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::certs::{Authority, Leaf};
use crate::https::{Client, basic};
use crate::process::{Answer, Daemon, raw, request, run, wait_until};
use crate::supervise::{SOON, targets};

/// What every one of these tests leaves out of the log: the password, its hash, the key.
const PASSWORD: &str = "correct horse";

/// A folder with a web config file and what it names.
struct Web {
    folder: TempDir,
    authority: Authority,
    server: Leaf,
    hash: String,
}

impl Web {
    fn new() -> Web {
        let authority = Authority::new("web");
        let server = authority.server();
        let folder = tempfile::tempdir().unwrap();
        server.write(folder.path(), "server");
        fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
        Web { folder, authority, server, hash: bcrypt::hash(PASSWORD, 4).unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// TLS, and these lines.
    fn tls(&self, more: &str) -> String {
        format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}")
    }

    /// A user named alice.
    fn alice(&self) -> String {
        format!("basic_auth_users:\n  alice: {}\n", self.hash)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("web.yml"), text).unwrap();
    }

    /// A daemon with this web config file and one target, whose server is not there.
    fn start(&self, text: &str, args: &[&str]) -> Daemon {
        self.write(text);
        let dead = format!("url: postgresql://app@127.0.0.1:{}/db", free_port().unwrap());
        let flag = format!("--web.config.file={}", self.path("web.yml").display());
        let args = [&[flag.as_str(), "--log.level=debug"], args].concat();
        Daemon::start_with(&targets(&[("primary", &[&dead])]), &args, &[])
    }

    fn client(&self) -> Client {
        Client::trusting(&self.authority)
    }

    fn alices(&self) -> Client {
        self.client().user("alice", PASSWORD)
    }

    fn kept_secrets(&self, daemon: &Daemon) {
        let log = daemon.log();
        let encoded = basic("alice", PASSWORD);
        let of_key = self.server.key.lines().nth(1).unwrap();
        for secret in [PASSWORD, &self.hash, encoded.trim_start_matches("Basic "), of_key] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_older_ones_are_not() {
    let web = Web::new();
    let daemon = web.start(&web.tls(""), &[]);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let answer = web.client().only(version).get(daemon.address(), "/livez").await;
        assert_eq!(answer.text(), "ok", "{version:?}");
    }
    for version in [SslVersion::TLS1, SslVersion::TLS1_1] {
        let refused = web.client().only(version).try_get(daemon.address(), "/livez").await.unwrap_err();
        assert!(refused.contains("protocol version"), "{refused}");
    }
    assert!(daemon.log().contains("url=https://127.0.0.1:"), "{}", daemon.log());
    web.kept_secrets(&daemon);
}

#[tokio::test]
async fn least_and_greatest_version_and_cipher_suites_are_obeyed() {
    let web = Web::new();
    let strict = "  min_version: TLS12\n  max_version: TLS12\n  curve_preferences: [CurveP384]\n  \
                  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n";
    let daemon = web.start(&web.tls(strict), &[]);
    let refused = web.client().only(SslVersion::TLS1_3).connect(daemon.address()).await.unwrap_err();
    assert!(refused.contains("protocol version"), "{refused}");
    let stream = web.client().connect(daemon.address()).await.unwrap();
    assert_eq!(stream.ssl().current_cipher().unwrap().name(), "ECDHE-ECDSA-CHACHA20-POLY1305");
}

#[tokio::test]
async fn plain_http_to_the_tls_port_is_told_to_use_https() {
    let web = Web::new();
    let daemon = web.start(&web.tls(""), &[]);
    let answer = raw(daemon.address(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", SOON).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400 ") && answer.contains("ask with https://"), "{answer}");
}

#[tokio::test]
async fn clients_that_never_finish_the_handshake_keep_nobody_waiting() {
    let web = Web::new();
    let daemon = web.start(&web.tls(""), &[]);
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(daemon.address()).await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(web.client().get(daemon.address(), "/livez").await.text(), "ok");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

/// A client's certificate with this name in it.
fn badge(authority: &Authority, name: &str) -> Leaf {
    authority.client_for(name)
}

#[tokio::test]
async fn where_client_certificates_are_demanded_only_a_good_one_gets_in() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let daemon = web.start(&web.tls(demand), &[]);
    let unknown = Authority::new("unknown");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let client = || web.client().only(version);
        let good = client().showing(&badge(&web.authority, "prometheus.example"));
        assert_eq!(good.get(daemon.address(), "/metrics").await.status, 200, "{version:?}");
        let wrong = client().showing(&badge(&unknown, "prometheus.example"));
        let server = client().showing(&web.server);
        for (client, who) in [(client(), "nobody"), (wrong, "an unknown authority"), (server, "a server")] {
            let seen = client.try_get(daemon.address(), "/livez").await;
            assert!(seen.is_err(), "{version:?}: {who} got in: {seen:?}");
        }
    }
    let log = daemon.log();
    assert!(log.contains("--web.health-listen-address"), "{log}");
    assert!(log.contains("peer did not return a certificate"), "{log}");
}

#[tokio::test]
async fn of_good_certificates_only_those_with_an_allowed_name_get_in() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
                  client_allowed_sans: [prometheus.example, 192.0.2.7, '2001:db8::7', ops@example.org, 'spiffe://ops/p']\n";
    let daemon = web.start(&web.tls(demand), &[]);
    for name in ["prometheus.example", "192.0.2.7", "2001:db8::7", "ops@example.org", "spiffe://ops/p"] {
        let client = web.client().showing(&badge(&web.authority, name));
        assert_eq!(client.get(daemon.address(), "/metrics").await.status, 200, "{name}");
    }
    for name in ["example", "x.prometheus.example", "192.0.2.70", "spiffe://ops/p/"] {
        let client = web.client().showing(&badge(&web.authority, name));
        assert!(client.try_get(daemon.address(), "/metrics").await.is_err(), "{name} got in");
    }
}

#[tokio::test]
async fn the_weaker_policies_do_what_go_calls_them_and_warn() {
    let web = Web::new();
    let unknown = Authority::new("unknown");
    let known = web.client().showing(&badge(&web.authority, "a.example"));
    let wrong = web.client().showing(&badge(&unknown, "a.example"));
    for (policy, nobody, strange) in [
        ("NoClientCert", true, true),
        ("RequestClientCert", true, true),
        ("RequireAnyClientCert", false, true),
        ("VerifyClientCertIfGiven", true, false),
    ] {
        let ca = if policy.starts_with('V') { "  client_ca_file: ca.crt\n" } else { "" };
        let daemon = web.start(&web.tls(&format!("  client_auth_type: {policy}\n{ca}")), &[]);
        for (client, may) in [(&known, true), (&web.client(), nobody), (&wrong, strange)] {
            let seen = client.try_get(daemon.address(), "/livez").await;
            assert_eq!(seen.is_ok(), may, "{policy}: {seen:?}");
        }
        assert_eq!(daemon.log().contains("RequireAndVerifyClientCert protects"), policy != "NoClientCert");
    }
}

/// Pages, and whether probes may have them without credentials.
const PAGES: &[(&str, bool)] = &[
    ("/", false),
    ("/metrics", false),
    ("/probe?target=primary", false),
    ("/api/v1/targets", false),
    ("/api/v1/sd", false),
    ("/badge/primary.svg", false),
    ("/api/v1/events", false),
    ("/-/healthy", false),
    ("/-/ready", false),
    ("/nowhere", false),
    ("/healthz", false),
    ("/health", true),
    ("/health/primary", true),
    ("/livez", true),
    ("/livez?verbose", true),
    ("/livez/loops", true),
    ("/readyz", true),
];

#[tokio::test]
async fn pages_want_credentials_and_probes_do_not() {
    let web = Web::new();
    let daemon = web.start(&(web.tls("") + &web.alice()), &["--web.enable-lifecycle"]);
    for (page, open) in PAGES {
        let known = web.alices().get(daemon.address(), page).await;
        assert_ne!(known.status, 401, "{page}");
        let nobody = web.client().get(daemon.address(), page).await;
        assert_eq!(nobody.status == 401, !open, "{page}: {}", nobody.status);
        if !open {
            let challenge = nobody.header("www-authenticate");
            assert_eq!(challenge, Some(r#"Basic realm="pgtether", charset="UTF-8""#), "{page}");
        }
    }
    let headers = [("authorization", "Bearer x")];
    let stream = web.client().connect(daemon.address()).await.unwrap();
    let bearer = crate::process::ask(stream, daemon.address(), Method::GET, "/metrics", &headers).await;
    assert_eq!(bearer.unwrap().status, 401);
    for (name, password) in [("alice", "wrong"), ("alice", ""), ("bob", PASSWORD), ("", "")] {
        for page in ["/metrics", "/health"] {
            let answer = web.client().user(name, password).get(daemon.address(), page).await;
            assert_eq!(answer.status, 401, "{page} as {name:?}");
        }
    }
    web.kept_secrets(&daemon);
}

#[tokio::test]
async fn without_credentials_health_tells_of_the_whole_and_of_no_target() {
    let web = Web::new();
    let daemon = web.start(&(web.tls("") + &web.alice()), &[]);
    for page in ["/health", "/health/primary"] {
        let known = web.alices().get(daemon.address(), page).await;
        let nobody = web.client().get(daemon.address(), page).await;
        assert_eq!(known.status, nobody.status);
        assert_eq!(known.json()["targets"][0]["name"], "primary");
        let keys: Vec<_> = nobody.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["database", "service", "status", "version"], "{page}");
    }
}

#[tokio::test]
async fn the_health_port_serves_probes_plainly_and_nothing_else() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let daemon = web.start(&web.tls(demand), &["--web.health-listen-address=127.0.0.1:0"]);
    let port = health_port(&daemon);
    let get = async |path: &str| -> Answer { request(port, Method::GET, path, &[]).await };
    assert_eq!(get("/livez").await.text(), "ok");
    assert_eq!(get("/health").await.json().as_object().unwrap().len(), 4);
    assert!(get("/readyz?verbose").await.text().contains("[+]config ok"));
    for page in ["/", "/metrics", "/probe?target=primary", "/api/v1/targets", "/api/v1/events", "/-/healthy"]
    {
        assert_eq!(get(page).await.status, 404, "{page}");
    }
    let badge = badge(&web.authority, "p.example");
    let whole = web.client().showing(&badge).get(daemon.address(), "/health").await;
    assert_eq!(whole.json()["targets"][0]["name"], "primary");
    assert!(!daemon.log().contains("probes of Kubernetes"), "{}", daemon.log());
}

pub fn health_port(daemon: &Daemon) -> SocketAddr {
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("serves=health")).unwrap_or_else(|| panic!("{log}"));
    let (_, after) = line.split_once("address=").unwrap();
    after.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_file() {
    let web = Web::new();
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: SAMEORIGIN\n    \
                   Content-Security-Policy: frame-ancestors 'self'\n    X-XSS-Protection: ''\n    \
                   Strict-Transport-Security: max-age=3600\n";
    let daemon = web.start(&(web.tls("") + &web.alice() + headers), &[]);
    for client in [web.alices(), web.client()] {
        for page in ["/", "/metrics", "/livez", "/nowhere"] {
            let answer = client.get(daemon.address(), page).await;
            assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"), "{page}");
            assert_eq!(answer.header("content-security-policy"), Some("frame-ancestors 'self'"), "{page}");
            assert_eq!(answer.header("strict-transport-security"), Some("max-age=3600"), "{page}");
            assert_eq!(answer.header("x-xss-protection"), None, "{page}");
        }
    }
}

#[tokio::test]
async fn above_the_rate_limit_pages_are_refused_and_probes_are_not() {
    let web = Web::new();
    let daemon = web.start("rate_limit: {interval: 1h, burst: 2}\n", &[]);
    for status in [200, 200, 429, 429] {
        let answer = daemon.get("/metrics").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    assert_eq!(daemon.get("/livez").await.status, 200);
}

#[test]
fn every_mistake_of_both_files_is_told_before_anything_is_bound() {
    let web = Web::new();
    web.write(&web.tls("  client_auth_typ: NoClientCert\nbasic_auth_users: {alice: secret-in-plain}\n"));
    fs::write(web.path("bad.yaml"), "targets: [{name: a}]\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let args = [
        format!("--config.file={}", web.path("bad.yaml").display()),
        format!("--web.config.file={}", web.path("web.yml").display()),
        format!("--web.listen-address={}", taken.local_addr().unwrap()),
    ];
    for more in [&["--config.check".to_owned()][..], &[]] {
        let output = run(&[&args[..], more].concat(), &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        let wanted = [
            "bad.yaml:1:11: targets[0]: does not say where to connect",
            "web.yml:4:3: tls_server_config.client_auth_typ: unknown key",
            "web.yml:5:27: basic_auth_users.alice: is not a bcrypt hash",
        ];
        for wanted in wanted {
            assert!(said.contains(wanted), "no {wanted:?} in {said}");
        }
        assert!(!said.contains("secret-in-plain"), "{said}");
    }
}

#[test]
fn the_check_says_that_a_web_config_file_is_good_and_what_to_know_of_it() {
    let web = Web::new();
    web.write(&web.alice());
    let folder: &Path = web.folder.path();
    let args =
        ["--config.check".to_owned(), format!("--web.config.file={}", folder.join("web.yml").display())];
    let output = run(&args, &[("DATABASE_URL", "postgresql://app@localhost/db")]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the web configuration is good"), "{said}");
    assert!(said.contains("passwords cross the network readably"), "{said}");
}

/// Waits until `look` sees it, as often as it is there to be seen.
async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    wait_until(SOON, what, async || if look().await { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

#[test]
fn the_file_in_the_documentation_is_good_and_every_key_of_it_is_known() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/web-config.md")).unwrap();
    let (_, after) = docs.split_once("```yaml\n").unwrap();
    let web = Web::new();
    let check = |text: &str| {
        web.write(text);
        let args =
            ["--config.check".to_owned(), format!("--web.config.file={}", web.path("web.yml").display())];
        let output = run(&args, &[("DATABASE_URL", "postgresql://app@localhost/db")]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check(after.split_once("```").unwrap().0);
    assert_eq!(code, Some(0), "{said}");
    let (_, table) = docs.split_once("## Keys").unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let mut tried = 0;
    for row in rows.take_while(|row| row.starts_with('|')) {
        let cell = row.split(" | ").next().unwrap();
        let mut section = "";
        for key in cell.split('`').skip(1).step_by(2) {
            let (of, key) = key.split_once('.').unwrap_or((key, ""));
            section = if of.is_empty() { section } else { of };
            let (_, said) =
                check(&format!("{section}: {{{key}{} []}}", if key.is_empty() { "" } else { ":" }));
            assert!(!said.contains("unknown key"), "{section}.{key}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= 16, "only {tried} keys");
    assert!(check("basic_auth_user: {x: []}").1.contains("unknown key"), "it would have told");
}
