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
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Simple,
    Prepared,
}

/// What pgbench and the kernel told of one run.
#[derive(Debug, Clone)]
struct Pass {
    per_second: f64,
    p99: Duration,
    /// The pooler's processor time for one transaction.
    cpu: Duration,
}

/// Two things that are compared: ours and theirs, each by its mode, with as many sessions.
struct Pairing {
    what: &'static str,
    ours: PoolMode,
    theirs: PoolMode,
    protocol: Protocol,
    sessions: usize,
}

/// PgBouncer 1.18 knows no prepared statements where sessions are shared: ours are held to its session mode there, and
/// then need not be shared.
const PAIRINGS: [Pairing; 4] = [
    Pairing::of(
        "transaction, simple",
        PoolMode::Transaction,
        PoolMode::Transaction,
        Protocol::Simple,
        SHARED,
    ),
    Pairing::of(
        "transaction, prepared, to its session mode",
        PoolMode::Transaction,
        PoolMode::Session,
        Protocol::Prepared,
        KEPT,
    ),
    Pairing::of("session, simple", PoolMode::Session, PoolMode::Session, Protocol::Simple, KEPT),
    Pairing::of("session, prepared", PoolMode::Session, PoolMode::Session, Protocol::Prepared, KEPT),
];

pub async fn run(plan: Plan) -> Vec<Figure> {
    let rounds = if plan.quick { 2 } else { 15 };
    let lasts = plan.seconds(2, 1);
    let setup = Setup::default().set("log_connections", "off").set("max_connections", 200);
    let cluster = postgres(Version::V15, setup);
    fill(&cluster).await;
    let shared = Poolers::open(&cluster, PoolMode::Transaction, SHARED, "", &[]).await;
    let ample = Poolers::open(&cluster, PoolMode::Transaction, KEPT, "", &[]).await;
    let kept = Poolers::open(&cluster, PoolMode::Session, KEPT, "", &[]).await;
    let poolers = |mode, sessions| match (mode, sessions) {
        (PoolMode::Transaction, SHARED) => &shared,
        (PoolMode::Transaction, _) => &ample,
        (PoolMode::Session, _) => &kept,
    };
    let mut passes = [const { [const { Vec::new() }; 2] }; PAIRINGS.len()];
    // The first round only warms up.
    for round in 0..=rounds {
        for (pairing, passes) in PAIRINGS.iter().zip(&mut passes) {
            let mut turns = [(Whose::Ours, pairing.ours), (Whose::Theirs, pairing.theirs)];
            turns.rotate_left(round % 2);
            for (whose, mode) in turns {
                let pass =
                    bench(&cluster, poolers(mode, pairing.sessions), whose, pairing.protocol, lasts).await;
                if round > 0 {
                    passes[whose as usize].push(pass);
                }
            }
        }
    }
    let mut figures = Vec::new();
    for (pairing, [ours, theirs]) in PAIRINGS.iter().zip(&passes) {
        figures.extend(compared(pairing.what, ours, theirs));
    }
    let [[simple, _], [prepared, _], ..] = &passes;
    let [simple, prepared] = [simple, prepared].map(|passes| median(passes, |pass| pass.per_second));
    figures.push(Figure::fact(
        "our own transaction mode, prepared to simple: transactions a second",
        format!("{:.2} ({prepared:.0} to {simple:.0})", prepared / simple),
        "",
        true,
    ));
    figures
}

impl Pairing {
    const fn of(
        what: &'static str,
        ours: PoolMode,
        theirs: PoolMode,
        protocol: Protocol,
        sessions: usize,
    ) -> Pairing {
        Pairing { what, ours, theirs, protocol, sessions }
    }
}

/// The medians of the rounds' own ratios: what slows a round slows both in it.
fn compared(what: &str, ours: &[Pass], theirs: &[Pass]) -> [Figure; 3] {
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
    [
        Figure::fact(
            &format!("pgbench -S -c {CLIENTS}, {what}: transactions a second to PgBouncer's"),
            format!("{throughput:.2} ({our_rate:.0} to {their_rate:.0})"),
            "≥ 0.95",
            throughput >= 0.95,
        ),
        Figure::fact("… latency, p99", format!("{p99:.2} ({our_p99} to {their_p99})"), "≤ 1.1", p99 <= 1.1),
        Figure::fact(
            "… CPU for a transaction",
            format!("{cpu:.2} ({our_cpu:.1} µs to {their_cpu:.1} µs)"),
            "≤ 1.2",
            cpu > 0.0 && cpu <= 1.2,
        ),
    ]
}

/// Runs pgbench once through that pooler.
async fn bench(
    cluster: &Cluster,
    poolers: &Poolers,
    whose: Whose,
    protocol: Protocol,
    lasts: Duration,
) -> Pass {
    let folder = tempfile::tempdir().unwrap();
    let protocol = match protocol {
        Protocol::Simple => "simple",
        Protocol::Prepared => "prepared",
    };
    let before = cpu(poolers.pid(whose));
    let said = pgbench(cluster, poolers.port(whose))
        .args(["-n", "-S", "-j", "2", "-M", protocol, "--log", "--sampling-rate=0.2"])
        .args(["-c", &CLIENTS.to_string(), "-T", &lasts.as_secs().to_string()])
        .arg(format!("--log-prefix={}", folder.path().join("times").display()))
        .output()
        .await
        .unwrap();
    let took = cpu(poolers.pid(whose)) - before;
    let text = String::from_utf8_lossy(&said.stdout);
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "pgbench, {whose:?}, {protocol}: {text}\n{errors}");
    let number = |label: &str| -> f64 {
        let rest = text
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .unwrap_or_else(|| panic!("{whose:?}: {text}\n{errors}"));
        rest.split([' ', '/']).find(|word| !word.is_empty()).unwrap().parse().unwrap()
    };
    assert_eq!(number("number of failed transactions:"), 0.0, "{whose:?}, {protocol}: {text}\n{errors}");
    let count = number("number of transactions actually processed:");
    Pass {
        per_second: number("tps ="),
        p99: quantile(&times(folder.path()), 0.99),
        cpu: Duration::from_secs_f64(took.as_secs_f64() / count),
    }
}

/// The third column of pgbench's logs: microseconds.
fn times(folder: &Path) -> Vec<Duration> {
    let logs = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let texts: Vec<String> = logs.collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.map(|line| Duration::from_micros(line.split(' ').nth(2).unwrap().parse().unwrap())).collect()
}

async fn fill(cluster: &Cluster) {
    let said = pgbench(cluster, cluster.port()).args(["-i", "-q", "-s", "5"]).output().await.unwrap();
    assert!(said.status.success(), "pgbench -i: {}", String::from_utf8_lossy(&said.stderr));
}

/// pgbench as the superuser, in plain.
fn pgbench(cluster: &Cluster, port: u16) -> tokio::process::Command {
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
