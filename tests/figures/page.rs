//! The status page at a thousand targets, half of them dead, in a real Chromium: how long from the address to the first
//! word typed into the filter being answered?

use std::time::Duration;

use pgtether::demo::postgres::{Setup, free_port};

use crate::browser::Browser;
use crate::plan::Plan;
use crate::process::{Daemon, wait_until};
use crate::report::Figure;
use crate::rig::{all_up, names};
use crate::servers::{Version, postgres};

const BOUND: Duration = Duration::from_secs(1);
const START: Duration = Duration::from_secs(60);

pub async fn run(plan: Plan) -> Vec<Figure> {
    let each = if plan.quick { 50 } else { 500 };
    let cluster = postgres(Version::V15, Setup::default().set("max_connections", each + 20));
    let live = cluster.superuser_url();
    let dead = format!("postgresql://a:b@127.0.0.1:{}/c", free_port().unwrap());
    // The guard is measured elsewhere: here all of them shall be there soon.
    let mut config = "service: figures\nfleet: {logins_in_flight: 64, connects_per_second: 1000, \
                      connects_per_host_per_second: 1000}\ntargets:\n"
        .to_owned();
    for (number, name) in names(2 * each).iter().enumerate() {
        let url = if number % 2 == 0 { &live } else { &dead };
        config.push_str(&format!("  - {{name: {name}, url: \"{url}\"}}\n"));
    }
    let daemon = Daemon::start(&config);
    all_up(&daemon, each, START).await;
    await_all_tried(&daemon).await;

    let url = format!("http://{}/", daemon.address());
    let mut browser = Browser::start().await;
    // No other name contains it.
    let last = format!("t{}", 2 * each - 1);
    // Chromium itself starts with the first one.
    browser.filtered_after(&url, &last).await;
    let mut times = Vec::new();
    for _ in 0..plan.samples() {
        times.push(browser.filtered_after(&url, &last).await.took);
    }
    browser.close().await;
    let what = format!("status page of {} targets: from the address to the filter's answer", 2 * each);
    vec![Figure::median(&what, &times, BOUND)]
}

async fn await_all_tried(daemon: &Daemon) {
    wait_until(START, "all targets to be tried", async || {
        let metrics = daemon.metrics().await;
        let starting = metrics.all("pgtether_target_state", &[("state", "starting")]);
        let left = starting.iter().filter(|sample| sample.value == 1.0).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are starting")) }
    })
    .await;
}
