//! The JSON Schema of the file, for editors: made from the types that read it, with the built-in defaults filled in.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file::{Keys, PoolKeys, RootKeys, TargetKeys};
use super::mapping::Sets;
use super::names::Service;
use super::read::Items;
use super::{Fleet, pool};
use crate::target::Tuning;
use crate::target::pool::Pool;

/// As `config schema` prints it.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RootKeys>().to_value();
    schema["title"] = "pgtether configuration".into();
    demand_values(&mut schema);
    join_lines(&mut schema);
    fill(&mut schema, &defaults());
    schema
}

/// A description is broken into lines where its declaration is.
fn join_lines(schema: &mut Value) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(join_lines),
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An `Option` lets null pass, but only a mapping or a list may be left empty.
fn demand_values(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get("type")
        && let [only, Value::String(null)] = types.as_slice()
        && null == "null"
        && only != "object"
        && only != "array"
    {
        schema["type"] = only.clone();
    }
    if let Some(Value::Array(any)) = schema.get("anyOf")
        && let [only, null] = any.as_slice()
        && *null == serde_json::json!({ "type": "null" })
        && !allows_mapping(only)
    {
        schema["anyOf"] = Value::Array(vec![only.clone()]);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(demand_values),
        Value::Array(items) => items.iter_mut().for_each(demand_values),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn allows_mapping(schema: &Value) -> bool {
    let any = schema.get("anyOf").and_then(Value::as_array);
    schema["type"] == "object" || any.is_some_and(|any| any.iter().any(allows_mapping))
}

/// A document with every default in its place.
fn defaults() -> Value {
    let tuning = Tuning::default();
    let pool = PoolKeys::of(&Pool::with_defaults(pool::nowhere(), tuning.idle_policy));
    // Where it listens is nobody's default.
    let pool = pool.map(|keys| PoolKeys { listen: None, ..keys });
    let keys = Keys { tuning: Sets::of(&tuning).unwrap_or_default(), ..Keys::default() };
    let document = RootKeys {
        service: Some(Service(Service::DEFAULT.to_owned())),
        fleet: Sets::of(&Fleet::default()),
        defaults: Some(keys.clone()),
        targets: Some(Items(vec![Some(TargetKeys { pool, keys, ..TargetKeys::default() })])),
    };
    serde_json::to_value(document).unwrap_or_default()
}

/// Walks schema and defaults side by side; a mapping's default is that of its keys.
fn fill(schema: &mut Value, default: &Value) {
    match default {
        Value::Object(values) => {
            for (key, value) in values {
                if let Some(property) = property(schema, key) {
                    fill(property, value);
                }
            }
        }
        Value::Array(items) => {
            if let (Some(items_schema), Some(first)) = (schema.get_mut("items"), items.first()) {
                fill(items_schema, first);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("default".to_owned(), default.clone());
            }
        }
    }
}

/// The schema of a key: of the mapping itself, or of the one that can be switched off.
fn property<'a>(schema: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    if schema.get("properties").is_some() {
        return schema.get_mut("properties")?.get_mut(key);
    }
    schema.get_mut("anyOf")?.as_array_mut()?.iter_mut().find_map(|any| property(any, key))
}
