//! A real Chromium under the test's control, by a bridge in Node that runs what it is told.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::servers::tools;

/// The bridge gives up a wait after 30 s and tells why; this is for a bridge that hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// A browser with one page. Dropping it ends it.
pub struct Browser {
    // Chromium ends when the bridge does, and the bridge when nobody can tell it anything any more.
    bridge: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Its profile.
    _folder: TempDir,
}

/// What the first answer of a page cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// By the clock, whatever else the machine did meanwhile.
    pub took: Duration,
    /// The processor's time that the page's main thread needed.
    pub busy: Duration,
}

impl Browser {
    pub async fn start() -> Browser {
        let folder = tools().join("page");
        assert!(folder.join("node_modules").is_dir(), "playwright-core is missing; `make tools` installs it");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/bridge.mjs");
        let profile = tempfile::tempdir().unwrap();
        let mut bridge = Command::new("node")
            .arg(script)
            .arg(folder)
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("node is missing ({e}); `make tools` installs it"));
        let orders = bridge.stdin.take().unwrap();
        let answers = BufReader::new(bridge.stdout.take().unwrap()).lines();
        let mut browser = Browser { bridge, orders, answers, _folder: profile };
        browser.answer().await;
        browser
    }

    /// Runs JavaScript in the bridge, as the body of an async function; see `tests/page/bridge.mjs` for what it sees.
    pub async fn run(&mut self, script: &str) -> Value {
        let order = format!("{}\n", json!({ "run": script }));
        self.orders.write_all(order.as_bytes()).await.unwrap();
        self.answer().await
    }

    /// Opens an address in the page at hand, and waits until its script has taken over.
    pub async fn open(&mut self, url: &str) {
        self.run(&format!(
            "await page.goto({}); await page.waitForSelector('#tools:not([hidden])')",
            json!(url)
        ))
        .await;
    }

    /// Opens an address in a page of its own, types a target's name as soon as the filter takes it, and tells what it cost
    /// until this target alone was shown.
    pub async fn filtered_after(&mut self, url: &str, name: &str) -> Cost {
        self.run("await reopen({})").await;
        let shown =
            "[...document.querySelectorAll('tbody:not([hidden])')].map((row) => row.dataset.name).join()";
        let cost = self
            .run(&format!(
                "const session = await context.newCDPSession(page);
                 await session.send('Performance.enable', {{ timeDomain: 'threadTicks' }});
                 const began = performance.now();
                 await page.goto({}, {{ waitUntil: 'commit' }});
                 await page.fill('#filter', {name});
                 await until((name) => {shown} === name, {name});
                 const took = (performance.now() - began) / 1e3;
                 const {{ metrics }} = await session.send('Performance.getMetrics');
                 return {{ took, busy: metrics.find(({{ name }}) => name === 'TaskDuration').value }};",
                json!(url),
                name = json!(name),
            ))
            .await;
        let seconds = |of: &str| Duration::from_secs_f64(cost[of].as_f64().unwrap());
        Cost { took: seconds("took"), busy: seconds("busy") }
    }

    /// Waits for an expression in the page to become true.
    pub async fn until(&mut self, expression: &str) {
        self.run(&format!("await until(() => {expression})")).await;
    }

    /// What an expression in the page is worth now.
    pub async fn value(&mut self, expression: &str) -> Value {
        self.run(&format!("return await page.evaluate(() => {expression})")).await
    }

    /// Nothing was asked of anybody but `origin`, nothing was blocked by the policy, nothing was thrown.
    pub async fn assert_well_behaved(&mut self, origin: &str) {
        let seen = self.run("return seen").await;
        assert_eq!(seen["violations"], json!([]), "{seen}");
        assert_eq!(seen["errors"], json!([]), "{seen}");
        let requests = seen["requests"].as_array().unwrap();
        assert!(requests.len() > 1, "{seen}");
        for request in requests {
            let url = request.as_str().unwrap();
            assert!(url.starts_with(origin) || url == "data:,", "{url} was asked for");
        }
    }

    /// Ends the browser in order.
    pub async fn close(mut self) {
        drop(self.orders);
        let ended = timeout(LIMIT, self.bridge.wait()).await.expect("the browser does not end");
        assert!(ended.unwrap().success());
    }

    async fn answer(&mut self) -> Value {
        let line = timeout(LIMIT, self.answers.next_line()).await.expect("the browser does not answer");
        let line = line.unwrap().expect("the browser has ended");
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        if let Some(error) = answer["error"].as_str() {
            panic!("in the browser: {error}");
        }
        answer["value"].take()
    }
}
