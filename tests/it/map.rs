//! The map in `src/lib.rs`, against who really knows whom.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Each module's floor, as the map has it: rows of `//! | 4 | [`health`], … | … |`.
fn floors() -> BTreeMap<String, u32> {
    let map = fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let mut floors = BTreeMap::new();
    for row in map.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = row.split(" | ");
        let (Some(Ok(floor)), Some(modules)) = (cells.next().map(str::parse), cells.next()) else {
            continue;
        };
        for module in modules.split('`').skip(1).step_by(2) {
            let twice = floors.insert(module.trim_start_matches("mod@").to_owned(), floor);
            assert_eq!(twice, None, "{module} is on the map twice");
        }
    }
    floors
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file, and the module of the map that it belongs to.
fn files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(Path::new(SRC), &mut found);
    let module = |path: &Path| {
        let first = path.strip_prefix(SRC).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    found.into_iter().map(|path| (path.clone(), module(&path))).collect()
}

/// The first names of all paths that begin with `root`, such as `crate::`.
fn named_after<'t>(root: &str, text: &'t str) -> Vec<&'t str> {
    let name =
        |rest: &'t str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    text.split(root).skip(1).map(name).collect()
}

#[test]
fn a_module_knows_only_lower_floors() {
    let floors = floors();
    let mut seen = 0;
    for (path, module) in files().iter().filter(|(_, module)| module != "lib") {
        let own = *floors.get(module).unwrap_or_else(|| panic!("{module} is not on the map"));
        let text = fs::read_to_string(path).unwrap();
        let root = if module == "main" { "pgtether::" } else { "crate::" };
        for other in named_after(root, &text).into_iter().filter(|other| other != module) {
            if let Some(floor) = floors.get(other) {
                assert!(*floor < own, "{} knows {other}, which is no lower floor", path.display());
                seen += 1;
            }
        }
        assert!(
            !text.contains("use crate::{"),
            "{}: one `use` a module, so that this can be read",
            path.display()
        );
    }
    assert!(seen > 100, "only {seen} uses found: this test no longer sees them");
}

#[test]
fn the_map_names_every_module_and_no_other() {
    let lib = fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut declared: Vec<_> = declared.chain(["main"]).collect();
    declared.sort_unstable();
    assert_eq!(floors().keys().map(String::as_str).collect::<Vec<_>>(), declared);
}

#[test]
fn policy_needs_nothing_but_std() {
    let policy =
        files().into_iter().filter(|(path, module)| module == "policy" && !path.ends_with("tests.rs"));
    for (path, _) in policy {
        let text = fs::read_to_string(&path).unwrap();
        for first in text.lines().filter_map(|line| line.trim().strip_prefix("use ")?.split("::").next()) {
            let known = ["std", "super", "crate", "self"].contains(&first);
            assert!(known, "{} uses {first}", path.display());
        }
    }
}
