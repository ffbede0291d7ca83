//! What an operator reads.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_is_two_lines_that_an_operator_can_act_on() {
    let mut sim = Sim::one(Tuning::default()).await;
    assert_eq!(sim.log.take().len(), 1, "connected");
    sim.run(s(100)).await;
    sim.world.set("db", Mood::Refuses);
    sim.world.end_sessions("db");
    sim.run(s(3_600)).await;
    let outage = sim.log.take();
    assert!(outage.len() <= 2, "{outage:#?}");
    for text in [
        "WARN",
        "target=one",
        "from=\"up\"",
        "to=\"down\"",
        "reason=shutdown",
        "after_seconds=100",
        "remedy=",
    ] {
        assert!(outage[0].contains(text), "{text} is not in {}", outage[0]);
    }
    assert!(outage[1].contains("reason=refused"), "{outage:#?}");
    sim.world.set("db", Mood::Up);
    sim.run(s(2)).await;
    let back = sim.log.take();
    assert_eq!(back.len(), 1);
    for text in ["INFO", "from=\"down\"", "to=\"up\"", "after_seconds=3600", "the database is back"] {
        assert!(back[0].contains(text), "{text} is not in {}", back[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn planned_gaps_and_sleep_are_no_outage_in_the_log() {
    let refresh = Refresh { every: Some(s(10)), jitter: 0.0, overlap: false };
    let mut sim = Sim::one(Tuning { refresh, ..Tuning::default() }).await;
    sim.log.take();
    sim.run(s(100)).await;
    assert_eq!(sim.log.take(), Vec::<String>::new());
    assert!(sim.status("one").counters.refreshes >= 9);
    let idle_policy = crate::target::IdlePolicy::LetSleep;
    let mut sim = Sim::one(Tuning { idle_policy, ..Tuning::default() }).await;
    sim.log.take();
    sim.run(s(300)).await;
    sim.world.end_sessions("db");
    sim.run(s(2)).await;
    let logged = sim.log.take();
    assert!(logged.len() == 1 && logged[0].starts_with("INFO"), "{logged:#?}");
    assert_eq!(sim.state("one"), State::Sleeping);
}

#[tokio::test(start_paused = true)]
async fn no_line_of_the_log_holds_a_password() {
    let mut sim = Sim::new(&[("db", Mood::Rejects), ("bad", Mood::Breaks), ("dead", Mood::Refuses)]);
    let on = |name, host| target(name, host, Tuning::default());
    sim.supervisor.apply(&[on("a", "db"), on("b", "bad"), on("c", "dead")]);
    sim.run(s(60)).await;
    let logged = sim.log.take();
    assert!(logged.len() >= 3);
    assert!(
        logged.iter().all(|line| !line.contains("secret ") && !line.contains("password=")),
        "{logged:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_in_turns_is_logged_ever_more_rarely() {
    let mut sim = Sim::new(&[("db", Mood::Refuses)]);
    sim.supervisor.apply(&[target("one", "db", Tuning::default())]);
    for turn in 0..3_600 {
        sim.world.set("db", if turn % 2 == 0 { Mood::Refuses } else { Mood::Starting });
        sim.run(s(2)).await;
    }
    let logged = sim.log.take();
    assert!((3..=9).contains(&logged.len()), "{logged:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_thaw_logs_no_login_that_was_not_made() {
    let refresh = Refresh { every: None, ..Tuning::default().refresh };
    let mut sim = Sim::one(Tuning { refresh, ..Tuning::default() }).await;
    assert!(sim.log.take()[0].contains("login_seconds="));
    sim.run(s(100)).await;
    sim.world.set("db", Mood::Hung);
    sim.run(s(26)).await;
    sim.world.set("db", Mood::Up);
    sim.run(ms(3)).await;
    let logged = sim.log.take();
    assert_eq!(logged.len(), 2, "{logged:#?}");
    assert!(logged[0].contains("reason=timeout") && !logged[1].contains("login_seconds="), "{logged:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_login_is_not_a_database_that_cannot_be_reached() {
    let mut sim = Sim::new(&[("db", Mood::Rejects), ("dead", Mood::Refuses)]);
    let on = |name, host| target(name, host, Tuning::default());
    sim.supervisor.apply(&[on("rejected", "db"), on("refused", "dead")]);
    sim.run(s(10)).await;
    let logged = sim.log.take();
    for (target, message) in
        [("rejected", "the login was rejected"), ("refused", "the database cannot be reached")]
    {
        let line = logged.iter().find(|line| line.contains(&format!("target={target} ")));
        assert!(line.is_some_and(|line| line.contains(message)), "{target}: {logged:#?}");
    }
}
