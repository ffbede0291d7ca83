//! The one writer of standard error: a bounded queue, and a thread that waits for whoever reads in place of us.
//!
//! A pipe that is full and a terminal that is stopped block each write until somebody reads. `tracing-appender` has
//! such a thread, too, but it bounds lines alone and prints when its last flush takes too long: into what is full.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use crate::metrics;

/// How much waits to be written. All 1,000 targets of a large fleet are lost and come back: 4,000 lines of some 250
/// bytes. As many again may be with the thread. A line has a byte at least, so this bounds lines, too.
const QUEUE: usize = 1 << 20;
/// How long the last lines may take at the end of the process: a reader that is alive takes a full queue in less.
const LAST_LINES: Duration = Duration::from_millis(500);
/// Between two tries where standard error is non-blocking and full: whoever started us may have made it so.
const FULL: Duration = Duration::from_millis(20);

/// Takes lines without ever waiting for a reader. Clones share the queue.
#[derive(Debug, Clone)]
pub struct LogOutput {
    shared: Arc<Backlog>,
}

#[derive(Debug)]
struct Backlog {
    waiting: Mutex<Waiting>,
    /// Something waits, or nothing does any more.
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines.
    text: Vec<u8>,
    /// Lines that came after `text` and found no room.
    missing: u64,
    /// The thread has taken lines and not yet written them.
    writing: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.missing == 0
    }
}

impl LogOutput {
    /// Starts the thread, which writes to standard error until the process ends.
    pub fn start() -> io::Result<LogOutput> {
        LogOutput::to(io::stderr(), |lines| {
            tracing::warn!(
                lines,
                "log lines were dropped here: nobody read the log; pgtether_log_lines_dropped_total counts them"
            );
        })
    }

    /// `tell` logs how many lines were dropped.
    fn to(sink: impl Write + Send + 'static, tell: impl Fn(u64) + Send + 'static) -> io::Result<LogOutput> {
        let dropped = metrics::log_lines_dropped().map_err(io::Error::other)?;
        let shared = Arc::new(Backlog { waiting: Mutex::default(), changed: Condvar::new(), dropped });
        let output = LogOutput { shared: shared.clone() };
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(sink, &tell))?;
        Ok(output)
    }

    /// The counter of lines that were never written.
    pub fn dropped(&self) -> IntCounter {
        self.shared.dropped.clone()
    }

    /// Takes one or more whole lines, or drops and counts them where there is no room.
    pub(super) fn take(&self, lines: &[u8]) {
        let mut waiting = self.shared.waiting();
        // What was dropped is one gap, which the thread closes: a shorter line does not slip into it.
        if waiting.missing > 0 || waiting.text.len() + lines.len() > QUEUE {
            let count = count(lines);
            waiting.missing += count;
            self.shared.dropped.inc_by(count);
        } else {
            waiting.text.extend_from_slice(lines);
        }
        self.shared.changed.notify_all();
    }

    /// The process's last words, if any, and a bounded time for all that waits to be written.
    pub fn finish(&self, last_words: &str) {
        let mut waiting = self.shared.waiting();
        let words = last_words.trim_end();
        if !words.is_empty() {
            // However long: they are why the process ends, and nothing comes after them.
            waiting.text.extend_from_slice(words.as_bytes());
            waiting.text.push(b'\n');
            self.shared.changed.notify_all();
        }
        let deadline = Instant::now() + LAST_LINES;
        while !waiting.is_empty() || waiting.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.shared.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Backlog {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: takes all that waits and writes it, for as long as the process lives.
    fn write_to(&self, mut sink: impl Write, tell: &impl Fn(u64)) {
        let mut waiting = self.waiting();
        loop {
            while waiting.is_empty() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let text = std::mem::take(&mut waiting.text);
            let missing = std::mem::take(&mut waiting.missing);
            waiting.writing = true;
            drop(waiting);
            // Into the queue that is empty now: it comes where the lines are missing, before the next ones.
            if missing > 0 {
                tell(missing);
            }
            // Line by line: the writes of others, a child's, go between lines.
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                if write_all(&mut sink, line).is_err() {
                    self.dropped.inc();
                }
            }
            waiting = self.waiting();
            waiting.writing = false;
            self.changed.notify_all();
        }
    }
}

/// Like `write_all`, and goes on where the sink would have had it come back later.
fn write_all(sink: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match sink.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests;
