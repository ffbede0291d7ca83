//! What README says, against what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::process::{Daemon, run};
use crate::web::in_every_state;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// What README says of a metric, or what a scrape shows of one.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
}

fn readme() -> String {
    fs::read_to_string(README).unwrap()
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    fs::read_to_string(path).unwrap()
}

/// From a heading to the next one of its level.
fn section(heading: &str) -> String {
    let text = readme();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    after.split("\n## ").next().unwrap().to_owned()
}

/// The insides of README's fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    blocks_of(&readme(), language)
}

fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks: Vec<_> =
        text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "there is no {language}");
    blocks
}

/// The cells of a table's rows, without its head.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    let lines = text.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_metrics_table_names_what_a_scrape_has_and_nothing_else() {
    let documented: BTreeMap<_, _> = rows(&section("Metrics"))
        .into_iter()
        .map(|row| {
            let family = Family { kind: row[1].clone(), labels: quoted(&row[2]).into_iter().collect() };
            (quoted(&row[0]).remove(0), family)
        })
        .collect();
    let (_cluster, daemon) = in_every_state().await;
    let exported = exported(&daemon).await;
    let names = |of: &BTreeMap<String, Family>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (said, seen) = (names(&documented), names(&exported));
    let missing: Vec<_> = seen.difference(&said).collect();
    let invented: Vec<_> = said.difference(&seen).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not in README: {missing:?}; only there: {invented:?}"
    );
    for (name, family) in exported {
        assert_eq!(documented[&name], family, "{name}");
    }
}

/// The families of a live scrape, with every label that one of their samples has.
async fn exported(daemon: &Daemon) -> BTreeMap<String, Family> {
    let text = daemon.get("/metrics").await.text();
    let mut families = BTreeMap::new();
    for line in text.lines() {
        let typed = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        if let Some((name, kind)) = typed.filter(|(name, _)| name.starts_with("pgtether_")) {
            let family = Family { kind: kind.to_owned(), labels: BTreeSet::new() };
            families.insert(name.to_owned(), family);
        }
    }
    for sample in daemon.metrics().await.samples() {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
        let name = base.filter(|base| families.contains_key(*base)).unwrap_or(&sample.name);
        if let Some(family) = families.get_mut(name) {
            family.labels.extend(sample.labels.keys().filter(|label| *label != "le").cloned());
        }
    }
    families
}

#[test]
fn the_configurations_in_readme_and_about_the_pool_are_good() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("DATABASE_URL", "postgresql://app:sesame@db.example.com/app")];
    // The chart's values are checked with the chart.
    let own = blocks("yaml").into_iter().filter(|block| block.contains("\ntargets:")).collect::<Vec<_>>();
    assert!(!own.is_empty());
    let recipes = document("recipes.md");
    let (_, pool_recipe) = recipes.split_once("\n### Sessions for the application").unwrap();
    let pool_recipe = pool_recipe.split("\n## ").next().unwrap();
    let of_pools = [blocks_of(&document("pool.md"), "yaml"), blocks_of(pool_recipe, "yaml")].concat();
    assert!(of_pools.iter().all(|block| block.contains("    pool:")), "{of_pools:?}");
    for (i, block) in [own, of_pools].concat().into_iter().enumerate() {
        let file = folder.path().join(format!("{i}.yaml"));
        fs::write(&file, &block).unwrap();
        let output = run(&["--config.check", &format!("--config.file={}", file.display())], &env);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}\n{block}");
    }
}

#[tokio::test]
async fn the_endpoints_in_readme_answer() {
    let (_cluster, daemon) = in_every_state().await;
    let mut asked = 0;
    for row in rows(&section("Endpoints")) {
        for endpoint in quoted(&row[0]) {
            let page = endpoint.replace("NAME", "up");
            let answer = match page.strip_prefix("POST ") {
                Some(page) => daemon.post(page).await,
                None => daemon.get(&page).await,
            };
            assert_ne!(answer.status, 404, "{endpoint}");
            asked += 1;
        }
    }
    assert!(asked >= 10, "only {asked} endpoints");
}

#[tokio::test]
async fn the_health_document_in_readme_has_the_keys_of_a_live_one() {
    let (_cluster, daemon) = in_every_state().await;
    let live = daemon.get("/health").await.json();
    let shown: serde_json::Value = serde_json::from_str(&blocks("json")[0]).unwrap();
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&shown), keys(&live));
    assert_eq!(keys(&shown["database"]), keys(&live["database"]));
    assert_eq!(keys(&shown["targets"][0]), keys(&live["targets"][0]));
}

/// All help that there is.
fn help() -> String {
    let commands: [&[&str]; 6] =
        [&[], &["run"], &["check"], &["config", "show"], &["config", "schema"], &["demo"]];
    let outputs = commands.map(|command| run(&[command, &["--help"]].concat(), &[]).stdout);
    outputs.map(|output| String::from_utf8(output).unwrap()).concat()
}

#[test]
fn the_flags_and_variables_in_readme_exist() {
    let (readme, help) = (readme(), help());
    let flag = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
    let flags: BTreeSet<&str> = readme
        .match_indices(" --")
        .chain(readme.match_indices("`--"))
        .map(|(at, _)| readme[at + 1..].split(|c| !flag(c)).next().unwrap().trim_end_matches('.'))
        .map(|flag| flag.trim_end_matches('-'))
        // What follows the dashes of a table is no flag; these are docker's and kubectl's.
        .filter(|flag| flag.len() > 3 && !["--init", "--from-literal"].contains(flag))
        .collect();
    assert!(flags.len() > 5, "{flags:?}");
    for flag in flags {
        let known = help.split(|c: char| c.is_whitespace() || "=,[]".contains(c)).any(|word| word == flag);
        assert!(known, "README names {flag}, --help does not");
    }
    for (at, _) in readme.match_indices("PGTETHER_") {
        let variable = readme[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap();
        let known = help.contains(variable) || variable == "PGTETHER_POSTGRES_BIN";
        assert!(known, "README names {variable}, --help does not");
    }
}

#[test]
fn the_commands_in_readme_are_understood() {
    let mut tried = 0;
    for block in blocks("console") {
        for line in block.lines() {
            let line = line.split("  #").next().unwrap();
            let Some((_, args)) = line.split_once(" pgtether").filter(|_| line.starts_with("$ ")) else {
                continue;
            };
            // Flags that are wrong are told of before the help is.
            let args: Vec<&str> = args.split_whitespace().chain(["--help"]).collect();
            let output = run(&args, &[]);
            assert_eq!(output.status.code(), Some(0), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
            tried += 1;
        }
    }
    assert!(tried >= 5, "only {tried} commands");
    assert_eq!(run(&["check", "--wach=10m", "--help"], &[]).status.code(), Some(3), "it would have told");
}

#[test]
fn the_states_and_reasons_in_readme_are_those_of_the_program() {
    use pgtether::reason::Reason;
    use pgtether::status::State;
    let section = section("Endpoints");
    let (_, states) = section.split_once("### States").unwrap();
    let named: Vec<_> = rows(states).iter().map(|row| quoted(&row[0]).remove(0)).collect();
    assert_eq!(named, State::ALL.map(State::as_str));
    let (_, degraded) = states.split_once("The `reason` says").unwrap();
    for reason in quoted(degraded.split("**").next().unwrap()) {
        let known = Reason::ALL.iter().any(|r| r.as_str() == reason) || reason == "role";
        assert!(known, "{reason} is no reason");
    }
}

/// The SQLSTATEs that the program's text holds, tests aside.
fn sqlstates_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            sqlstates_in(&path, found);
        } else if name.ends_with(".rs") && !path.to_str().unwrap().contains("tests") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let parts: Vec<_> = code.split('"').collect();
            // What is looked for in servers' own errors are bytes.
            let texts = parts.windows(2).filter(|pair| !pair[0].ends_with('b')).map(|pair| pair[1]);
            let literals = texts.filter(|literal| {
                let fits = |b: u8| b.is_ascii_digit() || b.is_ascii_uppercase();
                literal.len() == 5 && literal.bytes().all(fits) && literal.bytes().any(|b| b.is_ascii_digit())
            });
            found.extend(literals.map(str::to_owned));
        }
    }
}

#[test]
fn the_sqlstates_that_a_pool_sends_to_clients_are_all_documented() {
    let mut told = BTreeSet::new();
    sqlstates_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pool"), &mut told);
    // OpenSSL fails: nothing that anybody plans for.
    assert!(told.remove("XX000"), "{told:?}");
    let document = document("pool.md");
    let (_, section) = document.split_once("\n## Errors that clients receive\n").unwrap();
    let explained: BTreeSet<_> = rows(section).iter().map(|row| quoted(&row[0]).remove(0)).collect();
    assert_eq!(explained, told);
}
