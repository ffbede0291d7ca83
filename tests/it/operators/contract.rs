//! What dashboards and rules name, against what a live daemon exports: no query asks for a metric, a label or a value
//! that is not there, and no family is left that nobody shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pgtether::metrics;

use super::grafana::{self, Values};
use super::queries::{Names, names};
use super::repository;
use super::rules::{self, Rule};
use crate::scrape::Metrics;
use crate::web::in_every_state;

/// What Prometheus and the service discovery before it add.
const GIVEN_LABELS: &[&str] = &["cluster", "namespace", "job", "instance", "pod", "node", "le"];
/// What tables join their columns by; `label_join` makes it.
const JOINED_BY: &str = "id";
/// Series of Prometheus's own, and their labels beside those.
const GIVEN_METRICS: &[(&str, &[&str])] = &[
    ("up", &[]),
    ("scrape_duration_seconds", &[]),
    ("ALERTS", &["alertname", "alertstate", "severity", "target", "window"]),
];

/// Every query of ours, and where it stands.
fn all() -> Vec<(String, Names)> {
    let mut all = Vec::new();
    for dashboard in grafana::all() {
        for (title, expr) in dashboard.expressions() {
            all.push((format!("{}: {title}", dashboard.uid), names(&Values::ALL.fill(&expr))));
        }
    }
    for rule in rules::all() {
        let name = match &rule {
            Rule::Alert(alert) => &alert.alert,
            Rule::Record { record, .. } => record,
        };
        all.push((format!("rule {name}"), names(rule.expr())));
    }
    assert!(all.len() > 120, "only {} queries", all.len());
    all
}

/// The values of each label of each series: what can be asked for.
struct Known(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Known {
    fn of(scrape: &Metrics) -> Known {
        let mut known = Known(BTreeMap::new());
        for sample in scrape.samples() {
            let labels = known.0.entry(sample.name.clone()).or_default();
            for (label, value) in &sample.labels {
                labels.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        for (metric, labels) in GIVEN_METRICS {
            let labels = labels.iter().map(|label| ((*label).to_owned(), BTreeSet::new()));
            known.0.insert((*metric).to_owned(), labels.collect());
        }
        // A recorded series has the labels that its sources have.
        for rule in rules::all() {
            if let Rule::Record { record, .. } = rule {
                let labels = ["target", "required"].map(|label| (label.to_owned(), BTreeSet::new()));
                known.0.insert(record, labels.into());
            }
        }
        known
    }

    fn has_label(&self, label: &str) -> bool {
        GIVEN_LABELS.contains(&label)
            || label == JOINED_BY
            || self.0.values().any(|labels| labels.contains_key(label))
    }
}

#[tokio::test]
async fn every_metric_label_and_value_in_dashboards_and_rules_is_in_a_live_scrape() {
    let (_cluster, daemon) = in_every_state().await;
    let known = Known::of(&daemon.metrics().await);
    for (place, names) in all() {
        for read in &names.reads {
            let labels = known.0.get(&read.metric).unwrap_or_else(|| panic!("{place}: no {}", read.metric));
            for (label, op, value) in read.matchers.iter().filter(|m| !GIVEN_LABELS.contains(&m.0.as_str())) {
                let values = labels.get(label);
                let values =
                    values.unwrap_or_else(|| panic!("{place}: {} has no label {label}", read.metric));
                let fits = op != "=" || values.is_empty() || values.contains(value);
                assert!(fits, "{place}: {}{{{label}={value:?}}} is never exported: {values:?}", read.metric);
            }
        }
        for label in &names.labels {
            assert!(known.has_label(label), "{place}: nothing has a label {label}");
        }
    }
}

#[test]
fn the_labels_that_alert_texts_name_are_those_that_the_alert_keeps() {
    for alert in rules::alerts() {
        let texts = alert.annotations.values().flat_map(|text| text.split("$labels.").skip(1));
        for label in texts.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap()) {
            let of_a_target = label == "target" && alert.expr.contains("pgtether_");
            let of_an_instance = ["cluster", "namespace", "job", "instance"].contains(&label);
            assert!(of_a_target || of_an_instance, "{}: {label}", alert.alert);
        }
    }
}

#[test]
fn every_family_of_a_target_is_in_a_dashboard_and_on_the_single_target_s() {
    let mut shown = BTreeSet::new();
    for (place, names) in all() {
        if place.starts_with("pgtether-target: ") {
            shown.extend(names.reads.into_iter().map(|read| read.metric));
        }
    }
    for family in metrics::FAMILIES {
        let series = match family.kind {
            metrics::FamilyKind::Histogram => format!("{}_bucket", family.name),
            metrics::FamilyKind::Gauge | metrics::FamilyKind::Counter => family.name.to_owned(),
        };
        assert!(shown.contains(&series), "no panel shows {series}");
    }
}

#[tokio::test]
async fn every_exported_family_is_shown_or_documented() {
    let (_cluster, daemon) = in_every_state().await;
    let text = daemon.get("/metrics").await.text();
    let shown: BTreeSet<_> =
        all().into_iter().flat_map(|(_, names)| names.reads).map(|read| read.metric).collect();
    let documented = fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let mut families = 0;
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let family = family.split(' ').next().unwrap();
        // The process's own are the same in every exporter.
        let known = shown.iter().any(|metric| metric.strip_suffix("_bucket").unwrap_or(metric) == family)
            || documented.contains(&format!("`{family}`"))
            || family.starts_with("process_");
        assert!(known, "{family} is neither shown nor documented");
        families += 1;
    }
    assert!(families > 45, "only {families} families");
}
