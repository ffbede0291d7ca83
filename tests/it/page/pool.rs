//! A pool on the page: how full it is, and who waits.

use serde_json::json;
use tokio_postgres::{Client, NoTls};

use super::browser::Browser;
use super::{SHOWN, cell, url};
use crate::process::Daemon;
use crate::servers::postgres15;
use crate::supervise::targets;
use pgtether::demo::postgres::free_port;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn who_waits_for_a_pools_only_session_stands_out_until_it_is_free() {
    let cluster = postgres15();
    let port = free_port().unwrap();
    let line = format!("url: {}", cluster.superuser_url());
    let pool = format!("pool: {{listen: 127.0.0.1:{port}, size: 1, wait_timeout: 5m}}");
    let dead = ["url: postgresql://127.0.0.1:1/db"];
    let daemon = Daemon::start(&targets(&[("db", &[&line, &pool]), ("plain", &[&line]), ("worse", &dead)]));
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser
        .until(&format!("{} === 'up' && {} === 'up'", cell("db", ".state"), cell("plain", ".state")))
        .await;
    browser.until(&format!("{} === 'pool: 0 of 1 in use'", cell("db", ".used"))).await;

    let through = cluster.superuser_url().replace(&cluster.port().to_string(), &port.to_string());
    let holder = connect(&through).await;
    holder.batch_execute("BEGIN").await.unwrap();
    let waiter = connect(&through).await;
    let waits = tokio::spawn(async move { waiter.batch_execute("SELECT 1").await });
    browser.until(&format!("{} === '1 waiting'", cell("db", ".waiting"))).await;
    browser.until(&format!("{} === 'pool: 1 of 1 in use'", cell("db", ".used"))).await;
    let colour = |part: &str| format!("getComputedStyle(document.querySelector('{part}')).color");
    let [waiting, used] = ["[data-name=db] .waiting", "[data-name=db] .used"].map(colour);
    assert_ne!(browser.value(&waiting).await, browser.value(&used).await, "it does not stand out");
    // It says nothing of the database: what is worse comes first, and the target is up.
    browser.until(&format!("{SHOWN} === 'worse,db,plain'")).await;
    assert_eq!(browser.value(&cell("db", ".state")).await, json!("up"));

    browser
        .run("await page.click('[data-name=db] .name'); await page.click('[data-name=plain] .name')")
        .await;
    for fact in [
        format!("Pool\\n127.0.0.1:{port}, transaction mode"),
        "Pool clients\\n1 waiting, 1 active; at most 1000".to_owned(),
        "Pool sessions\\n1 active; at most 1".to_owned(),
        "Checkouts\\n1; failed: none".to_owned(),
    ] {
        browser.until(&format!("{}.includes('{fact}')", cell("db", "dl"))).await;
    }
    assert_eq!(
        browser.value("document.querySelector('[data-name=db] dd.waiting').innerText.slice(0, 9)").await,
        json!("1 waiting")
    );
    let plain = browser.value("document.querySelector('[data-name=plain]').innerText.toLowerCase()").await;
    assert!(plain.as_str().unwrap().contains("required role"), "{plain}");
    assert!(!plain.as_str().unwrap().contains("pool"), "{plain}");
    browser.run("await page.fill('#filter', 'waiting')").await;
    browser.until(&format!("{SHOWN} === 'db'")).await;

    // The server writes the same for those without scripts.
    let text = browser.value("document.querySelector('[data-name=db] .pool').textContent").await;
    browser.run("await reopen({ javaScriptEnabled: false })").await;
    browser.run(&format!("await page.goto('{}')", url(&daemon))).await;
    assert_eq!(browser.run("return await page.textContent('[data-name=db] .pool')").await, text);
    assert_eq!(browser.run("return await page.isVisible('[data-name=plain] .pool')").await, json!(false));

    browser.run("await reopen({})").await;
    browser.open(&url(&daemon)).await;
    holder.batch_execute("COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
    browser.until(&format!("{} === ''", cell("db", ".waiting"))).await;
    browser.until(&format!("{} === 'pool: 0 of 1 in use'", cell("db", ".used"))).await;
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}
