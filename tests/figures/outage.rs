//! The server is stopped at once, is away for 45 s, and starts again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::{Cluster, Shutdown};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;
use tokio_postgres::NoTls;

use crate::journal::sessions;
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, all_up, between, changed, config, counter, names, url};
use crate::servers::postgres15;
use crate::watch::{Question, Watch};

/// So many servers go through the same, a little apart, so that ten times need not ten times the time.
const SERVERS: usize = 5;
/// Between the faults of two servers.
const APART: Duration = Duration::from_secs(2);

/// What one outage showed.
struct Course {
    noticed: Duration,
    back: Duration,
    logins: usize,
    connects_a_minute: f64,
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let count = SERVERS.min(plan.samples());
    let rounds = plan.samples() / count;
    let names = names(count);
    let clusters: Vec<Cluster> = names.iter().map(|_| postgres15()).collect();
    let targets = names.iter().zip(&clusters).map(|(name, cluster)| (name, url(cluster, name)));
    let daemon = Arc::new(Daemon::start(&config(targets)));
    all_up(&daemon, count, PATIENCE).await;
    let away = plan.seconds(45, 6);
    let watch = Watch::start(&[Question::metrics(daemon.address()), Question::health(daemon.address())]);
    let tasks = clusters.into_iter().zip(names).zip(0..).map(|((cluster, name), place)| {
        let daemon = daemon.clone();
        spawn_local(async move {
            sleep(APART * place).await;
            let cluster = Arc::new(Mutex::new(cluster));
            let mut courses = Vec::new();
            for _ in 0..rounds {
                courses.push(outage(&daemon, &cluster, &name, away).await);
                sleep(APART * SERVERS as u32).await;
            }
            courses
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut courses = Vec::new();
    for task in tasks {
        courses.extend(task.await.unwrap());
    }
    let seen = watch.end();
    let [metrics, health] = &seen.answers[..] else { panic!("two questions, two series of answers") };
    let noticed: Vec<_> = courses.iter().map(|course| course.noticed).collect();
    let back: Vec<_> = courses.iter().map(|course| course.back).collect();
    let logins: usize = courses.iter().map(|course| course.logins).sum();
    let connects = courses.iter().map(|course| course.connects_a_minute).fold(0.0, f64::max);
    let p99 = Duration::from_millis(10);
    vec![
        Figure::median("immediate stop: noticed", &noticed, Duration::from_millis(50)).beside(&seen.echo),
        Figure::median(
            "started again after 45 s: up after it accepts logins",
            &back,
            Duration::from_millis(1200),
        )
        .beside(&seen.echo),
        Figure::at_most("logins between the stop and that moment", logins as u64, 0),
        Figure::fact(
            "TCP connects a minute while it is away",
            format!("{connects:.0} at most"),
            "1 to 75",
            (1.0..=75.0).contains(&connects),
        ),
        Figure::p99("/metrics during all this", &metrics.times, p99).beside(&seen.echo),
        Figure::p99("/health during all this", &health.times, p99).beside(&seen.echo),
        Figure::at_most("answers that failed", metrics.bad_count + health.bad_count, 0),
    ]
}

async fn outage(daemon: &Daemon, cluster: &Arc<Mutex<Cluster>>, name: &str, away: Duration) -> Course {
    let begun = SystemTime::now();
    let stopped = cluster.clone();
    spawn_blocking(move || stopped.lock().unwrap().stop(Shutdown::Immediate).unwrap()).await.unwrap();
    let down = changed(daemon, name, "down", begun, PATIENCE).await;
    let (from, connects) = (SystemTime::now(), counter(daemon, "pgtether_tcp_connects_total", name).await);
    sleep(away).await;
    let connects = counter(daemon, "pgtether_tcp_connects_total", name).await - connects;
    let connects_a_minute = connects as f64 * 60.0 / between(from, SystemTime::now()).as_secs_f64();

    let by_socket = cluster.lock().unwrap().admin_conninfo();
    let started = cluster.clone();
    let start = spawn_blocking(move || started.lock().unwrap().start().unwrap());
    let accepts = first_login(&by_socket).await;
    start.await.unwrap();
    let up = changed(daemon, name, "up", down.at, PATIENCE).await;
    let log = cluster.lock().unwrap().log();
    let early = |at| at > down.at && between(at, accepts) > Duration::ZERO;
    let logins = sessions(&log, name).iter().filter(|session| early(session.authorized)).count();
    Course { noticed: between(begun, down.at), back: between(accepts, up.at), logins, connects_a_minute }
}

/// Tries to log in until it works, and tells when that try began.
async fn first_login(conninfo: &str) -> SystemTime {
    let deadline = SystemTime::now() + PATIENCE;
    loop {
        let begun = SystemTime::now();
        if tokio_postgres::connect(conninfo, NoTls).await.is_ok() {
            return begun;
        }
        assert!(begun < deadline, "the server takes no login within {PATIENCE:?}");
        sleep(Duration::from_millis(3)).await;
    }
}
