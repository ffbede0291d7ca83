//! One target, scraped by turns with an echo and with Debian's postgres_exporter, whose collectors are off: what does a
//! scrape cost, here and there?

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pgtether::demo::postgres::{Cluster, Setup, free_port};
use tokio::time::sleep;

use crate::ask::{self, Kept};
use crate::echo::Echo;
use crate::journal::{entries, sessions};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, length, quantile};
use crate::rig::{PATIENCE, all_up, config, counter, names, url};
use crate::servers::{Version, postgres};

/// Before the first one counts.
const WARM: usize = 100;

/// What went on at the server on behalf of one application.
#[derive(Debug, Clone, Copy)]
struct Traffic {
    logins: u64,
    statements: u64,
}

impl Traffic {
    fn since(self, before: Traffic) -> Traffic {
        Traffic { logins: self.logins - before.logins, statements: self.statements - before.statements }
    }
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let scrapes = if plan.quick { 200 } else { 4000 };
    let names = names(1);
    let cluster = postgres(Version::V15, Setup::default().set("log_statement", "all"));
    let daemon = Daemon::start(&config(names.iter().map(|name| (name, url(&cluster, name)))));
    let exporter = Exporter::start(&cluster).await;
    let echo = Echo::start();
    all_up(&daemon, 1, PATIENCE).await;
    let mut ours = Kept::open(daemon.address()).await.unwrap();
    let mut plain = Kept::open(echo.address()).await.unwrap();
    let mut theirs = Kept::open(exporter.address).await.unwrap();
    turns(WARM, &mut ours, &mut plain, &mut theirs).await;

    let counted = async || {
        let of = |name| counter(&daemon, name, &names[0]);
        (of("pgtether_connections_total").await, of("pgtether_pings_total").await)
    };
    let (connections, pings) = counted().await;
    let before = (traffic(&cluster, "t0"), traffic(&cluster, Exporter::NAME));
    let cpu_before = (cpu(daemon.pid()), cpu(exporter.pid()));
    let [ours, plain, theirs] = turns(scrapes, &mut ours, &mut plain, &mut theirs).await;
    let cpu = (cpu(daemon.pid()) - cpu_before.0, cpu(exporter.pid()) - cpu_before.1);
    let after = (traffic(&cluster, "t0"), traffic(&cluster, Exporter::NAME));
    let now = counted().await;
    let (connections, pings) = (now.0 - connections, now.1 - pings);

    let over = |times: &[Duration]| quantile(times, 0.5).saturating_sub(quantile(&plain, 0.5)).as_secs_f64();
    let per_1000 = |cpu: Duration| cpu.mul_f64(1000.0 / scrapes as f64);
    let cpu_share = cpu.0.as_secs_f64() / cpu.1.as_secs_f64();
    let rss = resident(daemon.pid());
    // A ping and a refresh may fall into the run: they are its own, and counted.
    let (by_us, by_them) = (after.0.since(before.0), after.1.since(before.1));
    vec![
        Figure::fact(
            "a scrape at p50, echo taken off: ours to postgres_exporter's",
            format!(
                "{} : {} = 1 : {:.1}",
                length(Duration::from_secs_f64(over(&ours))),
                length(Duration::from_secs_f64(over(&theirs))),
                over(&theirs) / over(&ours)
            ),
            "≤ 1 : 4",
            over(&ours) / over(&theirs) <= 0.25,
        )
        .beside(&plain),
        Figure::fact(
            "CPU of 1000 scrapes: ours to postgres_exporter's",
            format!("{} : {} = 1 : {:.1}", length(per_1000(cpu.0)), length(per_1000(cpu.1)), 1.0 / cpu_share),
            "≤ 1 : 5",
            cpu_share <= 0.2,
        ),
        Figure::fact(
            &format!("RSS after {scrapes} scrapes (postgres_exporter {:.1} MiB)", resident(exporter.pid())),
            format!("{rss:.1} MiB"),
            "≤ 10 MiB",
            rss > 0.0 && rss <= 10.0,
        ),
        Figure::fact(
            &format!("logins by {scrapes} scrapes, by the server's log (theirs {})", by_them.logins),
            by_us.logins.abs_diff(connections),
            "none",
            by_us.logins == connections,
        ),
        Figure::fact(
            &format!("statements by {scrapes} scrapes, pings aside (theirs {})", by_them.statements),
            // Each login proves itself by a ping of its own.
            by_us.statements.abs_diff(pings + connections),
            "none",
            by_us.statements == pings + connections,
        ),
    ]
}

/// One after the other, again and again: whatever the machine does meanwhile, it does to all three.
async fn turns(count: usize, ours: &mut Kept, echo: &mut Kept, theirs: &mut Kept) -> [Vec<Duration>; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..count {
        for (times, (connection, path)) in
            times.iter_mut().zip([(&mut *ours, "/metrics"), (&mut *echo, "/"), (&mut *theirs, "/metrics")])
        {
            let answer = connection.get(path).await.unwrap();
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
        entries(&log).iter().filter(|entry| entry.text.contains(&begin)).count() as u64
    };
    Traffic { logins: sessions.len() as u64, statements: said("statement:") + said("execute") }
}

/// The processor time that a process has had.
fn cpu(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may contain anything.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// Resident memory in MiB.
fn resident(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
