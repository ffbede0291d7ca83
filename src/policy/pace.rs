//! How often something that keeps changing is told: each change at first, then ever more rarely, until it holds still.

use std::time::{Duration, Instant};

/// So many changes are told whatever comes after them: three incidents, each with all that it brings.
const AT_FIRST: u32 = 12;
/// A minute without any change is worth one more.
const QUIET: Duration = Duration::from_secs(60);
/// Where none is left: from one line to the next, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// What may be told of one thing that changes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    left: u32,
    pause: Duration,
    told_at: Option<Instant>,
    /// Since when nothing has changed, less the minutes that were counted already.
    quiet_since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { left: AT_FIRST, pause: FIRST_PAUSE, told_at: None, quiet_since: None }
    }
}

impl Pace {
    /// Something changed, told or not.
    pub fn changed(&mut self, now: Instant) {
        self.refill(now);
        if self.left == AT_FIRST {
            self.pause = FIRST_PAUSE;
        }
        self.quiet_since = Some(now);
    }

    /// Whether a change may be told now; it then counts as told.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.refill(now);
        if self.left > 0 {
            self.left -= 1;
            self.told_at = Some(now);
            return true;
        }
        self.admits_again(now)
    }

    /// The same for what was told before and goes on: only by the pause, so that it takes no room from what is new.
    pub fn admits_again(&mut self, now: Instant) -> bool {
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < self.pause) {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.told_at = Some(now);
        true
    }

    /// Whether the next change is told only after [`Self::pause`], or a minute without any.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// How long after the last line the next one comes of what goes on.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    fn refill(&mut self, now: Instant) {
        let Some(since) = self.quiet_since else { return };
        let minutes = now.saturating_duration_since(since).as_secs() / QUIET.as_secs();
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(minutes).min(AT_FIRST);
        self.quiet_since = Some(since + QUIET * minutes);
    }
}

/// Lines of one kind, of which others can cause as many as they like.
#[derive(Debug, Clone, Copy, Default)]
pub struct PacedLines {
    pace: Pace,
    left_out: u64,
}

impl PacedLines {
    /// One more: how many were left out before it, or `None` where it is left out, too.
    pub fn next(&mut self, now: Instant) -> Option<u64> {
        self.pace.changed(now);
        if self.pace.admits(now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// At which seconds something that changes every so many seconds is told.
    fn told(every: u64, until: u64) -> Vec<u64> {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let tell = |second: &u64| {
            let now = start + s(*second);
            if second.is_multiple_of(every) {
                pace.changed(now);
            }
            second.is_multiple_of(every) && pace.admits(now)
        };
        (0..until).filter(tell).collect()
    }

    #[test]
    fn what_never_holds_still_is_told_a_few_times_and_then_after_pauses_that_double() {
        assert_eq!(told(1, 3_600), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 71, 191, 431, 911, 1871]);
        assert_eq!(told(30, 3_600).len(), 17);
        assert_eq!(told(1, 24 * 3_600).len(), 12 + 6 + 22, "at least once an hour");
    }

    #[test]
    fn what_holds_still_for_a_minute_between_its_changes_is_told_each_time() {
        for every in [60, 75, 600] {
            assert_eq!(told(every, 7_200).len() as u64, 7_200_u64.div_ceil(every), "{every}");
        }
    }

    #[test]
    fn a_change_that_found_no_room_is_told_when_it_has_lasted_for_a_minute() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for second in 0..1_000 {
            pace.changed(start + s(second));
            pace.admits(start + s(second));
        }
        assert!(pace.is_spent() && pace.pause() > s(500));
        let last = start + s(999);
        assert!(!pace.admits(last + s(59)));
        assert!(pace.admits(last + s(60)));
        assert!(!pace.admits(last + s(61)), "one minute, one line");
    }

    #[test]
    fn what_is_told_again_takes_no_room_from_what_is_new() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.changed(start);
        assert!(pace.admits(start));
        let tell_again = |second: &u64| {
            pace.changed(start + s(*second));
            pace.admits_again(start + s(*second))
        };
        let again: Vec<_> = (1..1_000).filter(tell_again).collect();
        assert_eq!(again, [60, 180, 420, 900]);
        pace.changed(start + s(1_000));
        assert!((0..11).all(|_| pace.admits(start + s(1_000))));
        assert_eq!((pace.is_spent(), pace.pause()), (true, s(960)));
    }

    #[test]
    fn what_only_goes_on_leaves_room_for_what_is_new_and_is_told_ever_more_rarely_all_the_same() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.changed(start);
        while pace.admits(start) {}
        let again: Vec<_> = (1..3_600).filter(|second| pace.admits_again(start + s(*second))).collect();
        assert_eq!(again, [60, 180, 420, 900, 1_860]);
        pace.changed(start + s(3_600));
        assert!((0..12).all(|_| pace.admits(start + s(3_600))));
    }

    #[test]
    fn a_flood_of_lines_is_told_a_few_times_with_the_number_of_those_left_out() {
        let (start, mut lines) = (Instant::now(), PacedLines::default());
        let told: Vec<_> = (0..100_000).filter_map(|tick| lines.next(start + s(tick / 1_000))).collect();
        assert_eq!(told.len(), 13, "{told:?}");
        assert_eq!((told[0], told[11]), (0, 0));
        assert_eq!(told[12], 60_000 - 12);
        assert_eq!(lines.next(start + s(1_000)), Some(39_999));
    }

    #[test]
    fn after_some_quiet_minutes_all_is_as_at_first() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for second in 0..1_000 {
            pace.changed(start + s(second));
            pace.admits(start + s(second));
        }
        let later = start + s(1_000 + 12 * 60);
        pace.changed(later);
        assert!(!pace.is_spent());
        assert!((0..12).all(|_| pace.admits(later)));
        assert_eq!((pace.is_spent(), pace.pause()), (true, FIRST_PAUSE));
    }
}
