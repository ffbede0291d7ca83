//! What is kept of the targets' history over restarts: a file of JSON lines, which is appended to, and written anew where
//! it has grown or could not be written.
//!
//! One thread does all of it, so that nobody else waits for a disk. What is in the file is put before what this process
//! has seen, whenever the file can be read at last.

mod file;
mod line;
mod replay;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};

use self::file::{OpenFile, Trouble};
use self::line::{ChangeFields, FORMAT, FileLine, GoesOn, millis, stamp};
use self::replay::Replay;
use crate::status::Moment;
use crate::status::history::{History, Memory, News};

/// How often the file is told that the process runs: what a killed one did not tell is unknown to the next.
const ALIVE: Duration = Duration::from_secs(60);
/// How long a file that cannot be written is left alone.
const RETRY: Duration = Duration::from_secs(10);

const REMEDY: &str = "Events go on to be kept in memory, and are written as soon as that is possible: check that the \
                      disk has room, that pgtether may write the file and make others beside it, and that no other \
                      process uses it.";

/// The thread that writes the file.
#[derive(Debug)]
pub struct HistoryFile {
    history: History,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug)]
struct HistoryWriter {
    path: PathBuf,
    history: History,
    started: Moment,
    /// Whether the last write succeeded.
    writable: IntGauge,
    file: Option<OpenFile>,
    /// What was in the file is part of the memory.
    has_read: bool,
    trouble: Option<Trouble>,
    /// When it is due to do something without news.
    due: Instant,
}

impl HistoryFile {
    /// Keeps `history` in the file from now on, for a process that has started at `started`.
    pub fn start(
        path: PathBuf,
        history: History,
        started: Moment,
        writable: IntGauge,
    ) -> io::Result<HistoryFile> {
        history.follow();
        let (over, ended) = oneshot::channel();
        let due = started.mono;
        let mut writer = HistoryWriter {
            path,
            history: history.clone(),
            started,
            writable,
            file: None,
            has_read: false,
            trouble: None,
            due,
        };
        thread::Builder::new().name("history".to_owned()).spawn(move || {
            while writer.goes_on() {}
            // Whoever waited for it may have given up.
            let _ = over.send(());
        })?;
        Ok(HistoryFile { history, ended })
    }

    /// Writes what is left. False where that takes longer: the disk hangs.
    pub async fn close(self, within: Duration) -> bool {
        self.history.finish();
        timeout(within, self.ended).await.is_ok()
    }
}

impl HistoryWriter {
    /// Waits for something to do, and does it. False after the last time.
    fn goes_on(&mut self) -> bool {
        let news = self.history.news(self.due.saturating_duration_since(Instant::now()));
        let now = Moment::now();
        let is_due = now.mono >= self.due || news.is_over;
        let done = match &mut self.file {
            Some(file) if !news.has_gap && file.is_in_place() => {
                let lines = lines(&news, is_due.then_some(now), self.started);
                match file.append(&lines) {
                    Ok(()) if file.is_too_long() => self.write_anew(),
                    appended => appended,
                }
            }
            // What is new meanwhile is in memory, and is written with all else.
            None if !is_due => return true,
            Some(_) | None => self.open(now),
        };
        if is_due || done.is_err() {
            self.due = now.mono + if done.is_ok() { ALIVE } else { RETRY };
        }
        self.tell(done);
        !news.is_over
    }

    /// Opens the file, and reads it where that was not done yet. What is in memory is then written in its place.
    fn open(&mut self, now: Moment) -> Result<(), Trouble> {
        self.file = None;
        let file = OpenFile::open(&self.path)?;
        let mut replay = Replay::default();
        file.read(|line| replay.line(line))?;
        if replay.is_foreign() {
            return Err("it is not a history of this version of pgtether, and left as it is".to_owned());
        }
        if !self.has_read {
            if replay.bad > 0 {
                let (path, lines) = (self.path.display(), replay.bad);
                warn!(%path, lines, "lines of the history file cannot be read, and are left out");
            }
            self.history.prepend(replay.finish(now), now);
            self.has_read = true;
        }
        self.file = Some(file);
        self.write_anew()
    }

    /// Puts all of the memory in the place of the file.
    fn write_anew(&mut self) -> Result<(), Trouble> {
        let memory = self.history.copy();
        let lines = all_lines(&memory, Moment::now(), self.started);
        self.file.as_mut().map_or(Ok(()), |file| file.replace(&lines))
    }

    /// Tells of trouble when it begins, becomes another, and ends.
    fn tell(&mut self, done: Result<(), Trouble>) {
        self.writable.set(done.is_ok().into());
        let path = self.path.display();
        match done {
            Ok(()) => {
                if self.trouble.take().is_some() {
                    info!(%path, "the history file is written again");
                }
            }
            Err(trouble) => {
                self.file = None;
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!(%path, error = trouble, remedy = REMEDY, "the history file cannot be used");
                }
                self.trouble = Some(trouble);
            }
        }
    }
}

/// How long the process had run.
fn run_ms(at: Moment, started: Moment) -> u64 {
    u64::try_from(at.since(started).as_millis()).unwrap_or(u64::MAX)
}

/// What is new, and where it is due, that nothing else was until then.
fn lines(news: &News, alive: Option<Moment>, started: Moment) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, target, change) in &news.items {
        let (run_ms, target) = (run_ms(*at, started), target.to_string());
        let line = match change {
            Some(change) => {
                let fields = ChangeFields::of(change);
                FileLine::Changed { at: stamp(change.at), run_ms: Some(run_ms), target, change: fields }
            }
            None => FileLine::Removed { at: stamp(at.wall), run_ms, target },
        };
        line.write(&mut out);
    }
    if let Some(now) = alive {
        FileLine::Alive { at: stamp(now.wall), run_ms: run_ms(now, started) }.write(&mut out);
    }
    out
}

/// A whole file.
fn all_lines(memory: &Memory, now: Moment, started: Moment) -> Vec<u8> {
    let mut out = Vec::new();
    FileLine::PgtetherHistory { format: FORMAT }.write(&mut out);
    FileLine::Started { at: stamp(started.wall) }.write(&mut out);
    for target in memory.recollect(now) {
        let name = target.name.to_string();
        for change in target.changes {
            let (at, target, change) = (stamp(change.at), name.clone(), ChangeFields::of(change));
            FileLine::Changed { at, run_ms: None, target, change }.write(&mut out);
        }
        let (at, goes_on) = match target.goes_on {
            Ok(kind) => (now, Some(GoesOn { run_ms: run_ms(now, started), state: kind.into() })),
            Err(ended) => (ended, None),
        };
        let spans_ms = target.spans.iter().map(millis).collect();
        FileLine::Uptime { at: stamp(at.wall), target: name, spans_ms, goes_on }.write(&mut out);
    }
    FileLine::Alive { at: stamp(now.wall), run_ms: run_ms(now, started) }.write(&mut out);
    out
}
