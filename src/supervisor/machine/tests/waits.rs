//! When the next attempt begins.

use super::*;
use crate::policy::breaker::BreakerState;

fn wrong_password() -> Cause {
    server("28P01", "password authentication failed for user \"app\"")
}

fn starting_up() -> Cause {
    server("57P03", "the database system is starting up")
}

fn full() -> Cause {
    server("53300", "sorry, too many clients already")
}

#[test]
fn the_one_wait_is_the_later_of_backoff_and_breaker() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(Cause::Timeout)).with_dice(0.0);
    rig.run(ms(799));
    assert_eq!(rig.waits().1, Because::Backoff);
    rig.run(ms(1));
    assert_eq!(rig.waits(), (s(10), Because::Breaker), "the fifth failure opens it");
    assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    let backoff = crate::target::Backoff { initial: s(12), max: s(30) };
    let mut patient = Rig::new(Tuning { backoff, ..Tuning::default() }, RigServer::Rejects(Cause::Timeout));
    patient = patient.with_dice(0.0);
    patient.run(s(48));
    assert_eq!(patient.waits(), (s(12), Because::Backoff), "ten seconds of breaker end before");
}

#[test]
fn the_breaker_opens_for_ten_seconds_doubling_to_thirty() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(Cause::Timeout));
    rig.dice = 0.0;
    rig.run(s(200));
    let gaps = gaps(&rig.logins());
    assert_eq!(gaps[..4], [ms(200); 4]);
    assert_eq!(gaps[4..9], [s(10), s(20), s(30), s(30), s(30)]);
    let [_, open, half_open] = rig.status.counters.breaker_transitions;
    assert!(open == half_open + 1 && open >= 6, "{open} and {half_open}");
    rig.server = RigServer::Up;
    rig.run(s(31));
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 }, "a success clears it");
    assert_eq!(rig.status.counters.breaker_transitions[BreakerState::Closed as usize], 1);
}

#[test]
fn where_nobody_answers_a_tcp_connect_is_tried_each_second_whatever_backoff_and_breaker_say() {
    for dice in [0.0, 0.5, 0.999] {
        let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
        rig.dice = dice;
        rig.run(s(600));
        let gaps = gaps(&rig.tcp_connects());
        assert!(gaps.len() >= 598, "{}", gaps.len());
        let odd: Vec<_> = gaps.iter().filter(|gap| !(ms(800)..=ms(1000)).contains(*gap)).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert_eq!(rig.status.breaker.state(), BreakerState::Open);
        assert!(rig.status.counters.attempts < 40, "TCP connects ahead of their time are no attempts");
        assert_eq!(rig.shows(), (State::Down, Some(Reason::Refused)));
    }
}

#[test]
fn names_and_routes_that_fail_are_asked_for_each_second_too() {
    let dns = Facts::new(Phase::Resolve, Cause::Dns { message: "no such name".into() });
    let unreachable = Facts::new(Phase::Connect, io(ErrorKind::HostUnreachable));
    let black_hole = Facts::new(Phase::Connect, Cause::Timeout);
    for facts in [dns, unreachable, black_hole] {
        let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
        for _ in 0..50 {
            let at = rig.now.mono;
            rig.on(Event::Failed { facts: facts.clone(), at, dial: Some(Dial::default()) });
            let before = rig.tcp_connects().len();
            rig.run(ms(900));
            assert_eq!(rig.tcp_connects().len(), before + 1, "{facts}");
        }
        assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    }
}

#[test]
fn a_shared_failure_is_followed_by_a_tcp_connect_counted_from_the_real_one() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    rig.run(ms(500));
    let real = rig.started;
    let dial = Dial { shared: true, ..Dial::default() };
    rig.on(connect_failed(real, io(ErrorKind::ConnectionRefused), dial));
    rig.run(ms(399));
    assert_eq!(rig.tcp_connects().len(), 1);
    rig.run(ms(1));
    assert_eq!(rig.tcp_connects(), [s(0), ms(900)]);
}

#[test]
fn the_next_attempt_that_is_shown_never_lies_before_the_next_tcp_connect() {
    let rig = Rig::new(Tuning::default(), RigServer::Refuses);
    assert_eq!(rig.view().next_attempt(), Some(rig.now.after(ms(900))));
}

#[test]
fn a_tcp_connect_accepted_ahead_of_its_time_is_the_attempt_and_the_half_open_probe() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
    rig.run(s(20));
    assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    let (until, because) = rig.waits();
    assert!(until > s(1) && because == Because::Breaker, "{until:?} {because:?}");
    let attempts = rig.status.counters.attempts;
    rig.server = RigServer::Silent;
    rig.run(ms(900));
    assert_eq!(rig.status.counters.attempts, attempts, "a TCP connect is no attempt yet");
    assert_eq!(rig.on(connected()), [Action::Login]);
    assert_eq!(rig.status.counters.attempts, attempts + 1);
    assert_eq!(rig.status.breaker.state(), BreakerState::HalfOpen);
    rig.on(logged_in(Role::Primary));
    assert_eq!(rig.status.breaker.state(), BreakerState::Closed);
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn an_accepted_tcp_connect_whose_login_fails_opens_the_breaker_for_longer() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
    rig.run(s(10));
    assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    rig.dice = 0.0;
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.run(s(1));
    assert_eq!(rig.waits().1, Because::Breaker);
    let logins = rig.logins();
    rig.run(s(18));
    assert_eq!(rig.logins(), logins, "the server took the socket: the breaker owns the wait");
}

#[test]
fn a_local_failure_does_not_stop_the_tcp_connects_to_an_unreachable_address() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
    rig.run(s(10));
    rig.server = RigServer::Silent;
    rig.run(ms(900));
    let tcp_connects = rig.tcp_connects().len();
    rig.on(connect_failed(rig.now, Cause::Local { message: "no descriptors".into() }, Dial::default()));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Local)));
    rig.run(s(1));
    assert_eq!(rig.tcp_connects().len(), tcp_connects + 1);
}

#[test]
fn a_server_that_says_it_is_starting_is_asked_each_second_for_a_minute_and_then_as_after_any_failure() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(starting_up()));
    rig.run(s(60));
    let gaps_at_first = gaps(&rig.logins());
    assert_eq!(gaps_at_first, vec![ms(900); gaps_at_first.len()]);
    assert!(gaps_at_first.len() >= 65);
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 }, "the breaker is left alone");
    assert_eq!(rig.shows(), (State::Down, Some(Reason::StartingUp)));
    rig.run(s(60));
    assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    assert!(rig.logins().len() < gaps_at_first.len() + 12, "{}", rig.logins().len());
}

#[test]
fn a_server_that_starts_leaves_an_open_breaker_as_it_was() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
    rig.run(s(30));
    rig.server = RigServer::Rejects(starting_up());
    rig.run(s(20));
    assert!(rig.logins().len() >= 20, "asked each second: {}", rig.logins().len());
    assert_eq!(rig.status.breaker.state(), BreakerState::Open);
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_rejected_password_goes_to_the_slow_lane() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(wrong_password()));
    assert_eq!(rig.waits().1, Because::SlowLane);
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Auth)));
    rig.run(s(1_800));
    let waits = gaps(&rig.logins());
    let expected = [31.5, 63.0, 126.0, 252.0, 315.0, 315.0].map(Duration::from_secs_f64);
    assert_eq!(waits[..6], expected, "30 s doubling to 5 min, plus half of a tenth");
    assert_eq!(rig.status.breaker.state(), BreakerState::Open, "attempts are counted all the same");
}

#[test]
fn the_slow_lane_is_no_faster_for_a_breaker_that_opened_or_closed() {
    for failures in [1, 2, 5] {
        let breaker = crate::policy::breaker::BreakerLimits {
            consecutive_failures: failures,
            open_for: ms(10),
            max_open_for: ms(20),
        };
        let tuning = Tuning { breaker, ..Tuning::default() };
        let mut rig = Rig::new(tuning, RigServer::Rejects(wrong_password()));
        rig.run(s(600));
        assert!(gaps(&rig.logins()).iter().all(|gap| *gap >= s(30)), "{:?}", rig.logins());
        assert!(rig.logins().len() <= 5);
    }
}

#[test]
fn a_changed_secret_is_tried_at_once() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(wrong_password()));
    rig.run(s(200));
    rig.server = RigServer::Up;
    assert_eq!(rig.on(Event::SecretChanged), [Action::TcpConnect { purpose: Purpose::First }]);
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn changed_settings_are_tried_at_once_in_the_slow_lane_and_change_no_other_wait() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(wrong_password()));
    let tuned = || Event::Tuned(Arc::new(Tuning { required: false, ..Tuning::default() }));
    assert_eq!(rig.on(tuned()), [Action::TcpConnect { purpose: Purpose::First }]);
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(full()));
    assert_eq!(rig.on(tuned()), []);
    assert_eq!(rig.waits(), (s(5), Because::Capacity));
}

#[test]
fn a_client_that_waits_has_a_missing_database_looked_for_once_a_second_and_no_other_permanent_failure() {
    let missing = server("3D000", "database \"app\" does not exist");
    for (cause, every) in [(missing, s(1)), (wrong_password(), s(30))] {
        let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(cause));
        for _ in 0..200 {
            rig.on(Event::Wanted);
            rig.run(ms(100));
        }
        let gaps = gaps(&rig.logins());
        assert!(gaps.iter().all(|gap| *gap >= every), "{gaps:?}");
        assert_eq!(gaps.len(), if every == s(1) { 20 } else { 0 }, "{gaps:?}");
        // They have not made the target wait for longer: 30 s from the first one.
        assert!(rig.waits().0 <= s(14), "{:?}", rig.waits());
    }
}

#[test]
fn a_full_server_is_asked_no_sooner_than_after_five_seconds() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(full()));
    assert_eq!(rig.waits(), (s(5), Because::Capacity));
    rig.run(s(600));
    let gaps = gaps(&rig.logins());
    assert!(gaps.iter().all(|gap| (s(5)..=s(30)).contains(gap)), "{gaps:?}");
    assert!(gaps.last() > Some(&s(15)), "and ever more rarely: {gaps:?}");
}

#[test]
fn a_pause_that_the_other_side_asked_for_is_kept() {
    let words = "server login has been failing, cached error: connect failed (server_login_retry)";
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(server("08P01", words)));
    assert_eq!(rig.waits(), (s(15), Because::Asked));
    rig.run(s(100));
    assert!(gaps(&rig.logins()).iter().all(|gap| *gap >= s(15)));
}

#[test]
fn a_secret_is_still_watched_for_when_the_other_side_asked_for_a_pause() {
    let words = "server login has been failing, cached error: password authentication failed for user \"x\"";
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(server("08P01", words)));
    rig.dice = 0.0;
    for _ in 0..3 {
        assert_eq!(rig.waits().1, Because::SlowLane);
        let wait = rig.waits().0;
        rig.run(wait);
    }
}

#[test]
fn trouble_of_our_own_machine_is_waited_out_by_backoff_and_leaves_the_breaker_alone() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    for _ in 0..20 {
        rig.on(connect_failed(rig.now, Cause::Local { message: "no descriptors".into() }, Dial::default()));
        assert_eq!(rig.waits().1, Because::Backoff);
        let wait = rig.waits().0;
        rig.run(wait);
    }
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 });
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Local)));
}

#[test]
fn absurdly_long_settings_are_only_long() {
    let ever = Duration::MAX;
    let tuning = Tuning {
        connect_timeout: ever,
        ping: crate::target::Ping { interval: ever, timeout: ever },
        refresh: Refresh { every: Some(ever), jitter: 0.1, overlap: true },
        backoff: crate::target::Backoff { initial: ever, max: ever },
        breaker: crate::policy::breaker::BreakerLimits {
            consecutive_failures: 1,
            open_for: ever,
            max_open_for: ever,
        },
        ..Tuning::default()
    };
    let mut rig = Rig::new(tuning.clone(), RigServer::Up);
    rig.run(s(1_000));
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.lose(Cause::Closed);
    rig.run(s(1_000));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Timeout)));
    let idle_policy = IdlePolicy::LetSleep;
    let tuning = Tuning { idle_policy, wake_every: Some(ever), close_idle_after: Some(ever), ..tuning };
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.lose(server("57P05", "terminating connection due to idle-session timeout"));
    rig.run(s(1_000));
    assert_eq!(rig.shows(), (State::Sleeping, None));
}
