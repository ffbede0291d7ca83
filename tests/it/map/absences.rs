//! The last column of the map's tables: what a module does without.

use super::*;

/// A row of the map: some modules, and names that their code does not have.
struct Absences {
    modules: Vec<String>,
    names: Vec<String>,
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(|name| name.trim_start_matches("mod@").to_owned()).collect()
}

/// `health | projections | who writes: `supervisor``, with or without a layer before it.
fn absences() -> Vec<Absences> {
    let map = fs::read_to_string(format!("{SRC}/lib.rs")).unwrap();
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    let read = |row: &str| {
        let mut cells = row.split(" | ").filter(|cell| cell.parse::<u32>().is_err());
        Absences {
            modules: quoted(cells.next().unwrap_or_default()),
            names: quoted(cells.last().unwrap_or_default()),
        }
    };
    // Heads and rules name nothing.
    rows.map(read).filter(|row| !row.modules.is_empty()).collect()
}

/// Whether `code` has that name, and not only as a part of a longer one; of a module of ours, whether it uses it.
fn has(code: &str, name: &str, is_module: bool) -> bool {
    if is_module {
        return ["crate::", "pgtether::"].iter().any(|root| named_after(root, code).contains(&name));
    }
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// The program's files without comments, by their paths below `src`.
fn code() -> Vec<(PathBuf, String)> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let below = |path: &Path| path.strip_prefix(SRC).unwrap().with_extension("");
    program()
        .into_iter()
        .map(|(path, text)| (below(&path), text.lines().filter(is_code).collect::<Vec<_>>().join("\n")))
        .collect()
}

#[test]
fn a_module_does_without_what_the_map_says() {
    let (layers, code) = (layers(), code());
    let mut wrong = Vec::new();
    for row in absences() {
        for name in &row.names {
            let is_module = layers.contains_key(name);
            let somewhere = code.iter().any(|(_, text)| has(text, name, is_module));
            assert!(is_module || somewhere, "no code has the name {name}: that it is absent says nothing");
        }
        for module in &row.modules {
            let root = PathBuf::from(module.replace("::", "/"));
            let own: Vec<_> = code.iter().filter(|(path, _)| path.starts_with(&root)).collect();
            assert!(!own.is_empty(), "{module} has no file");
            for (path, text) in own {
                let found = row.names.iter().filter(|name| has(text, name, layers.contains_key(*name)));
                wrong.extend(found.map(|name| format!("{} has {name}", path.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "not as the map in src/lib.rs says: {wrong:#?}");
}

#[test]
fn the_map_says_of_every_module_what_it_does_without() {
    let rows = absences();
    let silent: Vec<_> =
        rows.iter().filter(|row| row.names.is_empty()).flat_map(|row| &row.modules).collect();
    assert!(silent.is_empty(), "no name in the last column: {silent:?}");
    let told: BTreeSet<_> = rows.iter().flat_map(|row| &row.modules).map(String::as_str).collect();
    for module in layers().keys() {
        assert!(told.contains(module.as_str()), "{module}");
    }
}

#[test]
fn a_name_is_found_whole_and_only_in_code() {
    assert!(has("use tokio::net::TcpStream;", "tokio", false));
    assert!(has("let now = Instant::now();", "Instant::now", false));
    for other in ["use tokio_postgres::Config;", "\"tokio-postgres\"", "use mytokio::net;"] {
        assert!(!has(other, "tokio", false), "{other}");
    }
    assert!(has("use crate::pool::Pools;", "pool", true));
    assert!(!has("use crate::status::pool::PoolStatus;\nlet pool = 1;", "pool", true));
    let (_, policy) = code().into_iter().find(|(path, _)| path.ends_with("policy/idle")).unwrap();
    assert!(!policy.contains("//!") && !policy.contains("Instant::now"), "comments and tests are no code");
}
