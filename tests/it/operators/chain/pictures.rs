//! Every panel of every dashboard, asked of Prometheus as Grafana would: that it has something to show, that what it
//! shows can be, and, kept in a file, what `make pictures` draws.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::grafana::{self, Dashboard, Panel, Query, Values};
use super::super::monitoring::{Monitoring, PROD, STAGING, Series};
use super::second::TARGETS;

/// Where `tests/draw.sh` looks for them.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/pictures");
/// The scrape interval is a second: four of them at the least.
const RATE_INTERVAL: &str = "6s";
/// What the dashboard of a single target shows in the picture. Both namespaces have one of this name; one is down.
const SHOWN: &str = "main";
/// The code of this state.
const DOWN: f64 = 4.0;

/// Asks everything over this time, judges it, and keeps it for the pictures.
pub async fn take(monitoring: &Monitoring, from: f64, to: f64) {
    let range = format!("{:.0}s", to - from);
    fs::create_dir_all(FOLDER).unwrap();
    let mut problems = Vec::new();
    for dashboard in grafana::all() {
        let all = Values { rate_interval: RATE_INTERVAL, range: &range, ..Values::ALL };
        for panel in &dashboard.panels {
            let answers = ask(monitoring, panel, &all, from, to).await;
            let judged = judge(panel, &answers).and_then(|()| expected(&dashboard.uid, panel, &answers));
            problems.extend(judged.err().map(|why| format!("{}: {:?} {why}", dashboard.uid, panel.title)));
        }
        let single = dashboard.uid.ends_with("target");
        let shown = match single {
            true => Values { namespace: PROD, target: SHOWN, ..all },
            false => all,
        };
        let mut panels = serde_json::Map::new();
        for panel in &dashboard.panels {
            let answers = ask(monitoring, panel, &shown, from, to).await;
            let answers = answers.iter().map(|(query, series)| (query.id.clone(), kept(series)));
            panels.insert(panel.id.to_string(), Value::Object(answers.collect()));
            for namespace in [PROD, STAGING] {
                let answers = ask(monitoring, panel, &Values { namespace, ..shown }, from, to).await;
                let judged = apart(&dashboard.uid, panel, namespace, &answers);
                problems.extend(judged.err().map(|why| format!("{namespace}: {:?} {why}", panel.title)));
            }
        }
        keep(&dashboard, &panels.into(), from, to);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

async fn ask<'a>(
    monitoring: &Monitoring,
    panel: &'a Panel,
    values: &Values<'_>,
    from: f64,
    to: f64,
) -> Vec<(&'a Query, Vec<Series>)> {
    let mut answers = Vec::new();
    for query in &panel.queries {
        let expr = values.fill(&query.expr);
        let series = match query.instant {
            true => monitoring.query(&expr, to).await,
            false => monitoring.query_range(&expr, from, to).await,
        };
        answers.push((query, series));
    }
    answers
}

/// Whether there is something to show, and nothing that cannot be.
fn judge(panel: &Panel, answers: &[(&Query, Vec<Series>)]) -> Result<(), String> {
    for (query, series) in answers {
        let values = series.iter().flat_map(|series| &series.values).map(|(_, value)| *value);
        let shown = |value: &f64| value.is_finite() && (panel.shows_states() || panel.word(*value).is_none());
        let numbers: Vec<f64> = values.filter(shown).collect();
        if numbers.is_empty() {
            return Err(format!("shows nothing: {}", query.expr));
        }
        let most = match panel.unit.as_str() {
            "percentunit" => 1.0 + f64::EPSILON,
            // A rate of a process that has threads for what blocks.
            "short" if panel.shows_states() => 4.0,
            // The certificates of this scene live for 20 days.
            "s" => 21.0 * 86400.0,
            "ops" | "reqps" => 1000.0,
            _ => f64::MAX,
        };
        if let Some(odd) = numbers.iter().find(|number| !(0.0..=most).contains(*number)) {
            return Err(format!("shows {odd}: {}", query.expr));
        }
    }
    Ok(())
}

/// What this scene must look like on the fleet's dashboard.
fn expected(uid: &str, panel: &Panel, answers: &[(&Query, Vec<Series>)]) -> Result<(), String> {
    let series = &answers[0].1;
    let shown = series.first().and_then(Series::last).unwrap_or(f64::NAN);
    let wanted = match (uid, panel.title.as_str()) {
        ("pgtether-fleet", "Targets") if panel.kind == "stat" => shown == 11.0 + TARGETS,
        ("pgtether-fleet", "Down") => shown == 2.0,
        ("pgtether-fleet", "Degraded" | "Asleep") => shown == 1.0,
        ("pgtether-fleet", "Availability") => (0.5..1.0).contains(&shown),
        ("pgtether-fleet", "All targets") => series.len() as f64 == 11.0 + TARGETS,
        ("pgtether-fleet", "Fullest pools") => most(series, "busy") == 1.0 && most(series, "short") == 1.0,
        ("pgtether-fleet", "Clients that wait for a session") => most(series, "busy") > 20.0,
        ("pgtether-fleet", "Firing alerts") => {
            let down = |series: &Series| {
                series.labels["alertname"] == "PgtetherTargetDown" && series.labels["target"] == SHOWN
            };
            series.iter().any(down)
        }
        _ => true,
    };
    if wanted { Ok(()) } else { Err(format!("shows {shown} in {} series: {series:?}", series.len())) }
}

/// What is shown of one namespace is its own, although the other one has targets of the same names: they are down in the
/// first one only.
fn apart(uid: &str, panel: &Panel, namespace: &str, answers: &[(&Query, Vec<Series>)]) -> Result<(), String> {
    for series in answers.iter().flat_map(|(_, series)| series) {
        let of = series.labels.get("namespace").is_none_or(|it| it == namespace);
        let joined = series.labels.get("id").is_none_or(|id| id.starts_with(&format!("/{namespace}/")));
        if !of || !joined {
            return Err(format!("shows {:?}", series.labels));
        }
    }
    let series = &answers[0].1;
    let shown = series.first().and_then(Series::last).unwrap_or(f64::NAN);
    let (count, down) = if namespace == PROD { (11.0, 2.0) } else { (TARGETS, 0.0) };
    let is_down = series.iter().flat_map(|series| &series.values).any(|(_, state)| *state == DOWN);
    let wanted = match (uid, panel.title.as_str()) {
        ("pgtether-fleet", "Targets") => shown == count,
        ("pgtether-fleet", "Down") => shown == down,
        ("pgtether-fleet", "All targets") => series.len() as f64 == count && is_down == (down > 0.0),
        ("pgtether-fleet", "State of each target") | ("pgtether-target", "State over time") => {
            !series.is_empty() && is_down == (down > 0.0)
        }
        (_, "Firing alerts") => {
            series.iter().any(|it| it.labels["alertname"] == "PgtetherTargetDown") == (down > 0.0)
        }
        (_, "Availability") => (shown > 0.9999) == (down == 0.0),
        ("pgtether-target", "State") => shown == if down > 0.0 { DOWN } else { 0.0 },
        _ => true,
    };
    if wanted { Ok(()) } else { Err(format!("shows {shown} in {} series: {series:?}", series.len())) }
}

/// The most that is shown of a target.
fn most(series: &[Series], target: &str) -> f64 {
    let of_target = series.iter().filter(|series| series.labels["target"] == target);
    of_target.flat_map(|series| &series.values).map(|(_, value)| *value).fold(f64::NAN, f64::max)
}

fn kept(series: &[Series]) -> Value {
    let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    let values = |series: &Series| {
        series.values.iter().map(|(at, value)| json!([at, number(*value)])).collect::<Vec<_>>()
    };
    series.iter().map(|series| json!({"labels": series.labels, "values": values(series)})).collect()
}

fn keep(dashboard: &Dashboard, panels: &Value, from: f64, to: f64) {
    let picture = json!({"dashboard": dashboard.json, "from": from, "to": to, "panels": panels});
    let file = Path::new(FOLDER).join(format!("{}.json", dashboard.uid));
    fs::write(file, picture.to_string()).unwrap();
}
