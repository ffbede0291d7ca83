//! Sessions that are lost: how soon the next one follows, and what is flapping.

use super::*;

#[test]
fn a_session_that_lived_for_five_seconds_is_replaced_at_once_however_often_it_is_lost() {
    let mut rig = Rig::up();
    for _ in 0..20 {
        rig.run(s(5));
        let actions = rig.lose(server("57P01", "terminating connection due to administrator command"));
        assert_eq!(actions, [Action::TcpConnect { purpose: Purpose::Reconnect }]);
        assert!(rig.view().state().is_up(), "back at once");
    }
}

#[test]
fn a_session_that_lived_for_less_is_replaced_within_two_seconds_however_often_it_is_lost() {
    for (dice, wait) in [(0.0, s(1)), (0.5, ms(1_500)), (0.999, ms(1_999))] {
        let mut rig = Rig::up().with_dice(dice);
        for _ in 0..20 {
            rig.run(ms(4_999) - wait);
            assert_eq!(rig.lose(Cause::Closed), [], "no attempt at once");
            assert_eq!(rig.waits(), (wait, Because::Backoff));
            rig.run(wait);
            assert!(rig.view().state().is_up());
        }
    }
}

/// Logins beside the session fail until one of them waits for as long as it gets.
fn degraded_by(cause: Cause) -> Rig {
    let refresh = Refresh { every: Some(s(100)), jitter: 0.0, overlap: true };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Rejects(cause);
    rig.run(s(1));
    while rig.waits().0 < s(4) {
        let wait = rig.waits().0;
        rig.run(wait);
    }
    assert_eq!(rig.view().state(), State::Degraded);
    rig
}

#[test]
fn whatever_the_logins_beside_it_waited_for_a_lost_session_is_followed_by_one_attempt_which_tells_why() {
    let printed = |message: &str| Cause::Command { message: message.to_owned() };
    for (cause, reason) in [
        (server("28P01", "password authentication failed for user \"app\""), Reason::Auth),
        (server("3D000", "database \"app\" does not exist"), Reason::DatabaseMissing),
        (server("53300", "sorry, too many clients already"), Reason::Capacity),
        (
            server("08P01", "server login has been failing, cached error: no route (server_login_retry)"),
            Reason::Pooler,
        ),
        (printed("exit code 1"), Reason::PasswordCommand),
        (Cause::Timeout, Reason::Timeout),
    ] {
        let mut rig = degraded_by(cause.clone());
        let (logins, planned) = (rig.logins().len(), rig.waits().0);
        let actions = rig.lose(server("57P01", "terminating connection due to administrator command"));
        assert_eq!(actions, [Action::TcpConnect { purpose: Purpose::Reconnect }], "{cause:?}");
        assert_eq!(rig.shows(), (State::Down, Some(reason)), "what keeps it down");
        assert!(rig.view().detail().is_some(), "{cause:?}");
        assert_eq!(rig.logins().len(), logins + 1, "{cause:?}");
        let (again, _) = rig.waits();
        assert!(
            again >= planned.min(s(4)) || cause == Cause::Timeout,
            "{cause:?}: no second attempt, but {again:?}"
        );
        assert_eq!(rig.status.counters.disconnects.get(Reason::Shutdown), 1);
    }
}

#[test]
fn the_slow_lane_goes_on_from_where_it_was_after_the_attempt_that_a_loss_was_worth() {
    let mut rig = degraded_by(server("28P01", "password authentication failed for user \"app\""));
    assert!(rig.waits().0 < s(34));
    rig.lose(Cause::Closed);
    let (wait, because) = rig.waits();
    assert!((s(60)..s(67)).contains(&wait) && because == Because::SlowLane, "{wait:?} {because:?}");
    let logins = rig.logins().len();
    rig.run(s(59));
    assert_eq!(rig.logins().len(), logins, "a rejected password is not tried into a lockout");
}

#[test]
fn a_session_that_is_only_suspect_does_not_shorten_the_wait_of_a_rejected_login() {
    let mut rig = degraded_by(server("28P01", "password authentication failed for user \"app\""));
    let logins = rig.logins().len();
    rig.run(s(27));
    assert!(matches!(rig.status.line, Line::Suspect { .. }), "{:?}", rig.status.line);
    assert_eq!((rig.logins().len(), rig.waits().1), (logins, Because::SlowLane));
}

#[test]
fn refreshes_do_not_restart_the_life_of_the_session() {
    let refresh = Refresh { every: Some(s(3)), ..Tuning::default().refresh };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Up);
    rig.run(s(7));
    assert_eq!(rig.status.counters.refreshes, 2);
    assert_eq!(rig.lose(Cause::Closed), [Action::TcpConnect { purpose: Purpose::Reconnect }]);
}

#[test]
fn only_failed_logins_lengthen_the_wait_and_a_login_forgets_them() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Rejects(Cause::Timeout));
    rig.run(s(3));
    assert!(rig.status.counters.failures.total() >= 4);
    rig.server = RigServer::Up;
    rig.run(s(20));
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.lose(Cause::Closed);
    assert_eq!(rig.waits(), (ms(200), Because::Backoff), "the first of a new series");
}

#[test]
fn three_sessions_lost_within_five_minutes_are_flapping_until_they_are_past() {
    let mut rig = Rig::up();
    for lost in 1..=3 {
        rig.run(s(40));
        assert_eq!(rig.shows(), (State::Up, None), "{lost}");
        rig.lose(Cause::Closed);
    }
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Flapping)));
    let since = rig.view().since();
    rig.run(s(219));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Flapping)));
    assert_eq!(rig.view().since(), since);
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None), "five minutes after the first of them");
}

#[test]
fn what_is_wrong_now_is_shown_before_the_flapping_and_a_lost_session_is_down_meanwhile() {
    let mut rig = Rig::up();
    for _ in 0..3 {
        rig.run(s(10));
        rig.lose(Cause::Closed);
    }
    rig.on(ping_failed(server("57014", "canceling statement")));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::QueryFailed)));
    rig.on(pong(Role::Primary));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Flapping)));
    rig.run(s(10));
    rig.server = RigServer::Refuses;
    rig.lose(Cause::Closed);
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Refused)));
}

#[test]
fn refreshes_sleep_and_failed_attempts_are_no_losses() {
    let refresh = Refresh { every: Some(s(3)), ..Tuning::default().refresh };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Up);
    rig.run(s(60));
    assert!(rig.status.counters.refreshes > 10);
    assert_eq!(rig.shows(), (State::Up, None));
    let mut sleepy = Rig::new(
        Tuning { idle_policy: IdlePolicy::LetSleep, ..Tuning::default() },
        RigServer::Rejects(Cause::Timeout),
    );
    sleepy.run(s(20));
    sleepy.server = RigServer::Up;
    sleepy.run(s(60));
    for _ in 0..5 {
        sleepy.run(s(10));
        sleepy.lose(server("57P05", "terminating connection due to idle-session timeout"));
        assert_eq!(sleepy.shows(), (State::Sleeping, None));
        sleepy.on(Event::Wanted);
        assert_eq!(sleepy.shows(), (State::Up, None));
    }
}

#[test]
fn an_outage_that_is_over_does_not_lengthen_the_wait_after_the_next_loss() {
    let mut rig = Rig::up();
    rig.run(s(60));
    rig.server = RigServer::Refuses;
    rig.lose(Cause::Closed);
    rig.run(s(120));
    assert!(rig.status.counters.failures.total() >= 5);
    rig.server = RigServer::Up;
    rig.run(s(8));
    let actions = rig.lose(Cause::Closed);
    assert_eq!(actions, [Action::TcpConnect { purpose: Purpose::Reconnect }]);
}
