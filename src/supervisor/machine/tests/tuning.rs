//! Settings that change while the line is held.

use super::*;

fn tuned(tuning: Tuning) -> Event {
    Event::Tuned(Arc::new(tuning))
}

fn base() -> Tuning {
    Tuning { refresh: Refresh { every: None, ..Tuning::default().refresh }, ..Tuning::default() }
}

#[test]
fn a_shorter_ping_interval_holds_from_the_last_ping_on() {
    let mut rig = Rig::new(base(), RigServer::Up);
    rig.run(s(20));
    let ping = crate::target::Ping { interval: s(2), timeout: s(1) };
    rig.on(tuned(Tuning { ping, ..base() }));
    assert_eq!(rig.status.ping_every, Some(s(2)));
    rig.run(s(6));
    assert_eq!(rig.pings(), [s(20), s(22), s(24), s(26)]);
    assert_eq!(rig.logins().len(), 1, "it costs no session");
}

#[test]
fn refreshes_can_be_switched_on_and_off() {
    let mut rig = Rig::new(base(), RigServer::Up);
    rig.run(s(100));
    let refresh = Refresh { every: Some(s(150)), jitter: 0.0, overlap: true };
    rig.on(tuned(Tuning { refresh, ..base() }));
    rig.run(s(60));
    assert_eq!(rig.logins(), [s(0), s(150)]);
    rig.on(tuned(base()));
    rig.run(s(1_000));
    assert_eq!(rig.logins().len(), 2);
}

#[test]
fn a_role_that_is_asked_for_anew_is_asked_of_the_server_at_once() {
    let mut rig = Rig::new(base(), RigServer::Standby);
    rig.run(s(10));
    assert_eq!(rig.shows(), (State::Up, None));
    rig.on(tuned(Tuning { role: Role::Primary, ..base() }));
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::WrongRole)));
}

#[test]
fn a_role_that_is_asked_for_no_more_is_wrong_no_more() {
    let sleepy = Tuning { idle_policy: IdlePolicy::LetSleep, ..base() };
    let mut rig = Rig::new(Tuning { role: Role::Primary, ..sleepy.clone() }, RigServer::Standby);
    assert_eq!(rig.shows(), (State::Degraded, Some(Reason::WrongRole)));
    rig.on(tuned(sleepy));
    assert_eq!(rig.shows(), (State::Up, None));
    let logins = rig.logins().len();
    rig.run(s(600));
    assert_eq!(rig.logins().len(), logins, "no other server is sought");
}

#[test]
fn a_database_that_may_sleep_from_now_on_is_asked_nothing_more() {
    let mut rig = Rig::new(base(), RigServer::Up);
    rig.run(s(95));
    let pings = rig.pings().len();
    rig.on(tuned(Tuning { idle_policy: IdlePolicy::LetSleep, ..base() }));
    rig.run(s(600));
    assert_eq!(rig.pings().len(), pings);
}

#[test]
fn a_sleeping_database_that_is_to_be_kept_awake_is_woken() {
    let mut rig = Rig::new(Tuning { idle_policy: IdlePolicy::LetSleep, ..base() }, RigServer::Up);
    rig.run(s(300));
    rig.lose(server("57P05", "terminating connection due to idle-session timeout"));
    assert_eq!(rig.on(tuned(base())), [Action::TcpConnect { purpose: Purpose::Wake }]);
    rig.run(s(301));
    assert!(!rig.pings().is_empty());
}

#[test]
fn a_session_to_be_closed_when_idle_waits_for_the_answer_under_way() {
    let mut rig = Rig::new(base(), RigServer::Up);
    rig.run(s(29));
    rig.server = RigServer::Silent;
    rig.run(s(1));
    let idle_policy = IdlePolicy::LetSleep;
    rig.on(tuned(Tuning { idle_policy, close_idle_after: Some(s(10)), ..base() }));
    rig.run(s(1));
    assert!(rig.line, "the ping is still under way");
    rig.on(pong(Role::Primary));
    rig.run(s(10));
    assert_eq!(rig.shows(), (State::Sleeping, None));
}
