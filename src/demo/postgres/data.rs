//! Data folders: made by initdb, or copied from one that was.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, POLL, SUPERUSER, Setup};
use crate::demo::Error;
use crate::demo::binaries::Binaries;
use crate::demo::scratch::Scratch;

const LIMIT: Duration = Duration::from_secs(120);

/// A data folder fresh from initdb, to copy clusters from: a copy takes a tenth of the time.
#[derive(Debug)]
pub struct Template {
    binaries: Binaries,
    data: PathBuf,
    password: String,
    // Last, so that it goes last.
    scratch: Scratch,
}

impl Template {
    /// Runs initdb once.
    pub fn new(binaries: Binaries) -> Result<Template, Error> {
        let scratch = Scratch::new()?;
        let data = scratch.path().join("data");
        let password = initdb(&scratch, &binaries, &data)?;
        Ok(Template { binaries, data, password, scratch })
    }

    /// A running cluster of its own.
    pub fn start(&self, setup: Setup) -> Result<Cluster, Error> {
        let scratch = Scratch::new()?;
        let data = scratch.path().join("data");
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(&self.data).arg(&data);
        run(&mut copy, LIMIT, &self.scratch.path().join("cp.log"))?;
        Cluster::launch(scratch, self.binaries.clone(), data, self.password.clone(), setup)
    }
}

/// Makes a data folder and returns the superuser's password.
pub(super) fn initdb(scratch: &Scratch, binaries: &Binaries, data: &Path) -> Result<String, Error> {
    let password: String = (0..20).map(|_| fastrand::alphanumeric()).collect();
    let pwfile = scratch.path().join("password");
    scratch.write(&pwfile, &password)?;
    let mut command = scratch.command(&binaries.initdb(), scratch.path());
    command
        .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"])
        .args(["--auth=scram-sha-256", "--username", SUPERUSER])
        .arg("--pwfile")
        .arg(&pwfile)
        .arg("-D")
        .arg(data);
    run(&mut command, LIMIT, &scratch.path().join("initdb.log"))?;
    let _ = fs::remove_file(&pwfile);
    Ok(password)
}

/// Runs a command to its end, in time, its words kept in `log`.
fn run(command: &mut Command, limit: Duration, log: &Path) -> Result<(), Error> {
    let program = Path::new(command.get_program()).display().to_string();
    let words =
        OpenOptions::new().create(true).append(true).open(log).and_then(|log| Ok((log.try_clone()?, log)));
    let (out, err) = words.map_err(|e| Error::of(format!("cannot open {}", log.display()), e))?;
    let mut child =
        command.stdout(out).stderr(err).spawn().map_err(|e| Error::of(format!("cannot run {program}"), e))?;
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(Error::new(format!("{program} failed ({status}):\n{}", tail(log))));
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::new(format!("{program} did not end within {limit:?}")));
            }
            Err(e) => return Err(Error::of(format!("cannot wait for {program}"), e)),
        }
    }
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
