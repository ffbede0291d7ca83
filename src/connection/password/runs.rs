//! When to ask a target's `password_command`, and when to take what it printed before. Pure: the time is an argument.

use std::time::{Duration, Instant};

use crate::target::Secret;

/// A command is not run sooner than that after its last end, however often somebody asks: one that fails, or whose
/// output the server rejects, would be run with every TCP connect that is accepted.
const PAUSE: Duration = Duration::from_secs(2);
/// While the server rejects what was printed, it is run that long after its last end, to see whether it prints another.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// In the second half of an output's time the command is run ahead of its end, after a failure not sooner than that: those
/// who log in wait for it.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// After so many outputs in a row that differ from the one before, another one tells nothing: each is a new token.
const MOST_CHANGES: u32 = 3;

/// The runs of one command, of which the last one counts.
#[derive(Debug, Default)]
pub struct CommandRuns {
    count: u64,
    last: Option<LastRun>,
    /// What it printed when it printed something last.
    printed: Option<Secret>,
    /// The last two outputs were the same.
    repeats: bool,
    /// How many outputs in a row differed from the one before.
    changes: u32,
    /// Why the last run ahead of time gave nothing, and when; what was printed before still counts.
    failed_renewal: Option<(Instant, String)>,
    /// What the server rejected last, unless a login has succeeded since, or another output was told of.
    rejected: Option<Secret>,
}

#[derive(Debug)]
struct LastRun {
    began: Instant,
    ended: Instant,
    /// What it printed, or why there is nothing.
    outcome: Result<Secret, String>,
    /// Whether another output than the rejected one is worth a login: a command that prints another one at each run has no
    /// news.
    is_news: bool,
}

/// What to do for somebody who needs the password.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Take what the run of that number printed.
    Use(u64, Secret),
    Run,
    /// Run it ahead of time; if that fails, what was printed before is still good.
    Renew,
    /// The last run failed, just now.
    Fail(String),
}

/// What to do for somebody who waits for another password than the rejected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// None was rejected, or the command prints another one at each run: its next will be no better.
    Pointless,
    /// Run it then.
    At(Instant),
    /// There is another one, which is worth a login at once.
    Changed,
}

impl CommandRuns {
    /// `ttl` counts from the start of a run: a token is not younger than that.
    pub fn plan(&self, now: Instant, ttl: Duration) -> Plan {
        let Some(last) = &self.last else {
            return Plan::Run;
        };
        let paused = now < last.ended + PAUSE;
        match &last.outcome {
            Ok(secret) if paused || !self.is_rejected(secret) && now < last.began + ttl => {
                match !paused && now >= last.began + ttl / 2 && self.may_renew(now) {
                    true => Plan::Renew,
                    false => Plan::Use(self.count, secret.clone()),
                }
            }
            Err(why) if paused => Plan::Fail(why.clone()),
            Ok(_) | Err(_) => Plan::Run,
        }
    }

    fn may_renew(&self, now: Instant) -> bool {
        self.failed_renewal.as_ref().is_none_or(|(at, _)| now >= *at + RENEW_EVERY)
    }

    /// A run ahead of time has ended: if it failed, that is only told.
    pub fn renewed(&mut self, began: Instant, ended: Instant, outcome: Result<Secret, String>) {
        match outcome {
            Err(why) => self.failed_renewal = Some((ended, why)),
            printed => self.ended(began, ended, printed),
        }
    }

    /// Why the command gives no password any more, while what it printed before is used.
    pub fn failed_renewal(&self) -> Option<&str> {
        self.failed_renewal.as_ref().map(|(_, why)| why.as_str())
    }

    /// A run has ended.
    pub fn ended(&mut self, began: Instant, ended: Instant, outcome: Result<Secret, String>) {
        self.failed_renewal = None;
        self.count += 1;
        let mut is_news = false;
        if let Ok(secret) = &outcome {
            let is_first = self.printed.is_none();
            let is_same = self.printed.replace(secret.clone()).as_ref() == Some(secret);
            is_news = is_same || self.repeats;
            self.repeats = is_same;
            self.changes = if is_same || is_first { 0 } else { self.changes.saturating_add(1) };
        }
        self.last = Some(LastRun { began, ended, outcome, is_news });
    }

    /// The server has rejected what the run of that number printed. True where another password can be had at once: of a
    /// run since then, or of one that is worth it now. Not of a run that has just ended: it would print no other.
    pub fn rejected(&mut self, number: u64, now: Instant) -> bool {
        match &self.last {
            Some(LastRun { ended, outcome, .. }) if number == self.count => {
                self.rejected = outcome.as_ref().ok().cloned();
                now >= *ended + PAUSE
            }
            _ => true,
        }
    }

    /// A login has got past the password, or is about to be tried with another one.
    pub fn forget_rejected(&mut self) {
        self.rejected = None;
    }

    /// Whether there is a better password than the rejected one, or when to look for it.
    pub fn look(&self) -> Look {
        match (&self.rejected, &self.last) {
            (Some(rejected), Some(last)) => match &last.outcome {
                Ok(secret) if secret != rejected && last.is_news => Look::Changed,
                _ if self.changes >= MOST_CHANGES => Look::Pointless,
                _ => Look::At(last.ended + LOOK_EVERY),
            },
            _ => Look::Pointless,
        }
    }

    fn is_rejected(&self, secret: &Secret) -> bool {
        self.rejected.as_ref() == Some(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(600);

    struct Story {
        start: Instant,
        runs: CommandRuns,
    }

    impl Story {
        fn new() -> Self {
            Story { start: Instant::now(), runs: CommandRuns::default() }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn plan(&self, millis: u64) -> Plan {
            self.runs.plan(self.at(millis), TTL)
        }

        /// A run from one moment to the other.
        fn run(&mut self, from: u64, to: u64, outcome: Result<&str, &str>) {
            let outcome = outcome.map(Secret::new).map_err(str::to_owned);
            self.runs.ended(self.at(from), self.at(to), outcome);
        }

        /// The same, ahead of its time.
        fn renew(&mut self, from: u64, to: u64, outcome: Result<&str, &str>) {
            let outcome = outcome.map(Secret::new).map_err(str::to_owned);
            self.runs.renewed(self.at(from), self.at(to), outcome);
        }

        fn rejected(&mut self, number: u64, millis: u64) -> bool {
            let now = self.at(millis);
            self.runs.rejected(number, now)
        }
    }

    fn uses(number: u64, secret: &str) -> Plan {
        Plan::Use(number, Secret::new(secret))
    }

    #[test]
    fn what_was_printed_is_used_for_its_ttl_counted_from_the_start_of_the_run() {
        let mut story = Story::new();
        assert_eq!(story.plan(0), Plan::Run);
        story.run(0, 5_000, Ok("one"));
        assert_eq!(story.plan(5_000), uses(1, "one"));
        assert_eq!(story.plan(299_999), uses(1, "one"));
        assert_eq!(story.plan(600_000), Plan::Run);
        story.run(600_000, 600_100, Ok("two"));
        assert_eq!(story.plan(600_100), uses(2, "two"));
    }

    #[test]
    fn in_the_second_half_of_its_time_it_is_renewed_and_a_failure_of_that_is_told_while_the_old_one_is_used()
    {
        let mut story = Story::new();
        story.run(0, 1_000, Ok("one"));
        assert_eq!(story.plan(300_000), Plan::Renew);
        story.renew(300_000, 301_000, Err("exit code 1"));
        assert_eq!(story.runs.failed_renewal(), Some("exit code 1"));
        assert_eq!(story.plan(301_000), uses(1, "one"), "it is still good");
        assert_eq!(story.plan(360_999), uses(1, "one"), "nobody waits for it with each login");
        assert_eq!(story.plan(361_000), Plan::Renew);
        story.renew(361_000, 362_000, Ok("two"));
        assert_eq!((story.plan(362_000), story.runs.failed_renewal()), (uses(2, "two"), None));
        assert_eq!(story.plan(660_999), uses(2, "two"), "its time counts from its own run");
        story.renew(661_000, 662_000, Err("exit code 2"));
        assert_eq!(story.plan(961_000), Plan::Run, "the time is over");
        story.run(961_000, 962_000, Err("exit code 2"));
        assert_eq!(story.runs.failed_renewal(), None, "it is why the login fails now");
    }

    #[test]
    fn a_rejected_password_is_asked_anew_once_and_only_if_the_run_is_over_for_a_while() {
        let mut story = Story::new();
        story.run(0, 1_000, Ok("one"));
        assert!(story.rejected(1, 60_000), "it may have been good when it was printed");
        assert_eq!(story.plan(60_000), Plan::Run);
        story.run(60_000, 61_000, Ok("two"));
        assert!(!story.rejected(2, 61_500), "it was printed just now");
        assert_eq!(story.plan(61_500), uses(2, "two"), "no run with every login");
        assert_eq!(story.plan(63_000), Plan::Run, "for the next attempt");
    }

    #[test]
    fn many_sessions_whose_password_is_rejected_at_once_share_one_run() {
        let mut story = Story::new();
        story.run(0, 1_000, Ok("one"));
        assert!(story.rejected(1, 60_000) && story.rejected(1, 60_000));
        story.run(60_000, 60_100, Ok("two"));
        assert!(story.rejected(1, 60_200), "the other password is there already");
        assert_eq!(story.plan(60_200), uses(2, "two"), "and not rejected by the fault of the first");
    }

    #[test]
    fn a_rejected_password_that_is_printed_again_is_not_taken_for_a_good_one() {
        let mut story = Story::new();
        story.run(0, 1_000, Ok("one"));
        story.rejected(1, 60_000);
        story.run(60_000, 60_100, Ok("one"));
        assert_eq!(story.plan(60_200), uses(2, "one"), "no run with every login");
        assert_eq!(story.plan(63_000), Plan::Run);
        story.runs.forget_rejected();
        assert_eq!(story.plan(63_000), uses(2, "one"), "the server takes it by now");
    }

    #[test]
    fn while_one_password_is_rejected_another_one_is_looked_for_and_told_once() {
        let mut story = Story::new();
        assert_eq!(story.runs.look(), Look::Pointless, "there is none");
        story.run(0, 1_000, Ok("one"));
        assert_eq!(story.runs.look(), Look::Pointless, "it is good");
        story.rejected(1, 60_000);
        story.run(60_000, 60_100, Ok("one"));
        assert_eq!(story.runs.look(), Look::At(story.at(70_100)));
        story.run(70_100, 70_200, Err("exit code 1"));
        assert_eq!(story.runs.look(), Look::At(story.at(80_200)), "a failure is no password");
        story.run(80_200, 80_300, Ok("two"));
        assert_eq!(story.runs.look(), Look::Changed);
        story.runs.forget_rejected();
        assert_eq!(story.runs.look(), Look::Pointless);
        story.rejected(4, 80_400);
        assert_eq!(story.runs.look(), Look::At(story.at(90_300)), "this one is rejected, too");
        story.run(90_300, 90_400, Ok("three"));
        assert_eq!(story.runs.look(), Look::At(story.at(100_400)), "perhaps it never prints the same again");
        story.run(100_400, 100_500, Ok("three"));
        assert_eq!(story.runs.look(), Look::Changed, "it does");
    }

    #[test]
    fn a_command_that_prints_another_token_at_each_run_brings_no_login_forward() {
        let mut story = Story::new();
        for number in 1..20_u32 {
            let at = u64::from(number) * 10_000;
            story.run(at, at + 100, Ok(&format!("token {number}")));
            // The attempts of the slow lane.
            if number % 3 == 1 {
                story.rejected(number.into(), at + 200);
            }
            let expected = if number > 3 { Look::Pointless } else { Look::At(story.at(at + 10_100)) };
            assert_eq!(story.runs.look(), expected, "{number}");
        }
        story.run(300_000, 300_100, Ok("steady"));
        story.run(310_000, 310_100, Ok("steady"));
        assert_eq!(story.runs.look(), Look::Changed, "it is steady now");
    }

    #[test]
    fn a_failure_is_shared_by_all_who_ask_while_it_is_new_and_replaces_nothing_good() {
        let mut story = Story::new();
        story.run(0, 10_000, Err("exit code 1"));
        assert_eq!(story.plan(10_000), Plan::Fail("exit code 1".to_owned()));
        assert_eq!(story.plan(11_999), Plan::Fail("exit code 1".to_owned()));
        assert_eq!(story.plan(12_000), Plan::Run);
        story.run(12_000, 12_100, Ok("one"));
        assert_eq!(story.plan(12_100), uses(1 + 1, "one"));
    }
}
