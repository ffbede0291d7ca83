//! Which file of a folder uses which other, as the paths in the code tell.
//!
//! A folder's own root (`mod.rs`) is no part of it: it holds what the parts share, and a name that it only passes on
//! stands for the part that declares it.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path, such as `["pool", "link"]`.
type ModulePath = Vec<String>;

/// All modules, and the names that each of them imports or passes on.
#[derive(Default)]
struct Crate {
    imports: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
}

/// A path as it is written, without braces and without what it is renamed to.
struct Written {
    segments: Vec<String>,
    renamed: Option<String>,
}

fn name_at(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// Reads the paths that begin at `text`, such as the two of `a::{b, c::d as e}`, and returns what follows them.
fn read<'t>(mut text: &'t str, before: &[String], found: &mut Vec<Written>) -> &'t str {
    let mut segments = before.to_vec();
    loop {
        let name = name_at(text);
        if name.is_empty() {
            break;
        }
        segments.push(name.to_owned());
        text = &text[name.len()..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => break,
        }
    }
    if let Some(list) = text.strip_prefix('{').filter(|_| segments.len() > before.len()) {
        text = list.trim_start();
        while !text.is_empty() && !text.starts_with('}') {
            let rest = read(text, &segments, found);
            assert!(rest.len() < text.len(), "cannot read {text:?}");
            text = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        }
        return text.get(1..).unwrap_or_default();
    }
    let renamed = text.strip_prefix(" as ").map(|rest| {
        text = &rest[name_at(rest).len()..];
        name_at(rest).to_owned()
    });
    found.push(Written { segments, renamed });
    text.strip_prefix('*').unwrap_or(text)
}

/// All paths from `crate`, `super` and `self` on, and those of every `use`.
fn written(code: &str) -> (Vec<Written>, Vec<Written>) {
    let code: String = code
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .flat_map(|line| [line, "\n"])
        .collect();
    let (mut used, mut named) = (Vec::new(), Vec::new());
    for (at, word) in code.match_indices("use ") {
        let before = code[..at].rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')')) {
            read(&code[at + word.len()..], &[], &mut used);
        }
    }
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let inside = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if !inside {
                read(&code[at..], &[], &mut named);
            }
        }
    }
    (used, named)
}

impl Crate {
    /// What a path leads to from `here`: modules, then what is declared in the last of them.
    fn absolute(&self, here: &ModulePath, segments: &[String]) -> Option<ModulePath> {
        let mut path = here.clone();
        let mut rest = segments;
        match segments.first()?.as_str() {
            "crate" => (path, rest) = (Vec::new(), &segments[1..]),
            "self" => rest = &segments[1..],
            "super" => {}
            child => {
                path.push(child.to_owned());
                if !self.imports.contains_key(&path) {
                    return None;
                }
                rest = &segments[1..];
            }
        }
        while rest.first().is_some_and(|first| first == "super") {
            path.pop();
            rest = &rest[1..];
        }
        path.extend(rest.iter().cloned());
        Some(path)
    }

    /// The module that declares what the path leads to.
    fn declares(&self, path: &[String]) -> Option<ModulePath> {
        let mut path = path.to_vec();
        for _ in 0..10 {
            let known = (0..=path.len()).rev().find(|end| self.imports.contains_key(&path[..*end]))?;
            let (module, rest) = (path[..known].to_vec(), path[known..].to_vec());
            let Some((name, rest)) = rest.split_first() else { return Some(module) };
            match self.imports[&module].get(name) {
                Some(passed_on) => path = [passed_on.as_slice(), rest].concat(),
                None => return Some(module),
            }
        }
        None
    }
}

/// For each folder, its parts and the parts that they use. `files` are module paths and their code.
pub fn uses(files: &[(ModulePath, String)]) -> BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> {
    let mut all = Crate::default();
    all.imports.insert(Vec::new(), BTreeMap::new());
    for (module, _) in files {
        all.imports.entry(module.clone()).or_default();
    }
    for (module, code) in files {
        for path in written(code).0 {
            let Some(target) = all.absolute(module, &path.segments) else { continue };
            let name = path.renamed.or_else(|| target.last().cloned()).unwrap_or_default();
            if target != [module.as_slice(), std::slice::from_ref(&name)].concat() {
                all.imports.get_mut(module).unwrap().insert(name, target);
            }
        }
    }
    let mut found = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
    for (module, code) in files {
        let (used, named) = written(code);
        for path in used.iter().chain(&named) {
            let target = all.absolute(module, &path.segments).and_then(|path| all.declares(&path));
            let Some(target) = target else { continue };
            let shared = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) {
                let folder = found.entry(module[..shared].to_vec()).or_default();
                folder.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    found
}

/// The parts that lead back to themselves: each circle with all that hang in it.
pub fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            for to in uses.get(next).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = uses.keys().map(|part| (part, reached(part))).collect();
    let back = |part: &String| {
        let circle = reach[part].iter().filter(|to| reach.get(to).is_some_and(|back| back.contains(part)));
        circle.cloned().collect::<BTreeSet<_>>()
    };
    uses.keys().map(back).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn a_path_is_followed_to_the_file_that_declares_it() {
    let code = |path: &str, code: &str| {
        (path.split("::").map(str::to_owned).collect::<ModulePath>(), code.to_owned())
    };
    let files = [
        code("a", "mod x;\nmod y;\nmod z;\npub use x::{One, Two as Second};\npub struct Own;\n"),
        code("a::x", "use super::Own;\nuse super::{\n    z, // a word\n    y::{self, Three},\n};\n"),
        code("a::y", "fn f() { super::Second::g(crate::b::H) } // super::z::No\n"),
        code("a::z", "use crate::a::{Own, z::Z};\n"),
        code("b", "use a::x;\n"),
    ];
    let found = uses(&files);
    let parts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let of_a = BTreeMap::from([("x".to_owned(), parts(&["y", "z"])), ("y".to_owned(), parts(&["x"]))]);
    assert_eq!(found[&vec!["a".to_owned()]], of_a);
    assert_eq!(found[&vec![]], BTreeMap::from([("a".to_owned(), parts(&["b"]))]));
    assert_eq!(circles(&of_a), BTreeSet::from([parts(&["x", "y"])]));
    assert!(circles(&found[&vec![]]).is_empty());
}
