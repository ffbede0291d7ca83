//! The status page in a real Chromium, against real servers: what a person would see, press and type.

mod browser;
mod looks;
mod pictures;
mod pool;
mod refusals;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Setup, Shutdown, free_port};
use serde_json::json;

use crate::process::{Daemon, wait_until};
use crate::servers::{Version, postgres, postgres15};
use crate::supervise::{config, targets, up};
use crate::web::in_every_state;
use browser::Browser;

/// Pings so often that a hang is noticed while the test watches.
const QUICK: &[&str] = &["ping: {interval: 1s, timeout: 1s}"];

fn url(daemon: &Daemon) -> String {
    format!("http://{}/", daemon.address())
}

/// An expression in the page: the text of this part of a target's row.
fn cell(target: &str, part: &str) -> String {
    format!("document.querySelector('[data-name=\"{target}\"] {part}').innerText")
}

/// The names of the targets shown, in their order.
const SHOWN: &str =
    "[...document.querySelectorAll('tbody:not([hidden])')].map((row) => row.dataset.name).join()";

#[tokio::test]
async fn states_change_while_one_watches() {
    let mut cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), QUICK)).await;
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    assert_eq!(browser.value("document.title").await, json!("healthy · tether · pgtether"));
    browser.until("document.querySelector('.pings .line').getAttribute('d').split('L').length > 3").await;
    let widths =
        "[...document.querySelectorAll('.phases rect')].map((rect) => Number(rect.getAttribute('width')))";
    let full = format!("Math.round({widths}.reduce((sum, width) => sum + width))");
    assert_eq!(browser.value(&full).await, json!(100), "the phases fill the bar");
    assert_eq!(browser.value(&format!("{widths}[2]")).await, json!(0), "TLS did not take place");

    cluster.stop(Shutdown::Immediate).unwrap();
    browser.until(&format!("{} === 'down'", cell("db", ".state"))).await;
    browser.until(&format!("{} === 'refused'", cell("db", ".reason"))).await;
    let remedy = browser.value(&cell("db", ".remedy")).await;
    assert_eq!(remedy, json!(pgtether::reason::Reason::Refused.remedy()));
    browser.until("document.title.startsWith('failing')").await;
    browser.until("document.getElementById('said').innerText.startsWith('db is down')").await;
    browser.until(&format!("{} === 'open'", cell("db", ".breaker"))).await;
    let next = cell("db", ".next");
    browser
        .run(&format!(
            "const left = await until(() => {next}.match(/^reconnect in (\\d+) s$/)?.[1]);
             await until((left) => {next}.match(/^reconnect in (\\d+) s$/)?.[1] < left, Number(left));"
        ))
        .await;

    cluster.start().unwrap();
    browser
        .until(&format!("{} === 'up' && {} === '1'", cell("db", ".state"), cell("db", ".reconnects")))
        .await;
    browser.until("document.querySelector('.why').hidden").await;

    cluster.pause();
    browser.until(&format!("{} === 'down'", cell("db", ".state"))).await;
    assert_eq!(browser.value(&cell("db", ".reason")).await, json!("timeout"));
    browser.until("document.querySelector('.pings .missed').getAttribute('d') !== ''").await;
    cluster.resume();
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn what_has_happened_is_told_in_the_row_and_in_its_details() {
    let mut cluster = postgres15();
    let daemon = up(&config(&cluster.superuser_url(), QUICK)).await;
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    assert_eq!(browser.value(&cell("db", ".uptime")).await, json!(""), "there was no outage");
    browser.run("await page.click('.name'); return 1").await;
    browser.until("document.querySelectorAll('.events li').length === 1").await;
    cluster.stop(Shutdown::Immediate).unwrap();
    browser.until(&format!("{} === 'refused'", cell("db", ".reason"))).await;
    cluster.start().unwrap();
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    browser.until(&format!("/^[0-9.]+ % of [0-9]+ s$/.test({})", cell("db", ".uptime"))).await;
    browser.until("document.querySelectorAll('.events li').length === 3").await;
    let latest = browser.value(&cell("db", ".events li span")).await;
    let latest = latest.as_str().unwrap();
    assert!(latest.starts_with("down for ") && latest.contains("refused"), "{latest}");
    let down =
        "[...document.querySelectorAll('.bars .bad')].map((rect) => Number(rect.getAttribute('height')))";
    assert_eq!(browser.value(&format!("{down}.length")).await, json!(48));
    assert_eq!(
        browser.value(&format!("{down}.slice(0, 46).every((height) => height === 0)")).await,
        json!(true)
    );
    assert_eq!(browser.value(&format!("{down}.slice(46).some((height) => height >= 3)")).await, json!(true));
    let scripts_off = daemon.get("/").await.text();
    let (_, uptime) = scripts_off.split_once(" % of ").expect("the server writes it, too");
    assert!(uptime.split_once("</small>").is_some_and(|(length, _)| length.ends_with(" s")), "{uptime:.40}");
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn a_daemon_that_is_gone_is_told_of_and_its_successor_is_followed() {
    let cluster = postgres15();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, config(&cluster.superuser_url(), QUICK)).unwrap();
    let listen = format!("--web.listen-address=127.0.0.1:{}", free_port().unwrap());
    let file = format!("--config.file={}", file.display());
    let args = ["run", &file, &listen];
    let is_gone = "!document.getElementById('gone').hidden && document.body.classList.contains('old')";
    let is_live = "document.getElementById('gone').hidden && !document.body.classList.contains('old')";

    let mut daemon = Daemon::start_bare(&args, &[]);
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    daemon.signal(Signal::SIGKILL);
    daemon.exited(Duration::from_secs(10)).await;
    browser.until(is_gone).await;
    let said = browser.value("document.getElementById('gone').innerText").await;
    assert!(said.as_str().unwrap().starts_with("No answer from pgtether since "), "{said}");
    assert_eq!(browser.value("document.getElementById('overall').innerText").await, json!("unknown"));
    assert_eq!(browser.value("document.title").await, json!("unknown · tether · pgtether"));
    let greyed = "getComputedStyle(document.querySelector('main')).filter";
    assert_eq!(browser.value(greyed).await, json!("grayscale(1)"));
    // What is no longer known does not go on ageing.
    let age = browser.value(&cell("db", ".age")).await;
    assert_eq!(browser.run("await page.waitForTimeout(2500); return 1").await, json!(1));
    assert_eq!(browser.value(&cell("db", ".age")).await, age);

    let daemon = Daemon::start_bare(&args, &[]);
    browser.until(is_live).await;
    browser.until(&format!("{} === 'up'", cell("db", ".state"))).await;
    assert_eq!(browser.value("document.getElementById('overall').innerText").await, json!("healthy"));

    daemon.signal(Signal::SIGSTOP);
    browser.until(is_gone).await;
    daemon.signal(Signal::SIGCONT);
    browser.until(is_live).await;
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn targets_are_filtered_sorted_and_reached_by_keyboard() {
    let (_cluster, daemon) = in_every_state().await;
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    let shown = |names: &str| format!("{SHOWN} === '{names}'");
    browser.until(&shown("down,file,degraded,asleep,up")).await;

    browser.run("await page.keyboard.press('/'); await page.keyboard.type('READ url_file')").await;
    browser.until(&shown("file")).await;
    browser.run("await page.keyboard.type(' nobody')").await;
    browser.until("document.getElementById('none').hidden === false").await;
    browser.run("await page.fill('#filter', 'sleep')").await;
    browser.until(&shown("asleep")).await;
    assert_eq!(browser.value("document.getElementById('said').innerText").await, json!("1 target shown"));
    browser.run("await page.reload(); await page.waitForSelector('#tools:not([hidden])')").await;
    browser.until(&shown("asleep")).await;
    browser.run("await page.focus('#filter'); await page.keyboard.press('Escape')").await;
    browser.until("document.getElementById('filter').value === '' && location.hash === ''").await;

    browser.run("await page.click('#states .down')").await;
    browser.until(&shown("down,file")).await;
    browser.run("await page.focus('#states .down'); await page.keyboard.press('Space')").await;
    browser.until(&shown("down,file,degraded,asleep,up")).await;

    browser.run("await page.click('th[data-sort=name] button')").await;
    browser.until(&shown("asleep,degraded,down,file,up")).await;
    browser.run("await page.click('th[data-sort=name] button')").await;
    browser.until(&shown("up,file,down,degraded,asleep")).await;
    let sorted = "document.querySelector('th[data-sort=name]').ariaSort";
    assert_eq!(browser.value(sorted).await, json!("descending"));
    // No value is last, whichever way.
    browser.run("await page.click('th[data-sort=login] button')").await;
    browser
        .until(&format!(
            "/^(asleep|up|degraded),(asleep|up|degraded),(asleep|up|degraded),down,file$/.test({SHOWN})"
        ))
        .await;
    browser.run("await page.click('th[data-sort=login] button')").await;
    browser.until(&format!("{SHOWN}.endsWith(',down,file')")).await;

    browser.run("await page.click('th[data-sort=name] button')").await;
    browser.until(&shown("asleep,degraded,down,file,up")).await;
    let focused = "document.activeElement.closest('tbody')?.dataset.name ?? document.activeElement.id";
    browser.run("await page.focus('#filter')").await;
    for (key, name) in [
        ("ArrowDown", "asleep"),
        ("ArrowDown", "degraded"),
        ("End", "up"),
        ("ArrowDown", "up"),
        ("ArrowUp", "file"),
        ("Home", "asleep"),
        ("ArrowUp", "filter"),
        ("End", "filter"),
    ] {
        browser.run(&format!("await page.keyboard.press('{key}')")).await;
        assert_eq!(browser.value(focused).await, json!(name), "after {key}");
    }
    browser.run("await page.focus('[data-name=up] .name'); await page.keyboard.press('Enter')").await;
    browser.until(&format!("{}.includes('Required role')", cell("up", "dl"))).await;
    let expanded = "document.querySelector('[data-name=up] .name').getAttribute('aria-expanded')";
    assert_eq!(browser.value(expanded).await, json!("true"));
    browser.run("await page.keyboard.press('Enter')").await;
    browser.until("document.querySelector('[data-name=up] .more').hidden").await;
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn a_row_that_moves_keeps_the_focus() {
    let mut cluster = postgres15();
    let line = format!("url: {}", cluster.superuser_url());
    let daemon = Daemon::start(&targets(&[
        ("asleep", &["url: postgresql://127.0.0.1:1/db", "required: false"]),
        ("moves", &[&line, QUICK[0]]),
    ]));
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{SHOWN} === 'asleep,moves' && {} === 'up'", cell("moves", ".state"))).await;
    browser.run("await page.focus('[data-name=moves] .name')").await;
    cluster.stop(Shutdown::Immediate).unwrap();
    browser.until(&format!("{SHOWN} === 'moves,asleep'")).await;
    let focused = "document.activeElement.closest('tbody')?.dataset.name";
    assert_eq!(browser.value(focused).await, json!("moves"));
    browser.close().await;
}

#[tokio::test]
async fn a_reload_brings_and_takes_rows() {
    let dead = "url: postgresql://127.0.0.1:1/db";
    let daemon = Daemon::start(&targets(&[("goes", &[dead]), ("stays", &[dead])]));
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{SHOWN} === 'goes,stays'")).await;
    fs::write(daemon.config_file(), targets(&[("new", &[dead]), ("stays", &[dead])])).unwrap();
    daemon.signal(Signal::SIGHUP);
    browser.until(&format!("{SHOWN} === 'new,stays' && {} === 'refused'", cell("new", ".reason"))).await;
    browser.close().await;
}

#[tokio::test]
async fn what_a_server_says_is_never_html() {
    let hostile = "<script>pwned=1</script><img src=x onerror=pwned=1>";
    let cluster = postgres(Version::V18, Setup::default());
    let encoded: String = hostile.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let daemon = Daemon::start(&config(&cluster.url("postgres", cluster.password(), &encoded), &[]));
    let shows = |part| format!("{}.includes('{hostile}')", cell("db", part));
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    browser.until(&format!("{} === 'database missing'", cell("db", ".reason"))).await;
    browser.until(&shows(".detail")).await;
    browser.until(&shows(".location")).await;
    browser.run("await page.click('.name')").await;
    browser.until(&shows("dl")).await;
    // The same, as the server writes it.
    browser.run("await reopen({ javaScriptEnabled: false })").await;
    browser.run(&format!("await page.goto('{}')", url(&daemon))).await;
    for part in [".detail", ".location"] {
        let text = browser.run(&format!("return await page.innerText('[data-name=db] {part}')")).await;
        assert!(text.as_str().unwrap().contains(hostile), "{part}: {text}");
    }
    browser.run("await reopen({})").await;
    browser.open(&url(&daemon)).await;
    assert_eq!(browser.value("typeof pwned + document.images.length").await, json!("undefined0"));
    browser.assert_well_behaved(&url(&daemon)).await;
    browser.close().await;
}

#[tokio::test]
async fn without_scripts_the_table_is_there_and_comes_anew() {
    let (_cluster, daemon) = in_every_state().await;
    let mut browser = Browser::start().await;
    let row = |name: &str| {
        let parts = [
            ".name",
            ".optional",
            ".location",
            ".state",
            ".reconnects",
            ".breaker",
            ".reason",
            ".remedy",
            ".detail",
        ];
        format!(
            "JSON.stringify({}.map((part) => document.querySelector('[data-name={name}] ' + part).textContent))",
            json!(parts)
        )
    };
    browser.open(&url(&daemon)).await;
    let file = browser.value(&row("file")).await;
    let asleep = browser.value(&row("asleep")).await;
    browser.run("await reopen({ javaScriptEnabled: false }); seen.requests.length = 0").await;
    browser.run(&format!("await page.goto('{}')", url(&daemon))).await;
    // Whoever writes a row, server or script, writes the same.
    for (name, row) in [("file", file), ("asleep", asleep)] {
        for text in serde_json::from_str::<Vec<String>>(row.as_str().unwrap()).unwrap() {
            let rows = browser.run(&format!("return await page.textContent('[data-name={name}]')")).await;
            assert!(rows.as_str().unwrap().contains(&text), "{text} is not in {rows}");
        }
    }
    assert_eq!(browser.run("return await page.isVisible('#tools')").await, json!(false));
    wait_until(Duration::from_secs(30), "the page to ask for itself again", async || {
        match browser.run("return seen.requests.length").await.as_u64().unwrap() {
            2.. => Ok(()),
            asked => Err(format!("{asked} requests")),
        }
    })
    .await;
    browser.close().await;
}

#[tokio::test]
async fn a_page_that_nobody_looks_at_asks_nothing() {
    let daemon = Daemon::start(&targets(&[("db", &["url: postgresql://127.0.0.1:1/db"])]));
    let mut browser = Browser::start().await;
    browser.open(&url(&daemon)).await;
    let show = "Object.defineProperty(document, 'hidden', { value: HIDDEN, configurable: true });
                document.dispatchEvent(new Event('visibilitychange'))";
    let hidden = |hidden: &str| format!("(() => {{ {} }})()", show.replace("HIDDEN", hidden));
    browser.value(&hidden("true")).await;
    // One may have been under way.
    browser
        .run("await page.waitForTimeout(1500); seen.requests.length = 0; await page.waitForTimeout(4000)")
        .await;
    assert_eq!(browser.run("return seen.requests").await, json!([]));
    browser.value(&hidden("false")).await;
    browser.run("await page.waitForRequest(/targets/)").await;
    browser.close().await;
}
