//! One target, scraped by turns with an echo and with Debian's postgres_exporter, whose collectors are off: what does a
//! scrape cost, here and there?

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tokio::time::sleep;

use crate::ask::{self, Encoding, Kept};
use crate::echo::Echo;
use crate::journal::{entries, sessions};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, length, quantile};
use crate::rig::{PATIENCE, all_up, config, counter, names, url};
use crate::servers::{Version, postgres};
use crate::usage::{cpu, resident};

/// Before the first one counts.
const WARM: usize = 100;

/// What went on at the server on behalf of one application.
#[derive(Debug, Clone, Copy)]
struct Traffic {
    logins: usize,
    statements: usize,
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let scrapes = if plan.quick { 200 } else { 4000 };
    let names = names(1);
    let cluster = postgres(Version::V15, Setup::default().set("log_statement", "all"));
    let daemon = Daemon::start(&config(names.iter().map(|name| (name, url(&cluster, name)))));
    let exporter = Exporter::start(&cluster).await;
    let echo = Echo::start();
    all_up(&daemon, 1, PATIENCE).await;
    let addresses = [daemon.address(), echo.address(), exporter.address];
    let pids = [daemon.pid(), exporter.pid()];

    let own = async || {
        let of = |name| counter(&daemon, name, &names[0]);
        // Each login proves itself by a ping of its own.
        (of("pgtether_connections_total").await as usize, of("pgtether_pings_total").await as usize)
    };
    let (logins, pings) = own().await;
    let before = ["t0", Exporter::NAME].map(|name| traffic(&cluster, name));
    let plain = Round::run(scrapes, addresses, pids, Encoding::Identity).await;
    let zipped = Round::run(scrapes, addresses, pids, Encoding::Gzip).await;
    let after = ["t0", Exporter::NAME].map(|name| traffic(&cluster, name));
    let now = own().await;
    let (logins, pings) = (now.0 - logins, now.1 - pings);

    let grown = |of: usize| Traffic {
        logins: after[of].logins - before[of].logins,
        statements: after[of].statements - before[of].statements,
    };
    let (ours, theirs) = (grown(0), grown(1));
    let rss = resident(daemon.pid());
    let scrapes = (WARM + scrapes) * 2;
    let mut figures = Vec::from(plain.figures("a scrape", (4.0, 5.0)));
    // This is how Prometheus asks; there is no promise of how much cheaper, but of cheaper.
    figures.extend(zipped.figures("a scrape with gzip", (1.0, 1.0)));
    figures.extend([
        Figure::fact(
            &format!("RSS after {scrapes} scrapes (postgres_exporter {:.1} MiB)", resident(exporter.pid())),
            format!("{rss:.1} MiB"),
            "≤ 10 MiB",
            rss > 0.0 && rss <= 10.0,
        ),
        Figure::fact(
            &format!("logins by {scrapes} scrapes, by the server's log (theirs {})", theirs.logins),
            ours.logins.abs_diff(logins),
            "none",
            ours.logins == logins,
        ),
        Figure::fact(
            &format!("statements by {scrapes} scrapes, pings aside (theirs {})", theirs.statements),
            ours.statements.abs_diff(pings),
            "none",
            ours.statements == pings,
        ),
    ]);
    figures
}

/// Ours, an echo and theirs, scraped one after the other, again and again: whatever the machine does meanwhile, it does
/// to all three.
struct Round {
    /// Ours and theirs, the echo's taken off.
    over: [Duration; 2],
    /// Of a thousand scrapes.
    cpu: [Duration; 2],
    echo: Vec<Duration>,
}

impl Round {
    async fn run(count: usize, addresses: [SocketAddr; 3], pids: [i32; 2], encoding: Encoding) -> Round {
        let mut connections = Vec::new();
        for address in addresses {
            connections.push(Kept::open(address).await.unwrap().accepting(encoding));
        }
        turns(WARM, &mut connections).await;
        let before = pids.map(cpu);
        let [ours, echo, theirs] = turns(count, &mut connections).await;
        let after = pids.map(cpu);
        let over = |times: &[Duration]| quantile(times, 0.5).saturating_sub(quantile(&echo, 0.5));
        let per_1000 = |of: usize| (after[of] - before[of]).mul_f64(1000.0 / count as f64);
        Round { over: [over(&ours), over(&theirs)], cpu: [per_1000(0), per_1000(1)], echo }
    }

    /// So many times cheaper than theirs has ours to be, at the least: in time, and in CPU.
    fn figures(&self, what: &str, (in_time, in_cpu): (f64, f64)) -> [Figure; 2] {
        let compared = |what: String, [ours, theirs]: [Duration; 2], least: f64| {
            let times = theirs.as_secs_f64() / ours.as_secs_f64();
            let measured = format!("{} : {} = 1 : {times:.1}", length(ours), length(theirs));
            Figure::fact(&what, measured, &format!("≤ 1 : {least}"), times >= least)
        };
        [
            compared(
                format!("{what} at p50, echo taken off: ours to postgres_exporter's"),
                self.over,
                in_time,
            )
            .beside(&self.echo),
            compared(format!("CPU of 1000 times {what}: ours to postgres_exporter's"), self.cpu, in_cpu),
        ]
    }
}

async fn turns(count: usize, connections: &mut [Kept]) -> [Vec<Duration>; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..count {
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            let answer = connection.get("/metrics").await.unwrap();
            assert_eq!(answer.status, 200);
            times.push(answer.took);
        }
    }
    times
}

/// Debian's postgres_exporter on a free port, everything off that can be. Dropping it ends it.
struct Exporter {
    process: Child,
    address: SocketAddr,
}

impl Exporter {
    const PROGRAM: &str = "/usr/bin/prometheus-postgres-exporter";
    const NAME: &str = "exporter";

    async fn start(cluster: &Cluster) -> Exporter {
        assert!(
            Path::new(Self::PROGRAM).is_file(),
            "postgres_exporter is missing; `make figures` installs it"
        );
        let address: SocketAddr = ([127, 0, 0, 1], free_port().unwrap()).into();
        let source = format!("{}?sslmode=disable&application_name={}", cluster.superuser_url(), Self::NAME);
        let process = Command::new(Self::PROGRAM)
            .args(["--disable-default-metrics", "--disable-settings-metrics"])
            .args(["--no-collector.database", "--no-collector.bgwriter", "--log.level=error"])
            .arg(format!("--web.listen-address={address}"))
            .env_clear()
            .env("DATA_SOURCE_NAME", source)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let exporter = Exporter { process, address };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask::get(address, "/metrics").await {
                Ok(answer) if answer.body.windows(8).any(|part| part == b"\npg_up 1") => return exporter,
                seen => assert!(Instant::now() < deadline, "postgres_exporter does not work: {seen:?}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn pid(&self) -> i32 {
        self.process.id() as i32
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn traffic(cluster: &Cluster, application: &str) -> Traffic {
    let log = cluster.log();
    let sessions = sessions(&log, application);
    // A statement that is sent in the extended protocol is logged as "execute".
    let mark = format!(" {application} LOG:  ");
    let said = |word: &str| {
        let begin = format!("{mark}{word}");
        entries(&log).iter().filter(|entry| entry.text.contains(&begin)).count()
    };
    Traffic { logins: sessions.len(), statements: said("statement:") + said("execute") }
}
