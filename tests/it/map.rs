//! The map in `src/lib.rs`, against who really knows whom.

mod absences;
mod circles;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Names that two types may have: convention asks for them.
const CONVENTIONAL: &[&str] = &["Error"];

/// Each module's layer, as the map has it: rows of `//! | 4 | [`health`], … | … |`.
fn layers() -> BTreeMap<String, u32> {
    let map = fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let mut layers = BTreeMap::new();
    for row in map.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let mut cells = row.split(" | ");
        let (Some(Ok(layer)), Some(modules)) = (cells.next().map(str::parse), cells.next()) else {
            continue;
        };
        for module in modules.split('`').skip(1).step_by(2) {
            let twice = layers.insert(module.trim_start_matches("mod@").to_owned(), layer);
            assert_eq!(twice, None, "{module} is on the map twice");
        }
    }
    layers
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
fn a_module_knows_only_lower_layers() {
    let layers = layers();
    let mut seen = 0;
    for (path, module) in
        files().iter().filter(|(_, module)| !["lib", "generated"].contains(&module.as_str()))
    {
        let own = *layers.get(module).unwrap_or_else(|| panic!("{module} is not on the map"));
        let text = fs::read_to_string(path).unwrap();
        let root = if module == "main" { "pgtether::" } else { "crate::" };
        let mut others = named_after(root, &text);
        // What stands above a module of the crate is the crate.
        let within = path.strip_prefix(SRC).unwrap();
        if within.components().count() == 1
            || (within.components().count() == 2 && within.ends_with("mod.rs"))
        {
            others.extend(named_after(" super::", &text));
        }
        for other in others.into_iter().filter(|other| other != module) {
            if let Some(layer) = layers.get(other) {
                assert!(*layer < own, "{} knows {other}, which is no lower layer", path.display());
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
    assert_eq!(layers().keys().map(String::as_str).collect::<Vec<_>>(), declared);
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

/// The files that hold more than tests, without the tests that stand in them.
fn program() -> Vec<(PathBuf, String)> {
    let all: Vec<_> = files().into_iter().map(|(path, _)| path).collect();
    let mut for_tests = Vec::new();
    for path in &all {
        let text = fs::read_to_string(path).unwrap();
        let is_root = ["mod", "lib", "main"].iter().any(|root| path.file_stem().unwrap() == *root);
        let folder = if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
        for rest in text.split("#[cfg(test)]\n").skip(1) {
            let line = rest.lines().next().unwrap_or_default();
            if let Some((_, name)) = line.strip_suffix(';').and_then(|line| line.split_once("mod ")) {
                for_tests.push(folder.join(name));
            }
        }
    }
    let is_for_tests = |path: &PathBuf| {
        for_tests.iter().any(|module| path.with_extension("") == *module || path.starts_with(module))
    };
    let code = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        (path, code)
    };
    all.into_iter().filter(|path| !is_for_tests(path)).map(code).collect()
}

/// Two parts of a folder that need each other are one, or hide a third.
#[test]
fn no_files_of_a_folder_use_each_other_in_a_circle() {
    let module = |path: &Path| {
        let path = path.strip_prefix(SRC).unwrap().with_extension("");
        let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        match parts.as_slice() {
            [above @ .., root] if root == "mod" => above.to_vec(),
            _ => parts,
        }
    };
    let files: Vec<_> = program().into_iter().map(|(path, code)| (module(&path), code)).collect();
    let folders = circles::uses(&files);
    let uses: usize = folders.values().flat_map(|parts| parts.values()).map(BTreeSet::len).sum();
    assert!(uses > 300, "only {uses} uses found: this test no longer sees them");
    for (folder, parts) in &folders {
        let circles = circles::circles(parts);
        assert!(circles.is_empty(), "crate::{}: {circles:?}", folder.join("::"));
    }
}

/// The type that a line declares, if it does.
fn declared(line: &str) -> Option<&str> {
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    let line = line.strip_prefix("unsafe ").unwrap_or(line);
    let kinds = ["struct ", "enum ", "union ", "trait ", "type "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn no_two_types_have_one_name() {
    let mut named = BTreeMap::<String, BTreeSet<PathBuf>>::new();
    for (path, code) in program() {
        for name in code.lines().filter_map(declared) {
            let first = named.entry(name.to_owned()).or_default().insert(path.clone());
            assert!(first, "{name} is there twice in {}", path.display());
        }
    }
    assert!(named.len() > 200, "only {} types found: this test no longer sees them", named.len());
    named.retain(|name, places| places.len() > 1 && !CONVENTIONAL.contains(&name.as_str()));
    assert!(named.is_empty(), "types of one name: {named:#?}");
}

/// `probe` and `probes` are told apart by whoever wrote them, and by nobody else.
#[test]
fn no_two_files_of_a_module_differ_by_a_plural() {
    let mut stems = BTreeMap::<String, BTreeSet<String>>::new();
    for (path, module) in files() {
        let path = path.strip_prefix(SRC).unwrap().with_extension("");
        let parts = path.iter().skip(1).map(|part| part.to_str().unwrap().to_owned());
        stems.entry(module).or_default().extend(parts);
    }
    for (module, stems) in stems {
        for stem in &stems {
            let ending_in_y = stem.strip_suffix('y').map(|rest| format!("{rest}ies"));
            for plural in [format!("{stem}s"), format!("{stem}es")].into_iter().chain(ending_in_y) {
                assert!(!stems.contains(&plural), "{module}: {stem} and {plural}");
            }
        }
    }
}
