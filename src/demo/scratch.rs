//! A scratch folder, which goes away with every process that works in it, whatever end this process meets.
//!
//! A small shell, the reaper, holds the other end of a pipe. However we end (return, panic, ctrl-C, even SIGKILL), the
//! pipe closes; the reaper then kills all processes whose working folder is in the scratch folder and removes it. There
//! is no second way to clean up, so the way that must work when everything else fails is used every time. Knows nothing
//! of PostgreSQL.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

use super::Error;

/// The accounts that servers run as when we are root, the first that exists.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Waits for the end of its input, then cleans up `$1`; `$2` is the same path as a pattern for `find`. Processes are
/// stopped first, so that none forks away while the others die.
const REAPER: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
workers() {
  find /proc/[0-9]*/cwd -maxdepth 0 '(' -lname "$1" -o -lname "$1/*" ')' 2>/dev/null | cut -d/ -f3
}
for round in 1 2 3 4 5; do
  pids=$(workers "$2")
  [ -n "$pids" ] || break
  kill -STOP $pids 2>/dev/null
  kill -KILL $pids $(workers "$2") 2>/dev/null
done
rm -rf -- "$1"
"#;

/// A temporary folder and the processes in it; dropping it ends them and removes it.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// The folder without symbolic links, as `/proc` shows it.
    path: PathBuf,
    account: Option<Account>,
    reaper: Child,
}

/// Whom the servers in it run as, where that is not ourselves.
#[derive(Debug, Clone)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Scratch {
    /// An empty folder. Where we are root it belongs to another account, because PostgreSQL refuses to run as root.
    pub fn new() -> Result<Scratch, Error> {
        let account = account()?;
        let folder = tempfile::Builder::new()
            .prefix("pgtether-")
            .tempdir()
            .map_err(|e| Error::of("cannot make a temporary folder", e))?;
        let path =
            folder.path().canonicalize().map_err(|e| Error::of("cannot find the temporary folder", e))?;
        let reaper = reaper(&path)?;
        let scratch = Scratch { folder, path, account, reaper };
        scratch.own(&scratch.path)?;
        Ok(scratch)
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The account that servers in it run as; `None` where it is ourselves.
    pub fn account(&self) -> Option<&str> {
        self.account.as_ref().map(|a| a.name.as_str())
    }

    /// A command that runs in `folder`, as the account, in a process group of its own (ctrl-C is ours to
    /// handle), without our environment: variables such as `PGPORT` must not steer it.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).process_group(0).stdin(Stdio::null());
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Writes a file that only the account can read; whoever reads it sees the old contents or the new.
    pub fn write(&self, path: &Path, contents: &str) -> Result<(), Error> {
        let failed = |e| Error::of(format!("cannot write {}", path.display()), e);
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = Path::new(&fresh);
        fs::write(fresh, contents).map_err(failed)?;
        fs::set_permissions(fresh, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        self.own(fresh)?;
        fs::rename(fresh, path).map_err(failed)
    }

    /// Makes a folder that only the account can enter.
    pub fn folder(&self, path: &Path) -> Result<(), Error> {
        let failed = |e| Error::of(format!("cannot make {}", path.display()), e);
        fs::create_dir(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        self.own(path)
    }

    /// The processes that work in `folder`, in the order of their ids.
    pub fn processes(&self, folder: &Path) -> Vec<Pid> {
        let mut pids: Vec<Pid> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .map(Pid::from_raw)
            .collect();
        pids.sort();
        pids
    }

    /// Sends a signal to all processes that work in `folder`, and to those born meanwhile.
    pub fn signal_all(&self, folder: &Path, signal: Signal) {
        const ROUNDS: usize = 10;
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let mut fresh = self.processes(folder);
            fresh.retain(|pid| !told.contains(pid));
            if fresh.is_empty() {
                break;
            }
            for pid in &fresh {
                // One that is gone meanwhile needs no signal.
                let _ = kill(*pid, signal);
            }
            told.extend(fresh);
        }
    }

    fn own(&self, path: &Path) -> Result<(), Error> {
        match &self.account {
            Some(account) => chown(path, Some(account.uid), Some(account.gid))
                .map_err(|e| Error::of(format!("cannot give {} to {}", path.display(), account.name), e)),
            None => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        let _ = self.reaper.wait();
        // The reaper did it; this only catches one that was killed.
        let _ = fs::remove_dir_all(self.folder.path());
    }
}

fn account() -> Result<Option<Account>, Error> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let known = |name: &str| User::from_name(name).ok().flatten();
    let user = ACCOUNTS.iter().find_map(|name| known(name)).ok_or_else(|| {
        Error::new(format!(
            "PostgreSQL refuses to run as root, and there is no account to run it as (looked for {}); \
             run this as an ordinary user",
            ACCOUNTS.join(", ")
        ))
    })?;
    Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name }))
}

fn reaper(path: &Path) -> Result<Child, Error> {
    let plain: String = path
        .to_string_lossy()
        .chars()
        .flat_map(|c| matches!(c, '*' | '?' | '[' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    Command::new("sh")
        .args(["-c", REAPER, "reaper"])
        .args([path.as_os_str(), plain.as_ref()])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Error::of("cannot start sh, which cleans up behind us", e))
}
