mod fleet;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::sleep;

use super::*;
use crate::policy::backoff::next_tcp_connect;
use crate::policy::guard::tests::{limits, most_in_a_second};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn refused() -> Facts {
    let kind = io::ErrorKind::ConnectionRefused;
    let os = Some(111);
    Facts::new(Phase::Connect, Cause::Io { kind, os })
}

fn no_descriptors() -> Facts {
    let message = "too many open files".to_owned();
    Facts::new(Phase::Connect, Cause::Local { message })
}

/// GuardLimits that hold nobody up.
fn wide_open() -> Gate {
    Gate::new(limits(100_000, 100_000, 100_000))
}

/// Dials for `took`, then ends with `outcome`.
async fn dial<T>(took: Duration, outcome: Result<T, Facts>) -> Result<T, Facts> {
    sleep(took).await;
    outcome
}

/// A dial that is refused at once.
async fn dial_in_vain(gate: &Gate, key: &str) -> FailedDial {
    let dialled = gate.pass(key, Lane::Reconnect, |_| dial(Duration::ZERO, Err::<(), _>(refused())));
    dialled.await.unwrap_err()
}

/// Starts a dial of `took` and lets it run until it waits.
fn start<T: 'static>(
    gate: &Gate,
    key: &'static str,
    took: Duration,
    outcome: Result<T, Facts>,
) -> tokio::task::JoinHandle<Result<Passed<T>, FailedDial>> {
    let gate = gate.clone();
    tokio::task::spawn_local(async move { gate.pass(key, Lane::Reconnect, |_| dial(took, outcome)).await })
}

/// Lets every task that can go on do so, without moving the clock.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[test]
fn the_future_can_move_between_threads() {
    fn assert_send(_: impl Send) {}
    let in_a_runtime = async {
        let gate = wide_open();
        assert_send(gate.pass("a:1", Lane::Refresh, |_| dial(SECOND, Ok(()))));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(in_a_runtime);
}

#[tokio::test(start_paused = true)]
async fn who_is_admitted_at_once_has_not_waited_and_holds_a_login_until_the_permit_goes() {
    let gate = wide_open();
    let before = Instant::now();
    let passed = gate
        .pass("a:1", Lane::Reconnect, |DialAdmission { at: admitted_at, .. }| async move {
            assert_eq!(admitted_at, before);
            dial(SECOND, Ok(7)).await
        })
        .await
        .unwrap();
    assert_eq!((passed.value, passed.waited), (7, Duration::ZERO));
    assert_eq!(gate.logins_in_flight(), 1);
    drop(passed.permit);
    assert_eq!(gate.logins_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_dial_says_how_long_it_waited_and_its_deadline_counts_from_its_admission() {
    let gate = Gate::new(limits(1, 100, 100));
    let first = gate.pass("a:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(()))).await;
    let begun = Instant::now();
    let second = gate.pass("b:1", Lane::Reconnect, |DialAdmission { at, .. }| async move { Ok(at) });
    let (second, ()) = tokio::join!(second, async {
        sleep(3 * SECOND).await;
        drop(first);
    });
    let second = second.unwrap();
    assert_eq!((second.value, second.waited), (begun + 3 * SECOND, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn reconnects_pass_before_refreshes_that_came_earlier() {
    let gate = Gate::new(limits(1, 100, 100));
    let held = gate.pass("a:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(()))).await;
    let order = RefCell::new(Vec::new());
    let pass = async |name: &'static str, lane| {
        let passed = gate.pass(name, lane, |_| dial(MS, Ok(()))).await;
        order.borrow_mut().push(name);
        drop(passed);
    };
    tokio::join!(
        pass("refresh1", Lane::Refresh),
        pass("refresh2", Lane::Refresh),
        pass("reconnect1", Lane::Reconnect),
        pass("reconnect2", Lane::Reconnect),
        async { drop(held) },
    );
    assert_eq!(*order.borrow(), ["reconnect1", "reconnect2", "refresh1", "refresh2"]);
}

#[tokio::test(start_paused = true)]
async fn new_limits_let_those_pass_who_wait() {
    let gate = Gate::new(limits(1, 100, 100));
    let held = gate.pass("a:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(()))).await;
    let waiting = gate.pass("b:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(())));
    let (passed, ()) = tokio::join!(waiting, async { gate.set_limits(limits(2, 100, 100)) });
    assert!(passed.is_ok());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_recent_failure_is_returned_without_dialling_and_an_old_one_is_not() {
    let gate = wide_open();
    let own = dial_in_vain(&gate, "a:1").await;
    assert!(!own.shared);
    sleep(next_tcp_connect(0.0) - MS).await;
    let shared = dial_in_vain(&gate, "a:1").await;
    assert_eq!((shared.shared, shared.failed_at, &shared.facts), (true, own.failed_at, &refused()));
    sleep(MS).await;
    let own_again = dial_in_vain(&gate, "a:1").await;
    assert!(!own_again.shared);
    assert!(!dial_in_vain(&gate, "b:1").await.shared, "another address is another matter");
}

#[tokio::test(start_paused = true)]
async fn those_who_join_a_leader_get_its_failure() {
    LocalSet::new()
        .run_until(async {
            let gate = wide_open();
            dial_in_vain(&gate, "a:1").await;
            sleep(SECOND).await;
            let begun = Instant::now();
            let leader = start(&gate, "a:1", 5 * SECOND, Err::<(), _>(refused()));
            settle().await;
            let joined: Vec<_> = (0..3).map(|_| start(&gate, "a:1", MS, Ok(()))).collect();
            let leader = leader.await.unwrap().unwrap_err();
            assert_eq!((leader.shared, leader.failed_at), (false, begun + 5 * SECOND));
            for joined in joined {
                let joined = joined.await.unwrap().unwrap_err();
                assert_eq!((joined.shared, joined.failed_at), (true, leader.failed_at));
                assert_eq!(joined.waited, Duration::ZERO, "joining is not throttling");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn those_who_join_a_leader_dial_for_themselves_once_it_is_let_in() {
    LocalSet::new()
        .run_until(async {
            let gate = wide_open();
            dial_in_vain(&gate, "a:1").await;
            sleep(SECOND).await;
            let leader = start(&gate, "a:1", SECOND, Ok("leader"));
            settle().await;
            let joined: Vec<_> = (0..3).map(|_| start(&gate, "a:1", MS, Ok("joined"))).collect();
            let leader = leader.await.unwrap().unwrap();
            assert_eq!(leader.value, "leader");
            for joined in joined {
                assert_eq!(joined.await.unwrap().unwrap().value, "joined");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn when_a_leader_is_cancelled_one_of_those_who_joined_leads() {
    LocalSet::new()
        .run_until(async {
            let gate = wide_open();
            dial_in_vain(&gate, "a:1").await;
            sleep(SECOND).await;
            let leader = start(&gate, "a:1", 60 * SECOND, Ok(()));
            settle().await;
            let joined: Vec<_> = (0..2).map(|_| start(&gate, "a:1", MS, Err::<(), _>(refused()))).collect();
            settle().await;
            let cancelled_at = Instant::now();
            leader.abort();
            let mut own = 0;
            for joined in joined {
                let failure = joined.await.unwrap().unwrap_err();
                assert_eq!(failure.failed_at, cancelled_at + MS);
                own += u32::from(!failure.shared);
            }
            assert_eq!(own, 1, "one of the two dialled");
            assert_eq!(gate.logins_in_flight(), 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cancelled_in_the_queue_gives_up_both_its_places() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(limits(1, 100, 100));
            dial_in_vain(&gate, "a:1").await;
            sleep(2 * SECOND).await;
            let held = gate.pass("b:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(()))).await;
            let leader = start(&gate, "a:1", MS, Ok("leader"));
            settle().await;
            let joined = start(&gate, "a:1", MS, Ok("joined"));
            settle().await;
            leader.abort();
            settle().await;
            drop(held);
            assert_eq!(joined.await.unwrap().unwrap().value, "joined");
            assert_eq!(gate.logins_in_flight(), 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_nobody_hears_of_is_given_back() {
    let gate = Gate::new(limits(1, 100, 100));
    let held = gate.pass("a:1", Lane::Reconnect, |_| dial(Duration::ZERO, Ok(()))).await;
    {
        let mut waiting = Box::pin(gate.pass("b:1", Lane::Reconnect, |_| dial(SECOND, Ok(()))));
        let is_pending = std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
        assert!(is_pending.await);
        drop(held);
        assert_eq!(gate.logins_in_flight(), 1, "admitted, not polled since");
    }
    assert_eq!(gate.logins_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_our_own_machine_leaves_the_address_reachable() {
    let gate = wide_open();
    for _ in 0..2 {
        let dialled = gate.pass("a:1", Lane::Reconnect, |_| dial(MS, Err::<(), _>(no_descriptors())));
        let failure = dialled.await.unwrap_err();
        assert_eq!((failure.shared, failure.facts), (false, no_descriptors()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_makes_no_address_unreachable_that_has_answered_since() {
    LocalSet::new()
        .run_until(async {
            let gate = wide_open();
            let slow = start(&gate, "a:1", 10 * SECOND, Err::<(), _>(refused()));
            settle().await;
            let quick = start(&gate, "a:1", SECOND, Ok(()));
            assert!(quick.await.unwrap().is_ok());
            assert!(slow.await.unwrap().is_err());
            let next = start(&gate, "a:1", MS, Ok(()));
            assert!(next.await.unwrap().is_ok(), "reachable: it dialled for itself");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_becomes_unreachable_answers_all_who_wait_for_it_at_once_and_nobody_else() {
    LocalSet::new()
        .run_until(async {
            let gate = Gate::new(limits(4, 100, 1));
            let begun = Instant::now();
            let waiting: Vec<_> =
                (0..100).map(|_| start(&gate, "dead:1", 10 * MS, Err::<(), _>(refused()))).collect();
            let other = start(&gate, "live:1", 50 * MS, Ok(()));
            let mut own = 0;
            for waiting in waiting {
                let failure = waiting.await.unwrap().unwrap_err();
                assert_eq!(failure.failed_at, begun + 10 * MS);
                own += u32::from(!failure.shared);
            }
            assert_eq!(own, 1);
            assert_eq!(begun.elapsed(), 10 * MS);
            assert!(other.await.unwrap().is_ok());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn dead_addresses_are_forgotten_when_nobody_asks_for_them() {
    let gate = wide_open();
    for n in 0..100 {
        dial_in_vain(&gate, &format!("dead{n}:1")).await;
    }
    sleep(61 * SECOND).await;
    dial_in_vain(&gate, "one more:1").await;
    assert_eq!(gate.shared.state().addresses.known(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_gates_task_ends_with_its_last_clone() {
    let gate = wide_open();
    let shared = Arc::downgrade(&gate.shared);
    let clone = gate.clone();
    settle().await;
    drop(gate);
    settle().await;
    assert!(shared.upgrade().is_some());
    drop(clone);
    settle().await;
    assert!(shared.upgrade().is_none());
}
