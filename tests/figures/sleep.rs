//! `let_sleep` against a server that ends idle sessions after 3 s.

use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::{Cluster, Setup, Shutdown};
use tokio::time::sleep;

use crate::journal::{Entry, entries, sessions};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, length};
use crate::rig::{PATIENCE, all_up, changed, config, names, url};
use crate::servers::{Version, postgres, postgres15};

/// What the server allows, and how far from it the learned limit may be.
const IDLE: Duration = Duration::from_secs(3);
const OFF_BY: Duration = Duration::from_millis(200);

pub async fn run(plan: Plan) -> Vec<Figure> {
    let names = names(plan.samples());
    let setup = Setup::default().set("idle_session_timeout", "3s").set("log_statement", "all");
    let cluster = postgres(Version::V15, setup);
    let daemon = Daemon::start(&sleepers(&names, &cluster));
    let begun = SystemTime::UNIX_EPOCH;
    for name in &names {
        changed(&daemon, name, "sleeping", begun, PATIENCE).await;
    }
    // Long enough for anybody who would come back to have done so.
    sleep(plan.seconds(20, 4)).await;
    let metrics = daemon.metrics().await;
    let health = daemon.get("/health").await;
    let asleep = |name: &&String| {
        let state = [("target", name.as_str()), ("state", "sleeping")];
        metrics.get("pgtether_target_state", &state) == Some(1.0)
            && metrics.get("pgtether_up", &[("target", name)]) == Some(1.0)
    };
    let asleep = names.iter().filter(asleep).count();
    let healthy = health.status == 200 && health.json()["status"] == "healthy";
    let off = |name: &String| {
        let limit = metrics.get("pgtether_observed_idle_timeout_seconds", &[("target", name)]);
        limit.map_or(Duration::MAX, |limit| Duration::from_secs_f64(limit).abs_diff(IDLE))
    };
    let off: Vec<Duration> = names.iter().map(off).collect();
    let log = cluster.log();
    let connected = |entry: &&Entry| entry.text.contains("connection received: host=127.0.0.1");
    let connects = entries(&log).iter().filter(connected).count();
    // The first ping is a session's only statement.
    let quiet = |name: &&String| {
        let sessions = sessions(&log, name);
        sessions.len() == 1 && sessions[0].statements == 1 && sessions[0].ended.is_some()
    };
    let quiet = names.iter().filter(quiet).count();
    let all = names.len();
    vec![
        Figure::fact(
            "let_sleep, idle_session_timeout 3s: sleeping, up 1, and /health healthy",
            format!("{asleep} of {all}, {}", health.status),
            "all, 200",
            asleep == all && healthy,
        ),
        Figure::fact(
            "one login, one statement (the first ping) and no more, by the server's log",
            format!("{quiet} of {all}"),
            "all",
            quiet == all,
        ),
        Figure::fact(
            "TCP connects that the server saw",
            format!("{connects} of {all} targets"),
            "one each",
            connects == all,
        ),
        Figure::each("observed_idle_timeout_seconds: off by", &off, OFF_BY),
        stopped(&plan).await,
    ]
}

/// A server that is stopped is no sleeping one.
async fn stopped(plan: &Plan) -> Figure {
    let names = names(1);
    let mut cluster = postgres15();
    let daemon = Daemon::start(&sleepers(&names, &cluster));
    all_up(&daemon, 1, PATIENCE).await;
    sleep(plan.seconds(2, 1)).await;
    let begun = SystemTime::now();
    cluster.stop(Shutdown::Fast).unwrap();
    let down = changed(&daemon, &names[0], "down", begun, PATIENCE).await;
    sleep(plan.seconds(5, 1)).await;
    let up = daemon.metric("pgtether_up", &[("target", &names[0])]).await;
    let after = down.at.duration_since(begun).unwrap_or_default();
    let measured = format!("down after {}, then up {}", length(after), up.unwrap_or(f64::NAN));
    Figure::fact("let_sleep, the server is stopped instead", measured, "down, stays so", up == Some(0.0))
}

fn sleepers(names: &[String], cluster: &Cluster) -> String {
    config(names.iter().map(|name| (name, url(cluster, name) + ", idle_policy: let_sleep")))
}
