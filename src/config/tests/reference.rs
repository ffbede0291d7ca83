//! `config.yaml`, `docs/config.schema.json` and the reader say the same.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::tree::{self, NodeKind};
use crate::target::pool::{ClientTls, Pool};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml");

/// Every path of keys that the schema knows; items of lists and alternatives do not show.
fn keys_of_schema(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = tree::join(path, key);
        keys_of_schema(property, &path, keys);
        keys.insert(path);
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        keys_of_schema(alternative, path, keys);
    }
    if let Some(items) = schema.get("items") {
        keys_of_schema(items, path, keys);
    }
}

fn keys_of_yaml(value: &serde_yaml::Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        serde_yaml::Value::Mapping(entries) => {
            for (key, value) in entries {
                let path = tree::join(path, key.as_str().unwrap());
                keys_of_yaml(value, &path, keys);
                keys.insert(path);
            }
        }
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| keys_of_yaml(item, path, keys)),
        _ => {}
    }
}

/// The reference; with its commented keys (`# key: value`) in place of those that they exclude; and once more with the
/// other way to write a key that has two.
fn references() -> [String; 3] {
    let text = fs::read_to_string(REFERENCE).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("url:"));
    let mut in_pool = false;
    let uncommented: String = lines
        .map(|line| {
            in_pool = line == "    # pool:" || in_pool && line.starts_with("    #");
            let commented =
                ["    # url_file:", "    # password_file:"].iter().any(|key| line.starts_with(key));
            match line.strip_prefix("    # ").or(line.strip_prefix("    #")) {
                Some(rest) if in_pool || commented => format!("    {rest}\n"),
                _ => format!("{line}\n"),
            }
        })
        .collect();
    let with_files = uncommented.replace("      tls: {}\n", "").replace("      # tls: ", "      tls: ");
    let with_files = with_files
        .replace("    password_file: ", "    # ")
        .replace("    # password_command: ", "    password_command: ");
    assert_ne!(uncommented, with_files);
    [text, uncommented, with_files]
}

#[test]
fn the_reference_parses_and_its_values_are_the_defaults() {
    let [plain, uncommented, with_files] = references();
    let config = good(&plain);
    assert_eq!(config.warnings, []);
    assert_eq!(*config.targets[0].tuning, crate::target::Tuning::default());
    assert_eq!((config.fleet, config.service.as_str()), (Fleet::default(), "pgtether"));
    let other = &good(&uncommented).targets[0];
    assert_eq!(other.source, Source::File("/run/secrets/database-url".into()));
    assert_eq!(other.password, PasswordSource::File("/run/secrets/database-password".into()));
    let least = good("targets: [{name: a, url_file: u, pool: {listen: 127.0.0.1:6432}}]");
    assert_eq!(config.targets[0].pool, None);
    assert_eq!(other.pool, least.targets[0].pool);
    let files = ClientTls::Files { cert: "/run/secrets/tls.crt".into(), key: "/run/secrets/tls.key".into() };
    let with_files = good(&with_files);
    assert!(with_files.targets[0].password.is_command(), "{:?}", with_files.targets[0].password);
    let [other, with_files] = [other, &with_files.targets[0]].map(|t| t.pool.as_deref().unwrap().clone());
    assert_eq!(with_files, Pool { tls: files, ..other });
}

#[test]
fn the_reference_names_every_key_of_the_schema_and_no_other() {
    let mut known = BTreeSet::new();
    keys_of_schema(&schema(), "", &mut known);
    // `defaults` takes the keys of a target.
    known.retain(|key| !key.starts_with("defaults."));
    let mut named = BTreeSet::new();
    for text in references() {
        keys_of_yaml(&serde_yaml::from_str(&text).unwrap(), "", &mut named);
    }
    assert_eq!(named, known);
    assert!(known.len() > 30, "{known:?}");
}

/// The range of a value as the schema has it: `1s to 1d`, `1 to 127`.
fn range(schema: &Value) -> Option<String> {
    if let Some(title) = schema["title"].as_str() {
        return Some(title.strip_prefix("duration, ")?.split(',').next()?.to_owned());
    }
    if let (Some(least), Some(most)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        return Some(format!("{least} to {most}"));
    }
    schema["anyOf"].as_array()?.iter().find_map(range)
}

/// Checks the comments above each key of a mapping, or above the mapping itself, for the key's range.
fn ranges_are_told(node: &tree::Node, schema: &Value, lines: &[&str], above: &str, told: &mut usize) {
    if let NodeKind::List(items) = &node.kind {
        return items.iter().for_each(|item| ranges_are_told(item, &schema["items"], lines, above, told));
    }
    let NodeKind::Map(entries) = &node.kind else { return };
    let own = |schema: &Value| schema.get("properties").cloned();
    let alternatives =
        schema["anyOf"].as_array().into_iter().flatten().flat_map(|any| {
            own(any).or(any["anyOf"].as_array().and_then(|inner| inner.iter().find_map(own)))
        });
    let properties = own(schema).or(alternatives.into_iter().next()).unwrap();
    for entry in entries {
        let before = lines[..entry.at.line - 1].iter().rev();
        let comment: Vec<_> = before.take_while(|line| line.trim_start().starts_with('#')).copied().collect();
        let comment: String = comment.into_iter().rev().map(|line| format!("{}\n", line.trim())).collect();
        let property = &properties[&entry.key];
        if let Some(range) = range(property) {
            assert!(comment.contains(&range) || above.contains(&range), "{}: {range}", entry.key);
            *told += 1;
        }
        ranges_are_told(&entry.value, property, lines, &comment, told);
    }
}

#[test]
fn the_reference_tells_the_range_of_every_key_that_has_one() {
    let mut told = 0;
    for text in references() {
        let lines: Vec<_> = text.lines().collect();
        ranges_are_told(&tree::parse(&text).0.unwrap(), &schema(), &lines, "", &mut told);
    }
    assert!(told >= 65, "{told}");
}

#[test]
fn the_schema_in_the_repository_is_what_config_schema_prints() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.schema.json");
    let printed = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        crate::generated::write(Path::new(file), &printed);
    }
    assert!(
        fs::read_to_string(file).unwrap() == printed,
        "write `pgtether config schema` to docs/config.schema.json"
    );
    assert!(references()[0].starts_with("# yaml-language-server: $schema=docs/config.schema.json\n"));
}

#[test]
fn the_schema_gives_every_key_a_description_and_every_default() {
    fn walk(schema: &Value, path: &str, without: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = tree::join(path, key);
            assert!(
                property["description"]
                    .as_str()
                    .is_some_and(|d| d.ends_with(['.', '.']) || d.contains("...")),
                "{path}"
            );
            let inner = property
                .get("properties")
                .or(property.get("items"))
                .or(property["anyOf"][0].get("properties"));
            if inner.is_none()
                && property.get("default").is_none()
                && property["anyOf"][0]["anyOf"][0].get("properties").is_none()
            {
                without.push(path.clone());
            }
            walk(property, &path, without);
        }
        if let Some(items) = schema.get("items") {
            walk(items, path, without);
        }
    }
    let mut without = Vec::new();
    walk(&schema(), "", &mut without);
    assert_eq!(
        without,
        [
            "defaults.password_file",
            "targets.name",
            "targets.password_file",
            "targets.pool.listen",
            "targets.url",
            "targets.url_file"
        ]
    );
}

#[test]
fn schema_and_reader_agree_on_which_files_are_good() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let accepts = |text: &str| {
        let value: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
        validator.is_valid(&serde_json::to_value(value).unwrap())
    };
    for text in references() {
        assert!(accepts(&text), "{text}");
    }
    let local = "targets: [{name: a, url: postgresql://app@localhost/shop";
    for keys in [
        "",
        ", ping: ",
        ", keepalives: false",
        ", keepalives: {count: \"${N}\"}",
        ", required: \"${R}\"",
        ", wake_every: off",
        ", pool: ",
        ", pool: {listen: 127.0.0.1:6432, tls: false, mode: \"${MODE}\", size: \"${N}\"}",
        ", pool: {listen: \"unix:/run/pgtether/.s.PGSQL.6432\", tls: {}}",
        ", pool: {listen: \"${LISTEN}\", tls: }",
    ] {
        assert!(accepts(&format!("{local}{keys}}}]")), "{keys}");
    }
    for bad_file in [
        "unknown_keys",
        "wrong_types",
        "numbers_out_of_range",
        "words",
        "missing",
        "entries_that_are_no_mappings",
        "only_a_list",
        "pool_values",
    ] {
        let text = fs::read_to_string(format!("{GALLERY}/{bad_file}.yaml")).unwrap();
        assert!(!accepts(&text), "{bad_file}");
    }
    for keys in [
        ", ping: {interval: 30}",
        ", role: null",
        ", url_file: x",
        ", refresh: {jitter: 2}",
        ", keepalives: {idle: ''}",
        ", pool: {}",
        ", pool: {listen: 6432}",
        ", pool: {listen: 127.0.0.1}",
        ", pool: {listen: /run/.s.PGSQL.6432}",
        ", pool: {listen: 127.0.0.1:6432, auth: trust, tls: {cert_file: a}}",
        ", pool: {listen: 127.0.0.1:6432, auth: trust, tls: {key_file: a}}",
        ", pool: {listen: 127.0.0.1:6432, auth: md5}",
        ", pool: {listen: 127.0.0.1:6432, auth: trust, size: 0}",
    ] {
        assert!(!accepts(&format!("{local}{keys}}}]")), "{keys}");
        assert!(read(&format!("{local}{keys}}}]")).is_err(), "{keys}");
    }
}
