//! For how long a target was up, down, or nobody knows: lengths, one behind the other, that end now.
//!
//! Lengths are taken from the monotonic clock and have no dates: whoever sets the wall clock changes none of them. What
//! is long ago is kept more coarsely than what is recent, so that a target that goes up and down all month takes no more
//! room than [`SPANS`] allow.

use std::collections::VecDeque;
use std::time::Duration;

use crate::reason::Reason;
use crate::status::State;

/// Nothing is remembered for longer.
pub const MEMORY: Duration = Duration::from_secs(30 * 86_400);
/// The windows that people are told, the shortest first, and their names.
pub const WINDOWS: [(&str, Duration); 4] = [
    ("1h", Duration::from_secs(3_600)),
    ("24h", Duration::from_secs(86_400)),
    ("7d", Duration::from_secs(7 * 86_400)),
    ("30d", MEMORY),
];
/// So many lengths are kept of a target, at the most.
pub const SPANS: usize = 256;

/// What a time counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UptimeKind {
    Up,
    Down,
    /// Nobody looked, or no attempt has ended yet.
    Unknown,
}

impl UptimeKind {
    /// As `pgtether_up` has it; but where nothing is known yet, or any more, the database is not called down.
    pub fn of(state: State, reason: Option<Reason>) -> Self {
        match state {
            State::Starting => UptimeKind::Unknown,
            _ if reason == Some(Reason::Stalled) => UptimeKind::Unknown,
            _ if state.is_up() => UptimeKind::Up,
            _ => UptimeKind::Down,
        }
    }
}

/// Milliseconds by what they count as. They need not be of one kind: what is long ago is a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UptimeSpan {
    pub up: u32,
    pub down: u32,
    pub unknown: u32,
}

impl UptimeSpan {
    /// So long of one kind, of which more than [`MEMORY`] is of no use.
    pub fn of(kind: UptimeKind, length: Duration) -> Self {
        let length = u32::try_from(length.min(MEMORY).as_millis()).unwrap_or(u32::MAX);
        let none = UptimeSpan::default();
        match kind {
            UptimeKind::Up => UptimeSpan { up: length, ..none },
            UptimeKind::Down => UptimeSpan { down: length, ..none },
            UptimeKind::Unknown => UptimeSpan { unknown: length, ..none },
        }
    }

    /// All of it.
    pub fn length(self) -> u64 {
        u64::from(self.up) + u64::from(self.down) + u64::from(self.unknown)
    }

    /// The share that was up of what is known; `None` where nothing is.
    pub fn ratio(self) -> Option<f64> {
        let known = u64::from(self.up) + u64::from(self.down);
        (known > 0).then(|| f64::from(self.up) / known as f64)
    }

    /// The share that is known.
    pub fn known(self) -> f64 {
        match self.length() {
            0 => 0.0,
            length => (length - u64::from(self.unknown)) as f64 / length as f64,
        }
    }

    /// The two together; longer ones than fit are cut.
    pub(super) fn plus(self, other: Self) -> Self {
        UptimeSpan {
            up: self.up.saturating_add(other.up),
            down: self.down.saturating_add(other.down),
            unknown: self.unknown.saturating_add(other.unknown),
        }
    }

    /// Its part of that length, mixed as all of it is. Time that was down is not rounded away.
    pub fn part(self, length: u64) -> Self {
        let (length, all) = (length.min(self.length()), self.length().max(1));
        let scaled = |millis: u32| u64::from(millis) * length;
        let narrow = |millis: u64| u32::try_from(millis).unwrap_or(u32::MAX);
        let down = scaled(self.down).div_ceil(all).min(length);
        let unknown = (scaled(self.unknown) / all).min(length - down);
        UptimeSpan { up: narrow(length - down - unknown), down: narrow(down), unknown: narrow(unknown) }
    }

    /// Whether both are of one and the same kind.
    fn is_of_the_kind_of(self, other: Self) -> bool {
        let kinds = |span: Self| [span.up > 0, span.down > 0, span.unknown > 0];
        let one = |kinds: [bool; 3]| kinds.into_iter().filter(|there| *there).count() == 1;
        kinds(self) == kinds(other) && one(kinds(self))
    }
}

/// What was, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UptimeSpans(VecDeque<UptimeSpan>);

impl UptimeSpans {
    /// That came next.
    pub fn add(&mut self, span: UptimeSpan) {
        if span.length() == 0 {
            return;
        }
        match self.0.back_mut() {
            Some(last) if last.is_of_the_kind_of(span) => *last = last.plus(span),
            _ => self.0.push_back(span),
        }
        self.forget();
        if self.0.len() > SPANS {
            self.merge();
        }
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = UptimeSpan> + '_ {
        self.0.iter().copied()
    }

    /// What was between now and the first age, between the first and the second, and so on; ages grow, and `newest` came
    /// after all that was added, the newest last. What lies further back than all of it is unknown.
    pub fn cut<const N: usize>(&self, newest: &[UptimeSpan], ages: [Duration; N]) -> [UptimeSpan; N] {
        let mut spans = newest.iter().rev().chain(self.0.iter().rev()).copied();
        let mut rest = UptimeSpan::default();
        let mut last = 0;
        ages.map(|age| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let mut missing = age.saturating_sub(last);
            last = age;
            let mut sum = UptimeSpan::default();
            while missing > 0 {
                if rest.length() == 0 {
                    match spans.next() {
                        Some(span) => rest = span,
                        None => break,
                    }
                }
                let part = rest.part(missing);
                rest = UptimeSpan {
                    up: rest.up.saturating_sub(part.up),
                    down: rest.down.saturating_sub(part.down),
                    unknown: rest.unknown.saturating_sub(part.unknown),
                };
                missing -= part.length();
                sum = sum.plus(part);
            }
            sum.plus(UptimeSpan::of(UptimeKind::Unknown, Duration::from_millis(missing)))
        })
    }

    /// Each of [`WINDOWS`].
    pub fn windows(&self, newest: &[UptimeSpan]) -> [UptimeSpan; WINDOWS.len()] {
        let mut all = UptimeSpan::default();
        self.cut(newest, WINDOWS.map(|(_, length)| length)).map(|part| {
            all = all.plus(part);
            all
        })
    }

    /// What ended longer ago than is remembered goes.
    fn forget(&mut self) {
        let memory = u64::try_from(MEMORY.as_millis()).unwrap_or(u64::MAX);
        let mut later: u64 = self.0.iter().map(|span| span.length()).sum();
        while let Some(oldest) = self.0.front() {
            later -= oldest.length();
            if later < memory {
                return;
            }
            self.0.pop_front();
        }
    }

    /// Makes one of two neighbours that are short for their age.
    fn merge(&mut self) {
        let mut age = 0;
        let mut best = None;
        for newer in (1..self.0.len()).rev() {
            let both = self.0[newer].length() + self.0[newer - 1].length();
            // A second more: what has just been is not merged because its age is next to nothing.
            let cost = both as f64 / (age + 1_000) as f64;
            if best.is_none_or(|(lowest, _)| cost < lowest) {
                best = Some((cost, newer));
            }
            age += self.0[newer].length();
        }
        if let Some((_, newer)) = best
            && let Some(span) = self.0.remove(newer)
        {
            self.0[newer - 1] = self.0[newer - 1].plus(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u32 = 3_600_000;

    fn millis(length: u32) -> Duration {
        Duration::from_millis(length.into())
    }

    fn spans(of: &[(UptimeKind, u32)]) -> UptimeSpans {
        let mut spans = UptimeSpans::default();
        of.iter().for_each(|(kind, length)| spans.add(UptimeSpan::of(*kind, millis(*length))));
        spans
    }

    fn span(up: u32, down: u32, unknown: u32) -> UptimeSpan {
        UptimeSpan { up, down, unknown }
    }

    #[test]
    fn states_count_as_pgtether_up_has_them_and_what_nobody_knows_is_unknown() {
        let reason = Some(Reason::Timeout);
        for (state, reason, expected) in [
            (State::Starting, None, UptimeKind::Unknown),
            (State::Up, None, UptimeKind::Up),
            (State::Degraded, reason, UptimeKind::Up),
            (State::Sleeping, None, UptimeKind::Up),
            (State::Down, reason, UptimeKind::Down),
            (State::Down, Some(Reason::Stalled), UptimeKind::Unknown),
        ] {
            let kind = UptimeKind::of(state, reason);
            assert_eq!(kind, expected, "{state:?} {reason:?}");
            assert!(kind == UptimeKind::Unknown || (kind == UptimeKind::Up) == state.is_up());
        }
    }

    #[test]
    fn a_window_counts_what_lies_in_it_and_what_nobody_knows_is_not_up() {
        let history = spans(&[(UptimeKind::Up, 2 * HOUR), (UptimeKind::Down, HOUR / 4)]);
        let windows = history.windows(&[UptimeSpan::of(UptimeKind::Up, millis(HOUR / 2))]);
        assert_eq!(windows[0], span(HOUR / 2 + HOUR / 4, HOUR / 4, 0));
        assert_eq!(windows[0].ratio(), Some(0.75));
        let known = 2 * HOUR + HOUR / 2 + HOUR / 4;
        assert_eq!(windows[1], span(known - HOUR / 4, HOUR / 4, 24 * HOUR - known));
        assert_eq!(windows[1].ratio(), Some(f64::from(known - HOUR / 4) / f64::from(known)));
        assert_eq!(windows[1].known(), f64::from(known) / f64::from(24 * HOUR));
        let nothing = UptimeSpans::default().windows(&[]);
        assert_eq!(nothing[3], span(0, 0, 720 * HOUR));
        assert_eq!((nothing[3].ratio(), nothing[3].known()), (None, 0.0));
    }

    #[test]
    fn each_interval_has_its_own_part() {
        let history = spans(&[(UptimeKind::Unknown, 10), (UptimeKind::Down, 10), (UptimeKind::Up, 10)]);
        let parts = history.cut(&[], [5, 15, 25, 40].map(millis));
        assert_eq!(parts, [span(5, 0, 0), span(5, 5, 0), span(0, 5, 5), span(0, 0, 15)]);
    }

    #[test]
    fn one_kind_is_one_span_and_what_is_too_long_ago_is_forgotten() {
        let month = 720 * HOUR;
        let history = spans(&[(UptimeKind::Up, 1), (UptimeKind::Up, 2), (UptimeKind::Up, 0)]);
        assert_eq!(history.iter().collect::<Vec<_>>(), [span(3, 0, 0)]);
        let history = spans(&[(UptimeKind::Down, 5), (UptimeKind::Up, month - 1), (UptimeKind::Down, 1)]);
        assert_eq!(history.iter().collect::<Vec<_>>(), [span(month - 1, 0, 0), span(0, 1, 0)]);
        let forever = UptimeSpan::of(UptimeKind::Up, Duration::MAX);
        assert_eq!(forever, span(month, 0, 0));
        let mut history = UptimeSpans::default();
        (0..5).for_each(|_| history.add(forever));
        assert_eq!(history.windows(&[])[3], forever);
    }

    #[test]
    fn time_that_was_down_is_never_rounded_away() {
        let mixed = span(1_000_000, 1, 0);
        assert_eq!(mixed.part(10), span(9, 1, 0));
        assert_eq!(mixed.part(u64::MAX), mixed);
        assert_eq!(UptimeSpan::default().part(5), UptimeSpan::default());
    }

    proptest! {
        /// However often it goes up and down: the room is bounded, no time is lost or counted twice, and a window is
        /// wrong by no more than a small part of itself.
        #[test]
        fn a_month_of_ups_and_downs_keeps_its_sums(
            lengths in prop::collection::vec((0_u8..3, 1_u32..4_000_000), 0..1_200),
        ) {
            let mut history = UptimeSpans::default();
            let mut all: Vec<UptimeSpan> = Vec::new();
            for (kind, length) in lengths {
                let kind = [UptimeKind::Up, UptimeKind::Down, UptimeKind::Unknown][usize::from(kind)];
                let span = UptimeSpan::of(kind, millis(length));
                history.add(span);
                all.push(span);
                prop_assert!(history.0.len() <= SPANS);
            }
            for ((name, length), told) in WINDOWS.into_iter().zip(history.windows(&[])) {
                let length = length.as_millis() as u64;
                prop_assert_eq!(told.length(), length);
                let mut exact = UptimeSpan::default();
                for span in all.iter().rev() {
                    exact = exact.plus(span.part(length - exact.length()));
                }
                let unseen = length - exact.length();
                let off = |told: u32, exact: u64| (f64::from(told) - exact as f64).abs() / length as f64;
                prop_assert!(off(told.up, exact.up.into()) < 0.05, "{name}: {told:?} {exact:?}");
                prop_assert!(off(told.down, exact.down.into()) < 0.05, "{name}: {told:?} {exact:?}");
                prop_assert!(off(told.unknown, u64::from(exact.unknown) + unseen) < 0.05, "{name}");
            }
        }
    }
}
