//! `/probe`: refresh now and tell.

use super::*;

#[test]
fn a_probe_proves_a_login_and_is_told_once() {
    let mut rig = Rig::up();
    rig.run(s(10));
    rig.on(Event::Prove);
    assert_eq!(rig.answers(), [ProofResult::Proven]);
    assert_eq!(rig.logins(), [s(0), s(10)]);
    assert_eq!(rig.status.counters.refreshes, 1);
    rig.run(s(30));
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn probes_that_come_while_one_is_under_way_share_it() {
    let mut rig = Rig::up();
    rig.run(s(10));
    rig.server = RigServer::Silent;
    assert_eq!(rig.on(Event::Prove), [Action::TcpConnect { purpose: Purpose::Prove }]);
    assert_eq!(rig.on(Event::Prove), []);
    rig.on(connected());
    assert_eq!(rig.on(Event::Prove), []);
    assert_eq!(rig.on(logged_in(Role::Primary)), [Action::Adopt, Action::Answer(ProofResult::Proven)]);
}

#[test]
fn a_probe_joins_the_refresh_under_way() {
    let mut rig = Rig::up();
    rig.run(s(200));
    rig.server = RigServer::Silent;
    rig.run(s(28));
    let tcp_connects = rig.tcp_connects().len();
    rig.on(Event::Prove);
    assert_eq!(rig.tcp_connects().len(), tcp_connects);
    rig.on(login_failed(rig.now, Cause::Timeout));
    assert_eq!(rig.answers(), [ProofResult::Failed(Reason::Timeout)]);
}

#[test]
fn a_target_is_probed_once_a_second_and_the_last_end_is_told_between() {
    let mut rig = Rig::up();
    rig.run(s(10));
    for _ in 0..10 {
        rig.on(Event::Prove);
        rig.run(ms(100));
    }
    assert_eq!(rig.answers(), [ProofResult::Proven; 10]);
    assert_eq!(rig.logins().len(), 2);
    rig.on(Event::Prove);
    assert_eq!(rig.logins().len(), 3);
}

#[test]
fn a_failed_probe_degrades_and_leaves_the_breaker_alone() {
    let mut rig = Rig::up();
    rig.run(s(70));
    rig.server = RigServer::Rejects(Cause::Closed);
    rig.on(Event::Prove);
    assert_eq!(rig.answers(), [ProofResult::Failed(Reason::Closed)]);
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Closed)));
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 });
    rig.run(ms(200));
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 1 }, "its retry is an attempt like others");
}

#[test]
fn a_probe_is_refused_while_breaker_slow_lane_or_a_full_server_hold() {
    let held = [
        (Cause::Timeout, Because::Breaker),
        (server("28P01", "password authentication failed for user \"x\""), Because::SlowLane),
        (server("53300", "sorry, too many clients already"), Because::Capacity),
        (
            server("08P01", "server login has been failing, try again later (server_login_retry)"),
            Because::Asked,
        ),
    ];
    for (cause, because) in held {
        let breaker = crate::policy::breaker::BreakerLimits {
            consecutive_failures: if because == Because::Breaker { 1 } else { 9 },
            ..Tuning::default().breaker
        };
        let mut rig = Rig::new(Tuning { breaker, ..Tuning::default() }, RigServer::Rejects(cause));
        rig.run(s(2));
        let logins = rig.logins().len();
        rig.on(Event::Prove);
        assert_eq!(rig.answers(), [ProofResult::Refused(because)]);
        assert_eq!(rig.logins().len(), logins);
    }
}

#[test]
fn a_probe_during_backoff_is_tried() {
    let backoff = crate::target::Backoff { initial: s(20), max: s(30) };
    let mut rig = Rig::new(Tuning { backoff, ..Tuning::default() }, RigServer::Rejects(Cause::Timeout));
    rig.run(s(2));
    rig.server = RigServer::Up;
    rig.on(Event::Prove);
    assert_eq!(rig.answers(), [ProofResult::Proven]);
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_probe_of_an_unreachable_address_gets_the_result_of_the_tcp_connect_under_way() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Refuses);
    rig.run(s(60));
    rig.server = RigServer::Silent;
    rig.run(s(1));
    rig.on(Event::Prove);
    rig.on(rig.refused());
    assert_eq!(rig.answers(), [ProofResult::Failed(Reason::Refused)]);
}

#[test]
fn a_probe_wakes_a_sleeping_database() {
    let tuning = Tuning { idle_policy: IdlePolicy::LetSleep, ..Tuning::default() };
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.run(s(300));
    rig.lose(server("57P05", "terminating connection due to idle-session timeout"));
    assert_eq!(rig.on(Event::Prove), [Action::TcpConnect { purpose: Purpose::Wake }]);
    assert_eq!(rig.answers(), [ProofResult::Proven]);
    assert_eq!(rig.status.counters.wake_seconds.count, 1);
}

#[test]
fn a_probe_that_comes_while_sleep_is_being_confirmed_wakes_the_database() {
    let tuning = Tuning { idle_policy: IdlePolicy::LetSleep, ..Tuning::default() };
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.run(s(300));
    rig.server = RigServer::Silent;
    rig.lose(Cause::Closed);
    rig.on(Event::Prove);
    rig.server = RigServer::Up;
    rig.on(connected());
    assert_eq!(rig.answers(), [ProofResult::Proven]);
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_probe_that_comes_while_we_close_to_let_sleep_is_no_proof_before_a_login() {
    let idle_policy = IdlePolicy::LetSleep;
    let tuning = Tuning { idle_policy, close_idle_after: Some(s(40)), ..Tuning::default() };
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.run(s(39));
    let dice = rig.dice;
    rig.now = rig.now.after(s(1));
    let actions = rig.machine.on(Event::Timer, rig.now, &mut || dice, &mut rig.status);
    assert_eq!(actions, [Action::Close]);
    rig.line = false;
    assert_eq!(rig.on(Event::Prove), [], "the old session has to go first");
    rig.on(Event::Closed);
    assert_eq!(rig.answers(), [ProofResult::Proven]);
    assert_eq!(rig.logins().len(), 2);
}

#[test]
fn a_stop_answers_who_waits_for_a_proof() {
    let mut rig = Rig::up();
    rig.run(s(10));
    rig.server = RigServer::Silent;
    rig.on(Event::Prove);
    rig.on(Event::Stop);
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn an_operator_is_not_held_up_by_any_wait_after_a_failure() {
    let password = || server("28P01", "password authentication failed for user \"x\"");
    let causes = [
        password(),
        Cause::Timeout,
        server("53300", "sorry, too many clients already"),
        server("08P01", "server login has been failing, try again later (server_login_retry)"),
    ];
    for cause in causes {
        let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(cause.clone())).with_dice(0.999);
        rig.run(s(120));
        let (logins, wait) = (rig.logins().len(), rig.waits().0);
        assert!(wait > s(1), "{cause:?}");
        rig.on(Event::TryNow);
        assert_eq!(rig.logins().len(), logins + 1, "{cause:?}");
        assert!(matches!(rig.answers()[..], [ProofResult::Failed(_)]), "{cause:?}");
        rig.run(s(1));
        rig.server = RigServer::Up;
        rig.on(Event::TryNow);
        assert_eq!(rig.answers().last(), Some(&ProofResult::Proven), "{cause:?}");
        assert_eq!((rig.shows(), rig.status.breaker), ((State::Up, None), Breaker::Closed { failures: 0 }));
    }
}

#[test]
fn an_operator_waits_for_an_attempt_of_now_and_gets_no_result_of_before() {
    let wrong = || RigServer::Rejects(server("28P01", "password authentication failed for user \"x\""));
    let mut rig = Rig::new(Tuning::default(), wrong());
    rig.run(s(10));
    for _ in 0..10 {
        rig.on(Event::TryNow);
    }
    assert_eq!((rig.logins().len(), rig.answers().len()), (2, 1), "once a second at the most");
    // The cause is mended, and the attempt from before that says nothing of it.
    rig.server = RigServer::Up;
    rig.run(ms(990));
    assert_eq!(rig.answers().len(), 1, "{:?}", rig.answers());
    rig.run(ms(20));
    assert_eq!(rig.answers().last(), Some(&ProofResult::Proven));
    assert_eq!((rig.logins().len(), rig.shows()), (3, (State::Up, None)));
    rig.run(s(100));
    assert_eq!(rig.answers().len(), 2, "told once");
}

#[test]
fn attempts_that_are_asked_for_lengthen_no_wait() {
    for cause in [
        server("28P01", "password authentication failed for user \"x\""),
        server("53300", "sorry, too many clients already"),
        Cause::Timeout,
    ] {
        let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(cause.clone())).with_dice(0.999);
        rig.run(s(200));
        let (planned, because) = rig.waits();
        assert!(planned > s(4), "{cause:?}: {planned:?}");
        for asked in 1..=3 {
            rig.on(Event::TryNow);
            assert_eq!(rig.waits(), (planned - s(asked - 1), because), "{cause:?}");
            rig.run(s(1));
        }
        // That one is our own again, and is followed by a longer wait.
        let own = rig.waits().0;
        rig.run(own);
        assert!(rig.waits().0 >= planned.min(s(5)), "{cause:?}: {:?}", rig.waits());
        // Another failure has a wait of its own.
        rig.server = RigServer::Rejects(server("3D000", "database \"x\" does not exist"));
        rig.on(Event::TryNow);
        rig.run(s(1));
        assert_eq!(rig.waits().1, Because::SlowLane, "{cause:?}");
    }
}

#[test]
fn an_operator_replaces_the_session_that_is_held_and_waits_for_the_one_that_closes() {
    let mut rig = Rig::up();
    rig.run(s(10));
    rig.on(Event::TryNow);
    assert_eq!((rig.answers(), rig.status.counters.refreshes), (vec![ProofResult::Proven], 1));
    rig.run(s(10));
    rig.server = RigServer::Silent;
    assert_eq!(rig.on(Event::Prove), [Action::TcpConnect { purpose: Purpose::Prove }]);
    assert_eq!(rig.on(Event::TryNow), [], "it joins what is under way");
    rig.on(connected());
    rig.on(login_failed(rig.now, Cause::Closed));
    assert_eq!(rig.answers().last(), Some(&ProofResult::Failed(Reason::Closed)));
}
