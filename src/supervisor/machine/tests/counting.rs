//! What is counted, and the end.

use std::time::SystemTime;

use super::*;

#[test]
fn attempts_are_connections_and_failures_and_those_in_flight() {
    let refresh = Refresh { every: Some(s(7)), ..Tuning::default().refresh };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Up);
    let balance = |rig: &Rig| {
        let counters = &rig.status.counters;
        counters.attempts - counters.connections - counters.failures.total()
    };
    let servers = [RigServer::Refuses, RigServer::Up, RigServer::Rejects(Cause::Closed), RigServer::Standby];
    for server in servers.iter().cycle().take(40) {
        rig.server = server.clone();
        rig.run(s(13));
        assert_eq!(balance(&rig), 0);
    }
    rig.server = RigServer::Silent;
    rig.run(s(40));
    assert_eq!(balance(&rig), 1);
    let counters = &rig.status.counters;
    assert!(counters.failures.get(Reason::Refused) > 0 && counters.failures.get(Reason::Closed) > 0);
}

#[test]
fn losses_are_counted_by_their_reason() {
    let mut rig = Rig::up();
    let losses = [
        (server("57P01", "terminating connection due to administrator command"), Reason::Shutdown),
        (server("57P02", "terminating connection because of crash"), Reason::Crash),
        (Cause::Closed, Reason::Closed),
        (io(ErrorKind::ConnectionReset), Reason::Reset),
        (Cause::Timeout, Reason::Timeout),
    ];
    for (cause, reason) in losses {
        rig.run(s(120));
        rig.lose(cause);
        assert_eq!(rig.status.counters.disconnects.get(reason), 1, "{reason}");
    }
    let counters = &rig.status.counters;
    assert_eq!((counters.disconnects.total(), counters.reconnects), (5, 5));
}

#[test]
fn a_throttled_dial_is_counted_with_its_wait() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    let dial = Dial { waited: ms(300), ..Dial::default() };
    rig.on(Event::Connected { dial, times: ConnectTimes::default() });
    assert_eq!((rig.status.counters.throttled, rig.status.counters.throttle_wait), (1, ms(300)));
}

#[test]
fn a_server_that_moved_to_another_address_is_counted_once_and_another_port_is_none() {
    let refresh = Refresh { every: Some(s(10)), jitter: 0.0, overlap: true };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Silent);
    for peer in ["127.0.0.1:5432", "127.0.0.1:6432", "127.0.0.2:5432", "127.0.0.2:6432"] {
        let times = ConnectTimes { peer: peer.parse().ok(), ..ConnectTimes::default() };
        rig.on(Event::Connected { dial: Dial::default(), times });
        rig.on(logged_in(Role::Primary));
        rig.run(s(10));
    }
    assert_eq!(rig.status.counters.address_changes, 1);
}

#[test]
fn a_login_that_moves_on_to_another_host_each_time_has_not_moved() {
    let refresh = Refresh { every: Some(s(10)), jitter: 0.0, overlap: true };
    let mut rig = Rig::new(Tuning { refresh, ..Tuning::default() }, RigServer::Silent);
    for _ in 0..3 {
        let times = ConnectTimes { peer: "127.0.0.1:5432".parse().ok(), ..ConnectTimes::default() };
        rig.on(Event::Connected { dial: Dial::default(), times });
        let facts = SessionFacts { peer: "127.0.0.2:5432".parse().ok(), ..SessionFacts::default() };
        let login = Login { tls: None, startup: ms(5), ping: ms(1), detour: ms(0), facts };
        rig.on(Event::LoggedIn(Box::new(login)));
        rig.run(s(10));
    }
    assert_eq!(rig.status.counters.address_changes, 0);
    assert_eq!(rig.status.peer, "127.0.0.2:5432".parse().ok());
}

#[test]
fn what_a_login_lost_on_other_sockets_is_part_of_the_connect() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    let times = ConnectTimes { connect: ms(10), unanswered: 1, ..ConnectTimes::default() };
    rig.on(Event::Connected { dial: Dial::default(), times });
    let facts = SessionFacts::default();
    let login = Login { tls: None, startup: ms(5), ping: ms(1), detour: ms(700), facts };
    rig.on(Event::LoggedIn(Box::new(login)));
    let phases = rig.status.last_phases.unwrap();
    assert_eq!((phases.connect, phases.total()), (ms(710), ms(716)));
}

#[test]
fn when_a_refused_certificate_ends_is_known_until_a_login() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    let ends = SystemTime::UNIX_EPOCH + s(1_000_000);
    let refused =
        Cause::Tls { message: "certificate verify failed".to_owned(), certificate_expiry: Some(ends) };
    rig.on(connected());
    rig.on(login_failed(rig.now, refused));
    assert_eq!(rig.status.refused_certificate_expiry, Some(ends));
    rig.run(s(40));
    rig.on(login_failed(rig.now, Cause::Timeout));
    assert_eq!(rig.status.refused_certificate_expiry, Some(ends), "nothing else is known meanwhile");
    rig.server = RigServer::Up;
    rig.run(s(400));
    assert_eq!(rig.shows(), (State::Up, None));
    assert_eq!(rig.status.refused_certificate_expiry, None);
}

#[test]
fn the_success_rate_is_over_the_last_attempts_and_absent_before_the_first() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    assert_eq!((rig.status.recent.rate(), rig.status.tried), (None, false));
    assert_eq!(rig.shows(), (State::Starting, None));
    rig.on(connected());
    rig.on(login_failed(rig.now, Cause::Timeout));
    assert_eq!((rig.status.recent.rate(), rig.status.tried), (Some(0.0), true));
    rig.server = RigServer::Up;
    rig.run(s(1));
    assert_eq!(rig.status.recent.rate(), Some(0.5));
    assert_eq!(rig.status.consecutive_failures, 0);
}

#[test]
fn a_stop_closes_the_session_and_then_ends() {
    let mut rig = Rig::up();
    rig.run(s(10));
    assert_eq!(rig.on(Event::Stop), [Action::Close]);
    assert_eq!(rig.diary.last().map(|(_, action)| *action), Some(Action::Stopped));
}

#[test]
fn a_stop_without_a_session_drops_the_attempt_and_ends_at_once() {
    let mut rig = Rig::new(Tuning::default(), RigServer::Silent);
    assert_eq!(rig.on(Event::Stop), [Action::HangUp, Action::Stopped]);
    assert_eq!(rig.on(Event::Wanted), []);
    assert_eq!(rig.on(Event::Prove), []);
}

#[test]
fn a_loop_always_says_when_it_runs_next() {
    for server in [RigServer::Up, RigServer::Refuses, RigServer::Silent, RigServer::Rejects(Cause::Closed)] {
        let mut rig = Rig::new(Tuning::default(), server);
        rig.run(s(300));
        let ahead = rig.status.due.saturating_duration_since(rig.now.mono);
        assert!(ahead <= HEARTBEAT && !rig.view().stalled());
        rig.now = rig.now.after(HEARTBEAT + s(6));
        assert_eq!(rig.shows(), (State::Down, Some(Reason::Stalled)), "nobody ran the loop");
    }
}
