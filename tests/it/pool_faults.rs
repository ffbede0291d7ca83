//! The pool under random faults, with clients that check every answer and a ledger that is audited at the end:
//! nothing lost, nothing twice, nothing mixed up between clients, no session leaked, memory flat.
//!
//! A few hundred faults are a test like the others; `make chaos-test` injects ten thousand. `CHAOS_FAULTS` says how many,
//! `CHAOS_SEED` under which seed: faults, victims and times are the same for the same seed, what the
//! machine makes of it does not.

mod cancel_keys;
mod client;
mod faults;
mod idlers;
mod ledger;
mod namesakes;
mod operator;
mod session;
mod visitors;
mod wire;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Method;
use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::process::{Daemon, request, wait_until};
use crate::scrape::Metrics;
use crate::servers::{Admin, Version, postgres};
use client::{Client, Shared, Tally};
use faults::{Faults, Kind, counts};
use idlers::Idlers;
use ledger::{ACCOUNTS, Found, OPENING, Outcome, TABLES};
use namesakes::Namesake;
use operator::Operator;
use session::{LIMIT, Style};

/// Clients of each pool, in each of the three styles; beside them go as many namesakes.
const CLIENTS: usize = 3;
/// Server sessions of each pool: fewer than clients.
const SIZE: usize = 6;
/// How many faults `make test` injects.
const FAULTS: usize = 300;
const SEED: u64 = 1;
/// The users that the pools log in as, so that their sessions at the server can be told apart.
const USERS: [&str; 2] = ["pool_transaction", "pool_session"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_mixed_up_whatever_dies_around_the_pool() {
    let faults = variable("CHAOS_FAULTS").map_or(FAULTS, |count| count as usize);
    let seed = variable("CHAOS_SEED").unwrap_or(SEED);
    let cluster = bank().await;
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let daemon = Daemon::start_with(&config(&cluster, ports, SIZE), &["--web.enable-lifecycle"], &[]);
    for user in USERS {
        daemon.await_metric(LIMIT, "pgtether_up", &[("target", user)], 1.0).await;
    }
    let urls = [0, 1].map(|n| client_url(USERS[n], ports[n]));
    let mut memory = Vec::new();
    let most = Arc::new(Mutex::new(0.0));
    let watch = tokio::spawn(watch_size(daemon.address(), most.clone()));
    let texts = (0..=SIZE).map(|size| config(&cluster, ports, size.max(1))).collect();
    let operator = Operator::of(&daemon, texts);
    let end = chaos(cluster, &urls, seed, faults, Some(operator), |share| {
        while memory.len() < (share * 10.0) as usize {
            memory.push(resident(daemon.pid()));
            println!("{} %: {:.1} MiB resident", memory.len() * 10, memory[memory.len() - 1]);
        }
    })
    .await;
    println!("{}", end.report);
    assert_eq!(end.breaches, Vec::<String>::new(), "\n{}", end.report);
    watch.abort();
    let most = *most.lock().unwrap();
    assert!(most > 1.0 && most <= SIZE as f64, "{most} sessions of one pool, {SIZE} are allowed");
    no_session_is_left(&daemon, &end.cluster).await;
    let [early, late] = [memory[0], resident(daemon.pid())];
    assert!(late <= early * 1.05 + 4.0, "resident: {early:.1} MiB after a tenth, {late:.1} MiB at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_finds_nothing_wrong_with_postgresql_itself() {
    let cluster = bank().await;
    let urls = USERS.map(|user| client_url(user, cluster.port()));
    let end = chaos(cluster, &urls, SEED, 40, None, |_| ()).await;
    println!("{}", end.report);
    assert_eq!(end.breaches, Vec::<String>::new(), "\n{}", end.report);
}

/// The result of a run.
struct End {
    breaches: Vec<String>,
    report: String,
    cluster: Cluster,
}

/// Injects the faults while the clients work, and checks; `progress` gets the share that is done.
async fn chaos(
    cluster: Cluster,
    urls: &[String; 2],
    seed: u64,
    count: usize,
    operator: Option<Operator>,
    mut progress: impl FnMut(f64),
) -> End {
    let begun = Instant::now();
    let mut dice = fastrand::Rng::with_seed(seed);
    let deck = Kind::deck(count, &mut dice);
    let shared = Arc::new(Shared::default());
    let crowd = crowd(urls, &shared, &mut dice);
    let cluster = Arc::new(Mutex::new(cluster));
    let mut faults = Faults {
        cluster: cluster.clone(),
        urls: urls.to_vec(),
        users: "pool%",
        shared: shared.clone(),
        dice: dice.fork(),
        admin: None,
        idlers: Idlers::default(),
        visits: BTreeMap::new(),
        operator,
    };
    for (kind, done) in deck.iter().zip(1..) {
        sleep(Duration::from_millis(dice.u64(0..16))).await;
        faults.strike(*kind).await;
        progress(f64::from(done) / deck.len() as f64);
    }
    faults.end().await;
    let dealt = begun.elapsed();
    shared.closing.store(true, Relaxed);
    let mut breaches = Vec::new();
    // Other faults are in the way of some; a pool that does not serve them is in the way of all.
    for (kind, (came, done)) in &faults.visits {
        if *came > 3 && done * 2 < *came {
            breaches.push(format!("of {came} visits of {kind:?} only {done} could be made"));
        }
    }
    let visits = format!("{:?}", faults.visits);
    let mut total = Tally::default();
    for (name, life) in crowd {
        // Twice: once to notice that all is over, once for its last deed.
        match timeout(LIMIT * 3, life).await {
            Ok(tally) => total.add(tally.unwrap()),
            Err(_) => breaches.push(format!("{name} did not come to its end")),
        }
    }
    drop(faults);
    let cluster = Arc::into_inner(cluster).unwrap().into_inner().unwrap();
    let found = Found::read(&cluster.admin_conninfo()).await.unwrap();
    breaches.extend(shared.ledger.verdict(&found).iter().map(ToString::to_string));
    let mut report = format!("seed {seed}: {} faults in {dealt:.0?}: {:?}\n", deck.len(), counts(&deck));
    let told = [Outcome::Acknowledged, Outcome::Refused, Outcome::Unknown].map(|o| shared.ledger.count(o));
    let _ = writeln!(
        report,
        "{} sessions, {} deeds; transfers: {} acknowledged, {} refused, {} unknown; errors: {:#?}",
        total.sessions, total.done, told[0], told[1], told[2], total.errors
    );
    let _ = writeln!(report, "visits, and those that could be made: {visits}");
    let _ = write!(report, "verdict: {} breaches", breaches.len());
    End { breaches, report, cluster }
}

/// All clients, at work.
fn crowd(
    urls: &[String; 2],
    shared: &Arc<Shared>,
    dice: &mut fastrand::Rng,
) -> BTreeMap<String, JoinHandle<Tally>> {
    let mut crowd = BTreeMap::new();
    for (url, user) in urls.iter().zip(USERS) {
        for n in 0..CLIENTS {
            for style in [Style::Simple, Style::Extended, Style::Prepared] {
                let name = format!("{user} {style:?} {n}");
                let client = Client {
                    name: name.clone(),
                    url: url.clone(),
                    style,
                    marks: user == USERS[1],
                    dice: dice.fork(),
                    shared: shared.clone(),
                };
                crowd.insert(name, tokio::spawn(client.live()));
            }
            let name = format!("{user} namesake {n}");
            let (url, dice, shared) = (url.clone(), dice.fork(), shared.clone());
            let namesake = Namesake { name: name.clone(), url, dice, shared };
            crowd.insert(name, tokio::spawn(namesake.live()));
        }
    }
    crowd
}

/// A server with the accounts and the pools' users. What it has acknowledged outlives the end of its processes.
async fn bank() -> Cluster {
    let setup = Setup::default()
        .set("synchronous_commit", "on")
        .set("deadlock_timeout", "50ms")
        .set("autovacuum_naptime", "5s")
        .set("log_connections", "off")
        .set("log_disconnections", "off");
    let cluster = postgres(Version::V15, setup);
    let admin = Admin::of(&cluster).await;
    admin.query(TABLES).await;
    admin
        .query(&format!("INSERT INTO accounts SELECT n, {OPENING} FROM generate_series(0, {ACCOUNTS} - 1) n"))
        .await;
    for user in USERS {
        admin.query(&format!("CREATE ROLE {user} LOGIN PASSWORD '{user}'")).await;
    }
    admin.query(&format!("ALTER TABLE reshaped OWNER TO {}", USERS[0])).await;
    admin.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC").await;
    admin.close().await;
    cluster
}

fn client_url(user: &str, port: u16) -> String {
    format!("postgresql://{user}:{user}@127.0.0.1:{port}/postgres?sslmode=disable")
}

/// Both modes, each with a pool of its own. The waits are short: what is under test is not the patience with a server
/// that dies twice a second.
fn config(cluster: &Cluster, ports: [u16; 2], size: usize) -> String {
    let mut text = "service: chaos\n\
        fleet: {connects_per_second: 1000, connects_per_host_per_second: 1000, logins_in_flight: 100}\n\
        targets:\n"
        .to_owned();
    for ((user, mode), port) in USERS.iter().zip(["transaction", "session"]).zip(ports) {
        let url = cluster.url(user, user, "postgres");
        let _ = write!(
            text,
            "  - name: {user}\n    url: \"{url}\"\n    backoff: {{initial: 50ms, max: 500ms}}\n    \
             breaker: {{consecutive_failures: 1000}}\n    \
             pool: {{listen: \"127.0.0.1:{port}\", mode: {mode}, size: {size}, wait_timeout: 20s, tls: off}}\n"
        );
    }
    text
}

/// The most sessions that a pool had at any time, by its own numbers.
async fn watch_size(address: SocketAddr, most: Arc<Mutex<f64>>) {
    loop {
        let answer = request(address, Method::GET, "/metrics", &[]).await;
        let metrics = Metrics::parse(&answer.text());
        for user in USERS {
            let has = metrics.all("pgtether_pool_servers", &[("target", user)]).iter().map(|s| s.value).sum();
            let mut most = most.lock().unwrap();
            *most = most.max(has);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Both pools' sessions at the server are as many as they say, all at rest; and no client is left.
async fn no_session_is_left(daemon: &Daemon, cluster: &Cluster) {
    let admin = Admin::of(cluster).await;
    for user in USERS {
        wait_until(LIMIT, &format!("{user} to be at rest"), async || {
            let metrics = daemon.metrics().await;
            let pool = |name: &str| -> BTreeMap<String, f64> {
                let samples = metrics.all(name, &[("target", user)]);
                samples.iter().map(|sample| (sample.labels["state"].clone(), sample.value)).collect()
            };
            let (clients, servers) = (pool("pgtether_pool_clients"), pool("pgtether_pool_servers"));
            let sql = format!("SELECT state FROM pg_stat_activity WHERE usename = '{user}'");
            let states = admin.query(&sql).await;
            let seen = format!("clients {clients:?}, servers {servers:?}, at the server {states:?}");
            let none = clients.len() == 4 && clients.values().all(|count| *count == 0.0);
            // The supervised session is beside them.
            let same = servers.len() == 4 && servers.values().sum::<f64>() + 1.0 == states.len() as f64;
            let rest = servers.get("active") == Some(&0.0) && states.iter().all(|state| state == "idle");
            if none && same && rest { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

/// Resident memory in MiB.
fn resident(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}={value}: {e}")))
}
