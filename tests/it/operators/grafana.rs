//! The dashboards as Grafana reads them: panels, queries, and the variables in these.

use std::fs;

use serde_json::Value;

use super::repository;

/// Every dashboard in `dashboards/`.
pub fn all() -> Vec<Dashboard> {
    let mut files: Vec<_> =
        fs::read_dir(repository("dashboards")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let files = files.iter().filter(|file| file.extension().is_some_and(|end| end == "json"));
    let dashboards: Vec<_> = files.map(|f| Dashboard::read(&fs::read_to_string(f).unwrap())).collect();
    assert!(dashboards.len() >= 2, "no dashboards");
    dashboards
}

/// One dashboard.
#[derive(Debug)]
pub struct Dashboard {
    pub json: Value,
    pub uid: String,
    /// Rows are not among them.
    pub panels: Vec<Panel>,
}

/// One panel that shows something.
#[derive(Debug, Clone)]
pub struct Panel {
    pub json: Value,
    pub id: u64,
    pub kind: String,
    pub title: String,
    pub description: String,
    pub unit: String,
    pub queries: Vec<Query>,
}

#[derive(Debug, Clone)]
pub struct Query {
    pub id: String,
    pub expr: String,
    /// Asked for one moment, and not over the time range.
    pub instant: bool,
}

/// What Grafana puts in place of the variables.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    pub cluster: &'a str,
    pub namespace: &'a str,
    pub job: &'a str,
    pub instance: &'a str,
    pub target: &'a str,
    pub rate_interval: &'a str,
    pub range: &'a str,
}

impl Dashboard {
    fn read(text: &str) -> Dashboard {
        let json: Value = serde_json::from_str(text).unwrap();
        let panels =
            json["panels"].as_array().unwrap().iter().filter(|p| p["type"] != "row").map(Panel::read);
        Dashboard { uid: text_of(&json["uid"]), panels: panels.collect(), json }
    }

    /// Every expression of panels and annotations.
    pub fn expressions(&self) -> Vec<(String, String)> {
        let of_panel = |p: &Panel| {
            let title = p.title.clone();
            p.queries.iter().map(move |q| (title.clone(), q.expr.clone())).collect::<Vec<_>>()
        };
        let annotations = self.json["annotations"]["list"].as_array().unwrap();
        let annotations = annotations.iter().map(|a| (text_of(&a["name"]), text_of(&a["expr"])));
        self.panels.iter().flat_map(of_panel).chain(annotations).collect()
    }

    /// Every link, wherever it stands.
    pub fn links(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.json, "url", &mut found);
        found
    }
}

impl Panel {
    fn read(json: &Value) -> Panel {
        let queries = json["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        Panel {
            id: json["id"].as_u64().unwrap(),
            kind: text_of(&json["type"]),
            title: text_of(&json["title"]),
            description: text_of(&json["description"]),
            unit: text_of(&json["fieldConfig"]["defaults"]["unit"]),
            queries: queries.iter().map(Query::read).collect(),
            json: json.clone(),
        }
    }

    /// Whether its values are codes of states, which it shows as words.
    pub fn shows_states(&self) -> bool {
        self.kind == "state-timeline" || self.word(0.0).is_some()
    }

    /// The word that it shows in place of a value.
    pub fn word(&self, value: f64) -> Option<&str> {
        let mappings = &self.json["fieldConfig"]["defaults"]["mappings"];
        mappings[0]["options"][value.to_string()]["text"].as_str()
    }
}

impl Query {
    fn read(json: &Value) -> Query {
        Query {
            id: text_of(&json["refId"]),
            expr: text_of(&json["expr"]),
            instant: json["instant"].as_bool().unwrap_or_default(),
        }
    }
}

impl Values<'_> {
    /// Of every variable all values.
    pub const ALL: Values<'static> = Values {
        cluster: ".*",
        namespace: ".*",
        job: ".+",
        instance: ".+",
        target: ".+",
        rate_interval: "5m",
        range: "1h",
    };

    /// The query as Prometheus gets it.
    pub fn fill(&self, expr: &str) -> String {
        let expr = expr.replace("$__rate_interval", self.rate_interval).replace("$__range", self.range);
        let expr = expr.replace("$instance", self.instance).replace("$target", self.target);
        let expr = expr.replace("$job", self.job);
        let expr = expr.replace("$cluster", self.cluster).replace("$namespace", self.namespace);
        assert!(!expr.contains('$'), "a variable that nobody fills: {expr}");
        expr
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The texts of all members with this name.
fn collect(json: &Value, name: &str, found: &mut Vec<String>) {
    match json {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some(text) if key == name => found.push(text.to_owned()),
                    _ => collect(value, name, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, name, found)),
        _ => {}
    }
}
