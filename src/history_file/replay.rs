//! Reads a file's lines into a memory: what was, up to the end of the process that wrote the last one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::line::{FORMAT, FileLine, span};
use crate::status::Moment;
use crate::status::history::{Memory, PER_TARGET, StateChange, UptimeKind, UptimeSpan, UptimeSpans};
use crate::target::TargetName;

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Replay {
    targets: HashMap<TargetName, ReadTarget>,
    run: ReadRun,
    /// Lines that were no record.
    pub bad: u64,
    /// Lines that were one.
    pub good: u64,
    is_foreign: bool,
}

/// The process whose lines are read.
#[derive(Debug, Default)]
struct ReadRun {
    number: u64,
    started: Option<SystemTime>,
    /// Until when it ran, as far as is known: by its own time, and by the wall clock.
    run_ms: u64,
    at: Option<SystemTime>,
}

#[derive(Debug)]
struct ReadTarget {
    /// The oldest first.
    changes: VecDeque<Arc<StateChange>>,
    spans: UptimeSpans,
    /// The process that told of it last.
    run: u64,
    /// Until when it is counted, by the time of that process; and how that time counts from then on.
    run_ms: u64,
    kind: Option<UptimeKind>,
    /// When it was known last.
    at: SystemTime,
}

impl Replay {
    /// Takes the next line.
    pub fn line(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match FileLine::read(line).and_then(|line| self.take(line)) {
            Some(()) => self.good += 1,
            None => self.bad += 1,
        }
    }

    /// Whether this is no file of ours, or one of a format that is not ours.
    pub fn is_foreign(&self) -> bool {
        self.is_foreign || (self.good == 0 && self.bad > 0)
    }

    /// What was, as of `now`.
    pub fn finish(mut self, now: Moment) -> Memory {
        self.end_run();
        let mut memory = Memory::default();
        for (name, target) in self.targets {
            let ago = now.wall.duration_since(target.at).unwrap_or_default();
            let mono = now.mono.checked_sub(ago).unwrap_or(now.mono);
            memory.recall(name, target.changes, target.spans, Moment { mono, wall: target.at });
        }
        memory
    }

    fn take(&mut self, line: FileLine) -> Option<()> {
        match line {
            FileLine::PgtetherHistory { format } => self.is_foreign |= format != FORMAT,
            FileLine::Started { at } => {
                self.end_run();
                let number = self.run.number + 1;
                self.run = ReadRun { number, started: Some(at.into()), run_ms: 0, at: Some(at.into()) };
            }
            FileLine::Alive { at, run_ms } => self.run_is_at(at.into(), run_ms),
            FileLine::Changed { at, run_ms, target, change } => {
                let name = TargetName::new(&target)?;
                let change = change.change(at)?;
                if let Some(run_ms) = run_ms {
                    let kind = UptimeKind::of(change.to, change.reason);
                    self.counts(&name, run_ms, change.counted, Some(kind), at.into());
                }
                let changes = &mut self.target(&name, at.into()).changes;
                changes.push_back(Arc::new(change));
                if changes.len() > PER_TARGET {
                    changes.pop_front();
                }
            }
            FileLine::Removed { at, run_ms, target } => {
                let name = TargetName::new(&target)?;
                self.run_is_at(at.into(), run_ms);
                let run = self.run.number;
                if let Some(target) = self.targets.get_mut(&name).filter(|target| target.run == run) {
                    target.end(run_ms, at.into());
                }
            }
            FileLine::Uptime { at, target, spans_ms, goes_on } => {
                let name = TargetName::new(&target)?;
                let run = self.run.number;
                let target = self.target(&name, at.into());
                target.spans = UptimeSpans::default();
                spans_ms.into_iter().for_each(|length| target.spans.add(span(length)));
                (target.run, target.at) = (run, at.into());
                (target.run_ms, target.kind) = match goes_on {
                    Some(on) => (on.run_ms, Some(on.state.into())),
                    None => (0, None),
                };
                if let Some(on) = goes_on {
                    self.run_is_at(at.into(), on.run_ms);
                }
            }
        }
        Some(())
    }

    /// What is known of it so far.
    fn target(&mut self, name: &TargetName, at: SystemTime) -> &mut ReadTarget {
        let run = self.run.number;
        self.targets.entry(name.clone()).or_insert_with(|| ReadTarget {
            changes: VecDeque::new(),
            spans: UptimeSpans::default(),
            run,
            run_ms: 0,
            kind: None,
            at,
        })
    }

    fn run_is_at(&mut self, at: SystemTime, run_ms: u64) {
        self.run.run_ms = self.run.run_ms.max(run_ms);
        self.run.at = Some(at);
    }

    /// `counted` ended at `run_ms`; what nobody has told of before is unknown.
    fn counts(
        &mut self,
        name: &TargetName,
        run_ms: u64,
        counted: UptimeSpan,
        kind: Option<UptimeKind>,
        at: SystemTime,
    ) {
        self.run_is_at(at, run_ms);
        let (run, started) = (self.run.number, self.run.started);
        let begins = run_ms.saturating_sub(counted.length());
        let target = self.target(name, at);
        let has_more = target.run == run && begins < target.run_ms;
        let counted = match has_more {
            // Its beginning is in an `uptime`.
            true => counted.part(run_ms.saturating_sub(target.run_ms)),
            false => counted,
        };
        let unknown = if target.spans.iter().next().is_none() {
            0
        } else if target.run == run {
            begins.saturating_sub(target.run_ms)
        } else {
            let between = started.unwrap_or(target.at).duration_since(target.at).unwrap_or_default();
            u64::try_from(between.as_millis()).unwrap_or(u64::MAX).saturating_add(begins)
        };
        target.spans.add(UptimeSpan::of(UptimeKind::Unknown, Duration::from_millis(unknown)));
        target.spans.add(counted);
        (target.run, target.run_ms, target.kind, target.at) = (run, run_ms, kind, at);
    }

    /// What its targets were last, they were to its end.
    fn end_run(&mut self) {
        let Some(at) = self.run.at else { return };
        for target in self.targets.values_mut().filter(|target| target.run == self.run.number) {
            target.end(self.run.run_ms, at);
        }
    }
}

impl ReadTarget {
    /// What it was last, it was until then.
    fn end(&mut self, run_ms: u64, at: SystemTime) {
        if let Some(kind) = self.kind.take() {
            let left = Duration::from_millis(run_ms.saturating_sub(self.run_ms));
            self.spans.add(UptimeSpan::of(kind, left));
            (self.run_ms, self.at) = (run_ms, at);
        }
    }
}

#[cfg(test)]
mod tests;
