//! A thousand targets: half of them on a port where nobody listens, half on a live server. The guard is counted at
//! the server, from the very start, when all want to log in at once.

use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::{Setup, free_port};
use tokio::time::{Instant, sleep, sleep_until};

use crate::ask::{Kept, Timed};
use crate::journal::{entries, most_at_once, most_in_a_second, sessions, written_at};
use crate::plan::Plan;
use crate::process::Daemon;
use crate::report::{Figure, length, quantile};
use crate::servers::{Version, postgres};
use crate::watch::{Question, Watch};

/// The guard's defaults for one address.
const CONNECTS_A_SECOND: usize = 10;
const LOGINS_AT_ONCE: usize = 4;
const PING_EVERY: Duration = Duration::from_secs(30);
const LINES_A_MINUTE: f64 = 20.0;

/// What the scrapes, one a second, showed.
#[derive(Default)]
struct Course {
    /// When all live targets were up and all dead ones tried.
    settled: Option<(SystemTime, Instant)>,
    /// Targets that were seen up, and then down.
    fallen: u64,
    /// The oldest last check of a live target, once settled.
    oldest_check: Duration,
    /// All TCP connects to the dead address, by the time of the scrape.
    connects: Vec<(Instant, f64)>,
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let each = if plan.quick { 50 } else { 500 };
    let setup = Setup::default().set("max_connections", each + 20);
    let cluster = postgres(Version::V15, setup);
    let config = config(each, &cluster.superuser_url());
    let begun = Instant::now();
    let daemon = Daemon::start(&config);
    let watch = Watch::start(&[Question {
        path: "/livez",
        good: |answer| answer.status == 200,
        ..Question::metrics(daemon.address())
    }]);
    let course = follow(&daemon, each, begun + plan.seconds(120, 15)).await;
    let seen = watch.end();
    let metrics = daemon.metrics().await;
    let sum = |name| metrics.all(name, &[]).iter().map(|sample| sample.value).sum::<f64>();
    let (disconnects, failed_pings) =
        (sum("pgtether_disconnects_total"), sum("pgtether_ping_failures_total"));
    let [guarded, logged_in] = at_the_server(&cluster.log(), each);
    let Some((settled, since)) = course.settled else { panic!("not settled within the time") };
    let quiet = begun.elapsed().saturating_sub(since - begun).as_secs_f64() / 60.0;
    let lines = lines_after(settled, &daemon.log()) as f64 / quiet;
    let (connects, livez) = (pace(&course.connects), &seen.answers[0]);
    vec![
        Figure::fact(
            "1000 targets, half of them dead: all live ones up after",
            length(since - begun),
            "",
            true,
        ),
        guarded.beside(&seen.echo),
        logged_in,
        Figure::fact(
            "TCP connects to the dead address, all 500 together, a minute and at most a second",
            format!("{:.0}, {}; {} in the first", connects.a_minute, connects.most, connects.first),
            "≤ 75, 2; 10",
            (50.0..=75.0).contains(&connects.a_minute) && connects.most <= 2.0 && connects.first <= 10.0,
        ),
        Figure::fact(
            "live targets seen down, sessions lost, pings failed",
            format!("{}, {disconnects}, {failed_pings}", course.fallen),
            "none",
            course.fallen == 0 && disconnects == 0.0 && failed_pings == 0.0,
        ),
        Figure::fact(
            "the oldest check of a live target, pings being 30 s apart",
            length(course.oldest_check),
            "≤ 31 s",
            course.oldest_check <= PING_EVERY + Duration::from_secs(1),
        ),
        Figure::fact(
            "lines in the log a minute, at info, after the start",
            format!("{lines:.1}"),
            "< 20",
            lines < LINES_A_MINUTE,
        ),
        Figure::fact(
            "/livez that failed, 20 ms apart",
            format!(
                "{} of {}, p99 {}",
                livez.bad_count,
                livez.times.len(),
                length(quantile(&livez.times, 0.99))
            ),
            "none",
            livez.bad_count == 0,
        )
        .beside(&seen.echo),
    ]
}

/// So many targets on the live server, and as many where nobody listens.
fn config(each: usize, live: &str) -> String {
    let dead = format!("postgresql://a:b@127.0.0.1:{}/c", free_port().unwrap());
    let mut config = "service: fleet\ntargets:\n".to_owned();
    for n in 0..each {
        config +=
            &format!("  - {{name: live-{n}, url: \"{live}\"}}\n  - {{name: dead-{n}, url: \"{dead}\"}}\n");
    }
    config
}

/// The guard's limits, counted where they matter.
fn at_the_server(log: &str, each: usize) -> [Figure; 2] {
    let received: Vec<SystemTime> = entries(log)
        .iter()
        .filter(|entry| entry.text.contains("connection received: host=127.0.0.1"))
        .map(|entry| entry.at)
        .collect();
    let logins = sessions(log, "fleet");
    let at_once = most_at_once(logins.iter().map(|login| (login.received, Some(login.authorized))));
    let in_a_second = most_in_a_second(&received);
    [
        Figure::fact(
            "connects at the server in any second, at the most",
            in_a_second,
            &format!("≤ {CONNECTS_A_SECOND}"),
            received.len() >= each && in_a_second <= CONNECTS_A_SECOND,
        ),
        Figure::fact(
            "logins at the server at the same time, at the most",
            at_once,
            &format!("≤ {LOGINS_AT_ONCE}"),
            logins.len() >= each && at_once <= LOGINS_AT_ONCE,
        ),
    ]
}

fn lines_after(settled: SystemTime, log: &str) -> usize {
    log.lines().filter(|line| written_at(line).is_some_and(|at| at > settled)).count()
}

/// Scrapes once a second until `end`, at least half of the time after all had settled.
async fn follow(daemon: &Daemon, each: usize, end: Instant) -> Course {
    let mut course = Course::default();
    let mut scraper = Kept::open(daemon.address()).await.unwrap();
    let mut next = Instant::now();
    let mut most_up = 0;
    while Instant::now() < end {
        let scrape = scraper.get("/metrics").await.unwrap();
        let text = text(&scrape);
        let (now, wall) = (Instant::now(), SystemTime::now());
        let up = values(text, "pgtether_up{target=\"live-").filter(|value| *value == 1.0).count();
        most_up = most_up.max(up);
        course.fallen += (most_up - up) as u64;
        let untried = values(text, "pgtether_target_state{target=\"dead-")
            .zip(text.lines().filter(|line| line.starts_with("pgtether_target_state{target=\"dead-")))
            .filter(|(value, line)| *value == 1.0 && line.contains("state=\"starting\""))
            .count();
        if up == each && untried == 0 && course.settled.is_none() {
            course.settled = Some((wall, now));
        }
        if course.settled.is_some() {
            let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
            let oldest = values(text, "pgtether_last_check_timestamp_seconds{target=\"live-");
            let oldest = Duration::from_secs_f64((wall - oldest.fold(wall, f64::min)).max(0.0));
            course.oldest_check = course.oldest_check.max(oldest);
        }
        course.connects.push((now, values(text, "pgtether_tcp_connects_total{target=\"dead-").sum()));
        next += Duration::from_secs(1);
        sleep_until(next).await;
    }
    // What is on its way into the server's log.
    sleep(Duration::from_millis(200)).await;
    course
}

struct Pace {
    /// Before anybody knows that the address is dead.
    first: f64,
    a_minute: f64,
    /// Between two scrapes.
    most: f64,
}

fn pace(connects: &[(Instant, f64)]) -> Pace {
    let [_, second, .., last] = connects else { panic!("too few scrapes: {}", connects.len()) };
    let a_minute = (last.1 - second.1) * 60.0 / (last.0 - second.0).as_secs_f64();
    let most = connects[1..].windows(2).map(|pair| pair[1].1 - pair[0].1).fold(0.0, f64::max);
    Pace { first: second.1, a_minute, most }
}

fn text(scrape: &Timed) -> &str {
    assert_eq!(scrape.status, 200);
    std::str::from_utf8(&scrape.body).unwrap()
}

/// The values of the samples that begin so.
fn values<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = f64> + 'a {
    let lines = text.lines().filter(move |line| line.starts_with(begin));
    lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap())
}
