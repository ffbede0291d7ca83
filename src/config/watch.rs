//! Notices that files have changed: by looking, once a second.
//!
//! A look asks the system for what a path leads to, so a link that now leads elsewhere is a change, however many links
//! there are on the way. That works on every file system, network and container mounts too, and costs microseconds.
//! A change counts once two looks agree: whoever is still writing is left to finish.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::blocking::OneCall;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Files, and what was there when they were last read.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Seen<Vec<Print>>,
    next: Instant,
    looking: OneCall<Vec<Print>>,
}

impl Watch {
    /// From what is there now: to be made before the files are read. Looks at the file system.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let seen = Seen::new(prints(&files));
        Watch { files, seen, next: Instant::now() + EVERY, looking: OneCall::default() }
    }

    /// Waits for a change. Nothing is lost where the wait is given up.
    pub async fn changed(&mut self) {
        loop {
            sleep_until(self.next).await;
            let now = self.look().await;
            self.next = Instant::now() + EVERY;
            if now.is_some_and(|now| self.seen.is_settled_change(now)) {
                return;
            }
        }
    }

    /// What is there now is about to be read, so it is no change any more.
    pub async fn about_to_read(&mut self) {
        if let Some(now) = self.look().await {
            self.seen = Seen::new(now);
        }
    }

    pub fn is_of(&self, files: &[PathBuf]) -> bool {
        self.files == files
    }

    /// Looks at these files from now on. They are yet to be read, see [`Watch::about_to_read`].
    pub fn turn_to(&mut self, files: Vec<PathBuf>) {
        self.files = files;
    }

    /// Looks at these beside the first from now on, and misses nothing of what it looks at already.
    pub async fn turn_to_others(&mut self, others: Vec<PathBuf>) {
        if self.files.iter().skip(1).eq(&others) {
            return;
        }
        let files = others.clone();
        if let Ok(prints) = self.looking.run(move || prints(&files)).await {
            self.files.truncate(1);
            self.files.extend(others);
            for seen in [&mut self.seen.taken, &mut self.seen.last] {
                seen.truncate(1);
                seen.extend(prints.iter().cloned());
            }
        }
    }

    async fn look(&mut self) -> Option<Vec<Print>> {
        let files = self.files.clone();
        self.looking.run(move || prints(&files)).await.ok()
    }
}

/// What was there when it was taken, and at the last look.
#[derive(Debug)]
struct Seen<P> {
    taken: P,
    last: P,
}

impl<P: Clone + PartialEq> Seen<P> {
    fn new(now: P) -> Self {
        Seen { taken: now.clone(), last: now }
    }

    /// Whether it is not what was taken, and the same as at the last look; then it is taken.
    fn is_settled_change(&mut self, now: P) -> bool {
        let settled = now == self.last;
        self.last = now;
        let changed = settled && self.last != self.taken;
        if changed {
            self.taken = self.last.clone();
        }
        changed
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Print {
    Here { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    Away(io::ErrorKind),
}

fn prints(files: &[PathBuf]) -> Vec<Print> {
    let print = |file: &PathBuf| match fs::metadata(file) {
        Ok(data) => Print::Here {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        },
        Err(error) => Print::Away(error.kind()),
    };
    files.iter().map(print).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_two_looks_agree() {
        let mut seen = Seen::new('a');
        // What is looked at, and whether it is a change by then.
        for (look, changed) in [
            ('a', false),
            ('b', false),
            ('c', false),
            ('c', true),
            ('c', false),
            // It was there for less than a look and its like, and is gone again.
            ('d', false),
            ('c', false),
            ('c', false),
            ('a', false),
            ('a', true),
        ] {
            assert_eq!(seen.is_settled_change(look), changed, "{look}");
        }
    }

    #[test]
    fn a_file_is_told_from_what_took_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        let look = || prints(&[file.clone(), link.clone()]);
        let mut looks = vec![look()];
        fs::write(&file, "one").unwrap();
        looks.push(look());
        std::os::unix::fs::symlink("file", &link).unwrap();
        looks.push(look());
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        std::os::unix::fs::symlink("other", folder.path().join("turned")).unwrap();
        fs::rename(folder.path().join("turned"), &link).unwrap();
        looks.push(look());
        fs::rename(&other, &file).unwrap();
        looks.push(look());
        assert_eq!(look(), look());
        let kinds = looks.iter().map(|look| format!("{look:?}")).collect::<std::collections::HashSet<_>>();
        assert_eq!(kinds.len(), looks.len(), "{looks:?}");
    }
}
