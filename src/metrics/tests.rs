//! `prometheus::TextEncoder` is the oracle: what the table gives it must come out in the same bytes.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::*;
use crate::generated;
use crate::status::TargetStatus;
use crate::status::pool::PoolStatus;
use crate::status::process::{LastRead, ProcessStatus};
use crate::status::sample::{self, busy_pool, distinct, lost, moment, random, random_pool, starting, up};

/// Builds what the crate's encoder takes.
struct Proto<'a> {
    kind: FamilyKind,
    target: &'a str,
    metrics: Vec<Metric>,
}

impl Proto<'_> {
    fn push(&mut self, labels: Labels<'_>, fill: impl FnOnce(&mut Metric)) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let target = [("target", self.target)];
        let mut metric = Metric::from_label(target.iter().chain(labels).map(pair).collect());
        fill(&mut metric);
        self.metrics.push(metric);
    }
}

impl Sink for Proto<'_> {
    fn whole(&mut self, labels: Labels<'_>, value: u64) {
        self.real(labels, value as f64);
    }

    fn real(&mut self, labels: Labels<'_>, value: f64) {
        let kind = self.kind;
        self.push(labels, |metric| match kind {
            FamilyKind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            FamilyKind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            FamilyKind::Histogram => panic!("a histogram has no single value"),
        });
    }

    fn histogram(&mut self, bounds: &[f64], counts: &[u64], count: u64, sum: f64) {
        assert_eq!(self.kind, FamilyKind::Histogram);
        let mut cumulated = 0;
        let bucket = |(bound, count): (&f64, &u64)| {
            cumulated += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulated);
            bucket
        };
        let buckets = bounds.iter().zip(counts).map(bucket).collect();
        self.push(&[], |metric| {
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets);
            histogram.set_sample_count(count);
            histogram.set_sample_sum(sum);
            metric.set_histogram(histogram);
        });
    }
}

fn proto(views: &[View<'_>]) -> Vec<MetricFamily> {
    let family = |family: &Family| {
        let mut metrics = Vec::new();
        for view in views {
            let mut sink =
                Proto { kind: family.kind, target: view.status.name.as_str(), metrics: Vec::new() };
            (family.read)(view, &mut sink);
            metrics.append(&mut sink.metrics);
        }
        let mut built = MetricFamily::default();
        built.set_name(family.name.to_owned());
        built.set_help(family.help.to_owned());
        built.set_field_type(match family.kind {
            FamilyKind::Gauge => MetricType::GAUGE,
            FamilyKind::Counter => MetricType::COUNTER,
            FamilyKind::Histogram => MetricType::HISTOGRAM,
        });
        built.set_metric(metrics);
        built
    };
    let mut families: Vec<_> = FAMILIES.iter().map(family).collect();
    families.retain(|family| !family.get_metric().is_empty());
    families
}

fn text(statuses: &[TargetStatus], now: crate::status::Moment) -> String {
    text_of(&statuses.iter().map(|status| View::new(status, now)).collect::<Vec<_>>())
}

fn text_of(views: &[View<'_>]) -> String {
    let mut out = Vec::new();
    render(views, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_crates_own_encoder_gives_the_same_bytes() {
    let now = moment();
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let count = dice.usize(..4);
        let mut one = |n| (random(&mut dice, &format!("t-{n}"), now), random_pool(&mut dice));
        let both: Vec<_> = (0..count).map(&mut one).collect();
        let views: Vec<_> =
            both.iter().map(|(status, pool)| View::new(status, now).with_pool(pool.as_ref())).collect();
        let mut expected = Vec::new();
        TextEncoder::new().encode(&proto(&views), &mut expected).unwrap();
        assert_eq!(text_of(&views), String::from_utf8(expected).unwrap(), "seed {seed}");
    }
}

#[test]
fn a_scrape_reads_as_it_always_did() {
    let now = moment();
    let (archive, (primary, pool)) = (lost("archive", now, 0.5), distinct("primary", now));
    let views = [View::new(&archive, now), View::new(&primary, now).with_pool(Some(&pool))];
    generated::is("src/metrics/golden.txt", &text_of(&views));
}

/// Otherwise the scrape above would not show that a family reads another one's number.
#[test]
fn no_number_of_that_scrape_is_0_or_stands_there_twice() {
    let now = moment();
    let (status, pool) = distinct("primary", now);
    let scrape = text_of(&[View::new(&status, now).with_pool(Some(&pool))]);
    let one_of_several =
        ["pgtether_up{", "pgtether_target_state{", "pgtether_breaker_state{", "pgtether_server_in_recovery{"];
    // What a histogram counts in all stands in its last bucket, too; a checkout is what a client waits for.
    let by_definition = ["le=\"+Inf\"", "pgtether_pool_wait_duration_seconds_count"];
    let mut seen = std::collections::BTreeMap::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        if line.contains("_info{")
            || one_of_several.iter().any(|name| line.starts_with(name))
            || by_definition.iter().any(|part| line.contains(part))
        {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert_ne!(value, "0", "{line}");
        let same = seen.insert(value.to_owned(), series.to_owned());
        assert_eq!(same, None, "{line}");
    }
    assert!(seen.len() > 150, "only {} numbers", seen.len());
}

#[test]
fn each_counter_without_a_label_shows_the_number_that_it_is_named_after() {
    let now = moment();
    let mut status = up("one", now);
    let counters = &mut status.counters;
    let numbers = [
        ("connect_attempts_total", &mut counters.attempts),
        ("connections_total", &mut counters.connections),
        ("reconnects_total", &mut counters.reconnects),
        ("refreshes_total", &mut counters.refreshes),
        ("refresh_failures_total", &mut counters.refresh_failures),
        ("tcp_connects_total", &mut counters.tcp_connects),
        ("pings_total", &mut counters.pings),
        ("throttled_connects_total", &mut counters.throttled),
        ("address_changes_total", &mut counters.address_changes),
        ("supervisor_restarts_total", &mut counters.restarts),
    ];
    let expected: Vec<_> = (1001..)
        .zip(numbers)
        .map(|(value, (name, counter))| {
            *counter = value;
            format!("pgtether_{name}{{target=\"one\"}} {value}")
        })
        .collect();
    let scrape = text(&[status], now);
    for line in expected {
        assert!(scrape.lines().any(|found| found == line), "{line} is not in {scrape}");
    }
}

#[test]
fn a_target_that_was_never_tried_has_every_counter_at_zero_and_no_gauge_without_a_value() {
    let now = moment();
    let pool = PoolStatus::new(&sample::pool());
    let scrape = text_of(&[View::new(&starting("new", now), now).with_pool(Some(&pool))]);
    for family in FAMILIES.iter().filter(|family| family.kind == FamilyKind::Counter) {
        let samples: Vec<_> =
            scrape.lines().filter(|line| line.starts_with(&format!("{}{{", family.name))).collect();
        assert!(!samples.is_empty(), "{} is missing", family.name);
        assert!(samples.iter().all(|line| line.ends_with(" 0")), "{samples:?}");
    }
    for absent in
        ["connection_age_seconds", "last_success_", "next_attempt_", "session_info", "last_connect_phase"]
    {
        assert!(!scrape.contains(&format!("pgtether_{absent}")), "{absent} is there");
    }
    assert!(scrape.contains("pgtether_connect_duration_seconds_count{target=\"new\"} 0\n"));
}

#[test]
fn only_targets_with_a_pool_tell_of_one() {
    let now = moment();
    let (alone, pooled) = (up("alone", now), up("pooled", now));
    let both = text_of(&[View::new(&alone, now), View::new(&pooled, now).with_pool(Some(&busy_pool()))]);
    let without = text(&[alone], now);
    let families: Vec<_> = FAMILIES.iter().filter(|f| f.name.starts_with("pgtether_pool_")).collect();
    assert_eq!(families.len(), 12);
    for family in families {
        let samples: Vec<_> = both.lines().filter(|line| line.starts_with(family.name)).collect();
        assert!(
            !samples.is_empty() && samples.iter().all(|s| s.contains("{target=\"pooled\"")),
            "{samples:?}"
        );
        assert!(!without.contains(family.name), "{without}");
    }
}

#[test]
fn reasons_are_exported_only_where_they_can_happen() {
    let now = moment();
    let scrape = text(&[starting("new", now)], now);
    let count = |family: &str| scrape.matches(&format!("pgtether_{family}{{target=\"new\",reason=")).count();
    use crate::reason::Reason;
    assert_eq!(count("connect_failures_total"), Reason::CONNECT.len());
    assert_eq!(count("disconnects_total"), Reason::DISCONNECT.len());
    assert_eq!(count("ping_failures_total"), Reason::PING.len());
}

#[test]
fn the_reason_in_force_is_there_while_a_target_is_down_or_degraded_and_no_other() {
    use crate::reason::Reason;
    use crate::status::{Failure, Line};
    let now = moment();
    let reasons = |status: TargetStatus, now| -> Vec<String> {
        let scrape = text(&[status], now);
        let lines =
            scrape.lines().filter_map(|line| line.strip_prefix("pgtether_target_reason{target=\"one\","));
        lines.map(str::to_owned).collect()
    };
    for well in [up("one", now), starting("one", now), sample::asleep("one", now)] {
        assert_eq!(reasons(well, now), [""; 0]);
    }
    let mut down = lost("one", now, 30.0);
    assert_eq!(reasons(down.clone(), now), ["reason=\"shutdown\"} 1"]);
    let at = sample::ago(now, 1.0);
    down.last_failure = Some(Failure::new(at, Reason::Auth, "no".to_owned()));
    assert_eq!(reasons(down, now), ["reason=\"auth\"} 1"]);
    let mut degraded = up("one", now);
    if let Line::Live(held) = &mut degraded.line {
        held.ping = Err(Reason::QueryFailed);
    }
    assert_eq!(reasons(degraded, now), ["reason=\"query_failed\"} 1"]);
    let late = now.after(View::GRACE + std::time::Duration::from_secs(1));
    assert_eq!(reasons(up("one", now), late), ["reason=\"stalled\"} 1"]);
}

#[test]
fn a_stalled_target_is_down_whatever_its_snapshot_says() {
    let now = moment();
    let late = now.after(View::GRACE + std::time::Duration::from_secs(1));
    let statuses = [up("primary", now)];
    let well = text(&statuses, now);
    assert!(well.contains("pgtether_up{target=\"primary\"} 1\n"), "{well}");
    let stalled = text(&statuses, late);
    assert!(stalled.contains("pgtether_up{target=\"primary\"} 0\n"));
    assert!(stalled.contains("pgtether_target_state{target=\"primary\",state=\"down\"} 1\n"));
    assert!(stalled.contains("pgtether_target_state{target=\"primary\",state=\"up\"} 0\n"));
}

#[test]
fn the_table_keeps_the_rules_of_naming() {
    let mut seen = std::collections::BTreeSet::new();
    for Family { name, help, kind, .. } in FAMILIES {
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.starts_with("pgtether_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert_eq!(name.ends_with("_total"), *kind == FamilyKind::Counter, "{name}");
        assert!(help.ends_with('.') || help.contains(';') || help.contains(':'), "{name}: {help}");
        assert!(!help.contains(['\\', '\n']), "{name}: {help}");
    }
}

#[test]
fn a_refused_configuration_leaves_the_time_of_the_last_good_one() {
    let dropped = log_lines_dropped().unwrap();
    let metrics = ProcessMetrics::new("1.2.3", dropped.clone()).unwrap();
    let read = ProcessStatus::new("one", moment().wall, true);
    let mut process = ProcessStatus { logins_in_flight: 2, ..read };
    let scrape = |process: &ProcessStatus| {
        let mut out = Vec::new();
        metrics.render(3, process, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let first = scrape(&process);
    for line in [
        "pgtether_build_info{revision=\"",
        "version=\"1.2.3\"} 1\n",
        "pgtether_targets 3\n",
        "pgtether_logins_in_flight 2\n",
        "pgtether_log_lines_dropped_total 0\n",
        "pgtether_config_last_reload_successful 1\n",
        "pgtether_config_last_reload_success_timestamp_seconds 1790000000.123\n",
        "pgtether_web_config_last_reload_successful 1\n",
        "pgtether_http_requests_total{code=\"200\",handler=\"metrics\"} 0\n",
        "process_resident_memory_bytes ",
    ] {
        assert!(first.contains(line), "{line} is not in {first}");
    }
    let later = moment().wall + std::time::Duration::from_secs(60);
    process.config.refuse(later, "bad".to_owned());
    process.web_config.as_mut().unwrap().refuse(later, "bad".to_owned());
    dropped.inc_by(7);
    metrics.request(Handler::Health, 503);
    let second = scrape(&process);
    for line in [
        "pgtether_config_last_reload_successful 0\n",
        "pgtether_config_last_reload_success_timestamp_seconds 1790000000.123\n",
        "pgtether_web_config_last_reload_successful 0\n",
        "pgtether_log_lines_dropped_total 7\n",
        "pgtether_http_requests_total{code=\"503\",handler=\"health\"} 1\n",
    ] {
        assert!(second.contains(line), "{line} is not in {second}");
    }
    process.config = LastRead::Taken { at: later };
    process.web_config = None;
    let third = scrape(&process);
    for line in [
        "pgtether_config_last_reload_successful 1\n",
        "pgtether_config_last_reload_success_timestamp_seconds 1790000060.123\n",
        "pgtether_web_config_last_reload_successful 1\n",
    ] {
        assert!(third.contains(line), "{line} is not in {third}");
    }
}
