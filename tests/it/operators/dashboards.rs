//! The form of the dashboards: what Grafana and a reader expect of each.

use std::collections::BTreeSet;

use pgtether::metrics::FAMILIES;
use serde_json::{Value, json};

use super::grafana::{self, Dashboard, Panel, Values};
use super::queries::{Read, names};
use super::runbook;

/// Units of Grafana that the panels use.
const UNITS: &[&str] = &["short", "s", "percentunit", "bytes", "ops", "reqps"];

#[test]
fn every_panel_has_a_title_a_description_and_a_unit() {
    for dashboard in grafana::all() {
        for panel in &dashboard.panels {
            let what = format!("{}: {:?}", dashboard.uid, panel.title);
            assert!(!panel.title.is_empty(), "{what}");
            let described = panel.description.len() > 20 && panel.description.ends_with('.');
            assert!(described, "{what}: {:?}", panel.description);
            assert!(UNITS.contains(&panel.unit.as_str()), "{what}: {:?}", panel.unit);
            assert!(!panel.queries.is_empty(), "{what}");
            assert_eq!(panel.json["datasource"]["uid"], "$datasource", "{what}");
        }
    }
}

#[test]
fn titles_and_ids_are_one_panels_own() {
    for dashboard in grafana::all() {
        let all = dashboard.json["panels"].as_array().unwrap();
        let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), all.len(), "{}", dashboard.uid);
        let titles: BTreeSet<_> = all.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        assert_eq!(titles.len(), all.len(), "{}", dashboard.uid);
        for panel in &dashboard.panels {
            let ids: BTreeSet<_> = panel.queries.iter().map(|query| &query.id).collect();
            assert_eq!(ids.len(), panel.queries.len(), "{}", panel.title);
        }
    }
}

#[test]
fn panels_fill_the_grid_and_do_not_overlap() {
    for dashboard in grafana::all() {
        let mut taken = BTreeSet::new();
        for panel in dashboard.json["panels"].as_array().unwrap() {
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{panel}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{}: {} overlaps", dashboard.uid, panel["title"]);
                }
            }
        }
        let height = taken.iter().map(|(_, y)| y + 1).max().unwrap();
        assert_eq!(taken.len() as u64, 24 * height, "{}: holes in the grid", dashboard.uid);
    }
}

#[test]
fn dashboards_are_read_only_and_of_a_schema_that_today_s_grafana_reads() {
    for Dashboard { json, uid, .. } in grafana::all() {
        assert_eq!(json["editable"], false, "{uid}");
        assert_eq!(json["id"], Value::Null, "{uid}: the importing Grafana gives it one");
        assert!((39..=42).contains(&json["schemaVersion"].as_u64().unwrap()), "{uid}");
        assert_eq!(json["graphTooltip"], 1, "{uid}: one crosshair for all panels");
        assert!(json["tags"].as_array().unwrap().contains(&json!("pgtether")), "{uid}");
        assert!(!json["description"].as_str().unwrap().is_empty(), "{uid}");
    }
}

#[test]
fn each_dashboard_has_the_variables_that_tell_a_target() {
    let of_all = ["datasource", "cluster", "namespace", "job", "instance", "target"];
    // One target is found by its name; what else there is of that name is offered then.
    let of_one = ["datasource", "job", "target", "cluster", "namespace", "instance"];
    for dashboard in grafana::all() {
        let variables = dashboard.json["templating"]["list"].as_array().unwrap();
        let names: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
        let single = dashboard.uid.ends_with("target");
        assert_eq!(names, if single { of_one } else { of_all }, "{}", dashboard.uid);
        for (at, variable) in variables.iter().enumerate().skip(1) {
            let query = variable["query"]["query"].as_str().unwrap();
            for earlier in &names[1..at] {
                let chosen = format!("{earlier}=~\"${earlier}\"");
                assert!(
                    query.contains(&chosen),
                    "{}: {query} offers what {earlier} does not have",
                    dashboard.uid
                );
            }
            // What may be missing is there where it is empty.
            let optional = ["cluster", "namespace"].contains(&names[at]);
            let of_several = variable["includeAll"] == true;
            assert_eq!(of_several, !single || names[at] == "instance", "{query}");
            assert!(!of_several || (variable["allValue"] == ".*") == optional, "{query}");
        }
        for variable in &variables[1..] {
            assert_eq!(variable["datasource"]["uid"], "$datasource", "{variable}");
            assert_eq!(variable["refresh"], 2, "asked again when the time range changes: {variable}");
        }
    }
}

#[test]
fn every_query_goes_by_the_variables_that_fit_its_metric() {
    let marked = Values {
        cluster: "CLUSTER",
        namespace: "NAMESPACE",
        job: "JOB",
        instance: "INSTANCE",
        target: "TARGET",
        ..Values::ALL
    };
    for dashboard in grafana::all() {
        for (title, expr) in dashboard.expressions() {
            for Read { metric, matchers } in names(&marked.fill(&expr)).reads {
                let goes_by = |label: &str, value: &str| {
                    matchers
                        .iter()
                        .any(|(l, op, v)| l == label && op == "=~" && v.trim_end_matches('|') == value)
                };
                let of_target = FAMILIES.iter().any(|f| metric.starts_with(f.name)) || metric == "ALERTS";
                for (label, value) in [("cluster", "CLUSTER"), ("namespace", "NAMESPACE"), ("job", "JOB")] {
                    assert!(goes_by(label, value), "{title}: {expr}");
                }
                // An alert on a target has no instance.
                assert!(goes_by("instance", "INSTANCE") || metric == "ALERTS", "{title}: {expr}");
                assert_eq!(goes_by("target", "TARGET"), of_target, "{title}: {expr}");
            }
        }
    }
}

#[test]
fn rates_go_by_the_interval_that_fits_the_scrape() {
    for dashboard in grafana::all() {
        for (title, expr) in dashboard.expressions() {
            for function in ["rate(", "increase("] {
                for call in expr.split(function).skip(1) {
                    let window = call.split('[').nth(1).and_then(|w| w.split(']').next());
                    let fits = matches!(window, Some("$__rate_interval" | "$__range"));
                    assert!(fits, "{title}: {function}…[{window:?}] in {expr}");
                }
            }
        }
    }
}

#[test]
fn links_lead_to_our_dashboards_and_to_runbooks_that_exist() {
    let dashboards = grafana::all();
    let uids: BTreeSet<_> = dashboards.iter().map(|d| d.uid.as_str()).collect();
    for dashboard in &dashboards {
        let mut others = BTreeSet::new();
        for url in dashboard.links() {
            if let Some(file) = runbook(&url) {
                let of_a_row = url.contains("${__data.fields.Alert}");
                assert!(of_a_row || file.is_file(), "{}: {url}", dashboard.uid);
                continue;
            }
            let uid = url.strip_prefix("/d/").unwrap_or_else(|| panic!("{}: {url}", dashboard.uid));
            let uid = uid.split('?').next().unwrap();
            assert!(uids.contains(uid), "{}: {url}", dashboard.uid);
            if url.contains("var-target=") {
                for label in super::IDENTITY {
                    assert!(
                        url.contains(&format!("var-{label}=${{")),
                        "{}: no {label} in {url}",
                        dashboard.uid
                    );
                }
            }
            others.insert(uid.to_owned());
        }
        assert!(others.iter().any(|uid| *uid != dashboard.uid), "{}: no way to another", dashboard.uid);
        let runbooks = dashboard.json["links"].as_array().unwrap();
        let runbooks = runbooks.iter().filter(|link| runbook(link["url"].as_str().unwrap()).is_some());
        assert_eq!(runbooks.count(), 1, "{}: one link to all runbooks", dashboard.uid);
    }
}

#[test]
fn tables_and_legends_of_all_targets_say_of_which_namespace_and_cluster_each_is() {
    let fleet = grafana::all().into_iter().find(|it| it.uid == "pgtether-fleet").unwrap();
    let mut seen = 0;
    for panel in &fleet.panels {
        let legends = panel.json["targets"].as_array().into_iter().flatten();
        for legend in legends.filter_map(|query| query["legendFormat"].as_str()) {
            if legend.contains("{{target}}") || legend.contains("{{instance}}") {
                assert!(legend.ends_with(" {{namespace}} {{cluster}}"), "{}: {legend}", panel.title);
                seen += 1;
            }
        }
        if panel.kind == "table" {
            let columns = series_names(panel);
            for column in ["Namespace", "Cluster"] {
                assert!(columns.contains(&Some(column.to_owned())), "{}: {columns:?}", panel.title);
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen}");
}

#[test]
fn firing_alerts_are_drawn_as_annotations() {
    for dashboard in grafana::all() {
        let annotations = dashboard.json["annotations"]["list"].as_array().unwrap();
        let alerts = annotations.iter().filter(|a| a["expr"].as_str().unwrap().starts_with("ALERTS{"));
        assert_eq!(alerts.count(), 1, "{}", dashboard.uid);
    }
}

/// The words that the panel has for states, by their codes.
fn words(panel: &Panel) -> Vec<&str> {
    (0..).map_while(|code: u32| panel.word(code.into())).collect()
}

#[test]
fn the_words_for_states_are_the_programs_and_in_the_order_of_their_codes() {
    let mut seen = 0;
    for dashboard in grafana::all() {
        for panel in dashboard.panels.iter().filter(|panel| panel.shows_states()) {
            for (code, word) in words(panel).iter().enumerate() {
                let term = format!(r#"{code} * (pgtether_"#);
                let of_this =
                    panel.queries[0].expr.split(&term).nth(1).unwrap_or_else(|| panic!("{}", panel.title));
                let state = format!(r#"state="{}""#, word.replace(' ', "_"));
                assert!(
                    of_this.split('}').next().unwrap().contains(&state),
                    "{}: {code} is not {word}",
                    panel.title
                );
                seen += 1;
            }
            let states = panel.queries[0].expr.matches("state=\"").count();
            assert_eq!(states, words(panel).len(), "{}: a state without a word", panel.title);
        }
    }
    assert!(seen >= 16, "only {seen} words");
}

/// The names of a panel's series and columns; `None` where a label's value is a name.
fn series_names(panel: &Panel) -> Vec<Option<String>> {
    let legends = panel.json["targets"].as_array().into_iter().flatten().map(|query| &query["legendFormat"]);
    let transformations = panel.json["transformations"].as_array().into_iter().flatten();
    let columns = transformations
        .filter_map(|it| it["options"]["renameByName"].as_object())
        .flat_map(|columns| columns.values());
    let name = |name: &Value| name.as_str().filter(|name| !name.contains("{{")).map(str::to_owned);
    legends.chain(columns).map(name).collect()
}

#[test]
fn what_is_set_for_a_series_or_column_names_one_that_the_panel_has() {
    let mut checked = 0;
    for dashboard in grafana::all() {
        for panel in &dashboard.panels {
            let names = series_names(panel);
            for rule in panel.json["fieldConfig"]["overrides"].as_array().into_iter().flatten() {
                let options = rule["matcher"]["options"].as_str().unwrap();
                let own = match rule["matcher"]["id"].as_str().unwrap() {
                    "byName" => vec![options],
                    "byRegexp" => options.split('|').collect(),
                    other => panic!("{}: {other}", panel.title),
                };
                for name in own {
                    let known = names.iter().any(|it| it.as_deref().is_none_or(|it| it == name));
                    assert!(known, "{}: {}: {name:?} of {names:?}", dashboard.uid, panel.title);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 50, "only {checked}");
}
