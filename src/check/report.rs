//! What `check` found, for people and for machines.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::connection::SessionFacts;
use crate::reason::{Facts, Reason, remedy, table};
use crate::target::{Endpoint, Provider, Target};

/// Nagios's words and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Verdict {
    pub const fn exit_code(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Warning => 1,
            Verdict::Critical => 2,
            Verdict::Unknown => 3,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Critical => "critical",
            Verdict::Unknown => "unknown",
        }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckStep {
    pub name: &'static str,
    pub ok: bool,
    /// How long it took, to its failure where it failed.
    pub seconds: f64,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

/// Something to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "level", content = "text")]
pub enum CheckFinding {
    Note(String),
    Warning(String),
}

/// Everything found about one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckReport {
    pub target: String,
    pub verdict: Verdict,
    /// Where and as whom, without secrets; empty where that could not be read.
    pub endpoint: String,
    pub provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler: Option<&'static str>,
    pub steps: Vec<CheckStep>,
    pub findings: Vec<CheckFinding>,
    /// The session that was held is gone.
    #[serde(skip)]
    pub(super) lost: bool,
}

impl CheckReport {
    pub(super) fn new(target: &Target) -> Self {
        CheckReport {
            target: target.name.to_string(),
            verdict: Verdict::Ok,
            endpoint: String::new(),
            provider: Provider::Other.as_str(),
            server_version: None,
            tls_version: None,
            certificate_expiry: None,
            pooler: None,
            steps: Vec::new(),
            findings: Vec::new(),
            lost: false,
        }
    }

    pub(super) fn meet(&mut self, endpoint: &Endpoint) {
        self.endpoint = endpoint.describe();
        self.provider = endpoint.provider().as_str();
    }

    pub(super) fn session(&mut self, facts: &SessionFacts) {
        self.server_version = Some(facts.server_version.clone()).filter(|version| !version.is_empty());
        self.tls_version.clone_from(&facts.tls_version);
        self.certificate_expiry = facts.certificate_expiry.map(day);
        self.pooler = facts.pooler;
    }

    pub(super) fn ok(&mut self, name: &'static str, took: Duration, detail: String) {
        let seconds = took.as_secs_f64();
        self.steps.push(CheckStep { name, ok: true, seconds, detail, reason: None, remedy: None });
    }

    /// A step that failed ends the examination of what hangs on it: returns `None` for the caller to hand on.
    pub(super) fn failed<T>(&mut self, name: &'static str, after: Duration, facts: &Facts) -> Option<T> {
        let reason: Reason = table::diagnose(facts).reason;
        self.verdict = Verdict::Critical;
        self.lost |= name != "second login";
        self.steps.push(CheckStep {
            name,
            ok: false,
            seconds: after.as_secs_f64(),
            detail: facts.to_string(),
            reason: Some(reason.as_str()),
            remedy: Some(remedy(reason, facts)),
        });
        None
    }

    pub(super) fn note(&mut self, text: String) {
        self.findings.push(CheckFinding::Note(text));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.verdict = self.verdict.max(Verdict::Warning);
        self.findings.push(CheckFinding::Warning(text));
    }
}

/// For people: one block a target, problems with their remedy; behind several a line that sums up.
pub fn text(reports: &[CheckReport]) -> String {
    let mut blocks: Vec<String> = reports.iter().map(block).collect();
    if let [_, _, ..] = reports {
        blocks.push(sum(reports));
    }
    blocks.join("\n")
}

/// The verdict first, as Nagios shows it; then what was tried, in columns.
fn block(report: &CheckReport) -> String {
    let mut out = format!("{:<10}{}", report.verdict.word().to_uppercase(), report.target);
    if !report.endpoint.is_empty() {
        out.push_str(&format!("  {}", report.endpoint));
    }
    let provider = Some(report.provider).filter(|name| *name != Provider::Other.as_str());
    for (what, seen) in [("provider", provider), ("pooler", report.pooler)] {
        if let Some(name) = seen {
            out.push_str(&format!(", {what} {name}"));
        }
    }
    out.push('\n');
    for step in &report.steps {
        let mark = if step.ok { "ok" } else { "FAIL" };
        let took = millis(Duration::from_secs_f64(step.seconds));
        let reason = step.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
        let line = format!("  {mark:<6}{:<13}{took:>8}   {reason}{}", step.name, step.detail);
        out.push_str(line.trim_end());
        out.push('\n');
        if let Some(remedy) = step.remedy {
            out.push_str(&format!("        {remedy}\n"));
        }
    }
    for finding in &report.findings {
        out.push_str(&match finding {
            CheckFinding::Note(text) => format!("  note  {text}\n"),
            CheckFinding::Warning(text) => format!("  WARN  {text}\n"),
        });
    }
    out
}

/// Such as `3 targets: 2 ok, 1 critical`.
fn sum(reports: &[CheckReport]) -> String {
    let verdicts = [Verdict::Ok, Verdict::Warning, Verdict::Critical, Verdict::Unknown];
    let count = |verdict| reports.iter().filter(|report| report.verdict == verdict).count();
    let counts = verdicts.iter().map(|verdict| (count(*verdict), verdict.word())).filter(|(n, _)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, word)| format!("{n} {word}")).collect();
    format!("{} targets: {}\n", reports.len(), counts.join(", "))
}

/// For machines: all reports and the worst verdict.
pub fn json(reports: &[CheckReport]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct All<'a> {
        verdict: Verdict,
        targets: &'a [CheckReport],
    }
    let verdict = reports.iter().map(|report| report.verdict).max().unwrap_or(Verdict::Unknown);
    serde_json::to_string_pretty(&All { verdict, targets: reports })
}

/// Three digits are all that a person compares.
pub(super) fn millis(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1e3),
    }
}

pub(super) fn span(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..120 => format!("{:.1} s", took.as_secs_f64()),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

pub(super) fn day(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map_or_else(|_| "a day out of range".to_owned(), |at| at.strftime("%F").to_string())
}
