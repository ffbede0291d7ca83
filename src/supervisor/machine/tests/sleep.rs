//! Databases that may sleep.

use super::*;

fn sleepy() -> Tuning {
    Tuning { idle_policy: IdlePolicy::LetSleep, ..Tuning::default() }
}

fn idle_session_timeout() -> Cause {
    server("57P05", "terminating connection due to idle-session timeout")
}

fn shut_down() -> Cause {
    server("57P01", "terminating connection due to administrator command")
}

fn asleep(tuning: Tuning) -> Rig {
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.run(s(300));
    rig.lose(idle_session_timeout());
    assert_eq!(rig.shows(), (State::Sleeping, None));
    rig
}

#[test]
fn after_the_first_ping_nothing_is_sent() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    let begin = rig.diary.len();
    rig.run(s(3_600));
    assert_eq!(rig.diary[begin..], []);
    assert_eq!((rig.status.ping_every, rig.status.refresh_every), (None, None));
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_close_that_says_idle_timeout_is_sleep_at_once_and_teaches_the_limit() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(3));
    assert_eq!(rig.lose(idle_session_timeout()), [], "no TCP connect, no login");
    assert_eq!(rig.shows(), (State::Sleeping, None));
    assert!(rig.view().state().is_up());
    assert_eq!(rig.status.idle_limit, Some(s(3)));
    assert!(matches!(rig.status.line, Line::Asleep { idle_for, .. } if idle_for == s(3)));
    rig.run(s(86_000));
    assert_eq!(rig.tcp_connects().len(), 1, "left in peace");
    assert_eq!(rig.status.counters.reconnects, 0);
}

#[test]
fn an_idle_close_followed_by_an_accepted_tcp_connect_is_sleep() {
    for cause in [shut_down(), Cause::Closed, io(ErrorKind::ConnectionReset)] {
        let mut rig = Rig::new(sleepy(), RigServer::Up);
        rig.run(s(300));
        let logins = rig.logins().len();
        assert_eq!(rig.lose(cause), [Action::TcpConnect { purpose: Purpose::Confirm }]);
        assert_eq!(rig.diary.last().map(|(_, action)| *action), Some(Action::HangUp));
        assert_eq!(rig.shows(), (State::Sleeping, None));
        assert_eq!(rig.logins().len(), logins, "a TCP connect wakes nobody");
        rig.run(s(3_600));
        assert_eq!(rig.shows(), (State::Sleeping, None));
        assert_eq!(rig.status.counters.disconnects.get(Reason::IdleTimeout), 1);
        assert_eq!(
            (rig.status.counters.attempts, rig.tcp_connects().len()),
            (1, 8),
            "more looks, ever more rarely"
        );
    }
}

#[test]
fn a_server_that_accepts_a_tcp_connect_while_it_shuts_down_is_not_taken_for_asleep() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(300));
    rig.lose(shut_down());
    rig.server = RigServer::Refuses;
    rig.run(ms(799));
    assert_eq!(rig.shows(), (State::Sleeping, None));
    rig.run(ms(201));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Refused)));
    assert_eq!(rig.status.counters.disconnects.total(), 1, "one loss");
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.counters.reconnects, 1);
}

#[test]
fn a_database_that_has_just_gone_to_sleep_is_woken_like_any_other() {
    for event in [Event::Wanted, Event::SecretChanged, Event::Prove] {
        let mut rig = Rig::new(sleepy(), RigServer::Up);
        rig.run(s(300));
        rig.lose(shut_down());
        assert_eq!(rig.on(event), [Action::TcpConnect { purpose: Purpose::Wake }]);
        assert_eq!(rig.shows(), (State::Up, None));
        let tcp_connects = rig.tcp_connects().len();
        rig.run(s(600));
        assert_eq!(rig.tcp_connects().len(), tcp_connects, "nothing is left to be looked after");
    }
}

#[test]
fn an_idle_close_followed_by_a_refused_tcp_connect_is_down() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(300));
    rig.server = RigServer::Refuses;
    rig.lose(shut_down());
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Refused)));
    assert_eq!(rig.status.counters.disconnects.get(Reason::Shutdown), 1);
    rig.run(s(60));
    assert!(rig.tcp_connects().len() >= 60);
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.counters.reconnects, 1);
}

#[test]
fn a_server_that_still_takes_sockets_while_it_shuts_down_is_down_when_it_is_gone() {
    for takes in [ms(900), s(10)] {
        let mut rig = Rig::new(sleepy(), RigServer::Up);
        rig.run(s(300));
        rig.lose(shut_down());
        assert_eq!(rig.shows(), (State::Sleeping, None));
        rig.run(takes);
        rig.server = RigServer::Refuses;
        rig.run(takes * 2);
        assert_eq!(rig.shows(), (State::Down, Some(Reason::Refused)), "{takes:?}");
        assert_eq!(rig.status.counters.disconnects.total(), 1, "one loss");
        rig.server = RigServer::Up;
        rig.run(s(1));
        assert_eq!((rig.shows(), rig.status.counters.reconnects), ((State::Up, None), 1));
    }
}

#[test]
fn sleep_is_confirmed_ever_more_rarely_for_a_minute_and_then_left_in_peace() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(300));
    let (logins, attempts) = (rig.logins().len(), rig.status.counters.attempts);
    rig.lose(shut_down());
    rig.run(s(86_000));
    let gaps = gaps(&rig.tcp_connects()[1..]);
    assert_eq!(gaps.len(), 6, "{gaps:?}");
    assert!(gaps.windows(2).all(|pair| pair[1] == pair[0] * 2), "{gaps:?}");
    assert_eq!((rig.logins().len(), rig.status.counters.attempts), (logins, attempts));
    assert_eq!(rig.shows(), (State::Sleeping, None));
}

#[test]
fn a_crash_is_no_sleep() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(300));
    let crash = server("57P02", "terminating connection because of crash of another server process");
    assert_eq!(rig.lose(crash), [Action::TcpConnect { purpose: Purpose::Reconnect }]);
    assert_eq!(rig.status.counters.disconnects.get(Reason::Crash), 1);
}

#[test]
fn under_keep_awake_an_idle_close_is_a_loss() {
    let mut rig = Rig::up();
    rig.run(s(70));
    assert_eq!(rig.lose(idle_session_timeout()), [Action::TcpConnect { purpose: Purpose::Reconnect }]);
}

#[test]
fn a_sleeping_database_is_woken_by_whoever_needs_it() {
    let mut rig = asleep(sleepy());
    rig.run(s(1_000));
    assert_eq!(rig.on(Event::Wanted), [Action::TcpConnect { purpose: Purpose::Wake }]);
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.on(Event::Wanted), [], "it is awake");
    let counters = &rig.status.counters;
    assert_eq!((counters.wake_seconds.count, counters.reconnects, counters.refreshes), (1, 0, 0));
}

#[test]
fn a_changed_secret_wakes_a_sleeping_database_to_be_proven() {
    let mut rig = asleep(sleepy());
    assert_eq!(rig.on(Event::SecretChanged), [Action::TcpConnect { purpose: Purpose::Wake }]);
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn wake_every_proves_a_login_that_often() {
    let mut rig = asleep(Tuning { wake_every: Some(s(3_600)), ..sleepy() });
    for _ in 0..3 {
        rig.run(s(3_590));
        rig.lose(idle_session_timeout());
    }
    assert_eq!(rig.status.counters.wake_seconds.count, 3, "{:?}", rig.logins());
    assert!(gaps(&rig.logins()).iter().all(|gap| *gap == s(3_600)), "{:?}", rig.logins());
}

#[test]
fn a_live_session_under_let_sleep_is_refreshed_by_wake_every_too() {
    let mut rig = Rig::new(Tuning { wake_every: Some(s(600)), ..sleepy() }, RigServer::Up);
    rig.run(s(601));
    assert_eq!((rig.logins().len(), rig.status.counters.refreshes), (2, 1));
}

#[test]
fn the_first_failure_of_a_wake_is_kept_out_of_the_breaker_and_the_second_counts() {
    let mut rig = asleep(sleepy());
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.on(Event::Wanted);
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Timeout)));
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 });
    rig.run(ms(200));
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 1 });
    assert_eq!(rig.status.counters.failures.get(Reason::Timeout), 2);
}

#[test]
fn five_minutes_of_health_before_a_sleep_forget_earlier_failures() {
    let mut rig = Rig::new(sleepy(), RigServer::Rejects(Cause::Timeout));
    rig.run(s(3));
    rig.server = RigServer::Up;
    rig.run(s(300));
    rig.lose(shut_down());
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.on(Event::Wanted);
    assert_eq!(rig.waits(), (ms(200), Because::Backoff));
}

#[test]
fn close_idle_after_closes_the_session_and_sleeps() {
    let mut rig = Rig::new(Tuning { close_idle_after: Some(s(40)), ..sleepy() }, RigServer::Up);
    rig.run(s(39));
    assert!(rig.line);
    rig.run(s(1));
    assert_eq!(rig.diary.last(), Some(&(s(40), Action::Close)));
    assert_eq!(rig.shows(), (State::Sleeping, None));
    assert_eq!(rig.status.counters.disconnects.total(), 0, "a planned close is no loss");
    rig.run(s(3_600));
    assert_eq!(rig.tcp_connects().len(), 1);
}

#[test]
fn what_is_closed_while_a_proof_is_under_way_is_no_sleep() {
    let mut rig = Rig::new(sleepy(), RigServer::Up);
    rig.run(s(100));
    rig.server = RigServer::Silent;
    rig.on(Event::Prove);
    rig.lose(shut_down());
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Shutdown)));
    rig.on(connected());
    rig.on(logged_in(Role::Primary));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.counters.reconnects, 1);
}
