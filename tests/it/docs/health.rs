//! The document of the health endpoints, against live ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{document, quoted, rows};
use crate::web::in_every_state;

/// The rows of the table below a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = document("health.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    rows(section)
}

/// Each key of a document with the types that its values have; those of lists under one name.
fn types(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !path.is_empty() && !path.ends_with("[]") {
        found.entry(path.to_owned()).or_default().insert(kind);
    }
    match value {
        Value::Array(list) => list.iter().for_each(|value| types(value, &format!("{path}[]"), found)),
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                types(value, &path, found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_table_of_health_has_the_keys_and_types_of_a_live_document() {
    let (_cluster, daemon) = in_every_state().await;
    let mut live = BTreeMap::new();
    types(&daemon.get("/health").await.json(), "", &mut live);
    let table = table("The document of `/health`");
    let documented: BTreeMap<String, &str> =
        table.iter().map(|row| (quoted(&row[0]).remove(0), row[1].as_str())).collect();
    assert_eq!(documented.keys().collect::<Vec<_>>(), live.keys().collect::<Vec<_>>());
    for (key, kinds) in live {
        let may: BTreeSet<_> = documented[&key].split(" or ").collect();
        assert!(kinds.is_subset(&may), "{key} is {kinds:?}, the table says {may:?}");
    }
}

#[tokio::test]
async fn the_table_of_checks_has_those_that_livez_and_readyz_list() {
    let (_cluster, daemon) = in_every_state().await;
    let mut live = Vec::new();
    for probe in ["/livez", "/readyz"] {
        let text = daemon.get(&format!("{probe}?verbose")).await.text();
        let names = text.lines().filter_map(|line| line.strip_prefix("[+]").or(line.strip_prefix("[-]")));
        live.extend(names.map(|line| (line.split(' ').next().unwrap().to_owned(), probe.to_owned())));
    }
    let table = table("The checks of `/livez` and `/readyz`");
    let documented: Vec<_> =
        table.iter().map(|row| (quoted(&row[0]).remove(0), quoted(&row[1]).remove(0))).collect();
    assert_eq!(documented, live);
}
