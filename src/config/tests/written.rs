//! `config.yaml`, written from the declaration of the keys.

use serde_json::Value;

use super::*;
use crate::config::file::RootKeys;
use crate::config::read::Mapping;
use crate::config::suggest::Known;

const WIDTH: usize = 122;

/// In place of a blank at which no line is broken.
const TOGETHER: &str = "\0";

const HEADER: &str = "\
# yaml-language-server: $schema=docs/config.schema.json
#
# Every key of pgtether's configuration, with its default. Only `targets`, a name and a url are required:
#
#   targets:
#     - name: primary
#       url: ${DATABASE_URL}
#
# Durations are written as 200ms, 30s, 4m, 2h, 1d or 1m30s. Some keys also accept `off`.
# In every value, ${NAME} is replaced by the environment variable NAME; an unset variable is an error. ${NAME:-default} has
# a default, and $${ is a literal ${.
# `pgtether --config.check` checks the file, `pgtether config show` prints the effective configuration.
";

/// What a key takes, as its schema has it: `1s to 1d, or off`.
pub(super) fn limits(schema: &Value) -> Option<String> {
    if let Some(title) = schema["title"].as_str() {
        return title.strip_prefix("duration, ").map(str::to_owned);
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        return Some(format!("{least} to {most}"));
    }
    let alternatives = schema["anyOf"].as_array()?;
    let limits = alternatives.iter().find_map(limits)?;
    let off = alternatives.iter().any(|any| any["enum"] == serde_json::json!(["off", false]));
    Some(if off { format!("{limits}, or off") } else { limits })
}

/// The schema that names the keys of a mapping, or of what may be one.
fn mapping(schema: &Value) -> Option<&Value> {
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    schema.get("items").or_else(|| schema.get("anyOf")?.get(0)).and_then(mapping)
}

fn comment(text: &str, lines: &mut Vec<String>, indent: usize) {
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if indent + line.len() + 1 + word.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, "#".to_owned()));
        }
        line = format!("{line} {}", word.replace(TOGETHER, " "));
    }
    lines.push(line);
}

fn indented(lines: Vec<String>, by: &str) -> Vec<String> {
    lines.into_iter().map(|line| format!("{by}{line}").trim_end().to_owned()).collect()
}

/// The lines of a mapping's keys. `apart` puts an empty line before each.
fn keys(known: &[Known], schema: &Value, indent: usize, apart: bool) -> Vec<String> {
    let schema = mapping(schema).unwrap();
    let required = |key: &str| {
        let lists = [&schema["required"], &schema["oneOf"][0]["required"]];
        lists.iter().any(|list| list.as_array().is_some_and(|list| list.contains(&key.into())))
    };
    let mut lines = Vec::new();
    for (i, Known { name, inside }) in known.iter().enumerate() {
        let schema = &schema["properties"][*name];
        if apart && i > 0 {
            lines.push(String::new());
        }
        let limits =
            limits(schema).map(|limits| format!("{limits}.").replace(' ', TOGETHER)).unwrap_or_default();
        comment(&format!("{} {limits}", schema["description"].as_str().unwrap()), &mut lines, indent);
        let example = |schema: &Value| match &schema["examples"][0] {
            Value::Array(words) => {
                let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
                format!("[{}]", words.join(", "))
            }
            text => text.as_str().unwrap_or_default().to_owned(),
        };
        match (&schema["default"], inside.as_slice()) {
            (Value::String(text), []) => lines.push(format!("{name}: {text}")),
            (Value::Null, []) if required(name) => lines.push(format!("{name}: {}", example(schema))),
            (Value::Null, []) => lines.push(format!("# {name}: {}", example(schema))),
            (value, []) => lines.push(format!("{name}: {value}")),
            // Its keys are those of a target.
            (_, _) if *name == "defaults" => lines.push("defaults: {}".to_owned()),
            (_, inside) if schema.get("items").is_some() => {
                let mut item = indented(keys(inside, schema, indent + 4, true), "    ");
                let first = item.iter().position(|line| !line.trim_start().starts_with('#')).unwrap();
                item[..first].iter_mut().for_each(|line| line.replace_range(..2, ""));
                item[first].replace_range(2..3, "-");
                lines.push(format!("{name}:"));
                lines.extend(item);
            }
            (_, inside) => {
                let of = mapping(schema).unwrap();
                let properties = &of["properties"];
                if inside.iter().all(|key| properties[key.name].get("default").is_none()) {
                    let pairs =
                        inside.iter().map(|key| format!("{}: {}", key.name, example(&properties[key.name])));
                    lines.push(format!("{name}: {{}}"));
                    lines.push(format!("# {name}: {{{}}}", pairs.collect::<Vec<_>>().join(", ")));
                } else if of.get("required").is_some() {
                    lines.push(format!("# {name}:"));
                    lines.extend(indented(indented(keys(inside, schema, indent + 4, true), "  "), "# "));
                } else {
                    lines.push(format!("{name}:"));
                    lines.extend(indented(keys(inside, schema, indent + 2, false), "  "));
                }
            }
        }
    }
    lines
}

#[test]
fn the_reference_is_what_the_declaration_of_the_keys_says() {
    let lines = keys(&RootKeys::known(), &schema(), 0, true);
    let written = format!("{HEADER}\n{}\n", lines.join("\n"));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        crate::generated::write(Path::new(file), &written);
    }
    let found = fs::read_to_string(file).unwrap();
    let differs = written.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
    assert_eq!(differs, None, "run `make generated`: config.yaml is written from src/config/file.rs");
    assert_eq!(written.lines().count(), found.lines().count(), "run `make generated`");
}
