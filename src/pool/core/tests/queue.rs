//! Who gets which session, and who does not wait.

use super::*;

#[test]
fn a_client_gets_an_idle_session_at_once() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    assert_eq!(rig.waits(1), [hands(1, session)]);
}

#[test]
fn the_session_that_was_used_last_goes_out_first() {
    let mut rig = Rig::new(|_, _| {});
    let sessions = rig.idle(2);
    assert_eq!(rig.waits(1), [hands(1, sessions[1])]);
    assert_eq!(rig.waits(2), [hands(2, sessions[0])]);
}

#[test]
fn who_came_first_is_served_first() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    for number in 1..=3 {
        assert_eq!(rig.waits(number), []);
    }
    for number in 1..=3 {
        assert_eq!(rig.returns(session, Condition::Clean), [hands(number, session)]);
    }
    assert_eq!(rig.returns(session, Condition::Clean), []);
}

#[test]
fn nobody_who_comes_now_overtakes_those_who_wait() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    rig.waits(1);
    // The session is tested for the first; it is not there for the second.
    rig.on(PoolEvent::Target(lost(Availability::Trying, Reason::Shutdown)));
    rig.now += ms(1);
    let heard = rig.now - s(1);
    assert_eq!(
        rig.on(PoolEvent::Returned { session, heard, condition: Condition::Clean }),
        [PoolAction::Test(session)]
    );
    assert_eq!(rig.waits(2), []);
    let answered = rig.on(PoolEvent::Tested { session, outcome: TestOutcome::Answered });
    assert!(answered.contains(&hands(1, session)), "{answered:?}");
}

#[test]
fn who_got_a_dead_session_goes_back_to_where_it_was() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let since = rig.now;
    let session = rig.held(1)[0];
    rig.now += s(1);
    rig.waits(1);
    assert_eq!(rig.returns(session, Condition::Broken), [PoolAction::Close(session)]);
    rig.on(PoolEvent::Waits { client: client(101), since });
    assert_eq!(rig.core.queue.clients(), [client(101), client(1)]);
}

#[test]
fn a_session_goes_to_nobody_before_what_was_left_on_it_is_undone() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    rig.waits(1);
    assert_eq!(rig.returns(session, Condition::NeedsReset), [PoolAction::Reset(session)]);
    assert_eq!(rig.after(s(1)), []);
    assert_eq!(rig.waits(2), []);
    assert_eq!(rig.returns(session, Condition::Clean), [hands(1, session)]);
}

#[test]
fn who_leaves_the_queue_is_given_nothing() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    let session = rig.held(1)[0];
    rig.waits(1);
    rig.waits(2);
    rig.on(PoolEvent::Leaves(client(1)));
    assert_eq!(rig.returns(session, Condition::Clean), [hands(2, session)]);
}

#[test]
fn who_has_waited_for_long_enough_hears_that_all_are_in_use() {
    let mut rig = Rig::new(|pool, _| pool.size = 1);
    rig.held(1);
    rig.waits(1);
    assert_eq!(rig.core.due(rig.now), rig.now + s(1), "the heartbeat");
    assert_eq!(rig.after(ms(14_999)), []);
    assert_eq!(rig.core.due(rig.now), rig.now + ms(1), "its deadline");
    assert_eq!(rejected(&rig.after(ms(1))), [(1, Rejection::Busy { waited: s(15) })]);
    assert!(rig.core.queue.is_empty());
}

#[test]
fn a_client_is_told_what_mends_this_failure_where_more_is_known_than_its_reason() {
    let mut rig = Rig::new(|_, _| {});
    rig.waits(1);
    let told = "The certificate of the server has expired: renew it.";
    let health = Health { remedy: Some(told), ..lost(Availability::Permanent(rig.now + s(60)), Reason::Tls) };
    let actions = rejected(&rig.on(PoolEvent::Target(health)));
    let [(1, Rejection::Down { reason: Some(Reason::Tls), remedy: Some(found), .. })] = actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(found, told);
}

#[test]
fn nobody_waits_for_an_attempt_that_comes_after_its_time() {
    let mut rig = Rig::new(|_, _| {});
    rig.waits(1);
    let next = rig.now + s(20);
    let health = lost(Availability::NotBefore(next), Reason::Refused);
    let why = Rejection::Down {
        reason: Some(Reason::Refused),
        remedy: Some(Reason::Refused.remedy()),
        permanent: false,
        waited: Duration::ZERO,
        next: Some(s(20)),
    };
    assert_eq!(rejected(&rig.on(PoolEvent::Target(health))), [(1, why)]);
    assert_eq!(rejected(&rig.waits(2)), [(2, why)], "nor begins to");
    rig.now += s(6);
    assert_eq!(rejected(&rig.waits(3)), [], "it is within its time now");
}

#[test]
fn a_failure_that_only_a_person_can_mend_is_told_at_once_with_the_next_attempt() {
    let mut rig = Rig::new(|_, _| {});
    let next = rig.now + s(30);
    rig.on(PoolEvent::Target(lost(Availability::Permanent(next), Reason::Auth)));
    rig.now += s(10);
    let why = |next| Rejection::Down {
        reason: Some(Reason::Auth),
        remedy: Some(Reason::Auth.remedy()),
        permanent: true,
        waited: Duration::ZERO,
        next: Some(next),
    };
    assert_eq!(rejected(&rig.waits(1)), [(1, why(s(20)))]);
    assert_eq!(rig.core.rejects_all(rig.now), Some(why(s(20))), "who logs in, too");
}

#[test]
fn a_missing_database_is_looked_for_again_when_a_client_comes_and_it_hears_what_came_of_it() {
    let mut rig = Rig::new(|_, _| {});
    let missing = |next, failed_at| Health {
        failed_at: Some(failed_at),
        ..lost(Availability::Permanent(next), Reason::DatabaseMissing)
    };
    let first = rig.now;
    rig.on(PoolEvent::Target(missing(first + s(30), first)));
    assert_eq!(rig.core.rejects_all(rig.now), None);
    assert!(rig.core.is_unproven(), "who logs in waits for a session");
    rig.now += ms(999);
    let young = rig.waits(1);
    assert_eq!(young[0], PoolAction::Wake, "and what is known is told at once: {young:?}");
    assert_eq!(rejected(&young).len(), 1);
    rig.now += ms(1);
    assert_eq!(rig.waits(2), [PoolAction::Wake]);
    let trying = lost(Availability::Trying, Reason::DatabaseMissing);
    assert_eq!(rejected(&rig.on(PoolEvent::Target(trying))), []);
    rig.now += ms(10);
    let failed = rig.on(PoolEvent::Target(missing(rig.now + s(60), rig.now)));
    let [(2, Rejection::Down { permanent: true, next, .. })] = rejected(&failed)[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(next, Some(s(1)), "as soon as somebody comes again");
}

#[test]
fn a_session_that_is_tested_for_a_client_is_worth_waiting_for() {
    let mut rig = Rig::new(|_, _| {});
    let session = rig.idle(1)[0];
    rig.now += s(1);
    let next = rig.now + s(60);
    rig.on(PoolEvent::Target(lost(Availability::NotBefore(next), Reason::Refused)));
    assert_eq!(rig.waits(1), [PoolAction::Test(session)]);
    assert_eq!(rejected(&rig.after(s(1))), []);
    assert_eq!(rejected(&rig.waits(2)).len(), 1, "but not two of them for one");
    let ended = rig.on(PoolEvent::Tested { session, outcome: TestOutcome::Ended });
    assert_eq!(rejected(&ended).len(), 1, "nothing is left to wait for");
}
