//! What follows the loss of a session while the server takes logins: how soon the next one, and when it is too often.

use std::time::{Duration, Instant};

/// A session that lived that long is replaced at once.
const LIVED: Duration = Duration::from_secs(5);
/// After a shorter one the next login comes this much later, and up to twice as much: one a second at the most.
const PAUSE: Duration = Duration::from_secs(1);
/// So many losses within [`WINDOW`] are flapping.
const OFTEN: usize = 3;
const WINDOW: Duration = Duration::from_secs(300);

/// How long after the loss of a session that `lived` so long the next attempt begins; `dice` is in 0..1.
pub fn wait_after(lived: Duration, dice: f64) -> Duration {
    if lived >= LIVED { Duration::ZERO } else { PAUSE + PAUSE.mul_f64(dice.clamp(0.0, 1.0)) }
}

/// The last losses, as many as it takes to call them flapping, and what is known of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Losses<T>([Option<(Instant, T)>; OFTEN]);

impl<T: Copy> Default for Losses<T> {
    fn default() -> Self {
        Losses([None; OFTEN])
    }
}

impl<T: Copy> Losses<T> {
    /// A session was lost.
    pub fn add(&mut self, now: Instant, known: T) {
        self.0.rotate_left(1);
        self.0[OFTEN - 1] = Some((now, known));
    }

    /// What is known of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().flatten().map(|(_, known)| *known)
    }

    /// How many of the last losses are not past.
    #[cfg(test)]
    pub fn within_window(&self, now: Instant) -> usize {
        self.0.iter().flatten().filter(|(at, _)| now < *at + WINDOW).count()
    }

    /// Until when sessions count as flapping; `None` while they do not.
    pub fn flapping_until(&self, now: Instant) -> Option<Instant> {
        let until = self.0[0]?.0 + WINDOW;
        (now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_of_five_seconds_is_replaced_at_once_and_a_shorter_one_within_two() {
        assert_eq!((wait_after(s(5), 0.0), wait_after(s(5), 1.0)), (s(0), s(0)));
        let shorter = s(5) - Duration::from_millis(1);
        assert_eq!((wait_after(shorter, 0.0), wait_after(shorter, 1.0)), (s(1), s(2)));
        assert_eq!(wait_after(s(0), 7.0), s(2), "dice out of range make no longer wait");
    }

    #[test]
    fn three_losses_within_five_minutes_are_flapping_until_the_first_of_them_is_past() {
        let start = Instant::now();
        let mut losses = Losses::default();
        for after in [0, 100] {
            losses.add(start + s(after), after);
            assert_eq!(losses.flapping_until(start + s(after)), None);
        }
        losses.add(start + s(299), 299);
        assert_eq!(losses.iter().collect::<Vec<_>>(), [0, 100, 299]);
        assert_eq!(losses.flapping_until(start + s(299)), Some(start + s(300)));
        assert_eq!(losses.flapping_until(start + s(300)), None);
        losses.add(start + s(399), 399);
        assert_eq!(losses.flapping_until(start + s(399)), Some(start + s(400)), "the last three count");
    }
}
