//! An administrator ends our session: how soon is it noticed, how soon is there another one?

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, all_up, between, changed, config, names, url};
use crate::servers::{Admin, postgres15};
use crate::watch::Watch;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let names = names(plan.samples());
    let cluster = postgres15();
    let daemon = Daemon::start(&config(names.iter().map(|name| (name, url(&cluster, name)))));
    all_up(&daemon, names.len(), PATIENCE).await;
    let admin = Admin::of(&cluster).await;
    // After a minute of health the first attempt is immediate; before, it waits for the backoff.
    sleep(plan.seconds(61, 3)).await;
    let before = daemon.metrics().await;
    let watch = Watch::start(&[]);
    let (mut noticed, mut back) = (Vec::new(), Vec::new());
    for name in &names {
        let begun = SystemTime::now();
        assert_eq!(admin.terminate(name).await, 1, "{name} has no session to end");
        let down = changed(&daemon, name, "down", begun, PATIENCE).await;
        let up = changed(&daemon, name, "up", down.at, PATIENCE).await;
        noticed.push(between(begun, down.at));
        back.push(between(begun, up.at));
        sleep(Duration::from_millis(300)).await;
    }
    let echo = watch.end().echo;
    let after = daemon.metrics().await;
    let grown = |name: &str, labels: &[(&str, &str)], target: &str| {
        let labels = [labels, &[("target", target)]].concat();
        after.get(name, &labels).unwrap() - before.get(name, &labels).unwrap()
    };
    let counted = |target: &&String| {
        grown("pgtether_disconnects_total", &[("reason", "shutdown")], target) == 1.0
            && grown("pgtether_reconnects_total", &[], target) == 1.0
    };
    let counted = names.iter().filter(counted).count();
    vec![
        Figure::median("pg_terminate_backend: noticed", &noticed, Duration::from_millis(20)).beside(&echo),
        Figure::median("pg_terminate_backend: a new session", &back, Duration::from_millis(100))
            .beside(&echo),
        Figure::fact(
            "disconnects_total{reason=\"shutdown\"} and reconnects_total grow by one",
            format!("{counted} of {}", names.len()),
            "all",
            counted == names.len(),
        ),
    ]
}
