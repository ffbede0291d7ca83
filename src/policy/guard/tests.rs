use std::ops::Add;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn limits(
    logins_in_flight: u32,
    connects_per_second: u32,
    connects_per_host_per_second: u32,
) -> GuardLimits {
    GuardLimits { logins_in_flight, connects_per_second, connects_per_host_per_second }
}

fn keys(turn: &Turn) -> Vec<&str> {
    turn.admitted.iter().map(|ticket| &*ticket.key).collect()
}

/// The most instants of a sorted list that fall into one second, on whichever clock.
pub(crate) fn most_in_a_second<T: Copy + Ord + Add<Duration, Output = T>>(instants: &[T]) -> usize {
    let first_after = |i: usize| instants.partition_point(|at| *at < instants[i] + SECOND);
    (0..instants.len()).map(|i| first_after(i) - i).max().unwrap_or_default()
}

#[test]
fn an_address_gets_a_quarter_of_the_logins_in_flight_and_never_less_than_one() {
    for (logins, quarter) in [(16, 4), (8, 2), (7, 1), (3, 1), (1, 1), (0, 1)] {
        let mut guard = Guard::new(limits(logins, 100, 100));
        for _ in 0..10 {
            guard.queue("a:1", Lane::Reconnect);
        }
        let turn = guard.turn(Instant::now());
        assert_eq!(turn.admitted.len(), quarter, "{logins} logins in flight");
        assert_eq!(turn.again_at, None, "only a release can help");
        assert_eq!(guard.in_flight(), quarter);
    }
}

#[test]
fn a_full_process_admits_nobody_until_a_release() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(2, 100, 100));
    for key in ["a:1", "b:1", "c:1"] {
        guard.queue(key, Lane::Reconnect);
    }
    let first = guard.turn(now);
    assert_eq!(keys(&first), ["a:1", "b:1"]);
    assert_eq!(guard.turn(now + SECOND * 60), Turn::default());
    guard.release(&first.admitted[0]);
    assert_eq!(keys(&guard.turn(now + SECOND * 60)), ["c:1"]);
}

#[test]
fn a_busy_address_holds_up_no_other() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(16, 50, 2));
    for _ in 0..100 {
        guard.queue("busy:1", Lane::Reconnect);
    }
    guard.queue("free:1", Lane::Refresh);
    assert_eq!(keys(&guard.turn(now)), ["busy:1", "busy:1", "free:1"]);
}

#[test]
fn reconnects_go_before_refreshes_and_each_lane_in_the_order_of_coming() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(16, 1, 1));
    for (key, lane) in [
        ("refresh1:1", Lane::Refresh),
        ("refresh2:1", Lane::Refresh),
        ("reconnect1:1", Lane::Reconnect),
        ("reconnect2:1", Lane::Reconnect),
    ] {
        guard.queue(key, lane);
    }
    let mut order = Vec::new();
    let mut at = now;
    for _ in 0..4 {
        let turn = guard.turn(at);
        order.extend(turn.admitted.iter().map(|t| t.key.to_string()));
        at = turn.again_at.unwrap_or(at);
    }
    assert_eq!(order, ["reconnect1:1", "reconnect2:1", "refresh1:1", "refresh2:1"]);
}

#[test]
fn connects_to_unreachable_addresses_leave_half_of_the_logins_to_reachable_ones() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(8, 100, 100));
    for n in 0..20 {
        guard.queue(&format!("dead{n}:1"), Lane::Unreachable);
    }
    guard.queue("live1:1", Lane::Refresh);
    let first = guard.turn(now);
    let admitted = ["dead0:1", "dead1:1", "dead2:1", "dead3:1", "live1:1"];
    assert_eq!(keys(&first), admitted);
    for n in 2..5 {
        guard.queue(&format!("live{n}:1"), Lane::Refresh);
    }
    assert_eq!(keys(&guard.turn(now)), ["live2:1", "live3:1", "live4:1"]);
    guard.release(&first.admitted[0]);
    assert_eq!(keys(&guard.turn(now)), ["dead4:1"], "its place is free again");
}

#[test]
fn connects_to_unreachable_addresses_leave_half_of_the_connects_to_reachable_ones_and_are_not_starved() {
    let mut now = Instant::now();
    let mut guard = Guard::new(limits(1000, 10, 10));
    let mut admitted = HashMap::new();
    for n in 0..600 {
        guard.queue(&format!("dead{n}:1"), Lane::Unreachable);
        guard.queue(&format!("live{n}:1"), Lane::Refresh);
    }
    for _ in 0..10 {
        let turn = guard.turn(now);
        for ticket in &turn.admitted {
            guard.release(ticket);
            *admitted.entry(ticket.lane).or_insert(0) += 1;
        }
        now = turn.again_at.expect("the queue is long");
    }
    assert_eq!(admitted, HashMap::from([(Lane::Unreachable, 50), (Lane::Refresh, 50)]));
}

#[test]
fn a_ticket_that_left_is_not_admitted_and_takes_no_ones_place() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(16, 100, 1));
    let gone = guard.queue("a:1", Lane::Reconnect);
    let stays = guard.queue("a:1", Lane::Reconnect);
    guard.leave(&gone);
    assert_eq!(guard.turn(now).admitted, [stays]);
}

#[test]
fn clearing_an_address_sends_away_all_who_wait_for_it_and_nobody_else() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(16, 100, 100));
    let a = [guard.queue("a:1", Lane::Refresh), guard.queue("a:1", Lane::Reconnect)];
    let b = guard.queue("b:1", Lane::Refresh);
    let mut cleared = guard.clear("a:1");
    cleared.sort_by_key(|ticket| ticket.number);
    assert_eq!(cleared, a);
    assert_eq!(guard.clear("unknown:1"), []);
    assert_eq!(guard.turn(now).admitted, [b]);
}

#[test]
fn new_limits_hold_at_once_and_lower_ones_count_what_was_admitted_before() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(100, 10, 10));
    for _ in 0..20 {
        guard.queue("a:1", Lane::Reconnect);
    }
    assert_eq!(guard.turn(now).admitted.len(), 10);
    guard.set_limits(limits(100, 12, 12));
    assert_eq!(guard.turn(now).admitted.len(), 2);
    guard.set_limits(limits(100, 5, 5));
    let turn = guard.turn(now + SECOND);
    assert_eq!(turn.admitted, []);
    assert_eq!(turn.again_at, Some(now + WINDOW));
    assert_eq!(guard.turn(now + WINDOW).admitted.len(), 5);
}

#[test]
fn limits_of_zero_let_one_pass_instead_of_none() {
    let mut guard = Guard::new(limits(0, 0, 0));
    guard.queue("a:1", Lane::Reconnect);
    assert_eq!(guard.turn(Instant::now()).admitted.len(), 1);
}

#[test]
fn quiet_hosts_are_forgotten() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(10_000, 10_000, 10));
    for n in 0..1000 {
        guard.queue(&format!("host{n}:5432"), Lane::Reconnect);
    }
    let turn = guard.turn(now);
    assert_eq!(turn.admitted.len(), 1000);
    turn.admitted.iter().for_each(|ticket| guard.release(ticket));
    guard.turn(now + WINDOW);
    assert_eq!((guard.hosts.len(), guard.all.connects.len()), (0, 0));
}

#[test]
fn a_turn_again_at_the_named_time_admits_and_a_moment_before_does_not() {
    let now = Instant::now();
    let mut guard = Guard::new(limits(16, 3, 2));
    for n in 0..6 {
        guard.queue(["a:1", "b:1"][n % 2], Lane::Reconnect);
    }
    let mut at = now;
    let mut admitted = guard.turn(now).admitted.len();
    while admitted < 6 {
        let turn = guard.turn(at);
        assert_eq!(turn.admitted, []);
        let again_at = turn.again_at.expect("nothing but the rate holds it up");
        assert_eq!(guard.turn(again_at - Duration::from_nanos(1)).admitted, []);
        let turn = guard.turn(again_at);
        assert_ne!(turn.admitted, []);
        admitted += turn.admitted.len();
        at = again_at;
    }
}

#[derive(Debug, Clone)]
enum GuardStep {
    Queue { host: u8, lane: Lane },
    Leave,
    Release,
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = GuardStep> {
    prop_oneof![
        6 => (0u8..4, 0usize..3).prop_map(|(host, lane)| GuardStep::Queue { host, lane: Lane::ALL[lane] }),
        1 => Just(GuardStep::Leave),
        4 => Just(GuardStep::Release),
        4 => (0u64..400).prop_map(|millis| GuardStep::Wait { millis }),
    ]
}

proptest! {
    /// Whatever comes in whatever order, no second holds more than the limits, nothing is lost and nothing is
    /// admitted twice.
    #[test]
    fn no_order_of_events_breaks_a_limit(
        steps in prop::collection::vec(step(), 1..300),
        (logins, rate, host_rate) in (1u32..12, 1u32..8, 1u32..5),
    ) {
        let mut guard = Guard::new(limits(logins, rate, host_rate));
        let mut now = Instant::now();
        let (mut waiting, mut holding) = (Vec::new(), Vec::new());
        let mut admitted: Vec<(Instant, Ticket)> = Vec::new();
        for step in steps {
            match step {
                GuardStep::Queue { host, lane } => {
                    waiting.push(guard.queue(&format!("host{host}:1"), lane));
                }
                GuardStep::Leave => if let Some(ticket) = waiting.pop() {
                    guard.leave(&ticket);
                },
                GuardStep::Release => if !holding.is_empty() {
                    guard.release(&holding.swap_remove(0));
                },
                GuardStep::Wait { millis } => now += Duration::from_millis(millis),
            }
            for ticket in guard.turn(now).admitted {
                let place = waiting.iter().position(|w| *w == ticket);
                waiting.remove(place.expect("only who waits is admitted, and once"));
                holding.push(ticket.clone());
                admitted.push((now, ticket));
            }
            prop_assert_eq!(guard.in_flight(), holding.len());
            prop_assert!(holding.len() <= logins as usize);
            for host in 0..4 {
                let key = format!("host{host}:1");
                let held = holding.iter().filter(|ticket| *ticket.key == *key).count();
                prop_assert!(held <= (logins as usize / 4).max(1));
            }
        }
        let all: Vec<Instant> = admitted.iter().map(|(at, _)| *at).collect();
        prop_assert!(most_in_a_second(&all) <= rate as usize);
        for host in 0..4 {
            let key = format!("host{host}:1");
            let at: Vec<Instant> = admitted.iter().filter(|(_, t)| *t.key == *key).map(|(at, _)| *at).collect();
            prop_assert!(most_in_a_second(&at) <= host_rate as usize);
        }
        // And whoever is left gets through, given time and releases.
        let mut turns = 0;
        while !waiting.is_empty() {
            holding.drain(..).for_each(|ticket| guard.release(&ticket));
            let turn = guard.turn(now);
            waiting.retain(|ticket| !turn.admitted.contains(ticket));
            now = turn.again_at.unwrap_or(now);
            holding.extend(turn.admitted);
            turns += 1;
            prop_assert!(turns < 1000, "the queue does not drain");
        }
    }
}
