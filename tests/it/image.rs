//! The image's build: its context has what the Dockerfile uses. The image itself is built by `make image`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

/// Whether .dockerignore keeps a file out of the context. The last pattern that matches decides, as for Docker.
fn is_ignored(path: &str, patterns: &str) -> bool {
    let patterns = patterns.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut ignored = false;
    for pattern in patterns {
        let (pattern, ignores) = pattern.strip_prefix('!').map_or((pattern, true), |kept| (kept, false));
        let pattern = pattern.trim_matches('/');
        assert!(pattern == "*" || !pattern.contains(['*', '?', '[']), "this test cannot read {pattern:?}");
        let rest = path.strip_prefix(pattern);
        if pattern == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            ignored = ignores;
        }
    }
    ignored
}

/// All files of a folder of the repository that may be committed, relative to its root.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            if folder != Path::new(ROOT) || (name != ".git" && name != "target") {
                files(&path, found);
            }
        } else {
            found.push(path.strip_prefix(ROOT).unwrap().to_owned());
        }
    }
}

/// Lays out the context as Docker does.
fn context() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let patterns = text(".dockerignore");
    let mut all = Vec::new();
    files(Path::new(ROOT), &mut all);
    for file in all.iter().filter(|file| !is_ignored(file.to_str().unwrap(), &patterns)) {
        let to = folder.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(Path::new(ROOT).join(file), to).unwrap();
    }
    folder
}

#[test]
fn the_dockerfiles_steps_find_their_files_in_the_context_and_the_program_compiles_there() {
    let context = context();
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("\nCOPY . .\n"), "this test lays out the whole context");
    let steps = dockerfile.lines().filter_map(|line| line.strip_prefix("RUN "));
    let scripts: Vec<_> =
        steps.flat_map(str::split_whitespace).filter(|word| word.ends_with(".sh")).collect();
    assert_eq!(scripts, ["tests/image/build.sh"]);
    for script in &scripts {
        assert!(context.path().join(script).is_file(), ".dockerignore leaves out {script}");
    }
    let build = text("tests/image/build.sh");
    for file in build.split(['"', ' ', '\n']).filter(|word| Path::new(ROOT).join(word).is_file()) {
        assert!(context.path().join(file).is_file(), ".dockerignore leaves out {file}");
    }
    // Only checked: what other tests run must not be replaced under them.
    let target = Path::new(env!("CARGO_BIN_EXE_pgtether")).ancestors().nth(2).unwrap();
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--locked", "--bin", "pgtether"])
        .current_dir(context.path())
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn what_the_build_does_not_need_leaves_its_cache_alone() {
    let patterns = text(".dockerignore");
    for file in
        ["README.md", "docs/pool.md", "tests/it/main.rs", "target/debug/pgtether", ".git/HEAD", "src.txt"]
    {
        assert!(is_ignored(file, &patterns), "{file} is in the context");
    }
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs", "tests/image/build.sh"] {
        assert!(!is_ignored(file, &patterns), "{file} is not in the context");
    }
}
