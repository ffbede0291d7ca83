//! A refresh every 2 s: make before break, seen by a scraper in a hurry and by the server.

use std::time::Duration;

use tokio::time::sleep;

use crate::journal::{Session, most_at_once, sessions};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::Figure;
use crate::rig::{PATIENCE, all_up, config, counter, names, url};
use crate::servers::postgres15;
use crate::watch::{Question, Watch};

pub async fn run(plan: Plan) -> Vec<Figure> {
    let names = names(1);
    let cluster = postgres15();
    let keys = |name: &String| (name.clone(), url(&cluster, name) + ", refresh: {every: 2s}");
    let daemon = Daemon::start(&config(names.iter().map(keys)));
    all_up(&daemon, 1, PATIENCE).await;
    let up = |answer: &crate::ask::Timed| answer.body.windows(UP.len()).any(|part| part == UP.as_bytes());
    let watch = Watch::start(&[Question { good: up, ..Question::metrics(daemon.address()) }]);
    sleep(plan.seconds(60, 8)).await;
    let seen = watch.end();
    let reconnects = counter(&daemon, "pgtether_reconnects_total", &names[0]).await;
    let refreshes = counter(&daemon, "pgtether_refreshes_total", &names[0]).await;
    drop(daemon);
    // The server writes the end of a session when it has seen it.
    sleep(Duration::from_millis(200)).await;
    let sessions = sessions(&cluster.log(), &names[0]);
    let after_its_end = |pair: &&[Session]| pair[0].ended.is_some_and(|ended| ended < pair[1].authorized);
    let gaps = sessions.windows(2).filter(after_its_end).count();
    let most = most_at_once(sessions.iter().map(|session| (session.received, session.ended)));
    let scrapes = &seen.answers[0];
    let least = plan.seconds(60, 8).as_secs() / 2;
    vec![
        Figure::fact(
            "refresh.every 2s for a minute: refreshes",
            refreshes,
            &format!("≥ {least}"),
            refreshes >= least,
        ),
        Figure::fact(
            "scrapes, 20 ms apart, without \"up 1\"",
            format!("{} of {}", scrapes.bad_count, scrapes.times.len()),
            "none",
            scrapes.bad_count == 0 && scrapes.times.len() > 100,
        )
        .beside(&seen.echo),
        Figure::at_most("sessions that began after the end of the one before", gaps as u64, 0),
        Figure::fact("sessions at the same time, by the server's log", most, "2", most == 2),
        Figure::at_most("reconnects_total", reconnects, 0),
    ]
}

const UP: &str = "\npgtether_up{target=\"t0\"} 1\n";
