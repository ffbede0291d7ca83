//! What `make dist` packs, with the program of these tests in place of the static ones, which `make dist` builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const MACHINE: &str = std::env::consts::ARCH;
/// The time of all files in the packages: 2026-01-01.
const EPOCH: &str = "1767225600";

fn python(args: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.current_dir(ROOT).args(args).env("SOURCE_DATE_EPOCH", EPOCH);
    python
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    output
}

/// In place of Zig's folder.
fn zig() -> TempDir {
    let zig = tempfile::tempdir().unwrap();
    let musl = zig.path().join("lib/libc/musl");
    fs::create_dir_all(musl.join("src/internal")).unwrap();
    fs::write(musl.join("COPYRIGHT"), "the license of musl\n").unwrap();
    fs::write(musl.join("src/internal/version.h"), "#define VERSION \"1.2.5\"\n").unwrap();
    zig
}

/// The program of these tests, without what debuggers need, which is most of it.
fn small_program(folder: &Path) -> PathBuf {
    let program = folder.join("pgtether");
    succeeds(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_pgtether")));
    program
}

struct Packing {
    program: PathBuf,
    zig: TempDir,
}

impl Packing {
    /// Packs into a new folder, as a user with such habits.
    fn pack(&self, machine: &str, habits: &str) -> TempDir {
        let out = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.current_dir(ROOT).env("SOURCE_DATE_EPOCH", EPOCH);
        shell.args([
            "-c",
            &format!("{habits}; exec python3 tests/dist/pack.py --level=1 --zig \"$@\""),
            "sh",
        ]);
        succeeds(shell.arg(self.zig.path()).arg(machine).arg(&self.program).arg(out.path()));
        out
    }
}

fn bytes_by_name(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn the_same_program_gives_the_same_packages_and_each_can_be_installed() {
    let folder = tempfile::tempdir().unwrap();
    let packing = Packing { program: small_program(folder.path()), zig: zig() };
    let first = packing.pack(MACHINE, "umask 022");
    let second = packing.pack(MACHINE, "umask 077; export TZ=Asia/Tokyo PYTHONHASHSEED=7");
    let (packages, again) = (bytes_by_name(first.path()), bytes_by_name(second.path()));
    assert_eq!(packages.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
    for (name, bytes) in &packages {
        assert!(*bytes == again[name], "{name} has other bytes the second time");
    }
    // Whichever machine's is packed last, the package that picks is the same.
    let other = if MACHINE == "x86_64" { "aarch64" } else { "x86_64" };
    let picks = format!("pgtether-{VERSION}.tgz");
    assert!(bytes_by_name(packing.pack(other, "umask 022").path())[&picks] == packages[&picks]);

    let install = Path::new(ROOT).join("tests/dist/install.sh");
    let installed = succeeds(Command::new(install).arg(first.path()).arg(MACHINE));
    let said = String::from_utf8(installed.stdout).unwrap();
    for kind in ["archive", "wheel", "npm", "deb"] {
        assert!(said.contains(&format!("dist: {kind} for {MACHINE}: pgtether, version {VERSION}")), "{said}");
    }
}

/// The licenses' list, and their texts.
fn notices(zig: &TempDir) -> (String, String) {
    let mut command = python(&["tests/dist/notices.py", "x86_64-unknown-linux-musl"]);
    let text =
        String::from_utf8(succeeds(command.arg(zig.path().join("lib/libc/musl/COPYRIGHT"))).stdout).unwrap();
    let (list, texts) = text.split_once("\n----").unwrap();
    (list.to_owned(), texts.to_owned())
}

#[test]
fn the_licenses_are_those_of_what_is_linked_in_and_no_others() {
    let (list, texts) = notices(&zig());
    let named: BTreeSet<_> = list
        .lines()
        .filter_map(|line| line.split_once(": ")?.0.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    // Every dependency of Cargo.toml that is no macro, and OpenSSL's own sources.
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let direct =
        section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    for name in direct.map(|(name, _)| name).chain(["openssl-src"]) {
        assert!(named.contains(name), "no license of {name}");
    }
    for other in ["proptest", "clap_derive", "cc", "windows-sys", "pgtether"] {
        assert!(!named.contains(other), "{other} is not linked in");
    }
    assert!(named.len() > 100, "only {} crates", named.len());
    assert!(texts.contains("the license of musl") && texts.contains("Permission is hereby granted"));
}

#[test]
fn the_list_for_machines_names_what_the_licenses_name_and_how_it_hangs_together() {
    let zig = zig();
    let script = "import sys, pathlib; sys.path.insert(0, 'tests/dist'); import sbom; \
                  print(sbom.text('x86_64-unknown-linux-musl', pathlib.Path(sys.argv[1]), b'', 1767225600))";
    let output = succeeds(python(&["-c", script]).arg(zig.path()));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let components = list["components"].as_array().unwrap();
    let listed: BTreeSet<_> = components
        .iter()
        .filter(|component| text(&component["purl"]).starts_with("pkg:cargo/"))
        .map(|component| format!("{} {}", text(&component["name"]), text(&component["version"])))
        .collect();
    let (notices, _) = notices(&zig);
    let named = notices.lines().filter(|line| !line.starts_with(' '));
    let named: BTreeSet<_> = named
        .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
        .filter(|name| name.contains(' ') && !name.contains("Rust") && !name.contains(','))
        .collect();
    assert_eq!(listed, named);
    // Not from crates.io, but linked in.
    for name in ["openssl", "musl", "rust-std"] {
        let found = components.iter().find(|component| component["name"] == name);
        assert!(found.is_some_and(|found| text(&found["version"]).contains('.')), "{name}");
    }
    assert_eq!(list["metadata"]["component"]["version"], VERSION);
    assert_eq!(list["metadata"]["timestamp"], "2026-01-01T00:00:00Z");
    // The program needs each of them, by some way.
    let needs: BTreeMap<_, BTreeSet<_>> = list["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (text(&entry["ref"]), entry["dependsOn"].as_array().unwrap().iter().map(text).collect()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut next = vec![text(&list["metadata"]["component"]["bom-ref"])];
    while let Some(one) = next.pop() {
        next.extend(needs.get(&one).into_iter().flatten().filter(|dep| !reached.contains(*dep)).cloned());
        reached.insert(one);
    }
    for component in components {
        assert!(reached.contains(&text(&component["bom-ref"])), "{} hangs in the air", component["name"]);
    }
}

#[test]
fn package_managers_get_versions_as_they_write_them() {
    let script = "import sys; sys.path.insert(0, 'tests/dist'); from project import *; \
                  print(python_version(sys.argv[1]), debian_version(sys.argv[1]))";
    for (version, said) in [
        ("0.2.0", "0.2.0 0.2.0"),
        ("0.2.0-rc.1", "0.2.0rc1 0.2.0~rc.1"),
        ("1.0.0-alpha.12", "1.0.0a12 1.0.0~alpha.12"),
        ("1.0.0-beta2", "1.0.0b2 1.0.0~beta2"),
    ] {
        let output = succeeds(python(&["-c", script]).arg(version));
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), said, "{version}");
    }
    let refused = python(&["-c", script, "0.2.0-next"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("use -alpha.N, -beta.N or -rc.N"));
}
