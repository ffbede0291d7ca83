//! `pgbench -S` through both poolers by turns: whatever the machine does meanwhile, it does to both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pgtether::demo::postgres::{Cluster, SUPERUSER, Setup};

use super::{Poolers, Whose};
use crate::plan::Plan;
use crate::report::{Figure, length, quantile};
use crate::servers::{PoolMode, Version, postgres};
use crate::usage::cpu;

/// Clients of pgbench.
const CLIENTS: usize = 16;
/// Sessions where they are shared.
const SHARED: usize = 10;
/// Sessions where each client keeps one.
const KEPT: usize = 20;

/// How pgbench sends its queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Simple,
    Extended,
    Prepared,
}

/// One of the poolers that are compared, and how pgbench comes to it.
#[derive(Debug, Clone, Copy)]
struct Side {
    whose: Whose,
    pools: Pools,
    tls: bool,
}

/// Each is a pgtether and a PgBouncer with as many sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pools {
    Shared,
    /// With `prepare_unnamed` on our side.
    Preparing,
    /// As many sessions as where each client keeps one.
    Ample,
    Kept,
}

/// What pgbench and the kernel told of one run.
#[derive(Debug, Clone)]
struct Pass {
    per_second: f64,
    p99: Duration,
    /// The pooler's processor time for one transaction.
    cpu: Duration,
}

/// Two that are compared.
struct Pairing {
    what: &'static str,
    sides: [Side; 2],
    protocol: Protocol,
    limits: Limits,
}

/// Of the first side's figures to the second side's.
struct Limits {
    throughput: f64,
    p99: f64,
    cpu: f64,
}

/// What a pool has to reach beside PgBouncer in plain.
const PLAIN: Limits = Limits { throughput: 1.05, p99: 1.0, cpu: 0.8 };
/// What TLS may take of our own plain figures.
const TLS: Limits = Limits { throughput: 0.92, p99: 1.3, cpu: 1.3 };

/// PgBouncer 1.18 knows no prepared statements where sessions are shared: ours are held to its session mode there, and
/// then need not be shared.
const PAIRINGS: [Pairing; 10] = [
    Pairing::plain("transaction, simple", Pools::Shared, Protocol::Simple),
    Pairing::plain("transaction, extended", Pools::Shared, Protocol::Extended),
    Pairing {
        limits: Limits { throughput: 1.3, ..PLAIN },
        ..Pairing::plain("transaction, extended, prepare_unnamed", Pools::Preparing, Protocol::Extended)
    },
    Pairing {
        what: "transaction, prepared, to its session mode",
        sides: [Side::ours(Pools::Ample), Side::theirs(Pools::Kept)],
        protocol: Protocol::Prepared,
        limits: PLAIN,
    },
    Pairing::plain("session, simple", Pools::Kept, Protocol::Simple),
    Pairing::plain("session, extended", Pools::Kept, Protocol::Extended),
    Pairing::plain("session, prepared", Pools::Kept, Protocol::Prepared),
    Pairing::tls("transaction, simple, TLS to our own plain", Pools::Shared, Protocol::Simple),
    Pairing::tls("transaction, extended, TLS to our own plain", Pools::Shared, Protocol::Extended),
    Pairing::tls("session, prepared, TLS to our own plain", Pools::Kept, Protocol::Prepared),
];

impl Side {
    const fn ours(pools: Pools) -> Side {
        Side { whose: Whose::Ours, pools, tls: false }
    }

    const fn theirs(pools: Pools) -> Side {
        Side { whose: Whose::Theirs, pools, tls: false }
    }
}

impl Pairing {
    const fn plain(what: &'static str, pools: Pools, protocol: Protocol) -> Pairing {
        Pairing { what, sides: [Side::ours(pools), Side::theirs(pools)], protocol, limits: PLAIN }
    }

    /// libpq asks for TLS where it is offered: the default of most clients is a case of its own.
    const fn tls(what: &'static str, pools: Pools, protocol: Protocol) -> Pairing {
        let sides = [Side { tls: true, ..Side::ours(pools) }, Side::ours(pools)];
        Pairing { what, sides, protocol, limits: TLS }
    }
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let rounds = if plan.quick { 2 } else { 15 };
    let lasts = plan.seconds(2, 1);
    let setup = Setup::default().set("log_connections", "off").set("max_connections", 200);
    let cluster = postgres(Version::V15, setup);
    fill(&cluster).await;
    let shared = Poolers::open(&cluster, PoolMode::Transaction, SHARED, "", &[]).await;
    let unnamed = ", prepare_unnamed: true";
    let preparing = Poolers::open(&cluster, PoolMode::Transaction, SHARED, unnamed, &[]).await;
    let ample = Poolers::open(&cluster, PoolMode::Transaction, KEPT, "", &[]).await;
    let kept = Poolers::open(&cluster, PoolMode::Session, KEPT, "", &[]).await;
    let poolers = |pools| match pools {
        Pools::Shared => &shared,
        Pools::Preparing => &preparing,
        Pools::Ample => &ample,
        Pools::Kept => &kept,
    };
    let mut passes = [const { [const { Vec::new() }; 2] }; PAIRINGS.len()];
    // The first round only warms up.
    for round in 0..=rounds {
        for (pairing, passes) in PAIRINGS.iter().zip(&mut passes) {
            let mut turns = [0, 1];
            turns.rotate_left(round % 2);
            for turn in turns {
                let side = pairing.sides[turn];
                let pass = bench(&cluster, poolers(side.pools), side, pairing.protocol, lasts).await;
                if round > 0 {
                    passes[turn].push(pass);
                }
            }
        }
    }
    PAIRINGS.iter().zip(&passes).flat_map(|(pairing, passes)| compared(pairing, passes)).collect()
}

/// The medians of the rounds' own ratios: what slows a round slows both in it.
fn compared(pairing: &Pairing, [ours, theirs]: &[Vec<Pass>; 2]) -> [Figure; 3] {
    let Pairing { what, limits, .. } = pairing;
    let ratio = |of: fn(&Pass) -> f64| {
        let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs));
        middle(ratios.collect())
    };
    let throughput = ratio(|pass| pass.per_second);
    let p99 = ratio(|pass| pass.p99.as_secs_f64());
    let cpu = ratio(|pass| pass.cpu.as_secs_f64());
    let times = |of: fn(&Pass) -> f64| {
        [ours, theirs].map(|passes| length(Duration::from_secs_f64(median(passes, of))))
    };
    let [our_p99, their_p99] = times(|pass| pass.p99.as_secs_f64());
    let [our_cpu, their_cpu] =
        [ours, theirs].map(|passes| median(passes, |pass| pass.cpu.as_secs_f64() * 1e6));
    let [our_rate, their_rate] = [ours, theirs].map(|passes| median(passes, |pass| pass.per_second));
    let to = if pairing.sides[1].whose == Whose::Theirs { " to PgBouncer's" } else { "" };
    [
        Figure::fact(
            &format!("pgbench -S -c {CLIENTS}, {what}: transactions per second{to}"),
            format!("{throughput:.2} ({our_rate:.0} to {their_rate:.0})"),
            &format!("≥ {}", limits.throughput),
            throughput >= limits.throughput,
        ),
        Figure::fact(
            "… latency, p99",
            format!("{p99:.2} ({our_p99} to {their_p99})"),
            &format!("≤ {}", limits.p99),
            p99 <= limits.p99,
        ),
        Figure::fact(
            "… CPU per transaction",
            format!("{cpu:.2} ({our_cpu:.1} µs to {their_cpu:.1} µs)"),
            &format!("≤ {}", limits.cpu),
            cpu > 0.0 && cpu <= limits.cpu,
        ),
    ]
}

/// Runs pgbench once through that pooler.
async fn bench(
    cluster: &Cluster,
    poolers: &Poolers,
    side: Side,
    protocol: Protocol,
    lasts: Duration,
) -> Pass {
    // What logins cost is no transaction's, and PgBouncer derives keys for each of them.
    let (_, logins) = pass(cluster, poolers, side, protocol, &["-t", "1"]).await;
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("--log-prefix={}", folder.path().join("times").display());
    let lasts = lasts.as_secs().to_string();
    let timed = ["-T", &lasts, "--log", "--sampling-rate=0.2", &prefix];
    let (text, took) = pass(cluster, poolers, side, protocol, &timed).await;
    let number = |label: &str| -> f64 {
        let rest = text.lines().find_map(|line| line.strip_prefix(label));
        let rest = rest.unwrap_or_else(|| panic!("{side:?}: {text}"));
        rest.split([' ', '/']).find(|word| !word.is_empty()).unwrap().parse().unwrap()
    };
    assert_eq!(number("number of failed transactions:"), 0.0, "{side:?}, {protocol:?}: {text}");
    let count = number("number of transactions actually processed:");
    Pass {
        per_second: number("tps ="),
        p99: quantile(&times(folder.path()), 0.99),
        cpu: Duration::from_secs_f64(took.saturating_sub(logins).as_secs_f64() / count),
    }
}

/// What pgbench says, and how much of the processor's time the pooler took.
async fn pass(
    cluster: &Cluster,
    poolers: &Poolers,
    Side { whose, tls, .. }: Side,
    protocol: Protocol,
    more: &[&str],
) -> (String, Duration) {
    let protocol = match protocol {
        Protocol::Simple => "simple",
        Protocol::Extended => "extended",
        Protocol::Prepared => "prepared",
    };
    let before = cpu(poolers.pid(whose));
    let said = pgbench(cluster, poolers.port(whose))
        .env("PGSSLMODE", if tls { "require" } else { "disable" })
        .args(["-n", "-S", "-j", "2", "-M", protocol, "-c", &CLIENTS.to_string()])
        .args(more)
        .output()
        .await
        .unwrap();
    let took = cpu(poolers.pid(whose)) - before;
    let text = String::from_utf8_lossy(&said.stdout);
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "pgbench, {whose:?}, {protocol}: {text}\n{errors}");
    (text.into_owned(), took)
}

/// The third column of pgbench's logs: microseconds.
fn times(folder: &Path) -> Vec<Duration> {
    let logs = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let texts: Vec<String> = logs.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.map(|line| Duration::from_micros(line.split(' ').nth(2).unwrap().parse().unwrap())).collect()
}

pub async fn fill(cluster: &Cluster) {
    let said = pgbench(cluster, cluster.port()).args(["-i", "-q", "-s", "5"]).output().await.unwrap();
    assert!(said.status.success(), "pgbench -i: {}", String::from_utf8_lossy(&said.stderr));
}

/// pgbench as the superuser, in plain.
pub fn pgbench(cluster: &Cluster, port: u16) -> tokio::process::Command {
    let places = [Version::V15.folder().join("pgbench"), PathBuf::from("/usr/bin/pgbench")];
    let program = places.iter().find(|path| path.is_file());
    let program =
        program.unwrap_or_else(|| panic!("pgbench is missing; it comes with Debian's postgresql-15"));
    let mut command = tokio::process::Command::new(program);
    command
        .args(["-h", "127.0.0.1", "-U", SUPERUSER, "-p"])
        .arg(port.to_string())
        .env_clear()
        .env("PGDATABASE", SUPERUSER)
        .env("PGPASSWORD", cluster.password())
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn median(passes: &[Pass], of: impl Fn(&Pass) -> f64) -> f64 {
    middle(passes.iter().map(of).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[half - 1] + values[half]) / 2.0 } else { values[half] }
}
