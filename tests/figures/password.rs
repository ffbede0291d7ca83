//! A wrong password, for two minutes; then the right one is written to `password_file`.

use std::fs;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, between, changed, config, names};
use crate::servers::{Admin, postgres15};
use crate::watch::Watch;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let names = names(plan.samples());
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    for name in &names {
        admin.query(&format!("CREATE ROLE {name} LOGIN PASSWORD 'right-{name}'")).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let keys = |name: &String| {
        fs::write(file(name), "wrong").unwrap();
        let url = format!("postgresql://{name}@127.0.0.1:{}/postgres", cluster.port());
        (name.clone(), format!("url: \"{url}\", password_file: {}", file(name).display()))
    };
    let daemon = Daemon::start(&config(names.iter().map(keys)));
    sleep_until(Instant::now() + plan.seconds(120, 8)).await;
    let log = cluster.log();
    let rejected = |name: &String| {
        let words = format!("password authentication failed for user \"{name}\"");
        log.lines().filter(|line| line.contains(&words)).count()
    };
    let rejections: Vec<usize> = names.iter().map(rejected).collect();
    let watch = Watch::start(&[]);
    let mut back = Vec::new();
    for name in &names {
        let fresh = folder.path().join("fresh");
        fs::write(&fresh, format!("right-{name}\n")).unwrap();
        let written = SystemTime::now();
        fs::rename(fresh, file(name)).unwrap();
        let up = changed(&daemon, name, "up", written, PATIENCE).await;
        back.push(between(written, up.at));
        // Not in step with the looks at the files, which are a second apart.
        sleep(Duration::from_millis(170)).await;
    }
    let echo = watch.end().echo;
    let most = rejections.iter().copied().max().unwrap_or(0) as u64;
    let least = rejections.iter().copied().min().unwrap_or(0);
    vec![
        Figure::fact(
            "wrong password: logins in two minutes, by the server's log",
            format!("{most} at most, of {} targets", rejections.len()),
            "1 to 4",
            least >= 1 && most <= 4,
        ),
        Figure::median("the right one written to password_file: up", &back, Duration::from_secs(2))
            .beside(&echo),
    ]
}
