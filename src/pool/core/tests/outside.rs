//! What comes from outside: losses, another place, what an operator asks, the end.

use super::*;

#[test]
fn a_session_from_before_a_loss_is_tested_before_anybody_gets_it() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    rig.now += ms(1);
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Shutdown)));
    rig.now += ms(1);
    rig.on(PoolEvent::Target(live()));
    assert_eq!(rig.waits(1), [PoolAction::Test(session)]);
    let answered = rig.on(PoolEvent::Tested { session, outcome: TestOutcome::Answered });
    assert_eq!(answered, [hands(1, session)]);
    rig.returns(session, Condition::Clean);
    assert_eq!(rig.waits(1), [hands(1, session)], "once");
}

#[test]
fn a_session_that_was_not_heard_since_the_loss_is_tested_when_it_comes_back() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    let heard = rig.now;
    rig.now += s(1);
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Timeout)));
    rig.waits(1);
    let returned = PoolEvent::Returned { session, heard, condition: Condition::Clean };
    assert_eq!(rig.on(returned), [PoolAction::Test(session)]);
}

#[test]
fn one_that_was_quiet_for_long_is_tested_too() {
    for (idle_policy, quiet) in [(IdlePolicy::KeepAwake, s(35)), (IdlePolicy::LetSleep, s(15))] {
        let mut rig = Rig::new(|_, tuning| tuning.idle_policy = idle_policy);
        let session = rig.idle(1)[0];
        rig.now += quiet;
        assert_eq!(rig.waits(1), [hands(1, session)]);
        rig.returns(session, Condition::Clean);
        rig.now += quiet + ms(1);
        assert_eq!(rig.waits(1), [PoolAction::Test(session)]);
    }
}

#[test]
fn where_one_is_silent_the_other_suspects_are_not_asked() {
    let mut rig = Rig::new(|pool, _| pool.size = 3);
    let sessions = rig.idle(3);
    rig.now += ms(1);
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Timeout)));
    rig.waits(1);
    let silent = rig.on(PoolEvent::Tested { session: sessions[2], outcome: TestOutcome::Silent });
    let closed: Vec<_> = [2, 0, 1].map(|at| PoolAction::Close(sessions[at])).into();
    assert_eq!(silent[..3], closed);
}

#[test]
fn no_session_of_another_place_is_handed_out() {
    let mut rig = Rig::new(|pool, _| pool.size = 3);
    let sessions = rig.held(2);
    rig.returns(sessions[0], Condition::Clean);
    let before = rig.core.generation();
    assert_eq!(rig.on(PoolEvent::Moved), [PoolAction::Close(sessions[0])], "idle");
    let opening = opened(&rig.waits(1));
    assert_eq!(rig.returns(sessions[1], Condition::Clean), [PoolAction::Close(sessions[1])], "given back");
    let opened = rig.on(PoolEvent::Opened { session: opening, generation: before, due: None });
    assert_eq!(opened[0], PoolAction::Close(opening), "opened where it led before");
}

#[test]
fn a_reconnect_replaces_each_session_as_it_comes_free() {
    let mut rig = Rig::new(|_, _| {});
    let sessions = rig.held(2);
    rig.returns(sessions[0], Condition::Clean);
    assert_eq!(rig.on(PoolEvent::Requested(PoolRequest::Reconnect)), [PoolAction::Close(sessions[0])]);
    rig.waits(1);
    let other = opened(&rig.on(PoolEvent::Closed(sessions[0])));
    assert_eq!(rig.opens(other), [hands(1, other)]);
    assert_eq!(rig.returns(sessions[1], Condition::Clean), [PoolAction::Close(sessions[1])]);
}

#[test]
fn a_reconnect_tries_at_once_what_failed_before() {
    let mut rig = Rig::new(|_, _| {});
    rig.held(1);
    let session = opened(&rig.waits(1));
    rig.fails(session, Reason::Auth, Class::Permanent);
    assert_eq!(all_opened(&rig.on(PoolEvent::Requested(PoolRequest::Reconnect))).len(), 1);
}

#[test]
fn while_a_pool_is_paused_nobody_is_served_and_afterwards_all_in_their_order() {
    let mut rig = Rig::new(|_, _| {});
    let sessions = rig.held(2);
    rig.returns(sessions[0], Condition::Clean);
    assert_eq!(rig.on(PoolEvent::Requested(PoolRequest::Pause)), [PoolAction::Close(sessions[0])]);
    assert_eq!(rig.returns(sessions[1], Condition::Clean), [PoolAction::Close(sessions[1])]);
    sessions.iter().for_each(|session| _ = rig.on(PoolEvent::Closed(*session)));
    assert_eq!((rig.waits(1), rig.waits(2)), (vec![], vec![]));
    assert_eq!(rig.after(s(10)), []);
    let sessions = all_opened(&rig.on(PoolEvent::Requested(PoolRequest::Resume)));
    assert_eq!(rig.opens(sessions[1]), [hands(1, sessions[1])]);
    assert_eq!(rig.opens(sessions[0]), [hands(2, sessions[0])]);
}

#[test]
fn who_waits_for_too_long_on_a_paused_pool_hears_that_it_is_paused() {
    let mut rig = Rig::new(|_, _| {});
    rig.on(PoolEvent::Requested(PoolRequest::Pause));
    rig.waits(1);
    assert_eq!(rejected(&rig.after(s(15))), [(1, Rejection::Paused { waited: s(15) })]);
}

#[test]
fn a_reload_neither_ends_a_pause_nor_keeps_an_old_failure() {
    let mut rig = Rig::new(|_, _| {});
    rig.held(1);
    let session = opened(&rig.waits(1));
    rig.fails(session, Reason::Auth, Class::Permanent);
    assert_eq!(all_opened(&rig.on(PoolEvent::Configured(spec(|_, _| {})))).len(), 1);
    rig.on(PoolEvent::Requested(PoolRequest::Pause));
    rig.on(PoolEvent::Configured(spec(|pool, _| pool.size = 9)));
    assert_eq!(rig.core.phase(), PoolPhase::Paused);
}

#[test]
fn a_sleeping_target_is_woken_by_who_waits() {
    let mut rig = Rig::new(|_, _| {});
    rig.on(PoolEvent::Target(Health { availability: Availability::Asleep, ..Health::UNKNOWN }));
    assert_eq!(rig.after(s(1)), []);
    assert_eq!(rig.waits(1), [PoolAction::Wake]);
    assert_eq!(rig.after(s(1)), [PoolAction::Wake], "again: the first may not have been heard");
}

#[test]
fn silent_queries_are_given_up_only_while_the_target_is_down() {
    let mut rig = Rig::new(|pool, _| pool.query_stall = s(7));
    assert_eq!(rig.after(s(60)), []);
    let down = rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Timeout)));
    assert_eq!(down, [PoolAction::CutSilent(s(7))]);
}

#[test]
fn a_pool_that_ends_rejects_who_waits_and_closes_what_comes_back() {
    let mut rig = Rig::new(|_, _| {});
    let sessions = rig.held(2);
    rig.returns(sessions[0], Condition::Clean);
    rig.on(PoolEvent::Requested(PoolRequest::Pause));
    rig.waits(1);
    assert_eq!(rejected(&rig.on(PoolEvent::Drain)), [(1, Rejection::Draining)]);
    assert_eq!(rejected(&rig.waits(2)), [(2, Rejection::Draining)]);
    assert_eq!(rig.core.rejects_all(rig.now), Some(Rejection::Draining));
    rig.on(PoolEvent::Closed(sessions[0]));
    assert_eq!(rig.returns(sessions[1], Condition::Clean), [PoolAction::Close(sessions[1])]);
    rig.on(PoolEvent::ClientsGone);
    assert_ne!(rig.core.phase(), PoolPhase::Ended);
    rig.on(PoolEvent::Closed(sessions[1]));
    assert_eq!(rig.core.phase(), PoolPhase::Ended);
}

#[test]
fn a_server_that_hangs_does_not_hold_up_the_end() {
    let mut rig = Rig::new(|_, _| {});
    rig.idle(1);
    rig.on(PoolEvent::Drain);
    rig.on(PoolEvent::ClientsGone);
    assert_eq!(rig.core.due(rig.now), rig.now + s(1));
    rig.after(s(1));
    assert_eq!(rig.core.due(rig.now), rig.now + ms(500));
    rig.after(ms(500));
    assert_eq!(rig.core.phase(), PoolPhase::Ended);
}
