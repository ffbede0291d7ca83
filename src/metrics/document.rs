//! `docs/metrics.md`, out of a scrape that shows everything.

use std::fmt::Write;

use super::*;
use crate::generated;
use crate::reason::Reason;
use crate::status::process::ProcessStatus;
use crate::status::sample::{distinct, lost, moment};
use crate::status::{Line, TargetStatus};

const INTRODUCTION: &str = "\
# Metrics

`/metrics` is Prometheus text. Attempts and failures are two counters; calculate ratios in the query. A counter of a
target is there from its start, at 0. A gauge that has no value is absent. The values of a target are those of its last
check: `pgtether_last_check_timestamp_seconds` is their age.

This page is written by `make generated` from the program's own table of metrics.
";

/// What a scrape shows of one family.
#[derive(Debug, Default)]
struct Shown {
    help: String,
    kind: String,
    /// Names of labels, and the values that each had, in the order in which they came.
    labels: Vec<(String, Vec<String>)>,
}

/// The families of a scrape in their order.
fn shown(scrape: &str) -> Vec<(String, Shown)> {
    let mut families: Vec<(String, Shown)> = Vec::new();
    for line in scrape.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.push((name.to_owned(), Shown { help: help.to_owned(), ..Shown::default() }));
        } else if let Some((_, family)) = families.last_mut() {
            match line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                Some((_, kind)) => family.kind = kind.to_owned(),
                None => family.see(line),
            }
        }
    }
    families
}

impl Shown {
    fn see(&mut self, sample: &str) {
        let Some((_, labels)) = sample.split_once('{') else { return };
        let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
        for (name, value) in labels.filter(|(name, _)| *name != "le") {
            let value = value.split('"').next().unwrap_or_default().to_owned();
            match self.labels.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => self.labels.push((name.to_owned(), vec![value])),
            }
        }
    }
}

fn document() -> String {
    let now = moment();
    let (primary, pool) = distinct("primary", now);
    let down = Reason::ALL.iter().map(|reason| {
        let line = Line::Lost { at: now, reason: *reason };
        TargetStatus { line, ..lost("archive", now, 0.5) }
    });
    let down: Vec<_> = down.collect();
    let mut views = vec![View::new(&primary, now).with_pool(Some(&pool))];
    views.extend(down.iter().map(|status| View::new(status, now)));
    let mut scrape = Vec::new();
    render(&views, &mut scrape);
    let targets = shown(str::from_utf8(&scrape).expect("text"));
    scrape.clear();
    let dropped = log_lines_dropped().expect("a well-formed instrument");
    let process = ProcessMetrics::new("1.2.3", dropped).expect("well-formed instruments");
    process.render(1, &ProcessStatus::new("one", now.wall, true), &mut scrape).expect("text");
    let process = shown(str::from_utf8(&scrape).expect("text"));
    let (pools, targets): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|(name, _)| name.starts_with("pgtether_pool_"));

    let mut out = INTRODUCTION.to_owned();
    table(&mut out, "Targets", "One series or more for each target.", &targets);
    table(&mut out, "Pools", "For each target that has a [pool](pool.md).", &pools);
    let about = "The process itself; `process_*` is what every exporter has.";
    table(&mut out, "The process", about, &process);
    out.push_str(
        "\n## Labels with a closed set of values\n\n| metric | label | values |\n| --- | --- | --- |\n",
    );
    let closed = ["state", "reason", "phase", "handler"];
    for (name, family) in targets.iter().chain(&pools).chain(&process) {
        for (label, values) in family.labels.iter().filter(|(label, _)| closed.contains(&label.as_str())) {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            let _ = writeln!(out, "| `{name}` | `{label}` | {} |", values.join(", "));
        }
    }
    out
}

fn table(out: &mut String, heading: &str, about: &str, families: &[(String, Shown)]) {
    let _ = writeln!(
        out,
        "\n## {heading}\n\n{about}\n\n| metric | kind | labels | meaning |\n| --- | --- | --- | --- |"
    );
    for (name, Shown { help, kind, labels }) in families {
        let labels: Vec<_> = labels.iter().map(|(label, _)| format!("`{label}`")).collect();
        let _ = writeln!(out, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
}

#[test]
fn every_metric_is_on_the_page_with_its_kind_and_labels() {
    let document = document();
    for Family { name, help, kind, .. } in FAMILIES {
        assert!(document.contains(&format!("| `{name}` | {} | `target`", kind.as_str())), "{name}");
        assert!(document.contains(&format!(" | {help} |")), "{help}");
    }
    generated::is("docs/metrics.md", &document);
}
