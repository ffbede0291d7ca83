//! What `make dist` puts beside the program. The programs themselves are built and started by `make dist`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_licenses_are_those_of_what_is_linked_in_and_no_others() {
    // In place of Zig's folder.
    let zig = tempfile::tempdir().unwrap();
    let musl = zig.path().join("lib/libc/musl");
    fs::create_dir_all(&musl).unwrap();
    fs::write(musl.join("COPYRIGHT"), "the license of musl\n").unwrap();
    let script = Path::new(ROOT).join("tests/dist/notices.py");
    let mut python = Command::new("python3");
    python.current_dir(ROOT).arg(script).arg("x86_64-unknown-linux-musl").arg(zig.path());
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (list, texts) = text.split_once("\n----").unwrap();
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
