//! Many targets at once: the guard holds, and everybody comes back.

use super::*;
use crate::policy::guard::tests::most_in_a_second;

/// The limits of the guard, as the servers see them.
fn assert_within_limits(sim: &Sim) {
    let limits = GuardLimits::default();
    let notes = sim.world.notes();
    let all = most_in_a_second(&tcp_connects(&notes));
    assert!(all <= limits.connects_per_second as usize, "{all} connects in a second");
    let mut hosts: Vec<_> = notes.iter().map(|note| note.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        let most = most_in_a_second(&sim.world.times(host, Saw::TcpConnect));
        assert!(
            most <= limits.connects_per_host_per_second as usize,
            "{most} connects in a second at {host}"
        );
    }
    assert!(sim.world.most_logins() <= limits.logins_in_flight as usize);
}

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn half_a_fleet_on_a_dead_address_leaves_the_other_half_in_peace() {
    let mut sim = Sim::new(&[("dead", Mood::Refuses), ("live", Mood::Up)]);
    let all = [targets("dead", "dead", 500), targets("live", "live", 500)].concat();
    sim.supervisor.apply(&all);
    sim.run(s(60)).await;
    assert_eq!((sim.count("live", State::Up), sim.count("dead", State::Down)), (500, 500));
    sim.log.take();
    sim.run(s(60)).await;
    assert_within_limits(&sim);
    let dead = sim.world.times("dead", Saw::TcpConnect);
    // At first nobody knows that it is dead, and as many connect as may at the same time.
    let late = &gaps(&dead)[4..];
    assert!(late.iter().all(|gap| (ms(800)..=ms(1100)).contains(gap)), "one TCP connect a second: {late:?}");
    assert_eq!(sim.world.times("dead", Saw::Login), []);
    assert_eq!((sim.count("live", State::Up), sim.count("dead", State::Down)), (500, 500));
    let counted = sim.sum(|counters| counters.tcp_connects);
    let observed = sim.world.notes().iter().filter(|note| note.saw == Saw::TcpConnect).count() as u64;
    assert_eq!(counted, observed, "each TCP connect is counted once, by the target that made it");
    let logged = sim.log.take();
    assert!(logged.len() < 20, "{logged:#?}");
    assert_pings_on_time(&sim);
}

/// Between the pings of a live session lie 30 s.
fn assert_pings_on_time(sim: &Sim) {
    let mut last = std::collections::HashMap::new();
    for note in sim.world.notes().into_iter().filter(|note| note.saw == Saw::Ping) {
        if let Some(before) = last.insert(note.target.clone(), note.at) {
            let gap = note.at - before;
            assert!((s(30)..s(30) + ms(50)).contains(&gap), "{} was pinged after {gap:?}", note.target);
        }
    }
    assert_eq!(last.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_everybodys_server_brings_everybody_back_without_a_storm() {
    let mut sim = Sim::new(&[("db", Mood::Up)]);
    sim.supervisor.apply(&targets("t", "db", 500));
    sim.run(s(180)).await;
    assert_eq!(sim.count("t", State::Up), 500);
    sim.world.forget();
    sim.world.set("db", Mood::Refuses);
    sim.world.end_sessions("db");
    sim.run(s(45)).await;
    assert_eq!(sim.count("t", State::Down), 500);
    let unreachable = sim.world.times("db", Saw::TcpConnect).len();
    assert!(unreachable <= 75, "one address, one TCP connect a second: {unreachable}");
    sim.world.set("db", Mood::Starting);
    sim.run(s(5)).await;
    sim.world.set("db", Mood::Up);
    sim.run(s(1)).await;
    assert!(sim.count("t", State::Up) >= 1, "the first is back within the second");
    sim.run(s(69)).await;
    assert_eq!(sim.count("t", State::Up), 500);
    assert_within_limits(&sim);
    sim.board.look(Moment::now(), |views| {
        for counters in views.iter().map(|view| &view.status.counters) {
            assert_eq!((counters.reconnects, counters.disconnects.total()), (1, 1));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_single_target_is_back_within_a_second_of_the_server() {
    let mut sim = Sim::one(Tuning::default()).await;
    sim.run(s(100)).await;
    sim.world.set("db", Mood::Refuses);
    sim.world.end_sessions("db");
    sim.run(s(45)).await;
    assert_eq!(sim.shows("one"), (State::Down, Some(Reason::Refused)));
    sim.world.set("db", Mood::Up);
    sim.run(ms(1020)).await;
    assert_eq!(sim.state("one"), State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_of_hung_servers_is_down_in_time_and_back_at_the_thaw() {
    let mut sim = Sim::new(&[("db", Mood::Up), ("other", Mood::Up)]);
    sim.supervisor.apply(&[targets("t", "db", 100), targets("o", "other", 100)].concat());
    sim.run(s(150)).await;
    sim.world.set("db", Mood::Hung);
    sim.run(s(36)).await;
    assert_eq!(sim.count("t", State::Down), 100, "ping interval and timeout are over");
    sim.run(s(24)).await;
    assert_eq!(sim.count("o", State::Up), 100, "the others notice nothing");
    assert_eq!(sim.board.overdue(Moment::now()), Vec::<String>::new());
    sim.world.set("db", Mood::Up);
    sim.run(ms(100)).await;
    assert_eq!(sim.count("t", State::Down), 0, "by the late answer");
    sim.run(s(60)).await;
    assert_eq!(sim.count("t", State::Up), 100);
    assert_within_limits(&sim);
    let lost = sim.sum(|counters| counters.disconnects.total());
    assert_eq!(lost, 0, "every session survived");
}

#[tokio::test(start_paused = true)]
async fn tcp_connects_to_a_black_hole_go_one_after_the_other_and_starve_nobody() {
    let mut sim = Sim::new(&[("hole", Mood::BlackHole), ("db", Mood::Up)]);
    sim.supervisor.apply(&[targets("hole", "hole", 100), targets("t", "db", 100)].concat());
    sim.run(s(120)).await;
    assert_eq!((sim.count("hole", State::Down), sim.count("t", State::Up)), (100, 100));
    assert_eq!(sim.shows("hole042"), (State::Down, Some(Reason::Timeout)));
    let gaps = gaps(&sim.world.times("hole", Saw::TcpConnect));
    let later = &gaps[gaps.len() - 5..];
    assert!(later.iter().all(|gap| (ms(10_800)..ms(12_100)).contains(gap)), "{later:?}");
    assert_within_limits(&sim);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_four_times_in_two_minutes_at_the_most() {
    let mut sim = Sim::new(&[("db", Mood::Rejects)]);
    let with_file = Target {
        password: PasswordSource::File("/run/secrets/pw".into()),
        ..Target::clone(&target("one", "db", Tuning::default()))
    };
    sim.supervisor.apply(&[Arc::new(with_file)]);
    sim.run(s(120)).await;
    let logins = sim.world.times("db", Saw::Login).len();
    assert!((2..=4).contains(&logins), "{logins}");
    assert_eq!(sim.shows("one"), (State::Down, Some(Reason::Auth)));
    sim.world.set("db", Mood::Up);
    sim.world.change_secret();
    sim.run(s(2)).await;
    assert_eq!(sim.state("one"), State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_never_holds_still_makes_no_storm() {
    let mut sim = Sim::new(&[("db", Mood::Rejects)]);
    let with_file = Target {
        password: PasswordSource::File("/run/secrets/pw".into()),
        ..Target::clone(&target("one", "db", Tuning::default()))
    };
    sim.supervisor.apply(&[Arc::new(with_file)]);
    for _ in 0..600 {
        sim.world.change_secret();
        sim.run(ms(100)).await;
    }
    let logins = sim.world.times("db", Saw::Login);
    assert!(most_in_a_second(&logins) <= 1, "{}", logins.len());
}

#[tokio::test(start_paused = true)]
async fn refreshes_hold_two_sessions_for_moments_and_never_three() {
    let refresh = Refresh { every: Some(s(2)), jitter: 0.1, overlap: true };
    let mut sim = Sim::one(Tuning { refresh, ..Tuning::default() }).await;
    for _ in 0..6_000 {
        sim.run(ms(10)).await;
        assert_eq!(sim.state("one"), State::Up);
    }
    let status = sim.status("one");
    assert!(status.counters.refreshes >= 29);
    assert_eq!((status.counters.reconnects, sim.world.most_sessions("one")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_servers_take_every_login_and_end_every_session_stays_within_the_limits() {
    for life in [s(2), s(12)] {
        let mut sim = Sim::new(&[("db", Mood::Up), ("other", Mood::Up)]);
        sim.supervisor.apply(&[targets("t", "db", 300), targets("o", "other", 20)].concat());
        sim.run(s(120)).await;
        for _ in 0..60 / life.as_secs() {
            sim.world.end_sessions("db");
            sim.world.end_sessions("other");
            sim.run(life).await;
        }
        assert_within_limits(&sim);
        let flapping = sim.status("o000");
        assert!(flapping.flapping.is_some(), "{:?}", flapping.line);
        assert_eq!(flapping.counters.failures.total(), 0);
        sim.run(s(60)).await;
        assert_eq!((sim.count("o", State::Degraded), sim.count("t", State::Down)), (20, 0));
        sim.run(s(300)).await;
        assert_eq!((sim.count("o", State::Up), sim.count("t", State::Up)), (20, 300), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_session_after_twelve_seconds_is_up_nine_tenths_of_the_time() {
    let mut sim = Sim::one(Tuning::default()).await;
    let mut up = 0;
    for tick in 0..3_000 {
        if tick % 120 == 119 {
            sim.world.end_sessions("db");
        }
        sim.run(ms(100)).await;
        up += u32::from(sim.state("one").is_up());
    }
    assert!(up > 2_900, "up in {up} of 3000 looks");
    assert_eq!(sim.shows("one"), (State::Degraded, Some(Reason::Flapping)));
    let logins = sim.world.times("db", Saw::Login);
    assert!(gaps(&logins).iter().all(|gap| *gap >= s(1)), "one login a second at the most");
}
