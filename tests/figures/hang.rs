//! All of a server's processes are stopped where they are: sockets open, no answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::Cluster;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, quantile};
use crate::rig::{PATIENCE, all_up, between, changed, config, counter, names, url};
use crate::servers::postgres15;
use crate::watch::{Question, Watch};

/// Between the faults of two servers: their pings must not beat as one.
const APART: Duration = Duration::from_millis(700);

pub async fn run(plan: Plan) -> Vec<Figure> {
    let names = names(plan.samples());
    let clusters: Vec<Arc<Cluster>> = names.iter().map(|_| Arc::new(postgres15())).collect();
    let (lasts, longest) = (plan.seconds(60, 6), plan.seconds(35, 3));
    let timings = if plan.quick { ", ping: {interval: 2s, timeout: 1s}" } else { "" };
    let keys = |(name, cluster): (&String, &Arc<Cluster>)| (name.clone(), url(cluster, name) + timings);
    let daemon = Arc::new(Daemon::start(&config(names.iter().zip(&clusters).map(keys))));
    all_up(&daemon, names.len(), PATIENCE).await;
    let watch = Watch::start(&[Question::metrics(daemon.address()), Question::health(daemon.address())]);
    let tasks = clusters.iter().cloned().zip(names).zip(0..).map(|((cluster, name), place)| {
        let daemon = daemon.clone();
        spawn_local(async move {
            sleep(APART * place).await;
            hang(&daemon, cluster, &name, lasts).await
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut noticed, mut back, mut late) = (Vec::new(), Vec::new(), 0);
    for task in tasks {
        let (down, up, answered) = task.await.unwrap();
        noticed.push(down);
        back.push(up);
        late += usize::from(answered);
    }
    let seen = watch.end();
    let [metrics, health] = &seen.answers[..] else { panic!("two questions, two series of answers") };
    let p99 = Duration::from_millis(20);
    // A timer is late where the machine is.
    let longest = longest + quantile(&seen.echo, 1.0);
    vec![
        Figure::each("hung server: down within ping interval + timeout", &noticed, longest)
            .beside(&seen.echo),
        Figure::median("after the thaw: up", &back, Duration::from_millis(500)).beside(&seen.echo),
        Figure::fact(
            "by the late answer, not by a new login",
            format!("{late} of {}", back.len()),
            "all",
            late == back.len(),
        ),
        Figure::p99("/metrics during all this", &metrics.times, p99).beside(&seen.echo),
        Figure::p99("/health during all this", &health.times, p99).beside(&seen.echo),
        Figure::at_most("answers that failed", metrics.bad_count + health.bad_count, 0),
    ]
}

/// When it was noticed, when the line was back, and whether it is the same session still.
async fn hang(
    daemon: &Daemon,
    cluster: Arc<Cluster>,
    name: &str,
    lasts: Duration,
) -> (Duration, Duration, bool) {
    let reconnects = counter(daemon, "pgtether_reconnects_total", name).await;
    let begun = SystemTime::now();
    let paused = cluster.clone();
    spawn_blocking(move || paused.pause()).await.unwrap();
    let down = changed(daemon, name, "down", begun, lasts).await;
    sleep(lasts.saturating_sub(between(begun, SystemTime::now()))).await;
    let thawed = SystemTime::now();
    let resumed = cluster.clone();
    spawn_blocking(move || resumed.resume()).await.unwrap();
    let up = changed(daemon, name, "up", thawed, PATIENCE).await;
    // A login that was under way lands, too; the late answer came first where it replaces nothing that was lost.
    sleep(Duration::from_millis(300)).await;
    let answered = counter(daemon, "pgtether_reconnects_total", name).await == reconnects;
    (between(begun, down.at), between(thawed, up.at), answered)
}
