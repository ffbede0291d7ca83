//! What a file has kept of former processes, put before what this one has seen; and all of it, for such a file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::change::StateChange;
use super::memory::{IN_ALL, Memory, PER_TARGET, TargetMemory, Tenure};
use super::uptime::{UptimeKind, UptimeSpan, UptimeSpans};
use crate::status::Moment;
use crate::target::TargetName;

/// All that is known of a target.
#[derive(Debug)]
pub struct Recollection<'a> {
    pub name: &'a TargetName,
    /// The oldest first.
    pub changes: Vec<&'a Arc<StateChange>>,
    /// Up to now, the oldest first.
    pub spans: UptimeSpans,
    /// How the time counts from now on; the other one where it has ended, and when.
    pub goes_on: Result<UptimeKind, Moment>,
}

impl Memory {
    /// What is known of a target up to `ended`, the oldest first.
    pub fn recall(
        &mut self,
        name: TargetName,
        changes: VecDeque<Arc<StateChange>>,
        spans: UptimeSpans,
        ended: Moment,
    ) {
        self.targets.insert(name, TargetMemory { changes, spans, tenure: Tenure::Ended(ended) });
    }

    /// Puts what was before what is; time between the two is unknown.
    pub fn prepend(&mut self, former: Memory, now: Moment) {
        for (name, mut older) in former.targets {
            if let Some(newer) = self.targets.remove(&name) {
                let seen: u64 = newer.spans.iter().map(UptimeSpan::length).sum();
                let until = match &newer.tenure {
                    Tenure::Runs(open) => open.counted_to,
                    Tenure::Ended(at) => at.mono,
                };
                if let Tenure::Ended(at) = older.tenure {
                    let between = until.saturating_duration_since(at.mono);
                    let gap = between.saturating_sub(Duration::from_millis(seen));
                    older.spans.add(UptimeSpan::of(UptimeKind::Unknown, gap));
                }
                newer.spans.iter().for_each(|span| older.spans.add(span));
                older.changes.extend(newer.changes);
                older.tenure = newer.tenure;
            }
            self.targets.insert(name, older);
        }
        self.shrink();
        self.forget(now);
    }

    /// Drops the oldest of those that have most, until there is no more than fits.
    fn shrink(&mut self) {
        let fits = |most: usize| {
            let kept = self.targets.values().map(|target| target.changes.len().min(most));
            kept.sum::<usize>() <= IN_ALL
        };
        let most = (1..=PER_TARGET).rev().find(|most| fits(*most)).unwrap_or(1);
        for target in self.targets.values_mut() {
            let surplus = target.changes.len().saturating_sub(most);
            target.changes.drain(..surplus);
        }
    }

    /// All of it, up to `now`.
    pub fn recollect(&self, now: Moment) -> impl Iterator<Item = Recollection<'_>> {
        self.targets.iter().map(move |(name, target)| {
            let mut spans = target.spans.clone();
            let goes_on = match &target.tenure {
                Tenure::Runs(open) => {
                    let left = now.mono.saturating_duration_since(open.counted_to);
                    spans.add(UptimeSpan::of(open.kind, left));
                    Ok(open.kind)
                }
                Tenure::Ended(at) => Err(*at),
            };
            Recollection { name, changes: target.changes.iter().collect(), spans, goes_on }
        })
    }
}
