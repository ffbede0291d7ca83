//! `/livez` and `/readyz`: named checks, in the grammar of Kubernetes' API server.
//!
//! No check asks a database: a restart or an empty load balancer repairs none.

use std::time::Duration;

use hyper::StatusCode;

use super::App;
use super::reply::{Reply, With, text};
use super::web::Visibility;
use crate::status::Moment;
use crate::status::process::ProcessStatus;

/// After that long `/readyz` no longer waits for first attempts: a target that hangs must not hide the others.
const FIRST_ATTEMPT_PATIENCE: Duration = Duration::from_secs(30);

/// A named list of checks.
#[derive(Debug)]
pub(super) struct Probe {
    name: &'static str,
    checks: &'static [ProbeCheck],
}

#[derive(Debug)]
struct ProbeCheck {
    name: &'static str,
    run: fn(&App, &ProcessStatus, Moment) -> Result<(), String>,
}

/// Fails when only a restart helps.
pub(super) const LIVEZ: Probe = Probe {
    name: "livez",
    checks: &[ProbeCheck { name: "ping", run: |_, _, _| Ok(()) }, ProbeCheck { name: "loops", run: loops }],
};

/// Fails while the answers say nothing yet, and once the process is ending.
pub(super) const READYZ: Probe = Probe {
    name: "readyz",
    checks: &[
        ProbeCheck { name: "config", run: config },
        ProbeCheck { name: "first-attempt", run: first_attempt },
        ProbeCheck { name: "shutdown", run: shutdown },
    ],
};

impl Probe {
    pub(super) fn passes(&self, app: &App, process: &ProcessStatus, now: Moment) -> bool {
        self.checks.iter().all(|check| (check.run)(app, process, now).is_ok())
    }

    /// All checks together.
    pub(super) fn all(&self, app: &App, process: &ProcessStatus, now: Moment, query: &str) -> Reply {
        let (mut excluded, mut verbose) = (Vec::new(), false);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "exclude" => excluded.push(value.into_owned()),
                "verbose" => verbose = true,
                _ => {}
            }
        }
        let run = |check: &ProbeCheck| (check.name, (check.run)(app, process, now));
        let ran = self.checks.iter().filter(|check| !excluded.iter().any(|name| name == check.name));
        let results: Vec<_> = ran.map(run).collect();
        let names: Vec<_> = self.checks.iter().map(|check| check.name).collect();
        let (status, body) = report(self.name, &names, &results, excluded, verbose);
        text(status, body).fresh()
    }

    /// `/livez/CHECK`; `None` where there is no such check. Its reason may name targets.
    pub(super) fn one(
        &self,
        app: &App,
        process: &ProcessStatus,
        now: Moment,
        name: &str,
        visibility: Visibility,
    ) -> Option<Reply> {
        let check = self.checks.iter().find(|check| check.name == name)?;
        let reply = match (check.run)(app, process, now) {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(_) if visibility == Visibility::Outline => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: reason withheld\n")
            }
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        };
        Some(reply.fresh())
    }
}

/// The aggregate's text. Reasons are withheld from it: each check tells its own at its own path.
fn report(
    probe: &str,
    names: &[&str],
    results: &[(&str, Result<(), String>)],
    mut excluded: Vec<String>,
    verbose: bool,
) -> (StatusCode, String) {
    let mut lines = String::new();
    let mut passed = true;
    for name in names {
        let line = match results.iter().find(|(ran, _)| ran == name) {
            None => format!("[+]{name} excluded: ok\n"),
            Some((_, Ok(()))) => format!("[+]{name} ok\n"),
            Some((_, Err(why))) => {
                tracing::debug!(probe, check = name, reason = %why, "check failed");
                passed = false;
                format!("[-]{name} failed: reason withheld\n")
            }
        };
        lines.push_str(&line);
    }
    excluded.retain(|name| !names.contains(&name.as_str()));
    excluded.sort();
    excluded.dedup();
    if !excluded.is_empty() {
        let quoted: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let quoted = quoted.join(", ");
        lines.push_str(&format!("warn: some health checks cannot be excluded: no matches for {quoted}\n"));
    }
    match (passed, verbose) {
        (false, _) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{probe} check failed\n")),
        (true, true) => (StatusCode::OK, format!("{lines}{probe} check passed\n")),
        (true, false) => (StatusCode::OK, "ok".to_owned()),
    }
}

fn loops(app: &App, _: &ProcessStatus, now: Moment) -> Result<(), String> {
    let overdue = app.board.overdue(now);
    match overdue.is_empty() {
        true => Ok(()),
        false => Err(format!("the loops of these targets are overdue: {}", overdue.join(", "))),
    }
}

/// The board shows targets once a configuration was taken.
fn config(app: &App, _: &ProcessStatus, _: Moment) -> Result<(), String> {
    match app.board.is_empty() {
        false => Ok(()),
        true => Err("no configuration has been loaded yet".to_owned()),
    }
}

fn first_attempt(app: &App, _: &ProcessStatus, now: Moment) -> Result<(), String> {
    if now.since(app.started) >= FIRST_ATTEMPT_PATIENCE {
        return Ok(());
    }
    let untried: Vec<String> = app.board.look(now, |views| {
        let untried = views.iter().filter(|view| !view.status.tried);
        untried.map(|view| view.status.name.to_string()).collect()
    });
    match untried.is_empty() {
        true => Ok(()),
        false => Err(format!("not attempted yet: {}", untried.join(", "))),
    }
}

fn shutdown(_: &App, process: &ProcessStatus, _: Moment) -> Result<(), String> {
    match process.draining {
        false => Ok(()),
        true => Err("the process is shutting down".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["ping", "loops"];

    fn text_of(results: &[(&str, Result<(), String>)], excluded: &[&str], verbose: bool) -> (u16, String) {
        let excluded = excluded.iter().map(|name| (*name).to_owned()).collect();
        let (status, text) = report("livez", &NAMES, results, excluded, verbose);
        (status.as_u16(), text)
    }

    fn ok(name: &str) -> (&str, Result<(), String>) {
        (name, Ok(()))
    }

    #[test]
    fn a_pass_is_ok_and_nothing_else() {
        assert_eq!(text_of(&[ok("ping"), ok("loops")], &[], false), (200, "ok".to_owned()));
        assert_eq!(text_of(&[ok("ping")], &["loops", "x"], false), (200, "ok".to_owned()));
    }

    #[test]
    fn verbose_names_every_check() {
        let expected = "[+]ping ok\n[+]loops ok\nlivez check passed\n";
        assert_eq!(text_of(&[ok("ping"), ok("loops")], &[], true), (200, expected.to_owned()));
    }

    #[test]
    fn a_failure_is_always_verbose_and_withholds_its_reason() {
        let failed = [ok("ping"), ("loops", Err("primary".to_owned()))];
        let expected = "[+]ping ok\n[-]loops failed: reason withheld\nlivez check failed\n";
        assert_eq!(text_of(&failed, &[], false), (500, expected.to_owned()));
        assert_eq!(text_of(&failed, &[], true), (500, expected.to_owned()));
    }

    #[test]
    fn an_excluded_check_counts_as_ok_and_an_unknown_one_warns() {
        let expected = "[+]ping ok\n[+]loops excluded: ok\n\
            warn: some health checks cannot be excluded: no matches for \"a\\n\", \"etcd\"\n\
            livez check passed\n";
        let excluded = ["loops", "etcd", "a\n", "etcd"];
        assert_eq!(text_of(&[ok("ping")], &excluded, true), (200, expected.to_owned()));
    }
}
