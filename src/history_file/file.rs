//! The file itself: opened, locked, read, appended to, written anew. All of it may wait for a disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The bytes of a line, at the most: the longest that are written are those of a target's uptime.
const LINE: u64 = 64 * 1024;

/// A file that is ours alone, open for appending.
#[derive(Debug)]
pub struct OpenFile {
    file: Flock<File>,
    path: PathBuf,
    /// Its length, and what it was when it was written anew.
    length: u64,
    least: u64,
}

/// What is wrong, in words for an operator.
pub type Trouble = String;

impl OpenFile {
    /// Opens it, or makes one. Names of databases are in it: only its owner may read it.
    pub fn open(path: &Path) -> Result<OpenFile, Trouble> {
        let is_file = |metadata: &fs::Metadata| metadata.is_file();
        if fs::metadata(path).is_ok_and(|metadata| !is_file(&metadata)) {
            return Err("it is no regular file".to_owned());
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(|error| format!("it cannot be opened: {error}"))?;
        let file = lock(file)?;
        let metadata = file.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
        let open = OpenFile { file, path: path.to_owned(), length: metadata.len(), least: 0 };
        match open.is_in_place() {
            true => Ok(open),
            false => Err("somebody has just replaced it".to_owned()),
        }
    }

    /// Shows all its lines, the first one first; a torn one, too.
    pub fn read(&self, take: impl FnMut(&[u8])) -> Result<(), Trouble> {
        File::open(&self.path)
            .and_then(|file| read(file, take))
            .map_err(|error| format!("it cannot be read: {error}"))
    }

    /// Whether the path still leads to it.
    pub fn is_in_place(&self) -> bool {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let own = self.file.metadata().map(id);
        own.is_ok_and(|own| fs::metadata(&self.path).is_ok_and(|there| id(there) == own))
    }

    /// Appends whole lines. Where that fails, the part that was written is taken back, as far as that is possible.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Trouble> {
        self.file.write_all(lines).map_err(|error| {
            // What stays is a torn line, which the next reader leaves out.
            let _ = self.file.set_len(self.length);
            format!("it cannot be written: {error}")
        })?;
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Whether it has grown so much that most of it may be of no use any more.
    pub fn is_too_long(&self) -> bool {
        self.length > 2 * self.least + (1 << 20)
    }

    /// Puts these lines in its place, all at once: whatever happens, one of the two is there.
    pub fn replace(&mut self, lines: &[u8]) -> Result<(), Trouble> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = self.path.with_file_name(name);
        let written = write_anew(&path, lines).and_then(|file| fs::rename(&path, &self.path).map(|()| file));
        let file = written.map_err(|error| {
            // It may not be there.
            let _ = fs::remove_file(&path);
            format!("{} cannot be written in its place: {error}", path.display())
        })?;
        let length = lines.len() as u64;
        (self.file, self.length, self.least) = (file, length, length);
        Ok(())
    }
}

/// Locked before it is in place, so that nobody else takes it for free.
fn write_anew(path: &Path, lines: &[u8]) -> io::Result<Flock<File>> {
    // What a process left that was killed meanwhile.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let file = options.append(true).create_new(true).mode(0o600).open(path)?;
    let mut file = lock(file).map_err(io::Error::other)?;
    file.write_all(lines)?;
    file.sync_all()?;
    Ok(file)
}

fn lock(file: File) -> Result<Flock<File>, Trouble> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => "another process writes it".to_owned(),
        error => format!("it cannot be locked: {}", io::Error::from(error)),
    })
}

/// Shows each line; what is longer than lines are is shown in pieces, none of which is one.
fn read(file: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        take(&line);
    }
}

#[cfg(test)]
mod tests;
