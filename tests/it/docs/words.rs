//! Words that the project has given up, because they mean nothing to people who have not read its code.

use std::fs;
use std::path::{Path, PathBuf};

use super::{help, repository};

/// Each with what to write in its place. Whole words, whatever their case; `*` is any ending.
const RETIRED: &[(&str, &str)] = &[
    ("apolog*", "error, reject"),
    ("asked rarely", "retried every 5 minutes"),
    ("canary", "monitoring session"),
    ("chore*", "cleanup"),
    ("corpse*", "dead connection"),
    ("deals faults", "injects faults"),
    ("dice", "random"),
    ("door*", "listener, listen address, connection, pool"),
    ("greet*", "handshake"),
    ("knock*", "TCP connect"),
    ("live line", "session"),
    ("made-up bytes", "fuzz input"),
    ("newcomer*", "client, startup"),
    ("no line", "no working session"),
    ("porter*", "accept loop"),
    ("prospect*", "availability"),
    ("proven line", "working session"),
    ("sent away", "rejected"),
    ("slow lane", "next attempt every 5 minutes"),
    ("storm guard", "connection rate limit"),
    ("stranger*", "unknown client"),
    ("throw-away", "temporary"),
    ("torment*", "chaos test"),
    ("turn* away", "reject"),
    ("usher*", "scheduler"),
    ("wash*", "cleanup, reset"),
];

/// The same for names and comments of the sources, of the tests too. Names are read word by word.
const RETIRED_IN_SOURCES: &[(&str, &str)] = &[
    ("apolog*", "error, reject"),
    ("chore*", "cleanup"),
    ("deals faults", "injects faults"),
    ("doctor*", "check"),
    ("door*", "listener, listen address, connection, pool"),
    ("doubtful", "suspect"),
    ("dress*", "headers, settings, format"),
    ("greet*", "handshake"),
    ("guest*", "client"),
    ("keeper*", "controller, maintenance"),
    ("knock*", "TCP connect"),
    ("lower floor*", "lower layer"),
    ("newcomer*", "client, startup"),
    ("old one goes on", "the previous one stays in use"),
    ("one before goes on", "the previous one stays in use"),
    ("porter*", "accept loop"),
    ("prospect*", "availability"),
    ("seat*", "slot, key"),
    ("storm guard", "guard"),
    ("stranger*", "unknown client"),
    ("throw-away", "temporary"),
    ("torment*", "chaos test"),
    ("usher*", "scheduler"),
    ("wash*", "cleanup, reset"),
];

/// Texts that users read, by what they are called in a failure. What is copied or rendered from them is left out.
fn texts() -> Vec<(String, String)> {
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "config.yaml", "Makefile"];
    let mut paths = top.map(repository).to_vec();
    for folder in ["docs", "charts/pgtether", "dashboards", "src/http/page"] {
        collect(&repository(folder), &mut paths);
    }
    let readable = ["md", "yaml", "yml", "json", "txt", "tpl", "service", "html", "js", ""];
    let is_text = |path: &PathBuf| {
        let end = path.extension().map_or("", |end| end.to_str().unwrap());
        readable.contains(&end) && !path.starts_with(repository("charts/pgtether/files"))
    };
    let mut texts: Vec<_> = paths
        .into_iter()
        .filter(is_text)
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    texts.push(("--help".to_owned(), help()));
    assert!(texts.len() > 50, "only {} texts", texts.len());
    texts
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

/// Whether the words stand in a text of lower-case words with one space between.
fn has(text: &str, retired: &str) -> bool {
    let starts = text.match_indices(retired.split('*').next().unwrap());
    let begins_a_word = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
    starts.map(|(at, _)| at).filter(|at| begins_a_word(*at)).any(|at| fits(&text[at..], retired))
}

/// Whether a text begins with the words. `*` is the rest of a word.
fn fits(text: &str, retired: &str) -> bool {
    let (fixed, more) = retired.split_once('*').map_or((retired, None), |(fixed, more)| (fixed, Some(more)));
    let Some(rest) = text.strip_prefix(fixed) else { return false };
    match more {
        Some(more) => {
            let rest = rest.trim_start_matches(|c: char| c.is_alphanumeric());
            more.is_empty() || fits(rest, more)
        }
        None => !rest.starts_with(|c: char| c.is_alphanumeric()),
    }
}

/// In lower case, with one space wherever a line or a comment is wrapped.
fn flat(text: &str) -> String {
    let comment = |line: &str| line.trim().trim_start_matches("# ").trim_start_matches("> ").to_owned();
    text.lines().map(comment).collect::<Vec<_>>().join(" ").to_lowercase()
}

#[test]
fn nothing_that_users_read_has_a_retired_word() {
    let mut found = Vec::new();
    for (name, text) in texts() {
        let text = flat(&text);
        for (retired, instead) in RETIRED {
            if has(&text, retired) {
                found.push(format!("{name}: {retired:?}; write {instead:?}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The words of a source: `one_door`, `OneDoor` and `ONE_DOOR` are two each.
fn words_of(source: &str) -> String {
    let mut words = String::with_capacity(source.len());
    for line in source.lines() {
        let line = line.trim().trim_start_matches('/').trim_start_matches('!');
        let mut before = ' ';
        for c in line.chars() {
            if before.is_lowercase() && c.is_uppercase() {
                words.push(' ');
            }
            words.push(if c == '_' { ' ' } else { c.to_ascii_lowercase() });
            before = c;
        }
        words.push(' ');
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn no_source_has_a_retired_word_in_a_name_or_a_comment() {
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        collect(&repository(folder), &mut paths);
    }
    let is_code = |path: &PathBuf| {
        path.extension().is_some_and(|end| ["rs", "js", "py", "sh"].iter().any(|e| end == *e))
    };
    // This file has to name them.
    let exempt = repository("tests/it/docs/words.rs");
    paths.retain(|path| is_code(path) && *path != exempt);
    assert!(paths.len() > 400, "only {} sources", paths.len());
    let mut found = Vec::new();
    for path in paths {
        let words = words_of(&fs::read_to_string(&path).unwrap());
        for (retired, instead) in RETIRED_IN_SOURCES {
            if has(&words, retired) {
                found.push(format!("{}: {retired:?}; write {instead:?}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_name_is_read_word_by_word() {
    for source in
        ["let one_door = 1;", "struct OneDoor;", "const ONE_DOOR: u8 = 1;", "// lower\n    // floors"]
    {
        assert!(RETIRED_IN_SOURCES.iter().any(|(retired, _)| has(&words_of(source), retired)), "{source}");
    }
    for source in ["struct Indoor;", "a.floor()", "exporter", "#[derive(Debug)] // supports"] {
        assert!(!RETIRED_IN_SOURCES.iter().any(|(retired, _)| has(&words_of(source), retired)), "{source}");
    }
}

#[test]
fn a_retired_word_is_found_where_it_stands_and_nowhere_else() {
    for text in ["It KNOCKS once.", "# a knock\n# more", "no proven\nline", "turning clients\n# turns away"] {
        assert!(RETIRED.iter().any(|(retired, _)| has(&flat(text), retired)), "{text}");
    }
    for text in ["a padlock, an indoor pool", "no lines", "proven lines", "outdoors"] {
        assert!(!RETIRED.iter().any(|(retired, _)| has(&flat(text), retired)), "{text}");
    }
}
