//! The JSON Schema of the file, for editors: made from the types that read it, with the built-in defaults filled in.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Fleet;
use super::file::{Document, FleetKeys, Keys};
use super::names::Service;
use crate::target::Tuning;

/// As `config schema` prints it.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Document>().to_value();
    schema["title"] = "pgtether configuration".into();
    fill(&mut schema, &defaults());
    schema
}

/// A document with every default in its place.
fn defaults() -> Value {
    let keys = Keys::of(&Tuning::default());
    let document = Document {
        service: Some(Service(Service::DEFAULT.to_owned())),
        fleet: Some(FleetKeys::of(&Fleet::default())),
        defaults: Some(keys.clone()),
        targets: Some(vec![super::file::TargetKeys { keys, ..Default::default() }]),
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
