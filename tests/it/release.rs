//! A release: one version everywhere, its notes, and a workflow that only calls scripts of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

/// What the scripts read, in a folder where it can be changed.
struct Copy(TempDir);

impl Copy {
    fn new() -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["-r", "--parents", "Cargo.toml", "Cargo.lock", "CHANGELOG.md", "README.md", "docs"])
            .args(["charts/pgtether/Chart.yaml", "tests/release", "tests/version.sh"])
            .arg(folder.path())
            .current_dir(ROOT)
            .status();
        assert!(copied.unwrap().success());
        Copy(folder)
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not contain {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    fn run(&self, script: &str, args: &[&str]) -> Output {
        let script = self.0.path().join("tests/release").join(script);
        Command::new(script).args(args).output().unwrap()
    }

    /// What the script finds wrong.
    fn disagreement(&self, args: &[&str]) -> String {
        let output = self.run("agree.sh", args);
        assert!(!output.status.success(), "it finds nothing wrong");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn the_package_the_chart_the_documents_and_the_changelog_name_one_version() {
    let output = Copy::new().run("agree.sh", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_version_anywhere_is_found() {
    let chart = "charts/pgtether/Chart.yaml";
    for (file, from, to) in [
        ("Cargo.lock", format!("name = \"pgtether\"\nversion = \"{VERSION}\""), "9.9.9"),
        (chart, format!("\nversion: {VERSION}"), "9.9.9"),
        (chart, format!("\nappVersion: {VERSION}"), "9.9.9"),
        ("README.md", format!("pgtether:{VERSION}"), "9.9.9"),
        ("docs/deployment.md", format!("pgtether_{VERSION}"), "9.9.9"),
        ("docs/deployment.md", format!("pgtether-linux-x64-{VERSION}"), "9.9.9"),
        ("CHANGELOG.md", "## [".to_owned(), "## [9.9.9] - 2026-01-01\n\n## ["),
    ] {
        let copy = Copy::new();
        let changed = if to.starts_with('#') { to.to_owned() } else { from.replace(VERSION, to) };
        copy.change(file, &from, &changed);
        let said = copy.disagreement(&[]);
        assert!(said.contains(file) && said.contains("9.9.9"), "{file}, {from:?}: {said}");
        assert!(said.contains(VERSION), "{file}: {said}");
    }
}

#[test]
fn a_tag_is_the_version_that_the_changelog_has_notes_of() {
    let copy = Copy::new();
    assert!(copy.disagreement(&["v9.9.9"]).contains("the tag is v9.9.9"));
    let heading = format!(
        "## [Unreleased]\n\n## [{VERSION}] - 2026-01-01\n\n- New.\n\n## [0.0.1] - 2025-01-01\n\n- Old.\n"
    );
    fs::write(copy.0.path().join("CHANGELOG.md"), format!("# Changelog\n\n{heading}")).unwrap();
    let tag = format!("v{VERSION}");
    let output = copy.run("agree.sh", &[&tag]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let notes = copy.run("notes.sh", &[VERSION]);
    assert_eq!(String::from_utf8(notes.stdout).unwrap().trim(), "- New.");
    // A version whose name begins with it is another; one without a word has no notes.
    copy.change("CHANGELOG.md", &format!("## [{VERSION}]"), &format!("## [{VERSION}0]"));
    assert!(copy.disagreement(&[&tag]).contains(&format!("CHANGELOG.md says nothing of {VERSION}")));
    assert!(!copy.run("notes.sh", &["Unreleased"]).status.success());
}

#[test]
fn the_workflow_only_calls_what_is_in_the_repository_and_publishes_every_kind() {
    let workflow = text(".github/workflows/release.yml");
    let runs: Vec<_> =
        workflow.lines().filter_map(|line| line.split_once("run: ")).map(|(_, run)| run).collect();
    assert!(runs.len() > 8, "{runs:?}");
    let makefile = text("Makefile");
    let mut published = BTreeSet::new();
    for run in runs {
        assert!(!run.contains([';', '|', '&', '>']), "no script of the repository: {run}");
        let words: Vec<_> = run.split(' ').collect();
        match words[..] {
            ["make", target] => assert!(makefile.contains(&format!("\n{target}:")), "no target {target}"),
            [script, ..] => assert!(Path::new(ROOT).join(script).is_file(), "no script {script}"),
            [] => unreachable!(),
        }
        if let ["tests/release/publish.sh", "target/dist", kind, ..] = words[..] {
            published.insert(kind.to_owned());
        }
    }
    let script = text("tests/release/publish.sh");
    let kinds: BTreeSet<_> = script
        .lines()
        .filter_map(|line| line.strip_prefix("#   tests/release/publish.sh FOLDER "))
        .map(|usage| usage.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(published, kinds);
    // Who publishes holds rights: nothing is compiled there. Cargo only packs.
    let (_, publish) = workflow.split_once("\n  publish:").unwrap();
    assert!(!publish.contains("make ") && !publish.contains("cargo build"), "the job that publishes builds");
}
