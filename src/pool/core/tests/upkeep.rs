//! What is done for the sessions that nobody has.

use super::*;

#[test]
fn idle_sessions_are_tested_as_often_as_the_supervised_one_is_pinged() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    assert_eq!(rig.after(ms(29_999)), []);
    assert_eq!(rig.after(ms(1)), [PoolAction::Test(session)]);
    rig.on(PoolEvent::Tested { session, outcome: TestOutcome::Answered });
    rig.on(PoolEvent::Target(Health { ping_every: Some(s(10)), ..live() }));
    assert_eq!(rig.after(s(10)), [PoolAction::Test(session)]);
}

#[test]
fn a_target_that_may_sleep_is_not_kept_awake() {
    let mut rig = Rig::new(|_, tuning| tuning.idle_policy = IdlePolicy::LetSleep);
    rig.idle(1);
    assert_eq!(rig.after(s(599)), []);
}

#[test]
fn what_nobody_needs_is_closed_but_for_min_idle() {
    let mut rig = Rig::new(|pool, tuning| {
        (pool.size, pool.min_idle) = (3, 1);
        tuning.idle_policy = IdlePolicy::LetSleep;
        tuning.close_idle_after = Some(s(60));
    });
    let spare = rig.core.sessions.iter().map(|(id, _)| id).next().expect("one is opened beforehand");
    rig.opens(spare);
    let actions = rig.waits(1);
    assert_eq!(actions[0], hands(1, spare));
    let other = opened(&actions);
    rig.opens(other);
    rig.now += s(1);
    rig.returns(spare, Condition::Clean);
    assert_eq!(rig.after(s(58)), []);
    assert_eq!(rig.after(s(1)), [PoolAction::Close(other)], "the one that was used longest ago");
    assert_eq!(rig.after(s(600)), []);
}

#[test]
fn a_session_that_has_ended_is_closed_and_given_to_nobody() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    assert_eq!(rig.on(PoolEvent::Ended(session)), [PoolAction::Close(session)]);
    let other = opened(&rig.waits(1));
    assert_ne!(other, session);
    assert_eq!(rig.returns(session, Condition::Clean), [], "whatever is said of it afterwards");
}

#[test]
fn where_two_end_at_once_the_one_that_is_tested_for_the_other_is_not_lost() {
    let mut rig = Rig::new(|_, _| {});
    let sessions = rig.idle(2);
    rig.now += s(30);
    let actions = rig.on(PoolEvent::Ended(sessions[0]));
    assert_eq!(actions, [PoolAction::Close(sessions[0]), PoolAction::Test(sessions[1])]);
    assert_eq!(rig.on(PoolEvent::Ended(sessions[1])), [], "its test is under way");
    let ended = PoolEvent::Tested { session: sessions[1], outcome: TestOutcome::Ended };
    assert_eq!(rig.on(ended), [PoolAction::Close(sessions[1])]);
}

#[test]
fn the_end_of_a_session_that_a_client_has_is_for_the_client_to_tell() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.held(1)[0];
    assert_eq!(rig.on(PoolEvent::Ended(session)), []);
    assert_eq!(rig.returns(session, Condition::Broken), [PoolAction::Close(session)]);
}

/// A session whose time comes after a minute.
fn aging(rig: &mut Rig) -> SessionId {
    let session = opened(&rig.waits(1));
    let due = Some(rig.now + s(60));
    let generation = rig.core.generation();
    rig.on(PoolEvent::Opened { session, generation, due });
    session
}

#[test]
fn an_old_session_is_replaced_before_it_is_closed() {
    let mut rig = Rig::new(|_, _| {});
    let old = aging(&mut rig);
    rig.returns(old, Condition::Clean);
    assert_eq!(rig.after(ms(59_999)), [PoolAction::Test(old)]);
    rig.on(PoolEvent::Tested { session: old, outcome: TestOutcome::Answered });
    let new = opened(&rig.after(ms(1)));
    assert_eq!(rig.opens(new), [PoolAction::Close(old)]);
}

#[test]
fn one_that_is_tested_when_its_time_comes_is_not_replaced_twice() {
    let mut rig = Rig::new(|pool, _| pool.size = 5);
    let old = aging(&mut rig);
    rig.returns(old, Condition::Clean);
    let actions = rig.after(s(60));
    let new = opened(&actions);
    assert!(actions.contains(&PoolAction::Test(old)), "{actions:?}");
    assert_eq!(rig.opens(new), []);
    assert_eq!(all_opened(&rig.after(s(1))), []);
    assert_eq!(
        rig.on(PoolEvent::Tested { session: old, outcome: TestOutcome::Answered }),
        [PoolAction::Close(old)]
    );
}

#[test]
fn where_there_is_no_room_for_both_the_old_one_goes_first() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let old = aging(&mut rig);
    assert_eq!(rig.after(s(60)), [], "a client has it");
    assert_eq!(rig.returns(old, Condition::Clean), [PoolAction::Close(old)]);
}

#[test]
fn after_a_reload_to_a_smaller_size_the_idle_ones_go_first_and_the_others_as_they_come_free() {
    let mut rig = Rig::new(|pool, _| pool.size = 4);
    let sessions = rig.held(4);
    rig.returns(sessions[0], Condition::Clean);
    let shrunk = rig.on(PoolEvent::Configured(spec(|pool, _| pool.size = 2)));
    assert_eq!(shrunk, [PoolAction::Close(sessions[0])]);
    rig.on(PoolEvent::Closed(sessions[0]));
    let mut closed = 0;
    for session in &sessions[1..] {
        closed += rig.returns(*session, Condition::Clean).len();
    }
    assert_eq!(closed, 1);
}
