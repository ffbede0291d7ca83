use super::*;
use crate::cli::usage::Usage;

fn parse_words(words: &str) -> Result<Command, Usage> {
    parse(std::iter::once("pgtether").chain(words.split_whitespace()).map(OsString::from))
}

#[test]
fn probe() {
    for words in [
        "",
        "run",
        "--help",
        "run --help",
        "check --help",
        "--version",
        "-V",
        "check --log.level=debug a postgresql://u:p@h",
        "--log.level=debug check",
        "run --frob",
        "chekc",
        "check --frob",
        "run postgresql://u:sec@h",
        "--web.listen-address=:1,127.0.0.1:2 --web.listen-address=[::1]:3",
        "--web.listen-address=1234",
        "--web.config.file=x",
        "config",
        "config show --config.file=a",
        "config schema",
        "demo --chaos",
        "check --watch=10",
        "check --web.listen-address=:1",
        "--log.format=xml",
        "help",
        "--web.telemetry-path=/health",
    ] {
        match parse_words(words) {
            Ok(c) => println!("== {words}\n{c:?}"),
            Err(u) => println!("== {words} -> {}\n{}", u.code, u.text),
        }
    }
}
