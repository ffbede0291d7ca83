//! What a transaction costs a pooler in its own code: instructions, as callgrind counts them. Unlike times, they are the
//! same on a busy machine; what the kernel does for it is not among them.
//!
//! A pooler is run for few and for many transactions, from its start to its end: what both have in common, such as logins, is
//! not counted.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tempfile::TempDir;

use super::Whose;
use super::speed::{fill, pgbench};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, all_up, config, url};
use crate::servers::{PgBouncer, PoolMode, Version, postgres};

const CLIENTS: u64 = 16;
const SESSIONS: usize = 16;
/// So many transactions of each client need all of the sessions: the same are opened in each run.
const WARM_UP: u64 = 300;

/// What is counted, and how much it may be.
struct Case {
    what: &'static str,
    mode: PoolMode,
    protocol: &'static str,
    bound: u64,
}

const CASES: [Case; 3] = [
    Case { what: "transaction, simple", mode: PoolMode::Transaction, protocol: "simple", bound: 10_500 },
    Case { what: "transaction, extended", mode: PoolMode::Transaction, protocol: "extended", bound: 14_500 },
    Case { what: "session, prepared", mode: PoolMode::Session, protocol: "prepared", bound: 7_200 },
];
/// The first case, with TLS.
const TLS: u64 = 26_000;

pub async fn run(plan: Plan) -> Vec<Figure> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("         valgrind is missing: `make tools` installs it");
        return vec![Figure::broken("pool_instructions")];
    }
    let many = if plan.quick { 60 } else { 400 };
    let setup = Setup::default().set("log_connections", "off").set("max_connections", 200);
    let cluster = postgres(Version::V15, setup);
    fill(&cluster).await;
    let mut figures = Vec::new();
    for Case { what, mode, protocol, bound } in CASES {
        let ours = each(&cluster, Whose::Ours, mode, protocol, false, many).await;
        let theirs = each(&cluster, Whose::Theirs, mode, protocol, false, many).await;
        figures.push(figure(what, &format!(" (PgBouncer {theirs})"), ours, bound));
    }
    let Case { mode, protocol, .. } = CASES[0];
    let ours = each(&cluster, Whose::Ours, mode, protocol, true, many).await;
    figures.push(figure("transaction, simple, TLS", "", ours, TLS));
    figures
}

fn figure(what: &str, theirs: &str, ours: u64, bound: u64) -> Figure {
    let what = format!("instructions of the pooler for a transaction, {what}{theirs}");
    Figure::at_most(&what, ours, bound)
}

/// Instructions for one transaction.
async fn each(cluster: &Cluster, whose: Whose, mode: PoolMode, protocol: &str, tls: bool, many: u64) -> u64 {
    const FEW: u64 = 20;
    let mut counts = [0; 2];
    for (count, transactions) in counts.iter_mut().zip([FEW, FEW + many]) {
        let folder = TempDir::new().unwrap();
        open_to_all(folder.path());
        let log = folder.path().join("valgrind.log");
        let under = [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            &format!("--log-file={}", log.display()),
        ];
        let run = async |port: u16| {
            bench(cluster, port, protocol, tls, WARM_UP).await;
            bench(cluster, port, protocol, tls, transactions).await;
        };
        match whose {
            Whose::Ours => {
                let port = free_port().unwrap();
                let mode = match mode {
                    PoolMode::Transaction => "transaction",
                    PoolMode::Session => "session",
                };
                let pool =
                    format!(", pool: {{listen: \"127.0.0.1:{port}\", mode: {mode}, size: {SESSIONS}}}");
                let mut daemon =
                    Daemon::start_by(&under, &config([("pool", url(cluster, "pool") + &pool)]), &[]);
                all_up(&daemon, 1, PATIENCE).await;
                run(port).await;
                daemon.signal(Signal::SIGTERM);
                daemon.exited(PATIENCE).await;
            }
            Whose::Theirs => {
                let settings = [&format!("default_pool_size = {SESSIONS}"), "log_connections = 0"];
                let bouncer = PgBouncer::start_under(&under, cluster, mode, &settings);
                run(bouncer.port()).await;
                bouncer.end();
            }
        }
        *count = collected(&fs::read_to_string(&log).unwrap());
    }
    counts[1].saturating_sub(counts[0]) / (many * CLIENTS)
}

/// PgBouncer runs as another user.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

async fn bench(cluster: &Cluster, port: u16, protocol: &str, tls: bool, transactions: u64) {
    let said = pgbench(cluster, port)
        .env("PGSSLMODE", if tls { "require" } else { "disable" })
        .args(["-n", "-S", "-j", "2", "-M", protocol, "-c", &CLIENTS.to_string()])
        .args(["-t", &transactions.to_string()])
        .output()
        .await
        .unwrap();
    assert!(said.status.success(), "pgbench, {protocol}: {}", String::from_utf8_lossy(&said.stderr));
}

/// The last line of callgrind's log is `==1234== Collected : 56789`.
fn collected(log: &str) -> u64 {
    let line = log.lines().find_map(|line| line.split_once("Collected :"));
    line.unwrap_or_else(|| panic!("callgrind says: {log}")).1.trim().parse().unwrap()
}
