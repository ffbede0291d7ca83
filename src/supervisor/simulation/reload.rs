//! A new list of targets.

use super::*;

fn pinged_every(interval: Duration) -> Tuning {
    let timeout = s(1);
    Tuning { ping: crate::target::Ping { interval, timeout }, ..Tuning::default() }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_target_keeps_its_session_and_its_counters() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(100)).await;
    let before = sim.status("one");
    sim.supervisor.apply(&[target("one", "db", Tuning::default()), target("two", "db", Tuning::default())]);
    sim.run(s(1)).await;
    let after = sim.status("one");
    assert_eq!((before.line, before.counters), (after.line, after.counters));
    assert_eq!(sim.state("two"), State::Up);
}

#[tokio::test(start_paused = true)]
async fn changed_timings_apply_to_the_session_in_hand() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.world.forget();
    sim.supervisor.apply(&[target("one", "db", pinged_every(s(2)))]);
    sim.run(s(10)).await;
    assert_eq!(sim.world.times("db", Saw::TcpConnect), [], "no new session");
    assert!(sim.world.times("db", Saw::Ping).len() >= 4);
    assert_eq!(sim.status("one").tuning.ping.interval, s(2));
}

#[tokio::test(start_paused = true)]
async fn a_removed_target_is_closed_and_leaves_the_board_at_once() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.supervisor.apply(&[]);
    assert!(sim.board.subscribe("one").is_none());
    sim.run(s(1)).await;
    assert_eq!(sim.world.times("db", Saw::Goodbye).len(), 1);
    assert_eq!((sim.world.sessions(), sim.board.is_empty()), (0, true));
    assert_eq!(sim.supervisor.requests().prove("one", s(1)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_changed_endpoint_gets_a_new_session_and_a_fresh_breaker_and_the_counters_go_on() {
    let mut sim = Sim::new(&[("db", Mood::Refuses), ("elsewhere", Mood::Up)]);
    sim.supervisor.apply(&[target("one", "db", Tuning::default())]);
    sim.run(s(30)).await;
    let before = sim.status("one");
    assert!(before.breaker.opens_at().is_some());
    sim.supervisor.apply(&[target("one", "elsewhere", Tuning::default())]);
    sim.run(s(1)).await;
    let after = sim.status("one");
    assert_eq!(sim.state("one"), State::Up);
    assert_eq!(after.counters.attempts, before.counters.attempts + 1);
    assert_eq!(after.counters.reconnects, 0, "the first session of this endpoint");
    assert_eq!(after.location.map(|location| location.host), Some("elsewhere".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_moves_while_its_session_is_open_says_goodbye_first() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.world.set("elsewhere", Mood::Up);
    sim.supervisor.apply(&[target("one", "elsewhere", Tuning::default())]);
    sim.run(s(1)).await;
    assert_eq!((sim.state("one"), sim.world.sessions()), (State::Up, 1));
    assert_eq!(sim.world.times("db", Saw::Goodbye).len(), 1);
    assert_eq!(sim.world.most_sessions("one"), 1);
    assert_eq!(sim.status("one").counters.disconnects.total(), 0, "a planned close is no loss");
}

#[tokio::test(start_paused = true)]
async fn a_target_removed_and_added_again_while_it_closes_comes_back_once() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.world.set("db", Mood::Clings);
    sim.supervisor.apply(&[]);
    sim.run(ms(500)).await;
    for host in ["elsewhere", "db"] {
        sim.world.set("elsewhere", Mood::Up);
        sim.supervisor.apply(&[target("one", host, Tuning::default())]);
        sim.run(ms(500)).await;
    }
    assert_eq!(sim.count("", sim.state("one")), 1);
    sim.run(s(10)).await;
    assert_eq!((sim.state("one"), sim.world.sessions()), (State::Up, 1));
    assert_eq!(
        sim.world.times("elsewhere", Saw::TcpConnect),
        [],
        "what was wanted in between never came to be"
    );
}

#[tokio::test(start_paused = true)]
async fn a_target_removed_while_it_connects_releases_everything() {
    let mut sim = Sim::new(&[("hole", Mood::BlackHole)]);
    sim.supervisor.apply(&targets("t", "hole", 3));
    sim.run(s(2)).await;
    assert_eq!(sim.gate.logins_in_flight(), 3);
    sim.supervisor.apply(&[]);
    sim.run(ms(10)).await;
    assert_eq!(sim.gate.logins_in_flight(), 0);
    assert!(sim.supervisor.tasks.drain(s(0), |_| {}).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_many_reloads_in_a_row_the_last_one_counts() {
    let mut sim = Sim::one(Tuning::default()).await;
    for interval in (1..=100).rev() {
        sim.supervisor.apply(&[target("one", "db", pinged_every(s(interval + 1)))]);
    }
    sim.run(s(1)).await;
    assert_eq!(sim.status("one").tuning.ping.interval, s(2));
    assert_eq!(sim.status("one").counters.attempts, 1);
}
