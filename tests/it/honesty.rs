//! Whether pgtether tells the truth while a server is terminated, restarted, stopped and frozen: somebody who logs in every
//! 100 ms, and knows nothing of pgtether, is the measure of `/health` and of `pgtether_up`.
//!
//! A few faults are a test like the others; `make honesty MINUTES=5` takes longer. `HONESTY_SECONDS` says how long,
//! `HONESTY_SEED` under which seed.

mod faults;
mod judge;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgtether::demo::postgres::{Cluster, Setup};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::process::Daemon;
use crate::servers::{Version, postgres};
use crate::supervise::{DB, SERVICE, config, up};
use faults::Plan;
use judge::{Promise, Sight, Verdict, judge};

/// Between two logins, and between two looks at what pgtether tells.
const EVERY: Duration = Duration::from_millis(100);
/// A login that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the machine and the measurement may add to a promise.
const SLACK: Duration = Duration::from_millis(1500);
/// How long the test is that runs with the others.
const SMOKE: Duration = Duration::from_secs(14);

/// An unanswered ping is noticed after interval and timeout, one second each; a lost session is replaced within two seconds.
const UP: Promise = Promise { down_within: Duration::from_secs(2), up_within: Duration::from_secs(2) };
/// `/health` says `degraded` while the first reconnect is under way, for a second at the most.
const HEALTH: Promise = Promise { down_within: Duration::from_secs(3), ..UP };

/// What was seen, from the beginning on.
#[derive(Clone)]
struct Sights {
    begun: Instant,
    seen: Arc<Mutex<Vec<Sight>>>,
}

impl Sights {
    fn new(begun: Instant) -> Self {
        Sights { begun, seen: Arc::default() }
    }

    fn add(&self, at: Instant, is_up: bool) {
        let at = at.saturating_duration_since(self.begun);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Sight { at, is_up });
    }

    fn sorted(&self) -> Vec<Sight> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_by_key(|sight| sight.at);
        seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pgtether_tells_is_what_somebody_who_logs_in_finds() {
    let (plan, length) = match (variable("HONESTY_SECONDS"), variable("HONESTY_SEED").unwrap_or(1)) {
        (None, _) => (Plan::smoke(), SMOKE),
        (Some(seconds), seed) => {
            println!("{seconds} s, seed {seed}");
            (Plan::random(seed), Duration::from_secs(seconds))
        }
    };
    let cluster = postgres(Version::V15, Setup::default().set("max_connections", 200));
    let url = cluster.superuser_url();
    let daemon = up(&config(&url, &["ping: {interval: 1s, timeout: 1s}"])).await;
    let begun = Instant::now();
    let [truth, up, health] = [(); 3].map(|()| Sights::new(begun));
    let logins = tokio::spawn(log_in(url, truth.clone()));
    let looks = look(Arc::new(daemon), up.clone(), health.clone());
    let faults = inflict(cluster, plan, begun + length).await;
    // What was lost at last must come back.
    sleep(UP.up_within + SLACK).await;
    logins.abort();
    looks.abort();
    let truth = truth.sorted();
    let named = [("pgtether_up", UP, up), ("/health", HEALTH, health)];
    let verdicts = named.map(|(name, promise, claims)| {
        let verdict = judge(&truth, &claims.sorted(), &promise.with_slack(SLACK));
        println!("{name}: {verdict}");
        (name, verdict)
    });
    println!("{faults} faults in {:.0} s, {} logins", begun.elapsed().as_secs_f64(), truth.len());
    assert!(truth.iter().any(|sight| !sight.is_up) && faults >= 4, "the faults were not felt");
    for (name, Verdict { falsely_up, falsely_down, judged, .. }) in verdicts {
        assert!(judged as u64 > length.as_secs() / 2, "{name}: only {judged} seconds could be judged");
        assert!(falsely_up.is_empty(), "{name}: falsely up in the seconds {falsely_up:?}");
        assert!(falsely_down.is_empty(), "{name}: falsely down in the seconds {falsely_down:?}");
    }
}

/// One login after the other, whether or not the last ones have ended.
async fn log_in(url: String, truth: Sights) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (url, truth) = (url.clone(), truth.clone());
        tokio::spawn(async move {
            let asked = Instant::now();
            let login = timeout(PATIENCE, async {
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
                let connection = tokio::spawn(connection);
                let answer = client.simple_query("SELECT 1").await;
                connection.abort();
                answer.map(drop)
            });
            match login.await {
                Ok(Ok(())) => truth.add(Instant::now(), true),
                Ok(Err(_)) | Err(_) => truth.add(asked, false),
            }
        });
    }
}

/// What pgtether tells meanwhile.
fn look(daemon: Arc<Daemon>, up: Sights, health: Sights) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let is_up = daemon.metric("pgtether_up", DB).await.unwrap();
            up.add(Instant::now(), is_up == 1.0);
            let status = daemon.get("/health").await.status;
            health.add(Instant::now(), status == 200);
        }
    })
}

/// Carries the faults out, the last one to its end; returns how many there were.
async fn inflict(mut cluster: Cluster, plan: Plan, until: Instant) -> usize {
    let mut done = 0;
    for (pause, fault) in plan {
        if Instant::now() + pause + fault.lasts() > until {
            break;
        }
        sleep(pause).await;
        println!("{fault:?}");
        cluster = fault.inflict(cluster, SERVICE).await;
        done += 1;
    }
    sleep(until.saturating_duration_since(Instant::now())).await;
    done
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
}
