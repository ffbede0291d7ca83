//! What the Helm chart makes of the rules: those of a release are about its own metrics, and alerts can fire.

use std::collections::BTreeSet;
use std::fs;

use pgtether::status;
use serde::Deserialize;
use serde_json::Value;

use super::queries::names;
use super::repository;
use super::rules;

/// Rendered by the chart, with namespace and job of its ServiceMonitor.
const RENDERED: &str = "tests/chart/rendered/production.yaml";
const SCOPE: [(&str, &str); 2] = [("namespace", "databases"), ("job", "tether-pgtether")];

/// The rules of the release, but for those that its values add.
fn of_the_release() -> Vec<Value> {
    let text = fs::read_to_string(repository(RENDERED)).unwrap();
    let documents =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    let rules = documents.into_iter().find(|document| document["kind"] == "PrometheusRule").unwrap();
    let groups = rules["spec"]["groups"].as_array().unwrap().iter();
    let own = groups.filter(|group| group["name"].as_str().unwrap().starts_with("pgtether."));
    own.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[test]
fn every_selector_of_a_release_s_rules_asks_for_that_release_only() {
    let mut names_of_rules = BTreeSet::new();
    for rule in of_the_release() {
        let expr = rule["expr"].as_str().unwrap();
        for read in names(expr).reads {
            for (label, value) in SCOPE {
                let asked = read.matchers.iter().any(|(l, op, v)| l == label && op == "=" && v == value);
                assert!(asked, "{} of any {label} in {expr}", read.metric);
            }
        }
        names_of_rules.insert(rule["alert"].as_str().or(rule["record"].as_str()).unwrap().to_owned());
    }
    let all = rules::all().into_iter().map(|rule| match rule {
        rules::Rule::Alert(alert) => alert.alert,
        rules::Rule::Record { record, .. } => record,
    });
    // The values of this rendering leave out one alert.
    let all: BTreeSet<_> = all.filter(|name| name != "PgtetherFlapping").collect();
    assert_eq!(names_of_rules, all);
}

#[test]
fn the_chart_takes_no_threshold_that_is_never_reached() {
    let schema = fs::read_to_string(repository("charts/pgtether/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let bound = |threshold: &str, end: &str| {
        let thresholds = &schema["properties"]["prometheusRule"]["properties"]["thresholds"]["properties"];
        thresholds[threshold][end].as_f64().unwrap_or_else(|| panic!("{threshold} has no {end}"))
    };
    // A quantile is never more than the last bound of the histogram.
    assert_eq!(bound("pingSeconds", "exclusiveMaximum"), *status::histogram::PING.last().unwrap());
    assert_eq!(bound("poolWaitSeconds", "exclusiveMaximum"), *status::pool::WAIT.last().unwrap());
    // An hour without any session must be more than the share that the page compares with.
    let page =
        rules::alerts().into_iter().find(|alert| alert.labels.get("window").is_some_and(|it| it == "1h"));
    let expr = page.unwrap().expr;
    let (_, factor) = expr.split_once("> ").unwrap();
    let factor: f64 = factor.split(' ').next().unwrap().parse().unwrap();
    assert!(factor * (1.0 - bound("availability", "exclusiveMinimum")) < 1.0, "{factor}");
    assert!(factor * (1.0 - bound("availability", "exclusiveMinimum")) > 0.99, "{factor}");
}
