//! SIGTERM: not ready first, then gone, and no session left behind.

use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use pgtether::demo::postgres::Cluster;
use tokio::time::{sleep, timeout};

use crate::ask;
use crate::journal::sessions;
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, all_up, between, config, names};
use crate::servers::{Admin, postgres15};
use crate::watch::Watch;

/// Targets of each daemon that is ended.
const TARGETS: usize = 5;

struct Course {
    /// When `/readyz` first said no.
    unready: Option<Duration>,
    /// Whether all sessions lived on until then.
    first: bool,
    gone: Duration,
    code: Option<i32>,
    left: usize,
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let cluster = postgres15();
    let admin = Admin::of(&cluster).await;
    let watch = Watch::start(&[]);
    let mut courses = Vec::new();
    for round in 0..plan.samples() {
        courses.push(drain(&cluster, &admin, &format!("drain{round}")).await);
    }
    let echo = watch.end().echo;
    let unready: Vec<Duration> = courses.iter().filter_map(|course| course.unready).collect();
    let gone: Vec<Duration> = courses.iter().map(|course| course.gone).collect();
    let first = courses.iter().filter(|course| course.first).count();
    let clean = courses.iter().filter(|course| course.code == Some(0)).count();
    let left: usize = courses.iter().map(|course| course.left).sum();
    let all = courses.len();
    vec![
        Figure::fact(
            "SIGTERM: /readyz fails while every session still lives",
            format!("{first} of {all}"),
            "all",
            first == all,
        ),
        Figure::median("SIGTERM: /readyz fails", &unready, Duration::from_millis(100)).beside(&echo),
        Figure::each("SIGTERM: the process has ended", &gone, Duration::from_secs(3)).beside(&echo),
        Figure::fact("exit code 0", format!("{clean} of {all}"), "all", clean == all),
        Figure::at_most("our sessions in pg_stat_activity after that", left as u64, 0),
    ]
}

async fn drain(cluster: &Cluster, admin: &Admin, service: &str) -> Course {
    let names = names(TARGETS);
    let url = format!("url: \"{}?application_name={service}\"", cluster.superuser_url());
    let mut daemon = Daemon::start(&config(names.iter().map(|name| (name, url.clone()))));
    all_up(&daemon, TARGETS, PATIENCE).await;
    assert_eq!(admin.sessions(service).await, TARGETS);
    let address = daemon.address();
    let begun = SystemTime::now();
    daemon.signal(Signal::SIGTERM);
    let unready = timeout(PATIENCE, async {
        // Until it says no, or nobody answers any more.
        loop {
            match ask::get(address, "/readyz").await {
                Ok(answer) if answer.status == 200 => sleep(Duration::from_millis(1)).await,
                Ok(_) => return Some(SystemTime::now()),
                Err(_) => return None,
            }
        }
    });
    let unready = unready.await.unwrap();
    let status = daemon.exited(PATIENCE).await;
    let gone = between(begun, SystemTime::now());
    let left = admin.sessions(service).await;
    sleep(Duration::from_millis(100)).await;
    let log = cluster.log();
    let ends: Vec<_> = sessions(&log, service).iter().filter_map(|session| session.ended).collect();
    let first = unready.is_some_and(|at| ends.len() == TARGETS && ends.iter().all(|end| *end > at));
    Course { unready: unready.map(|at| between(begun, at)), first, gone, code: status.code(), left }
}
