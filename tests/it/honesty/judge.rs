//! Compares what was claimed with what was found: pure, over two lists of moments.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Something was seen to be up or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    pub at: Duration,
    pub is_up: bool,
}

/// How long a claim may be behind the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// To notice that the server is gone.
    pub down_within: Duration,
    /// To be back.
    pub up_within: Duration,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Seconds in which the truth was known.
    pub judged: usize,
    /// Seconds beyond the promise in which it was claimed to be up and was not.
    pub falsely_up: BTreeSet<u64>,
    pub falsely_down: BTreeSet<u64>,
    /// The longest that a claim was behind, within the promise or not.
    pub longest_up: Duration,
    pub longest_down: Duration,
}

/// The truth is known between two sights that agree and are not farther apart than this.
const GAP: Duration = Duration::from_millis(1500);

impl Promise {
    pub fn with_slack(self, slack: Duration) -> Promise {
        Promise { down_within: self.down_within + slack, up_within: self.up_within + slack }
    }
}

/// Both lists are in the order of their times. A claim that contradicts the truth is behind it from the first such claim to the
/// last one in a row; where the truth is not known the row ends.
pub fn judge(truth: &[Sight], claims: &[Sight], promise: &Promise) -> Verdict {
    let mut verdict = Verdict::default();
    let mut judged = BTreeSet::new();
    // Since when the same claim has contradicted.
    let mut behind: Option<Sight> = None;
    for claim in claims {
        let found = truth_at(truth, claim.at);
        if found.is_some() {
            judged.insert(claim.at.as_secs());
        }
        if found.is_none_or(|is_up| is_up == claim.is_up) {
            behind = None;
            continue;
        }
        let since = behind.filter(|first| first.is_up == claim.is_up).unwrap_or(*claim);
        behind = Some(since);
        let long = claim.at - since.at;
        let (within, seconds, longest) = match claim.is_up {
            true => (promise.down_within, &mut verdict.falsely_up, &mut verdict.longest_up),
            false => (promise.up_within, &mut verdict.falsely_down, &mut verdict.longest_down),
        };
        *longest = long.max(*longest);
        if long > within {
            seconds.insert(claim.at.as_secs());
        }
    }
    verdict.judged = judged.len();
    verdict
}

fn truth_at(truth: &[Sight], at: Duration) -> Option<bool> {
    let next = truth.partition_point(|sight| sight.at <= at);
    let (before, after) = (truth.get(next.checked_sub(1)?)?, truth.get(next)?);
    (before.is_up == after.is_up && after.at - before.at <= GAP).then_some(before.is_up)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} s falsely up for {} s, falsely down for {} s; at the longest behind by {:.1} s when it went, {:.1} s when \
             it came back",
            self.judged,
            self.falsely_up.len(),
            self.falsely_down.len(),
            self.longest_up.as_secs_f64(),
            self.longest_down.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise =
        Promise { down_within: Duration::from_secs(2), up_within: Duration::from_secs(3) };

    /// A sight every 100 ms; each letter is a second: `u`p, `d`own, nothing seen.
    fn sights(seconds: &str) -> Vec<Sight> {
        let of_a_second = |(second, letter): (usize, char)| {
            let moments = (0..10).map(move |tenth| Duration::from_millis(1000 * second as u64 + 100 * tenth));
            moments.filter(move |_| letter != '-').map(move |at| Sight { at, is_up: letter == 'u' })
        };
        seconds.chars().enumerate().flat_map(of_a_second).collect()
    }

    fn verdict(truth: &str, claims: &str) -> (Vec<u64>, Vec<u64>) {
        let Verdict { falsely_up, falsely_down, .. } = judge(&sights(truth), &sights(claims), &PROMISE);
        (falsely_up.into_iter().collect(), falsely_down.into_iter().collect())
    }

    #[test]
    fn who_tells_the_truth_is_never_false() {
        for truth in ["uuuuuuuu", "dddddddd", "uudduudd", "uuuddddduuuu"] {
            assert_eq!(verdict(truth, truth), (vec![], vec![]), "{truth}");
        }
    }

    #[test]
    fn what_is_behind_counts_only_beyond_the_promise() {
        for (truth, claims, falsely_up, falsely_down) in [
            ("uudddddd", "uuuudddd", vec![], vec![]),
            ("uudddddd", "uuuuuddd", vec![4], vec![]),
            ("uudddddd", "uuuuuuuu", vec![4, 5, 6, 7], vec![]),
            ("dduuuuuu", "dddddduu", vec![], vec![5]),
            ("dduuuuuu", "ddddduuu", vec![], vec![]),
            // Its own session is lost, although others may log in.
            ("uuuuuuuu", "uudduuuu", vec![], vec![]),
            ("uuuuuuuu", "uudddddu", vec![], vec![5, 6]),
        ] {
            assert_eq!(verdict(truth, claims), (falsely_up, falsely_down), "{truth} {claims}");
        }
    }

    #[test]
    fn two_delays_are_not_added_up() {
        assert_eq!(verdict("uudduudduu", "uuuuddddud"), (vec![], vec![]));
        assert_eq!(verdict("uuuuuuuuuu", "udduddudd-"), (vec![], vec![]));
    }

    #[test]
    fn where_nobody_knows_the_truth_nothing_is_judged() {
        assert_eq!(verdict("uuu----uuu", "uuudddduuu"), (vec![], vec![]));
        assert_eq!(verdict("", "uuuuuuuu"), (vec![], vec![]));
        let judged = |truth: &str| judge(&sights(truth), &sights("uuuuuu"), &PROMISE).judged;
        assert_eq!((judged("uuuuuu"), judged("uu--uu"), judged("------")), (6, 4, 0));
    }

    #[test]
    fn the_longest_delay_is_told_within_the_promise_too() {
        let verdict = judge(&sights("uudddddd"), &sights("uuuudddd"), &PROMISE);
        assert_eq!(verdict.longest_up, Duration::from_millis(1900));
        assert_eq!(verdict.longest_down, Duration::ZERO);
    }
}
