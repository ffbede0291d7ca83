//! The session in hand: pings, refreshes, losses, roles, what is learned of the other side.

use super::*;

fn every(refresh: Duration) -> Tuning {
    let refresh = Refresh { every: Some(refresh), jitter: 0.0, overlap: true };
    Tuning { refresh, ..Tuning::default() }
}

fn without_overlap() -> Tuning {
    let tuning = every(s(100));
    Tuning { refresh: Refresh { overlap: false, ..tuning.refresh }, ..tuning }
}

/// Up for 100 s, then the server hangs until a ping is overdue.
fn hung(tuning: Tuning) -> Rig {
    let mut rig = Rig::new(tuning, RigServer::Up);
    rig.run(s(100));
    rig.server = RigServer::Silent;
    rig.run(s(20) + Tuning::default().ping.timeout);
    rig
}

fn no_refresh() -> Tuning {
    Tuning { refresh: Refresh { every: None, ..Tuning::default().refresh }, ..Tuning::default() }
}

#[test]
fn a_live_line_is_pinged_at_its_interval() {
    let mut rig = Rig::up();
    rig.run(s(100));
    assert_eq!(rig.pings(), [s(30), s(60), s(90)]);
    assert_eq!(rig.status.counters.pings, 4, "the first is part of the login");
    assert_eq!(rig.status.counters.ping_seconds.count, 4);
}

#[test]
fn an_answer_that_takes_its_time_does_not_shift_the_next_ping() {
    let mut rig = Rig::new(no_refresh(), RigServer::Silent);
    rig.on(connected());
    rig.on(logged_in(Role::Primary));
    rig.run(s(33));
    rig.on(pong(Role::Primary));
    rig.run(s(30));
    assert_eq!(rig.pings(), [s(30), s(60)]);
}

#[test]
fn an_unanswered_ping_makes_the_session_suspect_and_the_target_down() {
    let rig = hung(no_refresh());
    assert!(matches!(rig.status.line, Line::Suspect { .. }));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Timeout)));
    let told = rig.status.last_failure.as_ref().unwrap();
    assert!(told.remedy.contains("RESUME") && told.detail.contains("within"), "{told:?}");
    assert!(rig.line, "it is kept while a login is tried");
    assert_eq!(rig.diary.last(), Some(&(s(125), Action::TcpConnect { purpose: Purpose::Reconnect })));
    assert_eq!(rig.status.counters.ping_failures.get(Reason::Timeout), 1);
    assert_eq!(rig.status.counters.disconnects.total(), 0, "nothing is lost yet");
}

#[test]
fn the_late_answer_of_a_thawed_server_brings_the_line_back_at_once() {
    let mut rig = hung(no_refresh());
    rig.run(s(2));
    rig.on(pong(Role::Primary));
    assert_eq!(rig.shows(), (State::Up, None));
    rig.on(connected());
    let actions = rig.on(logged_in(Role::Primary));
    assert_eq!(actions, [Action::Adopt], "the login under way refreshes it");
    let counters = &rig.status.counters;
    assert_eq!((counters.reconnects, counters.refreshes, counters.disconnects.total()), (0, 1, 0));
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_login_that_answers_before_the_suspect_session_replaces_it() {
    let mut rig = hung(no_refresh());
    rig.on(connected());
    assert_eq!(rig.on(logged_in(Role::Primary)), [Action::Adopt]);
    let counters = &rig.status.counters;
    assert_eq!((counters.reconnects, counters.refreshes), (1, 0));
    assert_eq!(counters.disconnects.get(Reason::Timeout), 1);
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.on(pong(Role::Primary)), [], "an answer of the old session changes nothing");
}

#[test]
fn a_thaw_after_a_failed_login_is_degraded_until_a_login_succeeds() {
    let mut rig = hung(no_refresh());
    rig.on(connected());
    rig.on(login_failed(rig.now, Cause::Timeout));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Timeout)));
    rig.on(pong(Role::Primary));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Timeout)));
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.counters.refreshes, 1);
}

#[test]
fn a_thaw_before_the_jittered_login_began_needs_no_login() {
    let ping = crate::target::Ping { interval: s(1), timeout: s(1) };
    let mut rig = Rig::new(Tuning { ping, ..no_refresh() }, RigServer::Up);
    rig.server = RigServer::Silent;
    rig.run(ms(2_300));
    assert!(matches!(rig.status.attempt, Attempt::Waiting { .. }), "the session lived for 2 s");
    let tcp_connects = rig.tcp_connects().len();
    rig.on(pong(Role::Primary));
    rig.server = RigServer::Up;
    rig.run(s(60));
    assert_eq!((rig.shows(), rig.tcp_connects().len()), ((State::Up, None), tcp_connects));
}

#[test]
fn a_suspect_session_that_ends_counts_as_lost_by_what_ended_it() {
    let mut rig = hung(no_refresh());
    rig.lose(io(ErrorKind::ConnectionReset));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Reset)));
    assert_eq!(rig.status.counters.disconnects.get(Reason::Reset), 1);
    assert_eq!(rig.tcp_connects().len(), 2, "the attempt under way goes on");
    rig.on(connected());
    rig.on(logged_in(Role::Primary));
    assert_eq!(rig.status.counters.reconnects, 1);
}

#[test]
fn without_overlap_a_suspect_session_makes_room_and_counts_as_lost() {
    let mut rig =
        hung(Tuning { refresh: Refresh { every: None, ..without_overlap().refresh }, ..no_refresh() });
    let actions = rig.on(connected());
    assert_eq!(actions, [Action::Close]);
    assert_eq!(rig.diary.last().map(|(_, action)| *action), Some(Action::Login));
    rig.on(logged_in(Role::Primary));
    let counters = &rig.status.counters;
    assert_eq!((counters.reconnects, counters.refreshes, counters.refresh_failures), (1, 0, 0));
    assert_eq!(counters.disconnects.get(Reason::Timeout), 1);
}

#[test]
fn a_ping_that_gets_an_error_degrades_and_the_next_good_one_restores() {
    let mut rig = Rig::new(no_refresh(), RigServer::Silent);
    rig.on(connected());
    rig.on(logged_in(Role::Primary));
    rig.run(s(30));
    let canceled = server("57014", "canceling statement due to statement timeout");
    rig.on(ping_failed(canceled));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::QueryFailed)));
    assert!(rig.view().state().is_up());
    assert_eq!(rig.status.counters.ping_failures.get(Reason::QueryFailed), 1);
    assert_eq!(rig.status.breaker, Breaker::Closed { failures: 0 }, "pings do not count there");
    rig.run(s(30));
    rig.on(pong(Role::Primary));
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn a_refresh_makes_before_it_breaks() {
    let mut rig = Rig::new(every(s(100)), RigServer::Silent);
    rig.on(connected());
    rig.on(logged_in(Role::Primary));
    rig.line = true;
    rig.server = RigServer::Up;
    rig.run(s(99));
    rig.server = RigServer::Silent;
    rig.run(s(1));
    assert_eq!(
        rig.diary.last().map(|(_, action)| *action),
        Some(Action::TcpConnect { purpose: Purpose::Refresh })
    );
    rig.on(connected());
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.on(logged_in(Role::Primary)), [Action::Adopt], "the swap closes the old one behind it");
    let counters = &rig.status.counters;
    assert_eq!((counters.refreshes, counters.reconnects, counters.disconnects.total()), (1, 0, 0));
    assert!(rig.times(|action| *action == Action::Close).is_empty());
}

#[test]
fn refreshes_come_within_a_tenth_before_their_time() {
    for dice in [0.0, 0.5, 0.999] {
        let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
        rig.dice = dice;
        rig.server = RigServer::Up;
        rig.on(connected());
        rig.run(s(2_000));
        let gaps = gaps(&rig.logins());
        assert!(gaps.len() >= 8);
        assert!(gaps.iter().all(|gap| (s(216)..=s(240)).contains(gap)), "{gaps:?}");
        assert_eq!(rig.status.counters.refreshes, gaps.len() as u64);
    }
}

#[test]
fn a_failed_refresh_degrades_and_costs_no_session() {
    let mut rig = Rig::new(every(s(100)), RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Refuses;
    rig.run(s(10));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::Refused)));
    assert!(rig.line);
    assert!(rig.status.counters.refresh_failures >= 1);
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!((rig.status.counters.refreshes, rig.status.counters.reconnects), (1, 0));
}

#[test]
fn an_open_breaker_never_touches_the_session() {
    let mut rig = Rig::new(every(s(100)), RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Rejects(Cause::Timeout);
    rig.run(s(5));
    assert_eq!(rig.status.breaker.state(), crate::policy::breaker::BreakerState::Open);
    assert!(rig.line && rig.view().state() == State::Degraded);
}

#[test]
fn a_login_under_way_becomes_the_reconnect_when_the_session_dies_meanwhile() {
    let mut rig = Rig::new(every(s(100)), RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Silent;
    rig.run(s(1));
    rig.on(connected());
    assert_eq!(rig.lose(Cause::Closed), [], "no second attempt");
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Closed)));
    rig.on(logged_in(Role::Primary));
    let counters = &rig.status.counters;
    assert_eq!((counters.reconnects, counters.refreshes, counters.attempts), (1, 0, 2));
    assert_eq!(rig.shows(), (State::Up, None));
}

#[test]
fn without_overlap_the_old_session_goes_before_the_new_one_logs_in() {
    let mut rig = Rig::new(without_overlap(), RigServer::Up);
    rig.run(s(100));
    let late: Vec<_> = rig.diary.iter().filter(|(at, _)| *at == s(100)).map(|(_, action)| *action).collect();
    let refresh = Action::TcpConnect { purpose: Purpose::Refresh };
    assert_eq!(late, [refresh, Action::Close, Action::Login, Action::Adopt]);
    let held = rig.status.held().unwrap();
    assert_eq!((held.since, held.unbroken_since), (rig.now, rig.started), "a planned gap breaks nothing");
    let counters = &rig.status.counters;
    assert_eq!((counters.refreshes, counters.reconnects, counters.disconnects.total()), (1, 0, 0));
    rig.run(s(10));
    assert_eq!(
        rig.lose(Cause::Closed),
        [Action::TcpConnect { purpose: Purpose::Reconnect }],
        "110 s of health"
    );
}

#[test]
fn without_overlap_a_refused_tcp_connect_costs_no_session_and_a_failed_login_does() {
    let mut rig = Rig::new(without_overlap(), RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Refuses;
    rig.run(s(1));
    assert!(rig.line && rig.view().state() == State::Degraded);
    rig.server = RigServer::Rejects(server("53300", "too many connections for role \"app\""));
    rig.run(s(1));
    assert_eq!(rig.shows(), (State::Down, Some(Reason::Capacity)));
    assert_eq!(rig.status.counters.refresh_failures, 2);
    assert_eq!(rig.status.counters.disconnects.total(), 0, "a planned close is no loss");
    rig.server = RigServer::Up;
    rig.run(s(31));
    assert_eq!(rig.status.counters.reconnects, 1);
}

#[test]
fn a_server_of_the_wrong_role_degrades_and_another_login_is_sought() {
    let mut rig = Rig::new(Tuning { role: Role::Primary, ..no_refresh() }, RigServer::Up);
    rig.run(s(99));
    rig.server = RigServer::Standby;
    rig.run(s(21));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::WrongRole)));
    assert_eq!(rig.status.last_failure.as_ref().unwrap().detail, "the server is not a primary");
    let seeks = rig.logins();
    assert_eq!(seeks[1], s(120), "as soon as the ping tells");
    rig.run(s(120));
    let later = gaps(&rig.logins()[1..]);
    assert_eq!(later[..3], [ms(300), ms(500), ms(900)], "then with backoff");
    assert!(later.iter().all(|gap| *gap <= s(30)));
    assert!(later.last() > Some(&s(10)), "{later:?}");
    rig.server = RigServer::Up;
    rig.run(s(30));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.counters.reconnects, 0);
}

#[test]
fn the_first_close_that_names_its_limit_keeps_ping_and_refresh_below_it() {
    let mut rig = Rig::up();
    rig.run(s(20));
    rig.lose(server("57P05", "terminating connection due to idle-session timeout"));
    assert_eq!(rig.status.counters.disconnects.get(Reason::IdleTimeout), 1);
    rig.run(s(61));
    assert_eq!(rig.status.idle_limit, Some(s(20)));
    assert_eq!((rig.status.ping_every, rig.status.refresh_every), (Some(s(16)), Some(s(16))));
    assert!(gaps(&rig.pings()).iter().all(|gap| *gap <= s(16)), "{:?}", rig.pings());
}

#[test]
fn silent_closes_teach_after_two_that_agree_and_are_forgotten_after_a_day() {
    let ping = crate::target::Ping { interval: s(600), timeout: s(5) };
    let mut rig = Rig::new(Tuning { ping, ..no_refresh() }, RigServer::Up);
    rig.run(s(350));
    rig.lose(Cause::Closed);
    assert_eq!(rig.status.idle_limit, None);
    rig.run(s(340));
    rig.lose(io(ErrorKind::ConnectionReset));
    assert_eq!(rig.status.idle_limit, Some(s(340)));
    assert_eq!(rig.shows().0, State::Up);
    rig.run(s(3_600));
    assert_eq!(rig.status.ping_every, Some(s(272)));
    rig.run(s(86_400));
    assert_eq!((rig.status.idle_limit, rig.status.ping_every), (None, Some(s(600))));
}

#[test]
fn a_close_by_neon_is_idleness_after_its_five_minutes_of_silence_and_not_before() {
    let idle_close = |silence| {
        let mut rig = neon();
        rig.run(silence);
        rig.lose(server("57P01", "terminating connection due to administrator command"));
        rig.shows()
    };
    assert_eq!(idle_close(s(300)), (State::Down, Some(Reason::IdleTimeout)));
    assert_eq!(idle_close(s(100)), (State::Down, Some(Reason::Shutdown)));
}

/// A session with Neon that nothing is asked on.
fn neon() -> Rig {
    let ping = crate::target::Ping { interval: s(600), timeout: s(5) };
    let mut rig = Rig::new(Tuning { ping, ..no_refresh() }, RigServer::Silent);
    let provider = crate::target::Provider::Neon;
    let (host, user) = ("ep-x.neon.tech".into(), "app".into());
    let location = Location { host, port: 5432, database: "db".into(), user, provider };
    let dial = Dial { location: Some(location), ..Dial::default() };
    rig.on(Event::Connected { dial, times: ConnectTimes::default() });
    rig.on(logged_in(Role::Primary));
    rig
}

#[test]
fn the_first_second_of_an_outage_is_told_apart() {
    let mut rig = Rig::up();
    rig.run(s(61));
    rig.server = RigServer::Silent;
    rig.lose(Cause::Closed);
    assert!(rig.view().in_reconnect_grace());
    rig.run(s(1));
    assert!(!rig.view().in_reconnect_grace());
}

#[test]
fn a_tcp_connect_without_a_login_leaves_the_phases_of_the_last_good_one() {
    let mut rig = Rig::new(every(s(100)), RigServer::Up);
    rig.run(s(99));
    let before = rig.status.last_phases;
    rig.server = RigServer::Silent;
    rig.run(s(1));
    let times = ConnectTimes { connect: ms(77), ..ConnectTimes::default() };
    rig.on(Event::Connected { dial: Dial::default(), times });
    rig.on(login_failed(rig.now, Cause::Timeout));
    assert_eq!(rig.status.last_phases, before);
}
