//! The recording and alerting rules: their form, and promtool's tests of when each fires and when it must not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::{IDENTITY, repository, runbook};

const FILE: &str = "dashboards/rules/pgtether.rules.yaml";
const INHIBITIONS: &str = "dashboards/rules/alertmanager-inhibit.yml";
const DASHBOARDS: &str = "https://grafana.example.com/d/";

#[derive(Debug, Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Rule {
    Alert(Alert),
    Record { record: String, expr: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub alert: String,
    pub expr: String,
    #[serde(rename = "for")]
    pub lasts: String,
    /// Until so long after its end, so that an alert that comes and goes is one message.
    #[serde(default)]
    pub keep_firing_for: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Rule {
    pub fn expr(&self) -> &str {
        match self {
            Rule::Alert(alert) => &alert.expr,
            Rule::Record { expr, .. } => expr,
        }
    }
}

/// The file as it is.
pub fn text() -> String {
    fs::read_to_string(repository(FILE)).unwrap()
}

/// The rules for Alertmanager, as they are.
pub fn inhibitions() -> String {
    fs::read_to_string(repository(INHIBITIONS)).unwrap()
}

/// Every rule, in order.
pub fn all() -> Vec<Rule> {
    let file: File = serde_yaml::from_str(&text()).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Every alerting rule.
pub fn alerts() -> Vec<Alert> {
    let alert = |rule| match rule {
        Rule::Alert(alert) => Some(alert),
        Rule::Record { .. } => None,
    };
    all().into_iter().filter_map(alert).collect()
}

/// What tells one rule from the others: its name and its own labels.
fn key(name: &str, labels: &BTreeMap<String, String>) -> String {
    let own = ["severity", "window", "file"].iter().filter_map(|label| labels.get(*label));
    own.fold(name.to_owned(), |key, value| format!("{key} {value}"))
}

#[test]
fn each_alert_has_a_severity_texts_for_people_a_runbook_and_a_dashboard() {
    let uids: BTreeSet<_> = super::grafana::all().into_iter().map(|dashboard| dashboard.uid).collect();
    let alerts = alerts();
    for Alert { alert, labels, annotations, .. } in &alerts {
        assert!(alert.starts_with("Pgtether"), "{alert}");
        assert!(["critical", "warning"].contains(&labels["severity"].as_str()), "{alert}: {labels:?}");
        let names: Vec<_> = annotations.keys().map(String::as_str).collect();
        assert_eq!(names, ["dashboard_url", "description", "runbook_url", "summary"], "{alert}");
        let summary = &annotations["summary"];
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{alert}: {summary}");
        let description = &annotations["description"];
        assert!(description.ends_with('.') && description.contains("{{"), "{alert}: {description}");
        let page = runbook(&annotations["runbook_url"]).unwrap_or_else(|| panic!("{alert}"));
        assert!(page.ends_with(format!("{alert}.md")), "{alert}: {}", page.display());
        let uid = annotations["dashboard_url"].strip_prefix(DASHBOARDS).unwrap_or_else(|| panic!("{alert}"));
        let (uid, variables) = uid.split_once('?').unwrap_or_else(|| panic!("{alert}: {uid}"));
        assert!(uids.contains(uid), "{alert}: {uid}");
        for label in IDENTITY.iter().filter(|label| **label != "target" || uid.ends_with("target")) {
            let handed_on = format!("var-{label}={{{{ $labels.{label} | urlquery }}}}");
            assert!(variables.contains(&handed_on), "{alert}: no {label} in {variables}");
        }
    }
    let keys: BTreeSet<_> = alerts.iter().map(|alert| key(&alert.alert, &alert.labels)).collect();
    assert_eq!(keys.len(), alerts.len(), "two rules that nobody can tell apart");
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.alert).collect();
    let index = fs::read_to_string(repository("docs/runbooks/README.md")).unwrap();
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(repository("docs/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(alert) = name.strip_suffix(".md").filter(|name| *name != "README") {
            pages.insert(alert.to_owned());
        }
    }
    assert_eq!(pages, alerts);
    for alert in alerts {
        assert!(index.contains(&format!("[{alert}]({alert}.md)")), "{alert} is not in the index");
        let page = fs::read_to_string(repository(&format!("docs/runbooks/{alert}.md"))).unwrap();
        assert!(page.starts_with(&format!("# {alert}\n")), "{alert}");
        for part in ["## What it means", "## What to look at", "## What to do", "## When it ends"] {
            assert!(page.contains(&format!("\n{part}\n")), "{alert} has no {part:?}");
        }
    }
}

/// Runs promtool on this; returns what it says where it is content.
fn promtool(args: &[&str]) -> Result<String, String> {
    let ran = Command::new("promtool").args(args).current_dir(repository("tests/rules")).output();
    let ran = ran.unwrap_or_else(|e| panic!("promtool is missing ({e}); `make tools` installs it"));
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    if ran.status.success() { Ok(said) } else { Err(said) }
}

/// promtool's tests, one file a subject.
pub fn tests() -> Vec<PathBuf> {
    let files = fs::read_dir(repository("tests/rules")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn promtool_finds_the_rules_good() {
    let file = repository(FILE);
    promtool(&["check", "rules", file.to_str().unwrap()]).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn each_alert_fires_and_stays_silent_as_promtools_tests_say() {
    std::thread::scope(|all| {
        for file in tests() {
            all.spawn(move || {
                promtool(&["test", "rules", file.to_str().unwrap()]).unwrap_or_else(|said| panic!("{said}"));
            });
        }
    });
    // It would have spoken up.
    let folder = tempfile::tempdir().unwrap();
    let wrong = fs::read_to_string(repository("tests/rules/sessions.yaml")).unwrap();
    let rules = repository(FILE);
    let wrong = wrong.replace("../../dashboards/rules/pgtether.rules.yaml", rules.to_str().unwrap());
    let wrong = wrong
        .replace("severity: warning", "severity: wrong")
        .replace("severity: critical", "severity: wrong");
    let file = folder.path().join("wrong.yaml");
    fs::write(&file, wrong).unwrap();
    let said =
        promtool(&["test", "rules", file.to_str().unwrap()]).expect_err("promtool took a wrong severity");
    assert!(said.contains("FAILED"), "{said}");
}

#[derive(Debug, Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Debug, Deserialize)]
struct Test {
    #[serde(default)]
    alert_rule_test: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
struct Expected {
    exp_labels: BTreeMap<String, String>,
    exp_annotations: BTreeMap<String, String>,
}

#[test]
fn promtools_tests_see_every_rule_fire_and_every_alert_stay_silent() {
    let (mut fired, mut silent) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    for file in tests() {
        let tests: Tests = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for case in tests.tests.into_iter().flat_map(|test| test.alert_rule_test) {
            if case.exp_alerts.is_empty() {
                *silent.entry(case.alertname.clone()).or_default() += 1;
            }
            for expected in case.exp_alerts {
                assert_eq!(expected.exp_annotations.len(), 4, "{}", case.alertname);
                fired.insert(key(&case.alertname, &expected.exp_labels));
            }
        }
    }
    for alert in alerts() {
        let rule = key(&alert.alert, &alert.labels);
        assert!(fired.contains(&rule), "no test sees {rule} fire");
        let silences = silent.get(&alert.alert).copied().unwrap_or_default();
        assert!(silences >= 2, "{silences} tests see {} stay silent", alert.alert);
    }
}

#[derive(Debug, Deserialize)]
struct Inhibitions {
    inhibit_rules: Vec<Inhibition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inhibition {
    source_matchers: Vec<String>,
    target_matchers: Vec<String>,
    equal: Vec<String>,
}

#[test]
fn an_alert_keeps_quiet_only_alerts_that_exist_and_that_are_about_the_same_target() {
    let rules: Inhibitions = serde_yaml::from_str(&inhibitions()).unwrap();
    let alerts = alerts();
    for Inhibition { source_matchers, target_matchers, equal } in &rules.inhibit_rules {
        for label in IDENTITY {
            assert!(equal.iter().any(|it| it == label), "{source_matchers:?} of another {label}");
        }
        for matcher in source_matchers.iter().chain(target_matchers) {
            let (label, value) = matcher.split_once(' ').unwrap();
            for value in value.split('"').nth(1).unwrap().split('|') {
                let known = alerts.iter().any(|alert| match label {
                    "alertname" => alert.alert.starts_with(value.trim_end_matches(".+")),
                    _ => alert.labels.get(label).is_some_and(|it| it == value),
                });
                assert!(known, "no alert has {matcher}");
            }
        }
    }
    assert!(rules.inhibit_rules.len() >= 4);
}

/// The labels of each `by`, `on` and `without` in a query.
fn groupings<'q>(query: &'q str, word: &'q str) -> impl Iterator<Item = Vec<&'q str>> {
    let clauses = query.split(word).skip(1);
    clauses.map(|rest| rest.split(')').next().unwrap().split(',').map(str::trim).collect())
}

#[test]
fn what_is_grouped_by_a_part_of_what_tells_a_target_is_grouped_by_all_of_it() {
    let fleet = super::grafana::all().into_iter().find(|it| it.uid == "pgtether-fleet").unwrap();
    let rules = all().into_iter().map(|rule| rule.expr().to_owned());
    let (mut by, mut without) = (0, 0);
    for query in rules.chain(fleet.expressions().into_iter().map(|(_, expr)| expr)) {
        for labels in groupings(&query, " by (").chain(groupings(&query, " on (")) {
            let joined = labels.contains(&"id");
            if ["target", "job", "instance"].iter().any(|part| labels.contains(part)) && !joined {
                assert!(IDENTITY[..3].iter().all(|label| labels.contains(label)), "{labels:?} in {query}");
                by += 1;
            }
        }
        for labels in groupings(&query, " without (") {
            assert!(IDENTITY.iter().all(|label| !labels.contains(label)), "{labels:?} in {query}");
            without += 1;
        }
        for joined in query.split("label_join(").skip(1) {
            let by = r#""id", "/", "cluster", "namespace", "job", "#;
            assert!(joined.contains(by), "joined by less than what tells a target: {query}");
        }
    }
    assert!(by > 20 && without > 15, "only {by} and {without}");
}
