//! What Prometheus reads: promtool has nothing to say of a live scrape, and a thousand targets are written in a fraction
//! of the time that the `prometheus` crate's encoder takes for the same bytes.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pgtether::demo::postgres::free_port;
use pgtether::metrics::{self, FAMILIES, FamilyKind, Labels, Sink};
use pgtether::status::{Held, Line, Moment, TargetStatus, View, histogram};
use pgtether::target::{TargetName, Tuning};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, length, quantile};
use crate::rig::{PATIENCE, changed, config};
use crate::servers::postgres15;

const TARGETS: usize = 1000;

pub async fn run(plan: Plan) -> Vec<Figure> {
    let said = promtool().await;
    let begun = Moment::now();
    let statuses: Vec<TargetStatus> = (0..TARGETS).map(|n| target(n, begun)).collect();
    let views: Vec<View<'_>> = statuses.iter().map(|status| View::new(status, begun)).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut text, mut oracle) = (Vec::new(), Vec::new());
    let families = families(&views);
    // By turns, because the machine's pace drifts. The crate's share is its encoder alone, not the building of what it takes.
    for _ in 0..plan.samples() {
        text.clear();
        let begun = Instant::now();
        metrics::render(&views, &mut text);
        ours.push(begun.elapsed());
        oracle.clear();
        let begun = Instant::now();
        TextEncoder::new().encode(&families, &mut oracle).unwrap();
        theirs.push(begun.elapsed());
    }
    let ratio = quantile(&theirs, 0.5).as_secs_f64() / quantile(&ours, 0.5).as_secs_f64();
    let series = text.iter().filter(|byte| **byte == b'\n').count();
    vec![
        Figure::fact(
            "promtool check metrics, on a live scrape, says",
            if said.is_empty() { "nothing" } else { &said },
            "nothing",
            said.is_empty(),
        ),
        Figure::fact(
            &format!("{TARGETS} targets, {series} lines: the same bytes as prometheus::TextEncoder's"),
            if text == oracle { "yes" } else { "no" },
            "yes",
            text == oracle && series > TARGETS * 50,
        ),
        Figure::fact(
            "time to write them: ours to TextEncoder's",
            format!("{} : {} = 1 : {ratio:.1}", length(quantile(&ours, 0.5)), length(quantile(&theirs, 0.5))),
            "≤ 1 : 1",
            ratio >= 1.0,
        ),
    ]
}

/// What promtool says of a scrape that shows a line that is up, one that is down, and one that sleeps not yet.
async fn promtool() -> String {
    let cluster = postgres15();
    let names = ["up", "down", "wrong"].map(str::to_owned);
    let urls = [
        cluster.superuser_url(),
        format!("postgresql://a:b@127.0.0.1:{}/c", free_port().unwrap()),
        cluster.url("nobody", "wrong", "postgres"),
    ];
    let daemon = Daemon::start(&config(names.iter().zip(urls.map(|url| format!("url: \"{url}\"")))));
    let begun = SystemTime::UNIX_EPOCH;
    changed(&daemon, "up", "up", begun, PATIENCE).await;
    changed(&daemon, "down", "down", begun, PATIENCE).await;
    changed(&daemon, "wrong", "down", begun, PATIENCE).await;
    let scrape = daemon.folder().join("scrape");
    std::fs::write(&scrape, daemon.get("/metrics").await.body).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(std::fs::File::open(scrape).unwrap()))
        .output()
        .unwrap_or_else(|e| panic!("promtool does not run ({e}); `make figures` installs it"));
    let mut said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).trim().to_owned();
    if said.is_empty() && !checked.status.success() {
        said = checked.status.to_string();
    }
    said
}

/// A target that has been up for a while.
fn target(number: usize, now: Moment) -> TargetStatus {
    let name = TargetName::new(&format!("target-{number}")).unwrap();
    let mut status = TargetStatus::new(name, Arc::new(Tuning::default()), None, now);
    let held =
        Held { since: now, unbroken_since: now, answered_at: now, ping: Ok(()), login: Ok(()), role: Ok(()) };
    status.line = Line::Live(held);
    status.tried = true;
    (status.last_success, status.last_check, status.last_login) = (Some(now), Some(now), Some(now));
    let counters = &mut status.counters;
    (counters.attempts, counters.connections, counters.pings) = (1_000 + number as u64, 999, 1 << 20);
    for n in 0..100 {
        counters.ping_seconds.observe(&histogram::PING, Duration::from_micros(150 * (n + number as u64 % 7)));
    }
    status
}

/// Builds what the crate's encoder takes.
struct Proto<'a> {
    kind: FamilyKind,
    target: &'a str,
    metrics: Vec<Metric>,
}

impl Proto<'_> {
    fn push(&mut self, labels: Labels<'_>, fill: impl FnOnce(&mut Metric)) {
        let target = [("target", self.target)];
        let pairs = target.iter().chain(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        fill(&mut metric);
        self.metrics.push(metric);
    }
}

impl Sink for Proto<'_> {
    fn whole(&mut self, labels: Labels<'_>, value: u64) {
        self.real(labels, value as f64);
    }

    fn real(&mut self, labels: Labels<'_>, value: f64) {
        let counter = self.kind == FamilyKind::Counter;
        self.push(labels, |metric| {
            if counter {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        });
    }

    fn histogram(&mut self, bounds: &[f64], counts: &[u64], count: u64, sum: f64) {
        let mut cumulated = 0;
        let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
            cumulated += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulated);
            bucket
        });
        let buckets = buckets.collect();
        self.push(&[], |metric| {
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets);
            histogram.set_sample_count(count);
            histogram.set_sample_sum(sum);
            metric.set_histogram(histogram);
        });
    }
}

fn families(views: &[View<'_>]) -> Vec<MetricFamily> {
    let families = FAMILIES.iter().map(|family| {
        let metrics = views.iter().flat_map(|view| {
            let mut sink =
                Proto { kind: family.kind, target: view.status.name.as_str(), metrics: Vec::new() };
            (family.read)(view, &mut sink);
            sink.metrics
        });
        let mut built = MetricFamily::default();
        built.set_name(family.name.to_owned());
        built.set_help(family.help.to_owned());
        built.set_field_type(match family.kind {
            FamilyKind::Gauge => MetricType::GAUGE,
            FamilyKind::Counter => MetricType::COUNTER,
            FamilyKind::Histogram => MetricType::HISTOGRAM,
        });
        built.set_metric(metrics.collect());
        built
    });
    families.filter(|family| !family.get_metric().is_empty()).collect()
}
