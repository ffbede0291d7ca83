//! What an operator reads.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_is_two_lines_that_an_operator_can_act_on() {
    let mut sim = Sim::one(Tuning::default()).await;
    assert_eq!(sim.log.take().len(), 1, "connected");
    sim.run(s(100)).await;
    sim.world.set("db", Mood::Refuses);
    sim.world.end_sessions("db");
    sim.run(s(1)).await;
    let outage = sim.log.take();
    assert_eq!(outage.len(), 2, "{outage:#?}");
    for text in [
        "WARN",
        "target=one",
        "from=\"up\"",
        "to=\"down\"",
        "reason=shutdown",
        "lasted_seconds=100",
        "remedy=",
        "retry_in_seconds=0.0",
        "host=\"db\"",
        "port=5432",
        "database=\"db\"",
        "user=\"app\"",
    ] {
        assert!(outage[0].contains(text), "{text} is not in {}", outage[0]);
    }
    for text in
        ["from=\"down\"", "to=\"down\"", "reason=refused", "retry_in_seconds=", "longest_retry_seconds=1.0"]
    {
        assert!(outage[1].contains(text), "{text} is not in {}", outage[1]);
    }
    sim.run(s(3_600)).await;
    assert_eq!(sim.log.take(), Vec::<String>::new());
    sim.world.set("db", Mood::Up);
    sim.run(s(2)).await;
    let back = sim.log.take();
    assert_eq!(back.len(), 1);
    for text in [
        "INFO",
        "from=\"down\"",
        "to=\"up\"",
        "lasted_seconds=3601",
        "reasons=\"refused,shutdown\"",
        "the database is back",
    ] {
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
    assert!((12..=19).contains(&logged.len()), "{logged:#?}");
    let last = logged.last().expect("there are some");
    assert!(last.contains("unlogged_changes=") && last.contains("quiet_seconds="), "{last}");
}

/// What a line says of a number.
fn number(line: &str, field: &str) -> f64 {
    let (_, rest) = line.split_once(&format!(" {field}=")).unwrap_or_else(|| panic!("no {field}: {line}"));
    rest.split(' ').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{field}: {line}"))
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_flapping_is_a_dozen_lines_that_say_how_often_since_when_and_why() {
    let mut sim = Sim::one(Tuning::default()).await;
    for _ in 0..1_200 {
        sim.world.end_sessions("db");
        sim.run(s(3)).await;
    }
    let logged = sim.log.take();
    assert!((8..=12).contains(&logged.len()), "{logged:#?}");
    let last = logged.last().expect("there are some");
    for text in [
        "reason=flapping",
        "sessions lost within ",
        " shutdown; the last at ",
        "Z by: ",
        "again and again",
        "to=\"degraded\"",
    ] {
        assert!(last.contains(text), "{text} is not in {last}");
    }
    assert!(number(last, "losses") > 500.0 && number(last, "unlogged_changes") > 100.0, "{last}");
    // An outage after all that is told within a minute, and so is its end.
    sim.world.set("db", Mood::Refuses);
    sim.world.end_sessions("db");
    sim.run(s(80)).await;
    let outage = sim.log.take();
    assert_eq!(outage.len(), 1, "{outage:#?}");
    let lost = "to=\"down\" reason=refused lost_by=\"shutdown\"";
    assert!(outage[0].contains(lost), "{outage:#?}");
    sim.world.set("db", Mood::Up);
    sim.run(s(80)).await;
    let back = sim.log.take();
    assert!(back.len() == 1 && back[0].contains("to=\"degraded\" reason=flapping"), "{back:#?}");
    sim.run(s(400)).await;
    let quiet = sim.log.take();
    assert!(quiet.len() == 1 && quiet[0].contains("to=\"up\""), "{quiet:#?}");
}

#[tokio::test(start_paused = true)]
async fn each_loss_has_a_line_of_its_own_until_the_target_is_told_to_flap() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(100)).await;
    sim.log.take();
    let lost = "to=\"down\" reason=shutdown";
    for expected in [
        [lost, "to=\"up\""].as_slice(),
        &[lost, "to=\"up\""],
        &[lost, "to=\"degraded\" reason=flapping"],
        &[],
    ] {
        sim.world.end_sessions("db");
        sim.run(s(10)).await;
        let logged = sim.log.take();
        assert_eq!(logged.len(), expected.len(), "{logged:#?}");
        for (line, text) in logged.iter().zip(expected) {
            assert!(line.contains(text) && !line.contains("lost_by"), "{text} is not in {line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_field_of_these_lines_is_in_the_docs() {
    const PAGE: &str = include_str!("../../../docs/troubleshooting.md");
    let mut sim = Sim::one(Tuning::default()).await;
    for _ in 0..100 {
        sim.world.end_sessions("db");
        sim.run(s(3)).await;
    }
    sim.world.set("db", Mood::Rejects);
    sim.world.end_sessions("db");
    sim.run(s(100)).await;
    sim.world.set("db", Mood::Up);
    sim.run(s(3_600)).await;
    let logged = sim.log.take().join(" ");
    let mut fields: Vec<_> = logged.split(' ').filter_map(|word| Some(word.split_once('=')?.0)).collect();
    fields.retain(|field| *field != "message" && field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    fields.sort_unstable();
    fields.dedup();
    assert!(fields.len() >= 17, "{fields:?}");
    for field in fields {
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_within_a_minute_although_its_reasons_alternate_after_an_hour_of_flapping() {
    let mut sim = Sim::one(Tuning::default()).await;
    for _ in 0..1_200 {
        sim.world.set("db", Mood::Refuses);
        sim.world.end_sessions("db");
        sim.run(s(2)).await;
        sim.world.set("db", Mood::Up);
        sim.run(s(3)).await;
    }
    let logged = sim.log.take();
    assert!((12..=20).contains(&logged.len()), "{logged:#?}");
    sim.world.end_sessions("db");
    for turn in 0..40 {
        sim.world.set("db", if turn % 2 == 0 { Mood::Refuses } else { Mood::Starting });
        sim.run(s(2)).await;
    }
    let outage = sim.log.take();
    assert!((1..=2).contains(&outage.len()) && outage[0].contains("to=\"down\""), "{outage:#?}");
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
