//! When sessions are opened, and how many.

use super::*;

fn wide(rig: &mut Rig) {
    for _ in 0..3 {
        rig.core.openings.opened();
    }
}

#[test]
fn sessions_that_are_being_opened_count() {
    let mut rig = Rig::new(|pool, _| pool.size = 2);
    wide(&mut rig);
    let mut opening = Vec::new();
    for number in 1..=5 {
        opening.extend(all_opened(&rig.waits(number)));
    }
    assert_eq!(opening.len(), 2);
    assert_eq!(all_opened(&rig.after(s(1))), []);
    let first = rig.opens(opening[0]);
    assert_eq!(first, [hands(1, opening[0])]);
}

#[test]
fn so_do_those_that_are_being_closed() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    assert_eq!(rig.waits(1), []);
    assert_eq!(rig.returns(session, Condition::Broken), [PoolAction::Close(session)]);
    assert_eq!(rig.after(s(1)), []);
    assert_eq!(all_opened(&rig.on(PoolEvent::Closed(session))).len(), 1);
}

#[test]
fn each_session_that_opens_lets_twice_as_many_be_opened_up_to_eight() {
    let mut rig = Rig::new(|pool, _| pool.size = 100);
    let mut opening = Vec::new();
    for number in 0..100 {
        opening.extend(all_opened(&rig.waits(number)));
    }
    let mut at_once = vec![opening.len()];
    while at_once.len() < 6 {
        let session = opening.remove(0);
        opening.extend(all_opened(&rig.opens(session)));
        at_once.push(opening.len());
    }
    assert_eq!(at_once, [1, 2, 4, 8, 8, 8]);
}

#[test]
fn one_is_opened_at_first_after_a_loss() {
    let mut rig = Rig::new(|pool, _| pool.size = 9);
    wide(&mut rig);
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Shutdown)));
    (1..=5).for_each(|number| assert_eq!(rig.waits(number), []));
    assert_eq!(all_opened(&rig.on(PoolEvent::Target(live()))).len(), 1);
}

#[test]
fn after_a_failure_nothing_is_opened_for_a_while() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    assert_eq!(rig.fails(session, Reason::Reset, Class::Transient), []);
    assert_eq!(rig.waits(2), []);
    assert_eq!(rig.core.due(rig.now), rig.now + ms(200));
    assert_eq!(rig.after(ms(199)), []);
    assert_eq!(all_opened(&rig.after(ms(1))).len(), 1, "one at first");
}

#[test]
fn a_login_of_the_supervisor_ends_the_wait() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    rig.fails(session, Reason::Capacity, Class::Capacity);
    rig.now += ms(10);
    assert_eq!(rig.on(PoolEvent::Target(live())), []);
    let proven = Health { last_login: Some(rig.now), ..live() };
    assert_eq!(all_opened(&rig.on(PoolEvent::Target(proven))).len(), 1);
}

#[test]
fn what_kept_sessions_from_being_opened_is_over_with_the_next_login_of_the_supervisor() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    rig.fails(session, Reason::Auth, Class::Permanent);
    assert_eq!(rig.core.open_failure(), Some(Reason::Auth));
    let before = Health { last_login: Some(rig.now), ..live() };
    rig.now += s(1);
    rig.on(PoolEvent::Target(before));
    assert_eq!(rig.core.open_failure(), Some(Reason::Auth), "that login was before the failure");
    rig.on(PoolEvent::Target(Health { last_login: Some(rig.now), ..live() }));
    assert_eq!(rig.core.open_failure(), None);
    let session = opened(&rig.waits(2));
    rig.fails(session, Reason::Auth, Class::Permanent);
    assert_eq!(rig.core.open_failure(), Some(Reason::Auth), "and begins anew");
}

#[test]
fn a_failure_of_where_sessions_do_not_lead_any_more_says_nothing() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    let generation = rig.core.generation();
    rig.on(PoolEvent::Moved);
    let diagnosis = Diagnosis { reason: Reason::Auth, class: Class::Permanent, at_least: Duration::ZERO };
    let failed = rig.on(PoolEvent::Failed { session, generation, diagnosis });
    assert_eq!(all_opened(&failed).len(), 1, "{failed:?}");
    assert_eq!(rejected(&failed), []);
}

#[test]
fn who_waits_while_none_can_be_opened_is_told_why_unless_somebody_has_one() {
    for (held, told) in [(0, 1), (1, 0)] {
        let mut rig = Rig::new(|_, _| {});
        rig.held(held);
        let session = opened(&rig.waits(1));
        let failed = rig.fails(session, Reason::Auth, Class::Permanent);
        assert_eq!(rejected(&failed).len(), told, "{failed:?}");
    }
}

#[test]
fn a_database_that_only_the_pool_misses_is_looked_for_when_a_client_comes_once_a_second() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    rig.now += ms(10);
    let failed = rig.fails(session, Reason::DatabaseMissing, Class::Permanent);
    assert_eq!(rejected(&failed).len(), 1);
    rig.now += ms(999);
    assert_eq!(rejected(&rig.waits(2)).len(), 1);
    rig.now += ms(1);
    let session = opened(&rig.waits(3));
    assert_eq!(rig.opens(session), [hands(3, session)]);
}

#[test]
fn an_opening_that_crashed_is_not_repeated_at_once() {
    let mut rig = Rig::new(|_, _| {});
    let session = opened(&rig.waits(1));
    assert_eq!(rig.on(PoolEvent::Closed(session)), []);
    assert_eq!(all_opened(&rig.after(ms(200))).len(), 1);
}

#[test]
fn a_slow_test_is_not_relied_on() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    rig.now += ms(1);
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Timeout)));
    rig.now += s(1);
    rig.on(PoolEvent::Target(live()));
    assert_eq!(rig.waits(1), [PoolAction::Test(session)]);
    assert_eq!(rig.core.due(rig.now), rig.now + ms(500));
    let other = opened(&rig.after(ms(500)));
    assert_eq!(rig.opens(other), [hands(1, other)]);
}

#[test]
fn so_many_are_kept_open_although_nobody_needs_them() {
    let mut rig = Rig::new(|pool, _| (pool.size, pool.min_idle) = (5, 3));
    // One was begun when the target came up.
    let mut sessions: Vec<_> = rig.core.sessions.iter().map(|(id, _)| id).collect();
    let mut at = 0;
    while let Some(session) = sessions.get(at).copied() {
        sessions.extend(all_opened(&rig.opens(session)));
        at += 1;
    }
    assert_eq!(sessions.len(), 3);
    let actions = rig.waits(1);
    assert_eq!((actions[0], all_opened(&actions).len()), (hands(1, sessions[2]), 1));
}
