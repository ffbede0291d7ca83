//! What `CONTRIBUTING.md` says of where things are declared, against the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pgtether::cli::TelemetryPath;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backquotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

struct Row {
    what: String,
    files: BTreeSet<String>,
    limit: usize,
    example: String,
}

fn rows() -> Vec<Row> {
    let text = text("CONTRIBUTING.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| add |")).skip(2);
    table
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [what, files, limit, example] = cells[..] else { panic!("{line}") };
            Row {
                what: what.to_owned(),
                files: quoted(files),
                limit: limit.parse().unwrap(),
                example: quoted(example).pop_first().unwrap(),
            }
        })
        .collect()
}

/// The files below a folder, or the file itself; tests and what is only linked are left out.
fn below(path: &Path, found: &mut Vec<String>) {
    if path.is_symlink() || path.ends_with("tests") || path.ends_with("tests.rs") {
        return;
    }
    match fs::read_dir(path) {
        Ok(entries) => entries.for_each(|entry| below(&entry.unwrap().path(), found)),
        Err(_) => found.push(path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned()),
    }
}

#[test]
fn one_more_of_a_kind_is_declared_where_the_table_says_and_in_no_more_files_than_its_limit() {
    let limits = [
        ("a metric", 3),
        ("a reason", 4),
        ("a key of a target", 4),
        ("a key of a pool", 5),
        ("an HTTP path", 3),
    ];
    let rows = rows();
    assert_eq!(rows.iter().map(|row| (row.what.as_str(), row.limit)).collect::<Vec<_>>(), limits);
    for Row { what, files, limit, example } in rows {
        assert!(!files.is_empty() && files.len() <= limit, "{what}: {files:?}");
        for file in files {
            assert!(text(&file).contains(&example), "{what}: {file} does not contain {example}");
        }
    }
}

/// The paths that the routes spell out, each from its `/`.
fn routed() -> BTreeSet<String> {
    let routes = text("src/http/routes.rs");
    let (_, body) = routes.split_once("fn of(").expect("the function that reads a path");
    let (body, _) = body.split_once("\n    }\n").expect("its end");
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_path_stands_in_readme_and_is_refused_as_the_path_of_the_metrics() {
    let readme = text("README.md");
    let endpoints =
        readme.split("\n## ").find(|section| section.starts_with("Endpoints")).expect("Endpoints");
    let first_cells = endpoints.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let documented: BTreeSet<_> = first_cells.flat_map(quoted).collect();
    let routed = routed();
    assert!(routed.len() > 8, "{routed:?}");
    for path in routed {
        let is_it = |endpoint: &String| {
            endpoint.trim_start_matches("POST ").strip_prefix(&path).is_some_and(|rest| {
                rest.is_empty() || path == "/" || rest.starts_with('/') || rest.starts_with('?')
            })
        };
        assert!(documented.iter().any(is_it), "{path} is not among README's endpoints");
        for telemetry_path in [path.clone(), format!("{}/below", path.trim_end_matches('/'))] {
            if telemetry_path == "/below" {
                continue;
            }
            assert!(
                telemetry_path.parse::<TelemetryPath>().is_err(),
                "{telemetry_path} would hide {path}: name it in src/cli/listen.rs"
            );
        }
    }
}

#[test]
fn it_is_declared_nowhere_else() {
    // Where else they are named: docs for people, dashboards.
    let declared: [(&str, &[&str]); 4] = [
        ("a metric", &["src", "docs/metrics.md", "config.yaml", "docs/config.schema.json", "charts"]),
        (
            "a reason",
            &[
                "src",
                "docs/metrics.md",
                "docs/reasons.md",
                "config.yaml",
                "docs/config.schema.json",
                "charts",
            ],
        ),
        (
            "a key of a target",
            &["src/config", "src/target", "config.yaml", "docs/config.schema.json", "charts"],
        ),
        (
            "a key of a pool",
            &["src/config", "src/target", "config.yaml", "docs/config.schema.json", "docs/pool.md", "charts"],
        ),
    ];
    let rows = rows();
    for (kind, places) in declared {
        let Row { what, files, example, .. } = rows.iter().find(|row| row.what == kind).expect(kind);
        let mut all = Vec::new();
        places.iter().for_each(|place| below(&Path::new(ROOT).join(place), &mut all));
        let naming = all.iter().filter(|file| text(file).contains(example)).cloned().collect::<BTreeSet<_>>();
        assert_eq!(naming, *files, "{what}: where {example} stands");
    }
}
