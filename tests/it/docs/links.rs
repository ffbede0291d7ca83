//! Where the documentation leads: files, headings, panels of the dashboards.

use std::collections::BTreeSet;
use std::fs;

use super::{documents, readme, repository};

/// README is one page: what does not fit stands in a document of its own.
const README_LINES: usize = 180;

/// The heading's anchor as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The anchors of a document's headings, those inside of code aside.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let heading = line.strip_prefix('#').filter(|_| !in_code).map(|rest| rest.trim_start_matches('#'));
        if let Some(heading) = heading.and_then(|rest| rest.strip_prefix(' ')) {
            anchors.insert(anchor(heading));
        }
    }
    anchors
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_that_exist() {
    let mut followed = 0;
    for (path, text) in documents() {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(to.exists(), "{} links to {link}", path.display());
            if let Some(heading) = heading {
                let there = anchors(&fs::read_to_string(&to).unwrap());
                assert!(there.contains(heading), "{} links to {link}; there are {there:?}", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "only {followed} links");
    assert_eq!(anchor("From `helm install` to a dashboard"), "from-helm-install-to-a-dashboard");
}

#[test]
fn every_document_is_reached_from_readme() {
    let all = documents();
    let mut reached = BTreeSet::new();
    let mut next = vec![repository("README.md")];
    while let Some(path) = next.pop() {
        let Some(text) = all.get(&path).filter(|_| reached.insert(path.clone())) else {
            continue;
        };
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            next.extend(path.parent().unwrap().join(link).canonicalize().ok());
        }
    }
    let lost: Vec<_> = all.keys().filter(|path| !reached.contains(*path)).collect();
    assert!(lost.is_empty(), "README leads to none of {lost:?}");
}

#[test]
fn readme_is_one_page() {
    let lines = readme().lines().count();
    assert!(lines <= README_LINES, "README has {lines} lines");
}

/// What stands in italics and begins with a capital letter.
fn emphasized(text: &str) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let opens = |at: usize| {
        text[..at].ends_with([' ', '(']) && text[at + 1..].starts_with(|c: char| c.is_ascii_uppercase())
    };
    let starts = text.match_indices('*').map(|(at, _)| at).filter(|at| opens(*at));
    starts.map(|at| text[at + 1..].split('*').next().unwrap().to_owned()).collect()
}

#[test]
fn the_panels_that_runbooks_name_are_in_a_dashboard() {
    let dashboards = ["fleet", "target"]
        .map(|name| fs::read_to_string(repository(&format!("dashboards/pgtether-{name}.json"))).unwrap())
        .concat();
    let mut named = 0;
    for (path, text) in documents() {
        if !path.starts_with(repository("docs/runbooks")) || path.ends_with("README.md") {
            continue;
        }
        for panel in emphasized(&text) {
            // A page of Prometheus, and a row on the status page.
            if ["Targets", "Checkouts"].contains(&panel.as_str()) {
                continue;
            }
            let title = format!("\"title\": \"{panel}\"");
            assert!(dashboards.contains(&title), "{} names the panel {panel:?}", path.display());
            named += 1;
        }
    }
    assert!(named > 20, "only {named} panels");
}
