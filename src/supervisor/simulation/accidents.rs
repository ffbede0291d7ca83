//! Bugs, floods of requests, what hangs, the end.

use futures_util::future::join_all;

use super::requests::ProofReply;
use super::*;
use crate::supervisor::ProofResult;

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_is_restarted_after_a_second_and_disturbs_nobody() {
    let mut sim = Sim::new(&[("bad", Mood::Breaks), ("good", Mood::Up)]);
    sim.supervisor
        .apply(&[target("bad", "bad", Tuning::default()), target("good", "good", Tuning::default())]);
    sim.run(ms(500)).await;
    assert_eq!(sim.shows("bad"), (State::Down, Some(Reason::Internal)));
    assert_eq!(sim.state("good"), State::Up);
    let logged = sim.log.take();
    let errors = logged.iter().filter(|line| line.starts_with("ERROR")).count();
    assert_eq!(errors, 1, "{logged:#?}");
    sim.world.set("bad", Mood::Up);
    sim.run(ms(600)).await;
    assert_eq!(sim.state("bad"), State::Up);
    let counters = sim.status("bad").counters;
    assert_eq!((counters.restarts, counters.attempts, counters.connections), (1, 2, 1));
    assert_eq!(counters.failures.get(Reason::Internal), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_under_a_refresh_loses_the_session_and_keeps_the_books() {
    let refresh = Refresh { every: Some(s(10)), jitter: 0.0, overlap: true };
    let mut sim = Sim::one(Tuning { refresh, ..Tuning::default() }).await;
    sim.run(s(5)).await;
    sim.world.set("db", Mood::Breaks);
    sim.run(s(5)).await;
    let counters = sim.status("one").counters;
    assert_eq!(counters.disconnects.get(Reason::Internal), 1);
    assert_eq!(counters.attempts, counters.connections + counters.failures.total());
    assert_eq!(sim.world.sessions(), 0);
    sim.world.set("db", Mood::Up);
    sim.run(s(2)).await;
    assert_eq!((sim.state("one"), sim.status("one").counters.reconnects), (State::Up, 1));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_crashes_again_and_again_pauses_longer_and_is_not_called_stalled() {
    let mut sim = Sim::new(&[("bad", Mood::Breaks)]);
    sim.supervisor.apply(&[target("bad", "bad", Tuning::default())]);
    for _ in 0..600 {
        sim.run(s(1)).await;
        assert_eq!(sim.shows("bad"), (State::Down, Some(Reason::Internal)));
    }
    let restarts = sim.status("bad").counters.restarts;
    assert!((12..=16).contains(&restarts), "{restarts}");
    sim.supervisor.apply(&[]);
    sim.run(ms(10)).await;
    let left = sim.supervisor.tasks.drain(s(0), |_| {}).await;
    assert!(left.is_empty(), "a pause is no reason to linger");
}

#[tokio::test(start_paused = true)]
async fn every_probe_of_a_flood_is_answered_by_the_one_login() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(10)).await;
    sim.world.forget();
    let requests = sim.supervisor.requests();
    let probes = join_all((0..500).map(|_| requests.prove("one", s(5))));
    tokio::pin!(probes);
    let answers = tokio::select! {
        answers = &mut probes => answers,
        () = async { loop { sim.supervisor.tend().await } } => unreachable!("tending never ends"),
    };
    assert_eq!(answers, vec![Some(ProofReply::Ended(ProofResult::Proven)); 500]);
    assert_eq!(sim.world.times("db", Saw::Login).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_a_hung_server_is_late_and_the_next_one_is_not_confused() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(2)).await;
    sim.world.set("db", Mood::Hung);
    let requests = sim.supervisor.requests();
    assert_eq!(requests.prove("one", s(2)).await, Some(ProofReply::Late));
    sim.world.set("db", Mood::Up);
    sim.run(s(2)).await;
    assert_eq!(requests.prove("one", s(2)).await, Some(ProofReply::Ended(ProofResult::Proven)));
    assert_eq!(requests.prove("nobody", s(2)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wishes_neither_delays_the_drain_nor_a_reload() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(2)).await;
    sim.world.set("db", Mood::Hung);
    let requests = sim.supervisor.requests();
    let flood =
        tokio::spawn(async move { join_all((0..100).map(|_| requests.prove("one", s(3_600)))).await.len() });
    sim.run(s(1)).await;
    let begun = Instant::now();
    assert_eq!(sim.supervisor.drain(s(10)).await, []);
    assert!(begun.elapsed() < s(1), "{:?}", begun.elapsed());
    assert_eq!(flood.await.expect("the flood ends"), 100, "and nobody is left waiting");
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_every_session_within_its_time() {
    let mut sim = Sim::new(&[("db", Mood::Up), ("dead", Mood::Refuses), ("hole", Mood::BlackHole)]);
    let all = [targets("t", "db", 200), targets("d", "dead", 50), targets("h", "hole", 50)].concat();
    sim.supervisor.apply(&all);
    sim.run(s(90)).await;
    assert_eq!(sim.world.sessions(), 200);
    let begun = Instant::now();
    assert_eq!(sim.supervisor.drain(s(2)).await, []);
    assert!(begun.elapsed() < ms(100));
    assert_eq!((sim.world.sessions(), sim.world.times("db", Saw::Goodbye).len()), (0, 200));
    assert_eq!(sim.gate.logins_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_names_those_who_do_not_end_in_time() {
    let mut sim = Sim::new(&[("db", Mood::Up), ("clings", Mood::Clings)]);
    sim.supervisor.apply(&[
        target("good", "db", Tuning::default()),
        target("stuck-b", "clings", Tuning::default()),
        target("stuck-a", "clings", Tuning::default()),
    ]);
    sim.run(s(5)).await;
    let begun = Instant::now();
    let stuck = sim.supervisor.drain(s(2)).await;
    assert_eq!(stuck.iter().map(TargetName::as_str).collect::<Vec<_>>(), ["stuck-a", "stuck-b"]);
    assert!(begun.elapsed() <= ms(2_010));
}

#[tokio::test(start_paused = true)]
async fn files_that_hang_fail_the_attempt_in_time_and_stall_nobody() {
    let mut sim = Sim::new(&[("db", Mood::Up)]);
    sim.world.hang_files(true);
    sim.supervisor.apply(&[target("one", "db", Tuning::default())]);
    for _ in 0..40 {
        assert_eq!(sim.board.overdue(Moment::now()), Vec::<String>::new());
        sim.run(s(1)).await;
    }
    assert_eq!(sim.shows("one"), (State::Down, Some(Reason::Local)));
    sim.world.hang_files(false);
    sim.run(s(60)).await;
    assert_eq!(sim.state("one"), State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_lets_go_is_let_go_and_refreshes_go_on() {
    let refresh = Refresh { every: Some(s(10)), jitter: 0.0, overlap: true };
    let mut sim = Sim::one(Tuning { refresh, ..Tuning::default() }).await;
    sim.world.set("db", Mood::Clings);
    sim.run(s(100)).await;
    assert!(sim.status("one").counters.refreshes >= 9);
    assert_eq!(sim.world.most_sessions("one"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_changes_while_the_database_sleeps_is_proven() {
    let idle_policy = crate::target::IdlePolicy::LetSleep;
    let tuning = Tuning { idle_policy, ..Tuning::default() };
    let with_file = Target {
        password: PasswordSource::File("/run/secrets/pw".into()),
        ..Target::clone(&target("one", "db", tuning))
    };
    let mut sim = Sim::new(&[("db", Mood::Up)]);
    sim.supervisor.apply(&[Arc::new(with_file)]);
    sim.run(s(300)).await;
    sim.world.end_sessions("db");
    sim.run(s(300)).await;
    assert_eq!((sim.state("one"), sim.world.times("db", Saw::Login).len()), (State::Sleeping, 1));
    sim.world.change_secret();
    sim.run(s(2)).await;
    assert_eq!((sim.state("one"), sim.world.times("db", Saw::Login).len()), (State::Up, 2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_only_a_person_can_mend_is_told_at_once() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.log.take();
    sim.world.set("db", Mood::Rejects);
    sim.world.end_sessions("db");
    sim.run(s(2)).await;
    let logged = sim.log.take();
    assert!(logged[0].contains("reason=shutdown"), "{logged:#?}");
    assert!(logged[1].contains("reason=auth"), "{logged:#?}");
    sim.run(s(3_600)).await;
    assert_eq!(sim.log.take(), Vec::<String>::new(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_was_late_is_not_told_as_stalled_by_itself() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.world.set("db", Mood::Hung);
    let requests = sim.supervisor.requests();
    // The ping and the login are both unanswered when nobody looks for 20 s.
    let asked = async {
        sim.run(s(28)).await;
        requests.prove("one", s(60)).await
    };
    let late = async {
        tokio::time::sleep(s(30)).await;
        tokio::time::advance(s(20)).await;
    };
    tokio::join!(asked, late);
    let logged = sim.log.take();
    assert!(logged.iter().any(|line| line.contains("reason=timeout")), "{logged:#?}");
    assert!(!logged.iter().any(|line| line.contains("stalled")), "{logged:#?}");
}
