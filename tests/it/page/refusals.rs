//! Files that are broken and mended while somebody looks at the page.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use super::browser::Browser;
use super::url;
use crate::process::Daemon;
use crate::supervise::targets;

const DEAD: &[&str] = &["url: postgresql://app@127.0.0.1:9/db"];
/// A file's name, which is no HTML.
const HOSTILE: &str = "<img src=x onerror=pwned=1>";

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').innerText")
}

/// What stands above the targets and can be seen.
const SHOWN: &str = "[...document.querySelectorAll('.refused:not([hidden])')].map(({ id }) => id).join()";

#[tokio::test]
async fn a_refused_file_is_told_of_by_name_with_its_mistakes_until_a_good_one_is_taken() {
    let good = targets(&[("db", DEAD)]);
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join(HOSTILE);
    let good_web = "http_server_config: {http2: true}\n";
    fs::write(&web, good_web).unwrap();
    let daemon = Daemon::start_with(&good, &[&format!("--web.config.file={}", web.display())], &[]);
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{SHOWN} === ''")).await;

    // Five mistakes: three can be seen, two are folded.
    let bad = format!("{good}a: 1\nb: 1\nc: 1\nd: 1\nlast: 1\n");
    fs::write(daemon.config_file(), bad).unwrap();
    daemon.signal(Signal::SIGHUP);
    browser.until(&format!("{SHOWN} === 'config'")).await;
    let told = browser.value(&text("config")).await;
    let told = told.as_str().unwrap();
    assert!(
        told.starts_with("The new configuration is invalid and not in force. It has been refused since "),
        "{told}"
    );
    assert!(told.contains("the previous one stays in force"), "{told}");
    assert!(told.contains(&format!("{}:", daemon.config_file().display())), "{told}");
    assert!(told.contains("and 2 more") && !told.contains("last"), "{told}");
    browser.run("await page.click('#config summary')").await;
    browser.until(&format!("{}.includes('\"last\"')", text("config"))).await;
    assert_eq!(browser.value("document.querySelectorAll('#config li').length").await, json!(5));
    let since = "Math.abs(Date.now() - Date.parse(document.querySelector('#config time').dateTime)) < 60000";
    assert_eq!(browser.value(since).await, json!(true));

    fs::write(&web, "tls_servor_config: {}\n").unwrap();
    browser.until(&format!("{SHOWN} === 'config,web-config'")).await;
    let told = browser.value(&text("web-config")).await;
    let told = told.as_str().unwrap();
    assert!(told.starts_with("The new web configuration is invalid and not in force. "), "{told}");
    assert!(told.contains("tls_servor_config") && told.contains(HOSTILE), "{told}");
    assert_eq!(browser.value("document.querySelector('#web-config details').hidden").await, json!(true));
    assert_eq!(browser.value("document.querySelectorAll('tbody').length").await, json!(1));

    // The server writes the same for those without scripts.
    browser.run("await reopen({ javaScriptEnabled: false })").await;
    browser.run(&format!("await page.goto('{}')", url(&daemon))).await;
    for (id, part) in [("config", "last"), ("web-config", HOSTILE)] {
        let plain = browser.run(&format!("return await page.textContent('#{id}')")).await;
        assert!(plain.as_str().unwrap().contains(part), "{plain}");
    }
    browser.run("await reopen({})").await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{SHOWN} === 'config,web-config'")).await;

    fs::write(daemon.config_file(), &good).unwrap();
    browser.until(&format!("{SHOWN} === 'web-config'")).await;
    fs::write(&web, good_web).unwrap();
    browser.until(&format!("{SHOWN} === ''")).await;
    assert_eq!(browser.value("typeof pwned + document.images.length").await, json!("undefined0"));
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn mistakes_fit_a_phone_and_keep_nobody_out() {
    let good = targets(&[("db", DEAD)]);
    let daemon = Daemon::start(&good);
    let long = "x".repeat(300);
    fs::write(daemon.config_file(), format!("{good}{long}: 1\nb: 1\nc: 1\nd: 1\n")).unwrap();
    daemon.signal(Signal::SIGHUP);
    let mut browser = Browser::start().await;
    for options in
        ["{ colorScheme: 'light' }", "{ colorScheme: 'dark' }", "{ viewport: { width: 320, height: 800 } }"]
    {
        browser.run(&format!("await reopen({options})")).await;
        browser.open(&url(&daemon)).await;
        browser.until(&format!("{SHOWN} === 'config'")).await;
        browser.run("await page.click('#config summary')").await;
        let across = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(across).await, json!(0), "{options}");
        let found = browser
            .run(
                "await page.evaluate(axe);
                 const { violations } = await page.evaluate(() => window.axe.run());
                 return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);",
            )
            .await;
        assert_eq!(found, json!([]), "{options}");
    }
    browser.close().await;
}
