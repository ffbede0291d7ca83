//! What the documentation says, against what the program does.

mod health;
mod links;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{Daemon, run, wait_until};
use crate::supervise::SOON;
use crate::web::in_every_state;

/// What the documentation says of a metric, or what a scrape shows of one.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
}

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn readme() -> String {
    fs::read_to_string(repository("README.md")).unwrap()
}

/// A document below docs/.
fn document(name: &str) -> String {
    fs::read_to_string(repository("docs").join(name)).unwrap()
}

/// README and everything below docs/, by path.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut paths = vec![repository("README.md")];
    for folder in ["docs", "docs/runbooks"] {
        let entries = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(paths.len() > 25, "only {} documents", paths.len());
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// From a heading of README to the next one of its level.
fn section(heading: &str) -> String {
    let text = readme();
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    after.split("\n## ").next().unwrap().to_owned()
}

/// The insides of a document's fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
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
async fn the_page_of_metrics_names_what_a_scrape_has_and_nothing_else() {
    let page = document("metrics.md");
    let (page, _) = page.split_once("\n## Labels").unwrap();
    let documented: BTreeMap<_, _> = page
        .split("\n## ")
        .flat_map(rows)
        .filter(|row| row[0].starts_with("`pgtether_"))
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
        "not in docs/metrics.md: {missing:?}; only there: {invented:?}"
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
fn every_configuration_in_the_documentation_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("DATABASE_URL", "postgresql://app:sesame@db.example.com/app")];
    assert!(blocks(&document("pool.md"), "yaml").iter().all(|block| block.contains("    pool:")));
    // The chart's values are checked with the chart.
    let is_whole = |block: &String| block.lines().any(|line| line == "targets:");
    let all = documents().into_values().flat_map(|text| blocks(&text, "yaml"));
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    for name in ["db-password", "archive-url", "database-url", "tls.crt", "tls.key", "db-ca.pem", "rds.pem"] {
        fs::write(secrets.join(name), env[0].1).unwrap();
    }
    let mut checked = 0;
    for block in all.filter(is_whole) {
        let file = folder.path().join(format!("{checked}.yaml"));
        let here = secrets.display().to_string();
        let block = block.replace("file: /run/secrets", &format!("file: {here}"));
        fs::write(&file, block.replace("sslrootcert=/etc/ssl", &format!("sslrootcert={here}"))).unwrap();
        let output = run(&["--config.check", &format!("--config.file={}", file.display())], &env);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}\n{block}");
        checked += 1;
    }
    assert!(checked >= 3, "README has one, the pool two: {checked}");
}

/// What each endpoint of README answers where one target is in each state and nothing enables the lifecycle.
const ANSWERS: &[(&str, u16)] = &[
    ("/", 200),
    ("/metrics", 200),
    ("/health", 503),
    ("/health/NAME", 200),
    ("/livez", 200),
    ("/readyz", 200),
    ("/probe?target=NAME", 200),
    ("/api/v1/targets", 200),
    ("/api/v1/events?target=NAME&since=TIME", 200),
    ("/api/v1/sd", 200),
    ("/badge/NAME.svg", 200),
    ("/badge/NAME.json", 200),
    ("/-/healthy", 200),
    ("/-/ready", 200),
    ("POST /-/reload", 403),
    ("POST /-/pools/NAME/pause", 403),
    ("POST /-/pools/NAME/resume", 403),
    ("POST /-/pools/NAME/reconnect", 403),
    ("POST /-/targets/NAME/reconnect", 403),
];

#[tokio::test]
async fn the_endpoints_in_readme_answer_as_they_should() {
    let (_cluster, daemon) = in_every_state().await;
    wait_until(SOON, "readiness", async || match daemon.get("/readyz").await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    })
    .await;
    let named: Vec<_> = rows(&section("Endpoints")).iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(named, ANSWERS.iter().map(|(endpoint, _)| *endpoint).collect::<Vec<_>>());
    for (endpoint, status) in ANSWERS {
        let page = endpoint.replace("NAME", "up").replace("TIME", "0");
        let answer = match page.strip_prefix("POST ") {
            Some(page) => daemon.post(page).await,
            None => daemon.get(&page).await,
        };
        assert_eq!(answer.status, *status, "{endpoint}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_health_document_in_readme_has_the_keys_of_a_live_one() {
    let (_cluster, daemon) = in_every_state().await;
    let live = daemon.get("/health").await.json();
    let shown: serde_json::Value = serde_json::from_str(&blocks(&readme(), "json")[0]).unwrap();
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&shown), keys(&live));
    assert_eq!(keys(&shown["database"]), keys(&live["database"]));
    assert_eq!(keys(&shown["targets"][0]), keys(&live["targets"][0]));
}

/// All help that there is.
fn help() -> String {
    let commands: [&[&str]; 10] = [
        &[],
        &["run"],
        &["check"],
        &["config", "show"],
        &["config", "schema"],
        &["exec"],
        &["demo"],
        &["healthcheck"],
        &["completions"],
        &["man"],
    ];
    let outputs = commands.map(|command| run(&[command, &["--help"]].concat(), &[]).stdout);
    outputs.map(|output| String::from_utf8(output).unwrap()).concat()
}

/// The flags in a text: what follows dashes that stand at a word's beginning.
fn flags(text: &str) -> BTreeSet<&str> {
    let flag = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
    [" --", "`--", "[--", "\"--"]
        .iter()
        .flat_map(|before| text.match_indices(before))
        .map(|(at, _)| text[at + 1..].split(|c| !flag(c)).next().unwrap().trim_end_matches(['.', '-']))
        // What follows the dashes of a table is no flag.
        .filter(|flag| flag.len() > 3)
        .collect()
}

#[test]
fn the_flags_and_variables_in_the_documentation_exist() {
    let help = help();
    let in_help: BTreeSet<_> = help.split(|c: char| c.is_whitespace() || "=,[]".contains(c)).collect();
    let readme = readme();
    let of_readme = flags(&readme);
    assert!(of_readme.len() > 5, "{of_readme:?}");
    // cargo's.
    for flag in of_readme.iter().filter(|flag| !["--path", "--locked"].contains(flag)) {
        assert!(in_help.contains(flag), "README names {flag}, --help does not");
    }
    for (path, text) in documents() {
        // The other documents name flags of many programs. Those with dots are ours, or Prometheus'.
        for flag in flags(&text).iter().filter(|flag| flag.contains('.')) {
            assert!(in_help.contains(flag), "{} names {flag}, --help does not", path.display());
        }
        for (at, _) in text.match_indices("PGTETHER_") {
            let variable = text[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap();
            // What a password_command gets.
            let known = variable == "PGTETHER_TARGET" || help.contains(variable);
            assert!(known, "{} names {variable}, --help does not", path.display());
        }
    }
}

#[test]
fn the_commands_in_the_documentation_are_understood() {
    let mut tried = 0;
    for line in
        documents().into_values().flat_map(|text| blocks(&text, "console")).collect::<String>().lines()
    {
        let line = line.split("  #").next().unwrap();
        let command = line.strip_prefix("$ ").and_then(|line| line.strip_prefix("pgtether"));
        let Some(args) = command.filter(|args| args.is_empty() || args.starts_with(' ')) else {
            continue;
        };
        // Wrong flags are errors even where help is requested.
        let (args, command) = args.split_once(" -- ").unwrap_or((args, ""));
        let args = args.split_whitespace().chain(["--help"]);
        let args: Vec<&str> = match command {
            "" => args.collect(),
            command => args.chain(["--"]).chain(command.split_whitespace()).collect(),
        };
        let output = run(&args, &[]);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        tried += 1;
    }
    assert!(tried >= 5, "only {tried} commands");
    assert_eq!(
        run(&["check", "--wach=10m", "--help"], &[]).status.code(),
        Some(3),
        "a wrong flag is an error"
    );
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
