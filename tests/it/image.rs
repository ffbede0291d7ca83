//! The image's build: its context has what the Dockerfile uses. The image itself is built by `make image`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
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

/// A program that stands before the real one of that name.
fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_program_compiles_of_the_context_alone() {
    let context = context();
    // Only checked: what other tests run must not be replaced under them.
    let target = Path::new(env!("CARGO_BIN_EXE_pgtether")).ancestors().nth(2).unwrap();
    succeeds(
        Command::new(env!("CARGO"))
            .args(["check", "--locked", "--bin", "pgtether"])
            .current_dir(context.path())
            .env("CARGO_TARGET_DIR", target),
    );
}

/// Only the compiler has a stand-in: optimised, with OpenSSL, it would take most of the time of all tests.
#[test]
fn the_dockerfiles_steps_lay_out_all_that_the_image_contains() {
    let context = context();
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains("\nCOPY . .\n"), "this test lays out the whole context");
    let folder = tempfile::tempdir().unwrap();
    let compiler = r#"[ "$1" = build ] || exec "$REAL_CARGO" "$@"
for target; do :; done
mkdir -p "$CARGO_TARGET_DIR/$target/release"
echo 'int main(void) { return 0; }' | cc -static -x c -o "$CARGO_TARGET_DIR/$target/release/pgtether" -"#;
    stand_in(folder.path(), "cargo", compiler);
    stand_in(folder.path(), "rustup", "exit 0");
    fs::write(folder.path().join("musl"), "the license of musl\n").unwrap();
    let out = folder.path().join("out");
    let steps: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("RUN ")).collect();
    let [packages, build] = steps[..] else { panic!("{steps:?}") };
    assert!(packages.starts_with("apt-get update && apt-get install "), "{packages}");
    // Python, which the slim base image lacks, runs one of the steps.
    assert!(packages.split(' ').any(|package| package == "python3"), "{packages}");
    let build = build.strip_suffix(" /out").expect("a folder of its own at the end");
    let paths = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    succeeds(
        Command::new("bash")
            .args(["-c", &format!("umask 077; {build} {}", out.display())])
            .current_dir(context.path())
            .env("PATH", paths)
            .env("REAL_CARGO", env!("CARGO"))
            .env("CARGO_TARGET_DIR", folder.path().join("target"))
            .env("MUSL_LICENSE", folder.path().join("musl"))
            .env("REVISION", "0123abc"),
    );
    let mut found = Vec::new();
    files_below(&out, &out, &mut found);
    found.sort();
    let others = 0o644;
    let laid_out = [
        ("etc/group", others),
        ("etc/passwd", others),
        ("etc/ssl/certs/ca-certificates.crt", others),
        ("licenses/LICENSE", others),
        ("licenses/NOTICES", others),
        ("pgtether", 0o755),
    ];
    assert_eq!(found, laid_out.map(|(path, mode)| (PathBuf::from(path), mode)));
    let notices = fs::read_to_string(out.join("licenses/NOTICES")).unwrap();
    assert!(notices.contains("the license of musl") && notices.contains("\ntokio "), "{notices}");
    assert_eq!(fs::read_to_string(out.join("licenses/LICENSE")).unwrap(), text("LICENSE"));
}

/// The files with their modes. The image's user is another than whoever builds it: it must be able to enter the folders.
fn files_below(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o755, "{folder:?}");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(root, &path, found);
        } else {
            found.push((path.strip_prefix(root).unwrap().to_owned(), mode(&path)));
        }
    }
}

#[test]
fn what_the_build_does_not_need_leaves_its_cache_alone() {
    let patterns = text(".dockerignore");
    for file in [
        "README.md",
        "docs/pool.md",
        "tests/it/main.rs",
        "tests/dist/pack.py",
        "target/debug/pgtether",
        ".git/HEAD",
        "src.txt",
    ] {
        assert!(is_ignored(file, &patterns), "{file} is in the context");
    }
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "src/main.rs",
        "tests/image/build.sh",
        "tests/dist/notices.py",
    ] {
        assert!(!is_ignored(file, &patterns), "{file} is not in the context");
    }
}
