//! The series that promtool's tests make up, against those that a live daemon exports: a rule that is tried on what
//! nobody exports is not tried.

use std::collections::BTreeSet;
use std::fs;

use pgtether::reason::Reason;
use serde::Deserialize;

use super::queries::names;
use super::rules;
use crate::process::{Daemon, wait_until};
use crate::scrape::{Metrics, Sample};
use crate::supervise::SOON;
use crate::web::in_every_state;

#[derive(Debug, Deserialize)]
struct File {
    tests: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
struct Scenario {
    name: String,
    input_series: Vec<Input>,
}

#[derive(Debug, Deserialize)]
struct Input {
    series: String,
    values: String,
}

impl Input {
    /// Its name and labels, without those that Prometheus adds, at its last value.
    fn sample(&self) -> Sample {
        let text = format!("{} {}", self.series, last(&self.values));
        let mut sample = Metrics::parse(&text).samples()[0].clone();
        sample.labels.retain(|label, _| {
            !["cluster", "namespace", "job", "instance", "pod", "node"].contains(&label.as_str())
        });
        sample
    }
}

/// The last value in promtool's notation: `0x10 1x20` is eleven times 0 and 21 times 1, `0+2x5` counts up.
fn last(values: &str) -> f64 {
    let last = values.split(' ').rfind(|part| !part.starts_with(['_', 's'])).unwrap();
    let (value, times) = last.split_once('x').unwrap_or((last, "0"));
    let (start, step) = value.split_once('+').unwrap_or((value, "0"));
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|e| panic!("{values}: {text}: {e}"));
    number(start) + number(step) * number(times)
}

fn scenarios() -> Vec<Scenario> {
    let files = rules::tests().into_iter();
    let read = |file| serde_yaml::from_str::<File>(&fs::read_to_string(file).unwrap()).unwrap().tests;
    files.flat_map(read).collect()
}

/// What tells one series of a target from another; buckets are one.
fn key(sample: &Sample) -> String {
    let label =
        |name: &str| sample.labels.get(name).map(|value| format!(" {name}={value}")).unwrap_or_default();
    format!("{}{}{}", sample.name, label("state"), label("reason"))
}

/// The series that rules read, as far as this target or the process has them.
fn read_by_rules<'s>(scrape: &'s Metrics, target: &str) -> Vec<&'s Sample> {
    let mut found = Vec::new();
    for read in rules::all().iter().flat_map(|rule| names(rule.expr()).reads) {
        let equal = read.matchers.iter().filter(|(_, op, _)| op == "=");
        let labels: Vec<_> = equal
            .map(|(name, _, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| *name != "required")
            .collect();
        let own = |sample: &&Sample| sample.labels.get("target").is_none_or(|name| name == target);
        found.extend(scrape.all(&read.metric, &labels).into_iter().filter(own));
    }
    found
}

/// A scenario ends as this target of a live daemon is: the same series, each 0 where the other is.
fn assert_is_real(scenario: &str, scrape: &Metrics, target: &str) {
    let scenario = scenarios().into_iter().find(|it| it.name.starts_with(scenario)).unwrap();
    let made_up: Vec<Sample> = scenario.input_series.iter().map(Input::sample).collect();
    let made_up: Vec<Sample> = made_up.into_iter().filter(|it| it.name != "up").collect();
    for sample in &made_up {
        let own = |live: &&&Sample| live.labels.get("target").is_none_or(|name| name == target);
        let live = scrape.samples().iter().filter(|live| key(live) == key(sample)).collect::<Vec<_>>();
        let bucket = |live: &&&Sample| live.labels.get("le") == sample.labels.get("le");
        let live = live.iter().filter(own).find(bucket);
        let live = live.unwrap_or_else(|| panic!("{sample:?} is not exported of {target}"));
        assert_eq!(live.labels.get("idle_policy"), sample.labels.get("idle_policy"), "{sample:?}");
        let is_time = sample.name.ends_with("_timestamp_seconds");
        assert!(is_time || (sample.value == 0.0) == (live.value == 0.0), "{sample:?} is {live:?}");
    }
    let made_up: BTreeSet<String> = made_up.iter().map(key).collect();
    let live = read_by_rules(scrape, target);
    assert!(live.len() >= 12, "rules read only {live:?}");
    for sample in live {
        assert!(made_up.contains(&key(sample)), "promtool's test does not know {sample:?}");
    }
}

async fn await_total(daemon: &Daemon, family: &str, target: &str, at_least: f64) {
    wait_until(SOON, family, async || match daemon.metric(family, &[("target", target)]).await {
        Some(total) if total >= at_least => Ok(()),
        total => Err(format!("{total:?}")),
    })
    .await;
}

fn is_a_reason(sample: &Sample) -> bool {
    Reason::ALL.iter().any(|reason| reason.as_str() == sample.labels["reason"])
}

#[tokio::test]
async fn every_series_that_promtool_is_given_is_one_that_a_daemon_exports() {
    let (_cluster, daemon) = in_every_state().await;
    let scrape = daemon.metrics().await;
    let mut tried = 0;
    let inputs = scenarios().into_iter().flat_map(|scenario| scenario.input_series);
    for sample in inputs.map(|input| input.sample()).filter(|sample| sample.name.starts_with("pgtether_")) {
        let fits = |live: &&Sample| {
            let closed = ["state", "reason", "le", "required", "idle_policy", "provider", "role"];
            // Only the reasons in force are exported.
            let any_reason = sample.name == "pgtether_target_reason" && is_a_reason(&sample);
            let values = |of: &Sample| {
                closed.map(|label| match any_reason && label == "reason" {
                    true => None,
                    false => of.labels.get(label).cloned(),
                })
            };
            let same = values(live).into_iter().zip(values(&sample));
            live.name == sample.name
                && live.labels.keys().eq(sample.labels.keys())
                // A provider is not to be had here.
                && (sample.name == "pgtether_target_info" || same.into_iter().all(|(live, made_up)| live == made_up))
        };
        assert!(scrape.samples().iter().any(|live| fits(&live)), "nobody exports {sample:?}");
        tried += 1;
    }
    assert!(tried > 100, "only {tried} series");
}

#[tokio::test]
async fn the_planned_refresh_and_the_night_that_promtool_is_given_are_those_of_a_live_daemon() {
    let (_cluster, daemon) = in_every_state().await;
    await_total(&daemon, "pgtether_refreshes_total", "up", 1.0).await;
    let scrape = wait_until(SOON, "a moment without a login or ping of the pool", async || {
        let scrape = daemon.metrics().await;
        let idle = [("target", "up"), ("state", "idle")];
        match scrape.all("pgtether_pool_servers", &idle[..1]).iter().map(|sample| sample.value).sum::<f64>() {
            all if all > 0.0 && scrape.get("pgtether_pool_servers", &idle) == Some(all) => Ok(scrape),
            all => Err(format!("{all} sessions, of which some are not idle")),
        }
    })
    .await;
    assert_is_real("refreshes as planned", &scrape, "up");

    let asleep = [("target", "asleep"), ("state", "sleeping")];
    daemon.await_metric(SOON, "pgtether_target_state", &asleep, 1.0).await;
    assert_is_real("eight hours asleep under let_sleep", &daemon.metrics().await, "asleep");
    // In the morning somebody comes, and goes.
    let woken = daemon.get("/probe?target=asleep").await.text();
    assert!(woken.contains("\nprobe_success 1\n"), "{woken}");
    daemon.await_metric(SOON, "pgtether_target_state", &asleep, 1.0).await;
    assert_is_real("eight hours asleep under let_sleep", &daemon.metrics().await, "asleep");
}

#[test]
fn the_last_value_is_read_as_promtool_does() {
    for (values, expected) in [("0x10 1x20", 1.0), ("0+2x5", 10.0), ("1x40 stale", 1.0), ("_x3 7", 7.0)] {
        assert_eq!(last(values), expected, "{values}");
    }
}
