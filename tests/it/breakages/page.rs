//! `docs/failures.md`: written from what was seen, and compared with it.

use std::fs;
use std::path::Path;

use super::{Breakage, Told};

const FILE: &str = "docs/failures.md";

const INTRODUCTION: &str = "\
# What pgtether tells of failures

Each row was made with real servers, networks and disks, and tells what pgtether said. The target had a ping interval of 1 s with
1 s of timeout, a refresh every second, and 3 s for a connection. By default a ping comes every 30 s and a login every 4 minutes.
What the session itself does not show is only seen by the next ping or the next login: choose these times by how soon you want to
know.

What each reason means is in the [table of reasons](reasons.md). This page is written by `make failures`.

| what happens | reason | state | detail | remedy | told after |
| --- | --- | --- | --- | --- | --- |
";

/// Asserts that the page has these rows; writes it where `UPDATE_GENERATED` is set. Of what could not be made the page's own
/// row is kept.
pub fn holds(rows: &[(&Breakage, Option<Told>)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let mut page = INTRODUCTION.to_owned();
    for (breakage, told) in rows {
        let start = format!("| {} | `{}` |", breakage.what, breakage.reason);
        let row = match told {
            Some(Told { state, detail, remedy, .. }) => {
                let detail = if detail.is_empty() { "-".to_owned() } else { detail.replace('|', "\\|") };
                format!("{start} `{state}` | {detail} | {remedy} | {} |", breakage.seen_by.as_str())
            }
            None => committed.lines().find(|line| line.starts_with(&start)).unwrap_or_default().to_owned(),
        };
        page.push_str(&row);
        page.push('\n');
    }
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &page).unwrap();
        return;
    }
    for (number, (found, seen)) in committed.lines().zip(page.lines()).enumerate() {
        assert_eq!(found, seen, "{FILE}:{}; look at the difference, then `make failures`", number + 1);
    }
    assert_eq!(committed.lines().count(), page.lines().count(), "{FILE}; `make failures` writes it anew");
}
