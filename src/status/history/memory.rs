//! What is remembered of all targets: their changes of state, and for how long they were up. Pure, and bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{PoolCost, ReasonSet, StateChange};
use super::uptime::{UptimeKind, UptimeSpan, UptimeSpans, WINDOWS};
use crate::reason::Reason;
use crate::status::{Gap, Moment, State, TargetStatus, View};
use crate::target::TargetName;

/// So many changes are remembered of a target, at the most.
pub const PER_TARGET: usize = 200;
/// So many are remembered in all; where there are more, those with the most give up their oldest.
pub const IN_ALL: usize = 20_000;
/// So many bars show a day.
pub const SLOTS: usize = 48;
const DAY: Duration = Duration::from_secs(86_400);
/// A target that is configured no more is remembered for so long.
pub const AFTER_REMOVAL: Duration = Duration::from_secs(86_400);
/// So many of these are remembered, at the most.
const REMOVED: usize = 1_000;

/// A change, and when it was by both clocks.
pub type DatedChange = (Moment, Arc<StateChange>);

/// What is seen of a target after a step of its task.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    state: State,
    reason: Option<Reason>,
    detail: Option<&'a str>,
    since: Moment,
    gap: Option<Gap>,
    /// The step came so late that nobody knew anything from then on.
    stalled_at: Option<Instant>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub(super) targets: HashMap<TargetName, TargetMemory>,
    /// Changes of all targets.
    total: usize,
}

/// One target.
#[derive(Debug, Clone)]
pub(super) struct TargetMemory {
    /// The oldest first.
    pub(super) changes: VecDeque<Arc<StateChange>>,
    pub(super) spans: UptimeSpans,
    pub(super) tenure: Tenure,
}

/// Whether the target is supervised.
#[derive(Debug, Clone)]
pub(super) enum Tenure {
    Runs(OpenState),
    /// It was removed, or the process ended.
    Ended(Moment),
}

/// The state that lasts.
#[derive(Debug, Clone)]
pub(super) struct OpenState {
    state: State,
    since: Moment,
    reasons: ReasonSet,
    /// What the pool had counted when it began.
    cost: Option<PoolCost>,
    /// What the time counts as, from `counted_to` on.
    pub(super) kind: UptimeKind,
    pub(super) counted_to: Instant,
    /// What was counted since it began.
    counted: UptimeSpan,
}

impl<'a> Observation<'a> {
    /// `was_due` is when the step should have come at the latest.
    pub fn of(status: &'a TargetStatus, was_due: Instant, now: Moment) -> Self {
        let known_to = was_due + View::GRACE;
        Observation {
            state: status.state(),
            reason: status.reason(),
            detail: View::new(status, now).detail(),
            since: status.since,
            gap: status.gap(),
            stalled_at: (known_to < now.mono).then_some(known_to),
        }
    }

    /// Whether there can be nothing to remember beyond what `earlier` had.
    pub fn adds_nothing_to(&self, earlier: (State, Option<Reason>, Option<Gap>)) -> bool {
        self.stalled_at.is_none() && self.key() == earlier
    }

    /// What has to differ for there to be something to remember.
    pub fn key(&self) -> (State, Option<Reason>, Option<Gap>) {
        (self.state, self.reason, self.gap)
    }
}

impl OpenState {
    fn begun(seen: &Observation<'_>, cost: Option<PoolCost>) -> Self {
        OpenState {
            state: seen.state,
            since: seen.since,
            reasons: seen.reason.into_iter().collect(),
            cost,
            kind: UptimeKind::of(seen.state, seen.reason),
            counted_to: seen.since.mono,
            counted: UptimeSpan::default(),
        }
    }

    /// Counts the time up to `until`, to the millisecond; what is left of one is counted with what comes next.
    fn count(&mut self, until: Instant, spans: &mut UptimeSpans) {
        let passed = until.saturating_duration_since(self.counted_to);
        let span = UptimeSpan::of(self.kind, passed);
        spans.add(span);
        self.counted = self.counted.plus(span);
        let left = Duration::from_nanos(u64::from(passed.subsec_nanos()) % 1_000_000);
        self.counted_to = self.counted_to.max(until) - left;
    }

    /// The time counts as something else from then on.
    fn turn(&mut self, kind: UptimeKind, at: Instant, spans: &mut UptimeSpans) {
        if kind != self.kind {
            self.count(at, spans);
            self.kind = kind;
        }
    }

    /// Goes to another state.
    fn change(
        &mut self,
        to: (State, Option<Reason>, Option<&str>),
        at: Moment,
        cost: Option<PoolCost>,
        spans: &mut UptimeSpans,
    ) -> DatedChange {
        let (state, reason, detail) = to;
        let at = if at.mono < self.since.mono { self.since } else { at };
        self.count(at.mono, spans);
        let change = StateChange {
            at: at.wall,
            from: self.state,
            to: state,
            reason,
            detail: detail.map(StateChange::detail),
            lasted: at.since(self.since),
            reasons: self.reasons,
            cost: cost.zip(self.cost).map(|(now, before)| now.since(before)),
            counted: std::mem::take(&mut self.counted),
        };
        (self.state, self.since, self.cost) = (state, at, cost);
        self.reasons = reason.into_iter().collect();
        (at, Arc::new(change))
    }
}

impl TargetMemory {
    fn new(tenure: Tenure) -> Self {
        TargetMemory { changes: VecDeque::new(), spans: UptimeSpans::default(), tenure }
    }

    /// What is configured no more is remembered for a while.
    fn is_over(&self, now: Moment) -> bool {
        matches!(self.tenure, Tenure::Ended(at) if now.since(at) >= AFTER_REMOVAL)
    }
}

impl Memory {
    /// A step of a target's task is over. Returns what is new, the oldest first; most often that is nothing.
    pub fn observe(
        &mut self,
        name: &TargetName,
        seen: &Observation<'_>,
        now: Moment,
        cost: Option<PoolCost>,
    ) -> Vec<DatedChange> {
        let Some(target) = self.targets.get_mut(name) else {
            let target = TargetMemory::new(Tenure::Runs(OpenState::begun(seen, cost)));
            self.targets.insert(name.clone(), target);
            return Vec::new();
        };
        let TargetMemory { spans, tenure, .. } = target;
        let open = match tenure {
            Tenure::Runs(open) => open,
            Tenure::Ended(at) => {
                spans.add(UptimeSpan::of(UptimeKind::Unknown, seen.since.since(*at)));
                *tenure = Tenure::Runs(OpenState::begun(seen, cost));
                return Vec::new();
            }
        };
        let mut changes = Vec::new();
        let mut since = seen.since;
        if let Some(stalled_at) = seen.stalled_at {
            let at = now.at(stalled_at);
            open.turn(UptimeKind::Unknown, at.mono, spans);
            if open.state != State::Down {
                changes.push(open.change((State::Down, Some(Reason::Stalled), None), at, cost, spans));
            }
            since = now;
        }
        if seen.gap != Some(Gap::Planned) {
            open.turn(UptimeKind::of(seen.state, seen.reason), since.mono, spans);
        }
        let flaps = open.state == State::Degraded && open.reasons.has(Reason::Flapping);
        let is_passing = match seen.gap {
            Some(Gap::Flapping) => flaps,
            Some(Gap::Planned) => true,
            None => false,
        };
        if !is_passing {
            if seen.state != open.state {
                changes.push(open.change((seen.state, seen.reason, seen.detail), since, cost, spans));
            }
            seen.reason.into_iter().for_each(|reason| open.reasons.add(reason));
        }
        changes.iter().for_each(|(_, change)| self.push(name, Arc::clone(change)));
        changes
    }

    /// Only these targets go on; what is known of the others is kept for a while. Returns those that ended.
    pub fn keep(&mut self, configured: impl Fn(&TargetName) -> bool, now: Moment) -> Vec<TargetName> {
        let mut ended = Vec::new();
        for (name, target) in &mut self.targets {
            if let Tenure::Runs(open) = &mut target.tenure
                && !configured(name)
            {
                open.count(now.mono, &mut target.spans);
                target.tenure = Tenure::Ended(now);
                ended.push(name.clone());
            }
        }
        self.forget(now);
        ended
    }

    /// All changes that `wanted` does not leave out, the latest first, with their targets.
    pub fn changes(
        &self,
        wanted: impl Fn(&TargetName, &StateChange) -> bool,
        now: Moment,
    ) -> Vec<(&TargetName, &Arc<StateChange>)> {
        let known = self.targets.iter().filter(|(_, target)| !target.is_over(now));
        let all = known.flat_map(|(name, target)| target.changes.iter().map(move |change| (name, change)));
        let mut changes: Vec<_> = all.filter(|(name, change)| wanted(name, change)).collect();
        // Stable, and from the latest of a target on: two of one moment stay in their order.
        changes.reverse();
        changes.sort_by(|(a, left), (b, right)| right.at.cmp(&left.at).then_with(|| a.cmp(b)));
        changes
    }

    /// Whether anything is known of that target.
    pub fn knows(&self, name: &str, now: Moment) -> bool {
        self.targets.get(name).is_some_and(|target| !target.is_over(now))
    }

    /// What was of a target in each of [`WINDOWS`], up to now; `due` is when its task must have run again.
    pub fn uptime(&self, name: &str, now: Moment, due: Instant) -> [UptimeSpan; WINDOWS.len()] {
        match self.targets.get(name) {
            Some(target) => target.spans.windows(&target.newest(now, due)),
            None => UptimeSpans::default().windows(&[]),
        }
    }

    /// What was of a target in each of [`SLOTS`] equal parts of the last day, the oldest first.
    pub fn day(&self, name: &str, now: Moment, due: Instant) -> [UptimeSpan; SLOTS] {
        let slot = DAY / u32::try_from(SLOTS).unwrap_or(u32::MAX);
        let mut ages = [Duration::ZERO; SLOTS];
        ages.iter_mut().zip(1..).for_each(|(age, number)| *age = slot * number);
        let mut parts = match self.targets.get(name) {
            Some(target) => target.spans.cut(&target.newest(now, due), ages),
            None => UptimeSpans::default().cut(&[], ages),
        };
        parts.reverse();
        parts
    }

    fn push(&mut self, name: &TargetName, change: Arc<StateChange>) {
        let share = (IN_ALL / self.targets.len().max(1)).max(1);
        let Some(target) = self.targets.get_mut(name) else { return };
        target.changes.push_back(change);
        self.total += 1;
        let own = target.changes.len();
        let gives_way = if own > PER_TARGET || (self.total > IN_ALL && own > share) {
            Some(target)
        } else if self.total > IN_ALL {
            // Someone has more than a share, where this one has not.
            self.targets.values_mut().max_by_key(|target| target.changes.len())
        } else {
            None
        };
        if gives_way.and_then(|target| target.changes.pop_front()).is_some() {
            self.total -= 1;
        }
    }

    /// Drops what was removed long ago, and the oldest of what is too much.
    pub(super) fn forget(&mut self, now: Moment) {
        self.targets.retain(|_, target| !target.is_over(now));
        let ended = |target: &TargetMemory| match &target.tenure {
            Tenure::Ended(at) => Some(at.mono),
            Tenure::Runs(_) => None,
        };
        let mut removed: Vec<_> = self.targets.values().filter_map(ended).collect();
        if let Some(surplus) = removed.len().checked_sub(REMOVED + 1) {
            removed.sort_unstable();
            let last = removed[surplus];
            self.targets.retain(|_, target| ended(target).is_none_or(|at| at > last));
        }
        self.total = self.targets.values().map(|target| target.changes.len()).sum();
    }
}

impl TargetMemory {
    /// What is not counted yet.
    fn newest(&self, now: Moment, due: Instant) -> [UptimeSpan; 2] {
        match &self.tenure {
            Tenure::Runs(open) => {
                let known_to = now.mono.min(due + View::GRACE).max(open.counted_to);
                let known = known_to.saturating_duration_since(open.counted_to);
                let unknown = now.mono.saturating_duration_since(known_to);
                [UptimeSpan::of(open.kind, known), UptimeSpan::of(UptimeKind::Unknown, unknown)]
            }
            Tenure::Ended(at) => [UptimeSpan::default(), UptimeSpan::of(UptimeKind::Unknown, now.since(*at))],
        }
    }
}

#[cfg(test)]
mod tests;
