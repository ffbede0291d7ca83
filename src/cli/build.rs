//! Tells the program which commit and which compiler it is built of.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/cli/build.rs");
    println!("cargo:rerun-if-env-changed=PGTETHER_REVISION");
    let rustc = var("RUSTC").ok().and_then(|rustc| first_line(Command::new(rustc).arg("--version")));
    println!("cargo:rustc-env=PGTETHER_RUSTC={}", rustc.as_deref().unwrap_or("rustc, unknown version"));
    // Tests are built at each commit: they need not be built anew because its name is another.
    let released = var("PROFILE").is_ok_and(|profile| profile == "release");
    if released {
        // A path that is never there: ask each time.
        println!("cargo:rerun-if-changed=target/asked-each-time");
    }
    let git = || {
        first_line(Command::new("git").args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ]))
    };
    // A source archive has no repository; whoever builds it may know the revision.
    let revision = var("PGTETHER_REVISION").ok().filter(|given| !given.is_empty());
    let revision = revision.or_else(|| released.then(git).flatten());
    println!("cargo:rustc-env=PGTETHER_REVISION={}", revision.as_deref().unwrap_or("unknown"));
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
}
