//! When to ask a target's `password_command`, and when to take what it printed before. Pure: the time is an argument.

use std::time::{Duration, Instant};

use crate::target::Secret;

/// A command is not run sooner than that after its last end, however often somebody asks: one that fails, or whose
/// output the server rejects, would be run with every TCP connect that is accepted.
const PAUSE: Duration = Duration::from_secs(2);

/// The runs of one command, of which the last one counts.
#[derive(Debug, Default)]
pub struct CommandRuns {
    count: u64,
    last: Option<LastRun>,
}

#[derive(Debug)]
struct LastRun {
    began: Instant,
    ended: Instant,
    /// What it printed, or why there is nothing.
    outcome: Result<Secret, String>,
    /// The server does not take it.
    rejected: bool,
}

/// What to do for somebody who needs the password.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Take what the run of that number printed.
    Use(u64, Secret),
    Run,
    /// The last run failed, just now.
    Fail(String),
}

impl CommandRuns {
    /// `ttl` counts from the start of a run: a token is not younger than that.
    pub fn plan(&self, now: Instant, ttl: Duration) -> Plan {
        let Some(last) = &self.last else {
            return Plan::Run;
        };
        let paused = now < last.ended + PAUSE;
        match &last.outcome {
            Ok(secret) if paused || !last.rejected && now < last.began + ttl => {
                Plan::Use(self.count, secret.clone())
            }
            Err(why) if paused => Plan::Fail(why.clone()),
            Ok(_) | Err(_) => Plan::Run,
        }
    }

    /// A run has ended.
    pub fn ended(&mut self, began: Instant, ended: Instant, outcome: Result<Secret, String>) {
        self.count += 1;
        self.last = Some(LastRun { began, ended, outcome, rejected: false });
    }

    /// The server has rejected what the run of that number printed. True where another password can be had at once: of a
    /// run since then, or of one that is worth it now. Not of a run that has just ended: it would print no other.
    pub fn rejected(&mut self, number: u64, now: Instant) -> bool {
        match &mut self.last {
            Some(last) if number == self.count => {
                last.rejected = true;
                now >= last.ended + PAUSE
            }
            _ => true,
        }
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
        assert_eq!(story.plan(599_999), uses(1, "one"));
        assert_eq!(story.plan(600_000), Plan::Run);
        story.run(600_000, 600_100, Ok("two"));
        assert_eq!(story.plan(600_100), uses(2, "two"));
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
