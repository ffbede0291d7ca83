//! Chaos: a schedule of faults, done to the demo's server one after the other, each announced before and measured
//! after. What is measured comes from the board, as everything that people see.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::postgres::{Cluster, Shutdown};
use super::{DemoServer, Error, NAME, SERVICE, say};
use crate::reason::Reason;
use crate::status::board::Board;
use crate::status::{Moment, State, TargetStatus, View};

/// One fault of the schedule.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub fault: Fault,
    /// How long it lasts; zero for what is over at once.
    pub lasts: Duration,
    /// Told before it happens.
    pub announcement: &'static str,
}

/// What can be done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An administrator ends our session.
    Terminate,
    /// The role's password changes; `password_file` learns of it when the fault ends.
    Password,
    /// The process behind our session is killed: the server resets all sessions and recovers.
    Crash,
    /// All the server's processes stop where they are; its sockets stay open.
    Hang,
    Restart,
    /// The role may hold no session.
    Capacity,
    /// The server is stopped, without a goodbye.
    Outage,
}

/// All of it, in order; then from the start.
pub const SCHEDULE: [Step; 7] = [
    step(Fault::Terminate, 0, "an administrator terminates pgtether's session"),
    step(Fault::Password, 4, "the password changes, and 4 s later the password_file"),
    step(Fault::Crash, 0, "the server process of pgtether's session is killed, and the server recovers"),
    step(Fault::Hang, 6, "the server hangs for 6 s: open sockets, no answers"),
    step(Fault::Restart, 0, "the server restarts"),
    step(Fault::Capacity, 3, "for 3 s there is no free connection slot for pgtether"),
    step(Fault::Outage, 12, "the server is down for 12 s, after an immediate shutdown"),
];

/// The pause before a fault: long enough to look at the page.
const CALM: Duration = Duration::from_secs(6);
/// How long the line may take to be up before the first fault, and to come back after each.
const PATIENCE: Duration = Duration::from_secs(60);

const fn step(fault: Fault, seconds: u64, announcement: &'static str) -> Step {
    Step { fault, lasts: Duration::from_secs(seconds), announcement }
}

/// Goes through the schedule until something breaks that should not.
pub(crate) async fn run(board: &Board, server: &DemoServer) -> Error {
    match rounds(board, server).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

async fn rounds(board: &Board, server: &DemoServer) -> Result<Infallible, Error> {
    loop {
        for (at, step) in SCHEDULE.iter().enumerate() {
            calm(board).await?;
            say(format_args!("chaos {}/{}  {}", at + 1, SCHEDULE.len(), step.announcement));
            let told = inflict(board, server, step).await?;
            say(format_args!("           {told}"));
        }
    }
}

/// Waits for the line to be up, and then for a while.
async fn calm(board: &Board) -> Result<(), Error> {
    let up = async {
        while board.subscribe(NAME).is_none_or(|target| !works(target.borrow().state())) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, up)
        .await
        .map_err(|_| Error::new(format!("the target is not up after {} s", PATIENCE.as_secs())))?;
    sleep(CALM).await;
    Ok(())
}

/// Does one fault and follows what becomes of the line.
async fn inflict(board: &Board, server: &DemoServer, step: &Step) -> Result<String, Error> {
    let mut seen = subscribe(board)?;
    let backend = seen.borrow_and_update().session.as_ref().and_then(|s| s.backend_pid);
    let mut course = Course::new(Moment::now());
    let mut fault = pin!(async {
        let (begun, repair) = step.fault.begin(server, backend).await?;
        sleep(step.lasts).await;
        Ok((begun, repair.run(server).await?))
    });
    let mut done = None;
    let mut deadline = pin!(sleep_until(Instant::now() + step.lasts + PATIENCE));
    while done.is_none() || !course.is_over() {
        tokio::select! {
            ended = &mut fault, if done.is_none() => done = Some(ended?),
            changed = seen.changed() => match changed {
                Ok(()) => course.see(&Glimpse::of(&seen.borrow_and_update())),
                // The target's task was replaced: its slot is a new one.
                Err(_) => seen = subscribe(board)?,
            },
            () = &mut deadline => break,
        }
    }
    match done {
        Some((begun, ended)) => Ok(course.told(begun, ended)),
        None => Err(Error::new(format!("a fault did not end: {}", step.announcement))),
    }
}

fn subscribe(board: &Board) -> Result<watch::Receiver<TargetStatus>, Error> {
    board.subscribe(NAME).ok_or_else(|| Error::new("the target is no longer configured"))
}

/// What ends a fault.
enum Repair {
    /// It is over at once.
    Nothing,
    Resume,
    Start,
    TellPassword(String),
    LiftLimit,
}

impl Fault {
    /// Does it; returns when it struck, and what ends it.
    async fn begin(self, server: &DemoServer, backend: Option<i32>) -> Result<(Moment, Repair), Error> {
        Ok(match self {
            Fault::Terminate => (server.sql(&[&terminate()]).await?, Repair::Nothing),
            Fault::Password => {
                let password = server.change_password().await?;
                (server.sql(&[&terminate()]).await?, Repair::TellPassword(password))
            }
            Fault::Crash => {
                let backend = backend.ok_or_else(|| Error::new("there is no session to kill"))?;
                let killed = server.act(move |cluster| cluster.kill_backend(backend));
                (killed.await?, Repair::Nothing)
            }
            Fault::Hang => {
                let paused = server.act(|cluster| {
                    cluster.pause();
                    Ok(())
                });
                (paused.await?, Repair::Resume)
            }
            Fault::Restart => (server.act(|cluster| cluster.stop(Shutdown::Fast)).await?, Repair::Start),
            Fault::Capacity => {
                let limit = format!("ALTER ROLE {NAME} CONNECTION LIMIT 0");
                (server.sql(&[&limit, &terminate()]).await?, Repair::LiftLimit)
            }
            Fault::Outage => (server.act(|cluster| cluster.stop(Shutdown::Immediate)).await?, Repair::Start),
        })
    }
}

impl Repair {
    /// Ends it; returns when it was over, or `None` where there was nothing to end.
    async fn run(self, server: &DemoServer) -> Result<Option<Moment>, Error> {
        let over = match self {
            Repair::Nothing => return Ok(None),
            Repair::Resume => {
                let resumed = server.act(|cluster| {
                    cluster.resume();
                    Ok(())
                });
                resumed.await?
            }
            Repair::Start => {
                server.act(Cluster::start).await?;
                // Over when the server takes sessions, not when it was told to start.
                Moment::now()
            }
            Repair::TellPassword(password) => server.tell_password(password).await?,
            Repair::LiftLimit => server.sql(&[&format!("ALTER ROLE {NAME} CONNECTION LIMIT -1")]).await?,
        };
        Ok(Some(over))
    }
}

fn terminate() -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{SERVICE}'")
}

/// What a snapshot says of a fault's course.
struct Glimpse {
    state: State,
    since: Moment,
    reason: Option<Reason>,
}

impl Glimpse {
    fn of(status: &TargetStatus) -> Glimpse {
        Glimpse {
            state: status.state(),
            since: status.since,
            reason: View::new(status, status.since).reason(),
        }
    }
}

/// How the line fared since before the fault.
#[derive(Debug)]
struct Course {
    watched_since: Moment,
    /// When the line was found down, and why, in the order of appearance.
    noticed: Option<Moment>,
    reasons: Vec<Reason>,
    back: Option<Moment>,
}

/// Whether a target in this state has a session that works.
const fn works(state: State) -> bool {
    matches!(state, State::Up | State::Degraded)
}

impl Course {
    fn new(watched_since: Moment) -> Course {
        Course { watched_since, noticed: None, reasons: Vec::new(), back: None }
    }

    fn is_over(&self) -> bool {
        self.back.is_some()
    }

    fn see(&mut self, glimpse: &Glimpse) {
        match glimpse.state {
            State::Down => {
                self.noticed.get_or_insert(glimpse.since);
                self.back = None;
                if let Some(reason) = glimpse.reason
                    && !self.reasons.contains(&reason)
                {
                    self.reasons.push(reason);
                }
            }
            // Up since after the fault: it was down meanwhile, seen or not.
            State::Up if glimpse.since.mono > self.watched_since.mono => {
                self.back.get_or_insert(glimpse.since);
            }
            // One that has lost several sessions in a row is called flapping for a while, and works.
            State::Degraded if self.noticed.is_some() => {
                self.back.get_or_insert(glimpse.since);
            }
            State::Up | State::Starting | State::Degraded | State::Sleeping => {}
        }
    }

    /// One line: when it was noticed, why, and when the line was back, counted from the end of a fault that lasted.
    fn told(&self, begun: Moment, ended: Option<Moment>) -> String {
        let noticed = self.noticed.map(|at| {
            let reasons: Vec<&str> = self.reasons.iter().map(|r| r.as_str()).collect();
            format!("noticed after {} ({}), ", length(at.since(begun)), reasons.join(", then "))
        });
        let back = match (self.back, ended) {
            (Some(back), Some(ended)) if back.mono > ended.mono => {
                format!("up again {} after its end", length(back.since(ended)))
            }
            // The server took us before it told that it is ready.
            (Some(_), Some(_)) => "up again at its end".to_owned(),
            (Some(back), None) => format!("up again after {}", length(back.since(begun))),
            (None, _) if noticed.is_some() => "not up again yet".to_owned(),
            (None, _) => "not noticed".to_owned(),
        };
        noticed.unwrap_or_default() + &back
    }
}

/// A duration as people say it.
fn length(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begun: Moment, ms: u64) -> Moment {
        begun.after(Duration::from_millis(ms))
    }

    fn glimpse(state: State, since: Moment, reason: Option<Reason>) -> Glimpse {
        Glimpse { state, since, reason }
    }

    #[test]
    fn a_short_fault_is_told_from_its_beginning() {
        let begun = Moment::now();
        let mut course = Course::new(begun);
        course.see(&glimpse(State::Down, at(begun, 2), Some(Reason::Shutdown)));
        assert!(!course.is_over());
        course.see(&glimpse(State::Up, at(begun, 43), None));
        assert!(course.is_over());
        let told = course.told(begun, None);
        assert_eq!(told, "noticed after 2.0 ms (shutdown), up again after 43 ms");
    }

    #[test]
    fn a_long_fault_is_told_from_its_end_with_each_reason_once() {
        let begun = Moment::now();
        let mut course = Course::new(begun);
        for reason in [Reason::Closed, Reason::Refused, Reason::Refused, Reason::StartingUp] {
            course.see(&glimpse(State::Down, at(begun, 15), Some(reason)));
        }
        course.see(&glimpse(State::Up, at(begun, 12_800), None));
        let told = course.told(begun, Some(at(begun, 12_000)));
        assert_eq!(
            told,
            "noticed after 15 ms (closed, then refused, then starting_up), up again 800 ms after its end"
        );
    }

    #[test]
    fn a_line_that_stays_up_or_down_is_not_called_back() {
        let begun = Moment::now();
        let before = begun;
        let mut course = Course::new(at(begun, 1000));
        course.see(&glimpse(State::Up, before, None));
        assert!(!course.is_over());
        assert_eq!(course.told(begun, None), "not noticed");
        course.see(&glimpse(State::Down, at(begun, 2500), Some(Reason::Timeout)));
        assert_eq!(course.told(at(begun, 1000), None), "noticed after 1.5 s (timeout), not up again yet");
    }

    #[test]
    fn a_loss_too_short_to_be_seen_is_still_told() {
        let begun = Moment::now();
        let mut course = Course::new(begun);
        course.see(&glimpse(State::Up, at(begun, 9), None));
        assert_eq!(course.told(begun, None), "up again after 9.0 ms");
    }

    #[test]
    fn a_line_that_falls_again_is_not_back() {
        let begun = Moment::now();
        let mut course = Course::new(begun);
        course.see(&glimpse(State::Down, at(begun, 1), Some(Reason::Crash)));
        course.see(&glimpse(State::Up, at(begun, 2), None));
        course.see(&glimpse(State::Down, at(begun, 3), Some(Reason::StartingUp)));
        assert!(!course.is_over());
    }

    #[test]
    fn each_fault_is_on_the_schedule_once_and_says_how_long_it_lasts() {
        for (at, step) in SCHEDULE.iter().enumerate() {
            let others = &SCHEDULE[at + 1..];
            assert!(!others.iter().any(|s| s.fault == step.fault), "{:?} twice", step.fault);
            let seconds = step.lasts.as_secs();
            let told = step.announcement.contains(&format!("{seconds} s"));
            assert_eq!(told, seconds > 0, "{}", step.announcement);
        }
    }
}
