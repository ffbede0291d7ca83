//! Certificates and users change under a running daemon.

use super::*;
use crate::scrape::Metrics;

const TAKEN: &str = "pgtether_web_config_last_reload_successful";

async fn taken(daemon: &Daemon, client: &Client) -> Option<f64> {
    let answer = client.get(daemon.address(), "/metrics").await;
    Metrics::parse(&answer.text()).get(TAKEN, &[])
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_client() {
    let web = Web::new();
    let daemon = web.start(&web.tls(""), &[]);
    let before = web.client().serial(daemon.address()).await;
    let kept = web.client().connect(daemon.address()).await.unwrap();

    web.authority.server().write(web.folder.path(), "server");
    eventually("the new certificate", async || web.client().serial(daemon.address()).await != before).await;
    assert_eq!(taken(&daemon, &web.client()).await, Some(1.0));
    let goes_on = crate::process::ask(kept, daemon.address(), Method::GET, "/livez", &[]).await.unwrap();
    assert_eq!(goes_on.text(), "ok", "who is connected stays connected");
}

#[tokio::test]
async fn a_key_that_does_not_fit_keeps_the_old_pair_and_is_told_once() {
    let web = Web::new();
    let daemon = web.start(&web.tls(""), &[]);
    let before = web.client().serial(daemon.address()).await;
    let next = web.authority.server();
    let key = web.path("server.key");

    fs::write(&key, &next.key).unwrap();
    eventually("the refusal", async || taken(&daemon, &web.client()).await == Some(0.0)).await;
    assert_eq!(web.client().serial(daemon.address()).await, before);
    let api = web.client().get(daemon.address(), "/api/v1/targets").await.json();
    assert_eq!(api["config"]["last_read"], "loaded");
    assert_eq!(api["web_config"]["last_read"], "refused");
    let problem = api["web_config"]["problems"][0].as_str().unwrap();
    assert!(problem.ends_with("tls_server_config.key_file: is not the key of the certificate"), "{problem}");

    // Written again as it is: read again, and not told again.
    let read_at = api["web_config"]["at"].clone();
    fs::write(&key, &next.key).unwrap();
    eventually("another look", async || {
        let api = web.client().get(daemon.address(), "/api/v1/targets").await.json();
        api["web_config"]["at"] != read_at
    })
    .await;
    let told = daemon.log().matches("the new web configuration was rejected").count();
    assert_eq!(told, 1, "{}", daemon.log());

    next.write(web.folder.path(), "server");
    eventually("the new pair", async || web.client().serial(daemon.address()).await != before).await;
    assert_eq!(taken(&daemon, &web.client()).await, Some(1.0));
    web.kept_secrets(&daemon);
}

#[tokio::test]
async fn users_come_and_go_and_passwords_change() {
    let web = Web::new();
    let daemon = web.start(&(web.tls("") + &web.alice()), &[]);
    let kept = web.alices();
    assert_eq!(kept.get(daemon.address(), "/metrics").await.status, 200);

    let hash = bcrypt::hash("swordfish", 4).unwrap();
    web.write(&(web.tls("") + &format!("basic_auth_users:\n  alice: {hash}\n  bob: {hash}\n")));
    let bob = web.client().user("bob", "swordfish");
    eventually("bob", async || bob.get(daemon.address(), "/metrics").await.status == 200).await;
    let status = async |client: &Client| client.get(daemon.address(), "/metrics").await.status;
    assert_eq!(status(&kept).await, 401, "the old password is no longer good, though it was remembered");
    assert_eq!(status(&web.client().user("alice", "swordfish")).await, 200);

    web.write(&(web.tls("") + &format!("basic_auth_users:\n  bob: {hash}\n")));
    eventually("alice's end", async || status(&web.client().user("alice", "swordfish")).await == 401).await;
    assert_eq!(status(&bob).await, 200);
}

#[tokio::test]
async fn a_file_that_is_cut_short_does_not_open_the_port() {
    let web = Web::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let whole = web.tls(demand) + &web.alice();
    let daemon = web.start(&whole, &[]);
    let client = web.alices().showing(&badge(&web.authority, "a.example"));
    assert_eq!(taken(&daemon, &client).await, Some(1.0));
    for (cut, what) in [
        ("", "gives up TLS"),
        (&web.tls("")[..], "gives up the demand for client certificates"),
        (&web.tls(demand), "gives up all users"),
    ] {
        web.write(cut);
        eventually(what, async || daemon.log().contains(what)).await;
        assert_eq!(taken(&daemon, &client).await, Some(0.0), "{what}");
        let nobody = web.client().try_get(daemon.address(), "/metrics").await;
        assert!(nobody.is_err(), "{what}: {nobody:?}");
        assert_eq!(
            web.client().showing(&badge(&web.authority, "a.example")).get(daemon.address(), "/").await.status,
            401,
            "{what}"
        );
        web.write(&whole);
        eventually("the whole file", async || taken(&daemon, &client).await == Some(1.0)).await;
    }
}

#[tokio::test]
async fn a_hangup_and_a_post_read_it_at_once() {
    let web = Web::new();
    let daemon = web.start(&web.alice(), &["--web.enable-lifecycle"]);
    let authorization = basic("alice", PASSWORD);
    let headers = [("authorization", authorization.as_str())];
    web.write("basic_auth_users: {alice: nonsense}\n");
    let answer = request(daemon.address(), Method::POST, "/-/reload", &headers).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("is not a bcrypt hash"), "{}", answer.text());
    assert!(!answer.text().contains("nonsense"), "{}", answer.text());

    web.write(&format!("basic_auth_users: {{bob: {}}}\n", web.hash));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let authorization = basic("bob", PASSWORD);
    eventually("bob", async || {
        let headers = [("authorization", authorization.as_str())];
        request(daemon.address(), Method::GET, "/metrics", &headers).await.status == 200
    })
    .await;
}
