//! How long a client and its server may take over what they have begun.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::protocol::Violation;
use crate::target::pool::Pool;

/// The rest of a message that a client has begun comes within this, or at least some more of it.
const REST: Duration = Duration::from_secs(30);
/// A client that will send nothing more is looked after so often: it may be gone.
pub const HALF_CLOSED: Duration = Duration::from_millis(500);

/// Something that does not last for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The rest of a message is waited for.
    Rest,
    /// The server is at a query.
    Query,
    /// The client has nothing under way in its open transaction.
    IdleTransaction,
    /// The client sends nothing more, and its answers are waited for.
    HalfClosed,
    /// The client has no session and asks nothing.
    Idle,
    /// It keeps its session, and asks nothing of it.
    Quiet,
}

/// What the configuration says of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    query: Option<Duration>,
    idle_transaction: Option<Duration>,
    idle: Option<Duration>,
    quiet: Option<Duration>,
}

/// Since when something lasts.
#[derive(Debug, Default)]
struct Since(Option<(Limit, Instant)>);

/// See the module. Nothing is allocated before something has to be timed.
#[derive(Debug, Default)]
pub struct Timer {
    since: Since,
    sleep: Option<Pin<Box<Sleep>>>,
    /// It wakes the task when it rings: until then it need not be asked.
    is_set: bool,
}

impl Limits {
    pub fn new(pool: &Pool) -> Self {
        Limits {
            query: pool.query_timeout,
            idle_transaction: pool.idle_transaction_timeout,
            idle: pool.client_idle_timeout,
            quiet: None,
        }
    }

    /// A session that its client keeps is quiet for so long at the most.
    pub fn with_quiet(self, quiet: Option<Duration>) -> Self {
        Limits { quiet, ..self }
    }

    pub fn length(&self, limit: Limit) -> Option<Duration> {
        match limit {
            Limit::Rest => Some(REST),
            Limit::Query => self.query,
            Limit::IdleTransaction => self.idle_transaction,
            Limit::HalfClosed => Some(HALF_CLOSED),
            Limit::Idle => self.idle,
            Limit::Quiet => self.quiet,
        }
    }
}

impl Limit {
    /// What a client is told that has let it pass, in PostgreSQL's words where it has some.
    pub fn violation(self) -> Violation {
        let (sqlstate, message) = match self {
            Limit::IdleTransaction => ("25P03", "terminating connection due to idle-in-transaction timeout"),
            Limit::Idle => ("57P05", "terminating connection due to idle-session timeout"),
            Limit::Query => ("57014", "canceling statement due to query_timeout"),
            Limit::Rest | Limit::HalfClosed | Limit::Quiet => {
                ("08P01", "the rest of a message that the client has begun did not come within 30 s")
            }
        };
        Violation { sqlstate, message: message.into() }
    }
}

impl Since {
    /// When it has lasted too long, if what is `now` waited for has an end. `began` where that is known: what was timed
    /// before that was another one.
    fn due(
        &mut self,
        limit: Option<Limit>,
        began: Option<Instant>,
        limits: &Limits,
        now: impl FnOnce() -> Instant,
    ) -> Option<(Limit, Instant)> {
        let (limit, length) = limit.and_then(|limit| Some((limit, limits.length(limit)?))).or_else(|| {
            self.0 = None;
            None
        })?;
        let since = match self.0 {
            Some((before, since)) if before == limit => began.map_or(since, |began| began.max(since)),
            _ => began.unwrap_or_else(now),
        };
        self.0 = Some((limit, since));
        Some((limit, since + length))
    }
}

impl Timer {
    /// Something has come of what is waited for.
    pub fn moved(&mut self) {
        self.since.0 = None;
    }

    /// Ready when what is waited for has lasted too long; from then on it is timed anew. `began` where it is known when
    /// that was. Always of the same task.
    pub fn poll(
        &mut self,
        limit: Option<Limit>,
        began: Option<Instant>,
        limits: &Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Limit> {
        let Some((limit, due)) = self.since.due(limit, began, limits, Instant::now) else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // One that rings too early is set anew when it does: that is seldom, and new limits are often.
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
            self.is_set = false;
        }
        if self.is_set && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= due {
                self.since.0 = Some((limit, due));
                sleep.as_mut().reset(due + REST);
                self.is_set = false;
                return Poll::Ready(limit);
            }
            sleep.as_mut().reset(due);
        }
        self.is_set = true;
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        query: Some(Duration::from_secs(5)),
        idle_transaction: None,
        idle: None,
        quiet: Some(Duration::from_secs(60)),
    };

    #[test]
    fn a_limit_runs_from_when_something_began_and_anew_for_something_else() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut since = Since::default();
        let mut due = |limit, began, now: u64| since.due(limit, began, &LIMITS, || after(now));
        assert_eq!(due(Some(Limit::Rest), None, 1), Some((Limit::Rest, after(31))));
        assert_eq!(due(Some(Limit::Rest), None, 20), Some((Limit::Rest, after(31))));
        let asked = Some(after(18));
        assert_eq!(due(Some(Limit::Query), asked, 21), Some((Limit::Query, after(23))));
        assert_eq!(due(None, None, 22), None);
        assert_eq!(due(Some(Limit::Rest), None, 23), Some((Limit::Rest, after(53))));
        // What has no limit is not timed, and ends what was.
        assert_eq!(due(Some(Limit::IdleTransaction), None, 24), None);
        assert_eq!(due(Some(Limit::Rest), None, 25), Some((Limit::Rest, after(55))));
    }

    #[test]
    fn what_has_begun_since_is_another_one_though_it_is_of_the_same_kind() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut since = Since::default();
        for (limit, lasts) in [(Limit::Query, 5), (Limit::Quiet, 60)] {
            let mut due = |began| since.due(Some(limit), Some(after(began)), &LIMITS, || unreachable!());
            assert_eq!(due(10), Some((limit, after(10 + lasts))));
            assert_eq!(due(12), Some((limit, after(12 + lasts))));
            // It was told of, and what it was told of goes on.
            since.0 = Some((limit, after(12 + lasts)));
            let due = since.due(Some(limit), Some(after(12)), &LIMITS, || unreachable!());
            assert_eq!(due, Some((limit, after(12 + 2 * lasts))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_rings_when_a_limit_has_passed_and_not_for_what_has_moved() {
        let start = Instant::now();
        let mut timer = Timer::default();
        let moved = start + Duration::from_secs(20);
        let ring = std::future::poll_fn(|cx| {
            if Instant::now() >= moved && Instant::now() < moved + Duration::from_secs(1) {
                timer.moved();
            }
            timer.poll(Some(Limit::Rest), None, &LIMITS, cx)
        });
        let (limit, ()) = tokio::join!(ring, tokio::time::sleep_until(moved));
        assert_eq!(limit, Limit::Rest);
        let took = start.elapsed().as_secs();
        assert!((50..52).contains(&took), "it rang after {took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_rings_again_for_what_goes_on_and_earlier_for_what_ends_earlier() {
        let start = Instant::now();
        let mut timer = Timer::default();
        // Set for what ends late, and not asked again before it rings.
        let late = std::future::poll_fn(|cx| Poll::Ready(timer.poll(Some(Limit::Quiet), None, &LIMITS, cx)));
        assert!(late.await.is_pending());
        for rings in [5, 10, 15] {
            let query = std::future::poll_fn(|cx| timer.poll(Some(Limit::Query), Some(start), &LIMITS, cx));
            assert_eq!((query.await, start.elapsed().as_secs()), (Limit::Query, rings));
        }
        let quiet = std::future::poll_fn(|cx| timer.poll(Some(Limit::Quiet), Some(start), &LIMITS, cx));
        assert_eq!((quiet.await, start.elapsed().as_secs()), (Limit::Quiet, 60));
    }
}
