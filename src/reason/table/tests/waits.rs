//! The table of waits in docs/reasons.md, against the tables that say how a failure is followed up.

use std::collections::BTreeMap;

use super::*;

/// The reasons that each row of the document names, by the kind of failure in its first cell.
fn documented() -> BTreeMap<String, Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    let page = std::fs::read_to_string(path).expect("the document is there");
    let (_, section) = page.split_once("\n## When pgtether tries again\n").expect("the section is there");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    cells.map(|cells| (cells[0].to_owned(), quoted(cells[1]))).collect()
}

const fn kind(class: Class) -> &'static str {
    match class {
        Transient => "It may pass by itself",
        Starting => "The server says that it starts, stops, or recovers from a crash",
        Class::Capacity => "The server is full",
        Permanent => "Somebody has to change something",
        Local => "pgtether's own machine",
    }
}

#[test]
fn the_document_names_each_reason_in_the_row_that_says_how_it_is_followed_up() {
    let documented = documented();
    let own = [
        Cause::Closed,
        Cause::Timeout,
        Cause::TlsRefused,
        Cause::tls("unexpected EOF"),
        Cause::Protocol { message: String::new() },
        Cause::WrongRole { wanted: String::new() },
        Cause::Config { message: String::new() },
        Cause::Command { message: String::new() },
        Cause::Local { message: String::new() },
        Cause::Internal,
        Cause::Io { kind: io::ErrorKind::ConnectionReset, os: None },
    ];
    let own = own.map(|cause| diagnose(&Facts::new(Startup, cause)));
    let rows = all_rows();
    let told =
        rows.iter().flat_map(|(code, words)| [Startup, Ping].map(|phase| diagnosed(phase, code, words)));
    for Diagnosis { reason, class, .. } in own.into_iter().chain(told) {
        let row = documented.get(kind(class)).unwrap_or_else(|| panic!("no row for {class:?}"));
        assert!(
            row.iter().any(|named| named == reason.as_str()),
            "{reason} is followed up as {class:?}: {row:?}"
        );
    }
    for reason in Reason::CONNECT {
        let found = documented.values().flatten().any(|named| named == reason.as_str());
        assert!(found, "{reason} is in no row");
    }
}
