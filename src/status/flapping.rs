//! Sessions that are lost again and again, as people are told of them.

use std::fmt::Write;

use super::counters::ByReason;
use super::moment::Moment;
use crate::reason::Reason;

/// The losses since a target began to flap.
#[derive(Debug, Clone, PartialEq)]
pub struct Flapping {
    /// The first of them.
    pub since: Moment,
    pub losses: u64,
    pub by_reason: ByReason,
    /// All of it in one line for people, without secrets.
    pub detail: String,
}

impl Flapping {
    /// By the losses that are often enough to be called so, the oldest first.
    pub fn begun(losses: impl IntoIterator<Item = (Moment, Reason)>, last: &str) -> Option<Self> {
        let mut losses = losses.into_iter();
        let (since, reason) = losses.next()?;
        let mut by_reason = ByReason::default();
        by_reason.add(reason);
        let mut flapping = Flapping { since, losses: 1, by_reason, detail: String::new() };
        losses.for_each(|(at, reason)| flapping.lost(at, reason, last));
        Some(flapping)
    }

    /// One more; `last` is what ended that session.
    pub fn lost(&mut self, at: Moment, reason: Reason, last: &str) {
        self.losses += 1;
        self.by_reason.add(reason);
        let (losses, seconds) = (self.losses, at.since(self.since).as_secs().max(1));
        let (reasons, when) = (self.reasons(), at.text());
        self.detail =
            format!("{losses} sessions lost within {seconds} s: {reasons}; the last at {when} by: {last}");
    }

    /// Which reasons, and how often each: `17 shutdown, 2 reset`.
    pub fn reasons(&self) -> String {
        let mut found: Vec<_> =
            Reason::ALL.iter().map(|reason| (self.by_reason.get(*reason), reason)).collect();
        found.retain(|(count, _)| *count > 0);
        found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let mut text = String::new();
        for (count, reason) in found {
            let comma = if text.is_empty() { "" } else { ", " };
            // A String takes everything.
            let _ = write!(text, "{comma}{count} {reason}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_line_says_how_often_since_when_and_why() {
        let now = Moment { wall: SystemTime::UNIX_EPOCH, ..Moment::now() };
        let at = |seconds| now.after(Duration::from_secs(seconds));
        let first = [(at(0), Reason::Reset), (at(2), Reason::Shutdown), (at(4), Reason::Shutdown)];
        let mut flapping = Flapping::begun(first, "shut down").unwrap();
        assert_eq!(
            flapping.detail,
            "3 sessions lost within 4 s: 2 shutdown, 1 reset; the last at 1970-01-01T00:00:04Z by: shut down"
        );
        for second in 5..100 {
            flapping.lost(at(second), Reason::Closed, "closed");
        }
        assert_eq!((flapping.since, flapping.losses), (now, 98));
        assert_eq!(
            flapping.detail,
            "98 sessions lost within 99 s: 95 closed, 2 shutdown, 1 reset; the last at \
             1970-01-01T00:01:39Z by: closed"
        );
        assert_eq!(Flapping::begun([], "nothing"), None);
    }
}
