//! What the process itself takes: `process_*`, as every exporter has them.
//!
//! The families, their texts and their meanings are those of the `prometheus` crate's own collector. That one tells CPU
//! time in whole seconds, days apart for a process that idles, and reads files that the kernel formats at length: a third
//! of a scrape's cost. Knows nothing of targets.

use std::fs::{self, File};
use std::io::Read;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use prometheus::{Counter, IntGauge, Registry};

/// The instruments; they hold what [`ProcessUsage::read`] saw last.
#[derive(Debug)]
pub struct ProcessUsage {
    page: i64,
    cpu: Counter,
    open_files: IntGauge,
    most_files: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    threads: IntGauge,
}

impl ProcessUsage {
    /// `None` where the system has no `/proc`: a gauge without a value is absent.
    pub fn register(registry: &Registry) -> prometheus::Result<Option<Self>> {
        let Some(started_at) = started_at() else { return Ok(None) };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu =
            Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?;
        registry.register(Box::new(cpu.clone()))?;
        gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")?
            .set(started_at);
        Ok(Some(ProcessUsage {
            page: sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096),
            cpu,
            open_files: gauge("process_open_fds", "Number of open file descriptors.")?,
            most_files: gauge("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_memory: gauge("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            threads: gauge("process_threads", "Number of OS threads in the process.")?,
        }))
    }

    /// Brings the instruments up to date. What the system does not tell stays as it was.
    pub fn read(&self) {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let total = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
            // Two scrapes at once may have read in another order.
            self.cpu.inc_by((total - self.cpu.get()).max(0.0));
        }
        if let Some(count) = open_files() {
            self.open_files.set(count);
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.most_files.set(i64::try_from(soft).unwrap_or(i64::MAX));
        }
        if let Some(stat) = Stat::read() {
            self.virtual_memory.set(stat.virtual_bytes);
            self.resident_memory.set(stat.resident_pages * self.page);
            self.threads.set(stat.threads);
        }
    }
}

/// Fields of `/proc/self/stat`, as proc_pid_stat(5) names them.
struct Stat {
    threads: i64,
    start_ticks: i64,
    virtual_bytes: i64,
    resident_pages: i64,
}

impl Stat {
    fn read() -> Option<Stat> {
        // The kernel does not tell the size: with the room it takes, one read does instead of five.
        let mut text = String::with_capacity(1024);
        File::open("/proc/self/stat").ok()?.read_to_string(&mut text).ok()?;
        // The program's name, in brackets, may contain anything.
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(17);
        let mut field = |skipped: usize| fields.nth(skipped)?.parse().ok();
        Some(Stat {
            threads: field(0)?,
            start_ticks: field(1)?,
            virtual_bytes: field(0)?,
            resident_pages: field(0)?,
        })
    }
}

fn open_files() -> Option<i64> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux tells the count as the folder's size since 6.2. The descriptor that reads the folder is one of those in it.
    let count = match fs::metadata(FOLDER).ok()?.len() {
        0 => (fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1),
        count => count,
    };
    i64::try_from(count).ok()
}

/// Seconds since 1970.
fn started_at() -> Option<i64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let ticks_a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(boot + Stat::read()?.start_ticks / ticks_a_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::proto::MetricFamily;

    fn gathered() -> (ProcessUsage, Registry) {
        let registry = Registry::new();
        let usage = ProcessUsage::register(&registry).unwrap().unwrap();
        usage.read();
        (usage, registry)
    }

    /// Runs the test named by `name` once more, alone in a process of its own: there, nobody else takes memory or files.
    /// True in that process.
    fn is_alone(name: &str) -> bool {
        const ALONE: &str = "PGTETHER_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let name = format!("{}::{name}", module_path!().trim_start_matches("pgtether::"));
        let program = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(program);
        let output = command.args([&name, "--exact", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        false
    }

    /// The crate's own collector is the judge of names, texts, kinds and values.
    #[test]
    fn the_crates_own_collector_tells_the_same() {
        if !is_alone("the_crates_own_collector_tells_the_same") {
            return;
        }
        let crates = Registry::new();
        let judge = prometheus::process_collector::ProcessCollector::for_self();
        crates.register(Box::new(judge)).unwrap();
        // Whatever is kept from the first time on is there.
        let _ = (gathered(), crates.gather());
        let (before, (_usage, registry)) = (crates.gather(), gathered());
        let (ours, after) = (registry.gather(), crates.gather());
        let told = |family: &MetricFamily| {
            (family.name().to_owned(), family.help().to_owned(), family.get_field_type())
        };
        assert_eq!(ours.iter().map(told).collect::<Vec<_>>(), after.iter().map(told).collect::<Vec<_>>());
        for ((ours, before), after) in ours.iter().zip(&before).zip(&after) {
            let value = |family: &MetricFamily| {
                let metric = &family.get_metric()[0];
                metric.get_counter().get_value() + metric.get_gauge().get_value()
            };
            // Theirs has the descriptor in it that it counts with.
            let own = if ours.name() == "process_open_fds" { 1.0 } else { 0.0 };
            let (our, least, most) = (value(ours), value(before) - own, value(after) - own);
            let tolerance = match ours.name() {
                // Theirs are whole seconds.
                "process_cpu_seconds_total" => 1.0,
                // A few pages come with the reading itself.
                "process_resident_memory_bytes" | "process_virtual_memory_bytes" => f64::from(1 << 20),
                _ => 0.0,
            };
            let same = (least - tolerance..=most + tolerance).contains(&our);
            assert!(our > 0.0 && same, "{}: {our} is not in {least} to {most}", ours.name());
        }
    }

    #[test]
    fn work_takes_time_that_is_counted_in_fractions() {
        let (usage, _registry) = gathered();
        let before = usage.cpu.get();
        let mut sum = 0_u64;
        while usage.cpu.get() - before < 0.005 {
            sum = (0..10_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
            usage.read();
        }
        assert!(usage.cpu.get() - before < 0.9, "in fractions, not in whole seconds");
    }
}
