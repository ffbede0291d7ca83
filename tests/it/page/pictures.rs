//! The pictures that docs/status-page.md shows: `make pictures` copies them there.

use std::fs;
use std::path::Path;

use pgtether::demo::postgres::{Setup, free_port};
use serde_json::json;

use super::browser::Browser;
use super::url;
use crate::certs::{Authority, with_tls};
use crate::process::Daemon;
use crate::servers::{Admin, Version, postgres};
use crate::supervise::SOON;

/// Beside the dashboards that `tests/draw.sh` draws.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../pictures");
/// How many answered pings the history has to show before the pictures are taken.
const PINGS: usize = 30;
/// The name of a picture, the options of its page, and its size.
const PICTURES: [(&str, &str, [u32; 2]); 2] = [
    ("status-page", "{ viewport: { width: 1280, height: 780 } }", [1280, 780]),
    (
        "status-page-phone",
        "{ viewport: { width: 390, height: 780 }, deviceScaleFactor: 1.5, colorScheme: 'dark' }",
        [585, 1170],
    ),
];

#[tokio::test]
async fn the_pictures_of_the_docs_show_every_state() {
    let authority = Authority::new("pictures");
    let cluster = postgres(Version::V15, with_tls(Setup::default(), &authority, &authority.server()));
    let admin = Admin::of(&cluster).await;
    for sql in [
        "CREATE DATABASE orders",
        "CREATE ROLE sleepy LOGIN PASSWORD 'sesame'",
        "ALTER ROLE sleepy SET idle_session_timeout = '1s'",
    ] {
        admin.query(sql).await;
    }
    let url_of = |database: &str| format!("url: {}", cluster.url("app", "secret", database));
    admin.query("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'").await;
    let sleepy = cluster.url("sleepy", "sesame", "orders");
    let config = format!(
        "service: image-editor
defaults: {{ping: {{interval: 1s, timeout: 1s}}}}
targets:
  - {{name: primary, {orders}, pool: {{listen: 127.0.0.1:{listen}}}}}
  - {{name: analytics, {analytics}, refresh: {{every: 10s}}}}
  - {{name: eu-west-1.replica, {orders}}}
  - {{name: reports, {orders}, role: standby, required: false}}
  - {{name: archive, url: {sleepy:?}, idle_policy: let_sleep}}
  - {{name: billing, {nowhere}}}
  - {{name: legacy, url: postgresql://app@127.0.0.1:{dead}/old, required: false}}
",
        orders = url_of("orders"),
        analytics = url_of("postgres"),
        nowhere = url_of("nowhere"),
        listen = free_port().unwrap(),
        dead = free_port().unwrap(),
    );
    let daemon = Daemon::start(&config);
    for (target, state) in
        [("primary", "up"), ("reports", "degraded"), ("archive", "sleeping"), ("legacy", "down")]
    {
        let labels = [("target", target), ("state", state)];
        daemon.await_metric(SOON, "pgtether_target_state", &labels, 1.0).await;
    }

    let mut browser = Browser::start().await;
    for (name, options, size) in PICTURES {
        browser.run(&format!("await reopen({options})")).await;
        browser.open(&url(&daemon)).await;
        let history = "document.querySelector('[data-name=primary] .pings .line').getAttribute('d')";
        // Its own browser may give up waiting after 30 s.
        for pings in [PINGS / 2, PINGS] {
            browser.until(&format!("{history}.split('L').length >= {pings}")).await;
        }
        let shown = browser.value("document.body.innerText").await;
        for said in ["failing", "database missing", "refused", "wrong role", "sleeping"] {
            assert!(shown.as_str().unwrap().contains(said), "{said}: {shown}");
        }
        let file = Path::new(FOLDER).join(format!("{name}.png"));
        browser.run(&format!("await page.screenshot({{ path: {} }})", json!(file))).await;
        assert_eq!(pixels(&fs::read(&file).unwrap()), size, "{}", file.display());
    }
    browser.close().await;
}

/// Width and height of a PNG picture, which its first chunk tells.
fn pixels(png: &[u8]) -> [u32; 2] {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()))
}
