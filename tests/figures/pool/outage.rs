//! The server is away for 16 s under load: killed, stopped in order, or hung. When is everybody served again?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pgtether::demo::postgres::{Cluster, Setup, Shutdown};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_postgres::NoTls;

use super::ledger::{ACCOUNTS, Found, Ledger, OPENING, TABLES};
use super::session::{Problem, Session, Style};
use super::{Poolers, Whose, seconds};
use crate::journal::transitions;
use crate::plan::Plan;
use crate::report::{Figure, length};
use crate::rig::{PATIENCE, between};
use crate::servers::{Admin, PoolMode, Version, postgres};

/// Clients at work at each pooler.
const CLIENTS: usize = 20;
/// Clients that come while the server is away and after: so many at each pooler, so much apart.
const NEW_CLIENTS: u32 = 20;
const APART: Duration = Duration::from_millis(200);
const SIZE: usize = 10;
const BOUND: Duration = Duration::from_millis(1200);

/// What happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Stopped(Shutdown),
    Hung,
}

/// What one client has seen.
#[derive(Debug, Default)]
struct Course {
    /// When each thing that was done was asked for, and when it was done.
    served: Vec<(Instant, Instant)>,
    errors: Vec<String>,
    hung: usize,
}

pub async fn run(plan: Plan) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (what, away) in [
        ("immediate stop", Away::Stopped(Shutdown::Immediate)),
        ("fast stop", Away::Stopped(Shutdown::Fast)),
        ("hang", Away::Hung),
    ] {
        figures.extend(outage(&plan, what, away).await);
    }
    figures
}

async fn outage(plan: &Plan, what: &str, away: Away) -> Vec<Figure> {
    let lasts = plan.seconds(16, 3);
    let cluster = bank().await;
    let ours = ", wait_timeout: 30s";
    let poolers = Poolers::open(&cluster, PoolMode::Transaction, SIZE, ours, &[]).await;
    let load = Load::start(&poolers);
    sleep(Duration::from_secs(2)).await;

    let cluster = Arc::new(Mutex::new(cluster));
    let begun = Instant::now();
    let fell = SystemTime::now();
    let accepts = tokio::join!(strike(cluster.clone(), away, lasts), async {
        sleep_until(begun + lasts - APART * (NEW_CLIENTS / 2)).await;
        load.new_clients();
    })
    .0;
    // PgBouncer tries its next login up to 15 s after the one that failed.
    sleep(plan.seconds(20, 4)).await;
    let ended = load.end().await;
    // On the clock of the log.
    let since = fell + (accepts - begun);
    let line =
        transitions(&poolers.daemon.log()).into_iter().find(|seen| seen.to == "up" && seen.at >= since);
    let line = line.map(|up| format!(", its line up after {}", length(between(since, up.at))));

    let cluster = Arc::into_inner(cluster).unwrap().into_inner().unwrap();
    let found = Found::read(&cluster.admin_conninfo()).await.unwrap();
    let breaches = ended.ledger.verdict(&found);
    for breach in &breaches {
        eprintln!("         {what}: {breach}");
    }
    let [ours, theirs] = &ended.courses;
    let mut said: BTreeMap<&String, usize> = BTreeMap::new();
    for error in ours.iter().flat_map(|course| &course.errors) {
        *said.entry(error).or_default() += 1;
    }
    for (error, times) in said {
        eprintln!("         {what}: {times} times {error}");
    }
    let hung = |courses: &[Course]| -> usize {
        courses.iter().filter(|course| course.hung > 0 || course.after(accepts).is_none()).count()
    };
    let worst = |courses: &[Course]| courses.iter().filter_map(|course| course.after(accepts)).max();
    let errors = |courses: &[Course]| courses.iter().map(|course| course.errors.len()).sum::<usize>();
    let [ours_worst, theirs_worst] = [ours, theirs].map(|courses| worst(courses).unwrap_or(PATIENCE));
    // A query that was at the server is lost with it; where the server only hung, nothing is.
    let allowed = if away == Away::Hung { 0 } else { SIZE as u64 };
    vec![
        Figure::fact(
            &format!(
                "{what} of {}: the last of {} clients served, after it accepts logins (PgBouncer {})",
                seconds(lasts),
                ours.len(),
                seconds(theirs_worst)
            ),
            format!("{}{}", length(ours_worst), line.unwrap_or_default()),
            &format!("≤ {}", length(BOUND)),
            ours_worst <= BOUND,
        ),
        Figure::at_most(
            &format!("… clients that were told an error (PgBouncer {})", errors(theirs)),
            errors(ours) as u64,
            allowed,
        ),
        Figure::at_most(&format!("… clients that hung (PgBouncer {})", hung(theirs)), hung(ours) as u64, 0),
        Figure::at_most("… writes lost, doubled or there against their answer", breaches.len() as u64, 0),
    ]
}

/// Clients at both poolers, at work until they are told to end.
struct Load {
    urls: [String; 2],
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    clients: Mutex<[Vec<JoinHandle<Course>>; 2]>,
}

/// What all of them have seen, ours first.
struct Ended {
    courses: [Vec<Course>; 2],
    ledger: Arc<Ledger>,
}

impl Load {
    fn start(poolers: &Poolers) -> Load {
        let load = Load {
            urls: [Whose::Ours, Whose::Theirs].map(|whose| poolers.url(whose)),
            ledger: Arc::default(),
            stop: Arc::default(),
            clients: Mutex::default(),
        };
        for _ in 0..CLIENTS {
            load.admit(Duration::ZERO);
        }
        load
    }

    fn new_clients(&self) {
        for n in 0..NEW_CLIENTS {
            self.admit(APART * n);
        }
    }

    /// One more client at each pooler, after that wait.
    fn admit(&self, wait: Duration) {
        for (url, clients) in self.urls.iter().zip(self.clients.lock().unwrap().iter_mut()) {
            let (url, ledger, stop) = (url.clone(), self.ledger.clone(), self.stop.clone());
            clients.push(tokio::spawn(async move {
                sleep(wait).await;
                client(&url, &ledger, &stop).await
            }));
        }
    }

    async fn end(self) -> Ended {
        self.stop.store(true, Relaxed);
        let mut courses = [Vec::new(), Vec::new()];
        for (clients, courses) in self.clients.into_inner().unwrap().into_iter().zip(&mut courses) {
            for client in clients {
                courses.push(client.await.unwrap());
            }
        }
        Ended { courses, ledger: self.ledger }
    }
}

impl Course {
    /// How long after that moment it was served, or after it asked where that was later.
    fn after(&self, moment: Instant) -> Option<Duration> {
        let (asked, done) = self.served.iter().find(|(_, done)| *done >= moment)?;
        Some(*done - moment.max(*asked))
    }
}

async fn client(url: &str, ledger: &Ledger, stop: &AtomicBool) -> Course {
    let mut course = Course::default();
    let mut dice = fastrand::Rng::new();
    // Where a client begins counts: a login that takes long is a wait, too.
    let mut asked = Instant::now();
    while !stop.load(Relaxed) {
        let mut session = match Session::open(url, Style::Extended).await {
            Ok(session) => session,
            Err(problem) => {
                course.note("login", &problem);
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        while !stop.load(Relaxed) {
            match session.transfer(ledger, ledger.begin(&mut dice)).await {
                Ok(()) => course.served.push((asked, Instant::now())),
                Err(problem) => {
                    if session.is_open() && session.run("ROLLBACK", &[]).await.is_ok() {
                        course.note("transfer", &problem);
                        continue;
                    }
                    // Between two statements, the server's last word is the connection's.
                    let last_word = session.end().await.err();
                    course.note("transfer", &last_word.unwrap_or(problem));
                    break;
                }
            }
            sleep(Duration::from_millis(dice.u64(5..15))).await;
            asked = Instant::now();
        }
    }
    course
}

impl Course {
    fn note(&mut self, doing: &str, problem: &Problem) {
        self.hung += usize::from(matches!(problem, Problem::Hung));
        self.errors.push(format!("{doing}: {problem}"));
    }
}

/// Takes the server away for that long, and tells from when on it takes logins again.
async fn strike(cluster: Arc<Mutex<Cluster>>, away: Away, lasts: Duration) -> Instant {
    let begun = Instant::now();
    let target = cluster.clone();
    let fall = move || match (target.lock().unwrap(), away) {
        (mut cluster, Away::Stopped(how)) => cluster.stop(how).unwrap(),
        (cluster, Away::Hung) => cluster.pause(),
    };
    spawn_blocking(fall).await.unwrap();
    sleep_until(begun + lasts).await;
    let by_socket = cluster.lock().unwrap().admin_conninfo();
    let rise = spawn_blocking(move || match (cluster.lock().unwrap(), away) {
        (mut cluster, Away::Stopped(_)) => cluster.start().unwrap(),
        (cluster, Away::Hung) => cluster.resume(),
    });
    let accepts = first_login(&by_socket).await;
    rise.await.unwrap();
    accepts
}

/// Tries to log in until it works, and tells when that try began.
async fn first_login(conninfo: &str) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let begun = Instant::now();
        if tokio_postgres::connect(conninfo, NoTls).await.is_ok() {
            return begun;
        }
        assert!(begun < deadline, "the server takes no login within {PATIENCE:?}");
        sleep(Duration::from_millis(3)).await;
    }
}

/// A server with the accounts. What it has acknowledged outlives the end of its processes.
async fn bank() -> Cluster {
    let cluster = postgres(Version::V15, Setup::default().set("synchronous_commit", "on"));
    let admin = Admin::of(&cluster).await;
    admin.query(TABLES).await;
    let accounts =
        format!("INSERT INTO accounts SELECT n, {OPENING} FROM generate_series(0, {ACCOUNTS} - 1) n");
    admin.query(&accounts).await;
    admin.close().await;
    cluster
}
