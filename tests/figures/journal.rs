//! Two journals read back: pgtether's log, and PostgreSQL's. Their times are those of the writers, so that nothing here
//! depends on how soon somebody looks.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// A change of a target's state, as logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub at: SystemTime,
    pub target: String,
    pub to: String,
    pub reason: Option<String>,
}

/// All changes of state in a log of pgtether's, oldest first.
pub fn transitions(log: &str) -> Vec<Transition> {
    log.lines().filter_map(transition).collect()
}

/// When a line of pgtether's log was written.
pub fn written_at(line: &str) -> Option<SystemTime> {
    moment(field(line, "ts")?)
}

fn transition(line: &str) -> Option<Transition> {
    field(line, "from")?;
    Some(Transition {
        at: written_at(line)?,
        target: field(line, "target")?.to_owned(),
        to: field(line, "to")?.to_owned(),
        reason: field(line, "reason").map(str::to_owned),
    })
}

/// A value of a logfmt line that needs no quotes.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// A line of PostgreSQL's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub at: SystemTime,
    pub pid: i32,
    /// All after the process id: user, application, severity, message.
    pub text: &'a str,
}

/// The lines of PostgreSQL's log that begin with our `log_line_prefix`, oldest first.
pub fn entries(log: &str) -> Vec<Entry<'_>> {
    log.lines().filter_map(entry).collect()
}

/// `2026-11-23 02:57:11.042 UTC [4711] …`
fn entry(line: &str) -> Option<Entry<'_>> {
    let (stamp, rest) = line.split_once(" UTC [")?;
    let (pid, text) = rest.split_once("] ")?;
    Some(Entry { at: moment(&format!("{}Z", stamp.replacen(' ', "T", 1)))?, pid: pid.parse().ok()?, text })
}

/// A session as the server saw it.
#[derive(Debug, Clone)]
pub struct Session {
    pub received: SystemTime,
    pub authorized: SystemTime,
    pub ended: Option<SystemTime>,
    pub statements: usize,
}

/// The sessions that logged in under this `application_name`, in the order of their logins.
pub fn sessions(log: &str, application: &str) -> Vec<Session> {
    let named = format!("application_name={application}");
    let mut received = BTreeMap::new();
    // By process id; a process that is born later may bear the id of one that has ended.
    let mut open: BTreeMap<i32, Session> = BTreeMap::new();
    let mut all = Vec::new();
    for Entry { at, pid, text } in entries(log) {
        if text.contains("connection received:") {
            received.insert(pid, at);
        } else if text.contains("connection authorized:") && text.split([' ', ',']).any(|word| word == named)
        {
            let received = received.remove(&pid).unwrap_or(at);
            open.insert(pid, Session { received, authorized: at, ended: None, statements: 0 });
        } else if text.contains("LOG:  statement:") {
            if let Some(session) = open.get_mut(&pid) {
                session.statements += 1;
            }
        } else if text.contains("disconnection: session time")
            && let Some(session) = open.remove(&pid)
        {
            all.push(Session { ended: Some(at), ..session });
        }
    }
    all.extend(open.into_values());
    all.sort_by_key(|session| session.authorized);
    all
}

/// The highest number of spans that hold at the same time; one that ends in the moment in which another begins counts
/// with it.
pub fn most_at_once(spans: impl IntoIterator<Item = (SystemTime, Option<SystemTime>)>) -> usize {
    let mut steps = Vec::new();
    for (from, to) in spans {
        steps.push((from, 0));
        steps.extend(to.map(|to| (to, 1)));
    }
    steps.sort();
    let (mut now, mut most) = (0_usize, 0);
    for (_, step) in steps {
        match step {
            0 => now += 1,
            _ => now -= 1,
        }
        most = most.max(now);
    }
    most
}

/// The highest number of moments within any second, wherever it begins.
pub fn most_in_a_second(moments: &[SystemTime]) -> usize {
    let mut sorted = moments.to_vec();
    sorted.sort();
    let within = |first: usize| {
        let end = sorted[first] + Duration::from_secs(1);
        sorted[first..].iter().take_while(|at| **at < end).count()
    };
    (0..sorted.len()).map(within).max().unwrap_or(0)
}

fn moment(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}
