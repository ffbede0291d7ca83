//! What nobody meant as a configuration, and what tries to break the reader or to get a secret out of it.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::config::tree::{self, NodeKind};

#[test]
fn files_that_are_no_configuration_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let says = |path: &Path| load(path, &env).unwrap_err().to_string().split_once(": ").unwrap().1.to_owned();
    assert_eq!(says(folder.path()), "is a folder: --config.file takes a file");
    assert_eq!(
        says(&file("latin1", b"# caf\xc3\xa9\n# caf\xe9\n")),
        "is not UTF-8 (line 2): save it as UTF-8"
    );
    assert_eq!(says(&file("huge", &vec![b'#'; 10 << 20])), "is larger than 4 MiB: is this the right file?");
    assert_eq!(says(&file("void", b"")), "is empty: name at least one target under `targets`");
    assert_eq!(says(Path::new("/dev/zero")), "is larger than 4 MiB: is this the right file?");
    let with_mark =
        file("bom", b"\xef\xbb\xbftargets: [{name: a, url: postgresql://app@localhost/shop}]\r\n");
    assert_eq!(load(&with_mark, &env).unwrap().targets.len(), 1);
}

#[test]
fn a_fleet_of_ten_thousand_is_read_in_seconds_and_so_is_hostile_input() {
    let begun = Instant::now();
    let target = |i: usize| {
        format!("  - name: t{i}\n    url: postgresql://app@localhost/db{i}\n    ping: {{interval: 10s}}\n")
    };
    let fleet: String = (0..10_000).map(target).collect();
    assert_eq!(good(&format!("targets:\n{fleet}")).targets.len(), 10_000);
    let unknown: String = (0..150).map(|i| format!("key{i}: 1\n")).collect();
    assert!(bad(&unknown).ends_with("and 101 more"), "{}", bad(&unknown));
    let many_keys: String = (0..300_000).map(|i| format!("key{i}: 1\n")).collect();
    assert!(bad(&many_keys).contains("too many keys in one mapping"));
    assert!(bad(&"- ".repeat(10_000)).contains("nested too deeply"));
    for nested in ["[", "{", "[[{a: ", "? ", "a: &a [*a, "] {
        assert_eq!(read(&nested.repeat(1 << 18)).unwrap_err().iter().count(), 1, "{nested}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(text) = utf8(&bytes) {
            let _ = read(text);
        }
    }

    #[test]
    fn no_mixture_of_yaml_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "targets", "name", "url", "ping", "interval", ":", ": ", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ",", "'", "\"",
        "&a ", "*a", "!!str ", "|", ">", "#", "%", "?", "? ", "---", "...", "\t", "${", "}", "30s", "off", "~", "<<", "é", "\u{feff}", "\0", "\r",
    ]), 0..60)) {
        let _ = read(&parts.concat());
    }

    #[test]
    fn no_problem_shows_a_password(
        password in "[A-Za-z0-9@/?#&=: %!$]{8,20}",
        key in prop::sample::select(vec!["url", "targets", "colour", "name", "role", "connect_timeout"]),
    ) {
        let url = format!("postgresql://app:{password}@localhost/shop?sslmod=x");
        let value = serde_yaml::to_string(&url).unwrap();
        let problems = read(&format!("targets:\n  - required: false\n    {key}: {value}")).unwrap_err().to_string();
        prop_assert!(!problems.contains(&password), "{problems}");
    }

    #[test]
    fn our_tree_is_what_serde_yaml_wrote(value in yaml_value()) {
        let (root, wrong) = tree::parse(&serde_yaml::to_string(&value).unwrap());
        prop_assert_eq!(wrong, []);
        prop_assert!(same(&root.unwrap(), &value));
    }
}

fn yaml_value() -> impl Strategy<Value = serde_yaml::Value> {
    let text = prop_oneof!["[a-z]{0,5}", "[ -~]{0,12}", "[ -~\né€]{0,12}", "off|false|null|~|1.0|0x10"];
    text.prop_map(serde_yaml::Value::from).prop_recursive(4, 30, 5, |inner| {
        let map = prop::collection::btree_map("[ -~]{0,6}", inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(serde_yaml::Value::from),
            map.prop_map(|map| serde_yaml::Value::Mapping(
                map.into_iter().map(|(k, v)| (k.into(), v)).collect()
            )),
        ]
    })
}

fn same(node: &tree::Node, value: &serde_yaml::Value) -> bool {
    match (&node.kind, value) {
        (NodeKind::Scalar { text, .. }, serde_yaml::Value::String(expected)) => text == expected,
        (NodeKind::List(nodes), serde_yaml::Value::Sequence(values)) => {
            nodes.len() == values.len() && nodes.iter().zip(values).all(|(node, value)| same(node, value))
        }
        (NodeKind::Map(entries), serde_yaml::Value::Mapping(values)) => {
            let all = |e: &tree::Pair| values.get(&e.key).is_some_and(|value| same(&e.value, value));
            entries.len() == values.len() && entries.iter().all(all)
        }
        _ => false,
    }
}
