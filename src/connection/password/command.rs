//! One run of a `password_command`: a process group of its own, killed at the end, with limits on time and output.

use std::ffi::OsStr;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::complaint::Complaint;
use super::descendants;
use super::pipe::CommandPipe;
use crate::blocking::BlockingCalls;
use crate::children::WaitedFor;
use crate::target::{Argument, Endpoint, Host, PasswordCommand, PasswordSource, Secret, Target};

/// A password with more bytes is none: PostgreSQL takes no longer message of it.
const MAX_OUTPUT: usize = 64 << 10;
/// What is kept of stderr, before its end is shown.
const MAX_STDERR: usize = 16 << 10;
/// For what has left the process group, and still holds a pipe open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Between two looks whether the end of the command was handed over.
const HANDING_OVER: Duration = Duration::from_millis(5);

/// All that a run depends on: where it differs, what another run printed is not for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandCall {
    command: PasswordCommand,
    /// libpq's variables for where the password is for, so that one command serves many targets.
    environment: [(&'static str, String); 5],
}

impl CommandCall {
    pub fn new(command: &PasswordCommand, target: &Target, endpoint: &Endpoint) -> Self {
        let each = |f: fn(&Host) -> String| endpoint.hosts.iter().map(f).collect::<Vec<_>>().join(",");
        CommandCall {
            command: command.clone(),
            environment: [
                ("PGTETHER_TARGET", target.name.to_string()),
                ("PGHOST", each(Host::name)),
                ("PGPORT", each(|host| host.port().to_string())),
                ("PGUSER", endpoint.user.clone()),
                ("PGDATABASE", endpoint.database.clone()),
            ],
        }
    }

    /// Whether this is how that source is asked.
    pub fn is_of(&self, source: &PasswordSource) -> bool {
        matches!(source, PasswordSource::Command(command) if **command == self.command)
    }

    /// What it prints, or why there is no password, free of secrets.
    pub async fn run(&self, limit: Duration, calls: &BlockingCalls) -> Result<Secret, String> {
        let deadline = Instant::now() + limit;
        let name = self.command.program.display();
        let spawned = timeout_at(
            deadline,
            calls.run({
                let call = self.clone();
                move || call.spawn()
            }),
        );
        let mut running = match spawned.await {
            Ok(Ok(spawned)) => spawned.map_err(|why| format!("password_command cannot run: {why}"))?,
            Ok(Err(crashed)) => return Err(crashed.to_string()),
            Err(_) => {
                return Err(format!(
                    "password_command {name} could not be started within {limit:?}: is it on a disk that hangs?"
                ));
            }
        };
        let end = timeout_at(deadline, running.end()).await;
        running.kill();
        let _ = timeout(LAST_WORDS, running.rest()).await;
        let what = match end {
            Ok(Ok(Some(status))) if status.success() => match running.stdout.password() {
                Ok(secret) => return Ok(secret),
                Err(why) => why.to_owned(),
            },
            Ok(Ok(Some(status))) => describe(status),
            Ok(Ok(None)) => format!("printed more than {} KiB and was killed", MAX_OUTPUT >> 10),
            Ok(Err(error)) => format!("cannot be waited for: {error}"),
            Err(_) => format!("did not end within {limit:?} and was killed"),
        };
        let hidden = self.command.arguments.iter().filter(|argument| argument.shown() != argument.expose());
        let hidden = hidden.map(|argument| Secret::new(argument.expose())).collect();
        let complaint = Complaint { stdout: running.stdout.take(), stderr: running.stderr.take(), hidden };
        let complaint = calls.run(move || complaint.shown()).await.unwrap_or_default();
        Err(format!("password_command {name} {what}{complaint}"))
    }

    /// Blocks until the program has begun, or could not.
    fn spawn(&self) -> Result<RunningCommand, String> {
        let program = find_program(&self.command.program, std::env::var_os("PATH").as_deref())?;
        let mut command = Command::new(&program);
        command
            .args(self.command.arguments.iter().map(Argument::expose))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let started = WaitedFor::start(|| command.spawn(), Child::id);
        let (mut child, waited_for) = started.map_err(|error| format!("{}: {error}", program.display()))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdout = CommandPipe::new(child.stdout.take(), MAX_OUTPUT);
        let stderr = CommandPipe::new(child.stderr.take(), MAX_STDERR);
        Ok(RunningCommand { child, waited_for, group, stdout, stderr })
    }
}

/// The file that is run, or why there is none. Blocks on the file system.
pub fn find_program(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let shown = program.display();
    if program.components().count() > 1 || program.is_absolute() {
        return match is_executable(program) {
            Ok(()) => Ok(program.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("there is no program {shown}"))
            }
            Err(_) => Err(format!("{shown} is not executable by this user")),
        };
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let mut found = std::env::split_paths(path).map(|folder| folder.join(program));
    found.find(|file| is_executable(file).is_ok()).ok_or_else(|| {
        format!("there is no executable program {shown} in PATH: write its full path, or extend PATH")
    })
}

fn is_executable(file: &Path) -> io::Result<()> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(access(file, AccessFlags::X_OK)?)
}

/// The command and all that it started, which end with this value at the latest.
struct RunningCommand {
    child: Child,
    waited_for: Option<WaitedFor>,
    group: Option<Pid>,
    stdout: CommandPipe<ChildStdout>,
    stderr: CommandPipe<ChildStderr>,
}

impl RunningCommand {
    /// How the program itself has ended: what it started may live on, and hold the pipes. `None` where it prints too much.
    async fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        let RunningCommand { child, waited_for, stdout, stderr, .. } = self;
        let flooded = async {
            while !stdout.read().await {
                if stdout.is_over() {
                    return;
                }
            }
            pending().await
        };
        let complaining = async {
            while !stderr.read().await {
                stderr.keep_the_end();
            }
            pending().await
        };
        tokio::select! {
            status = child.wait() => match status {
                Ok(status) => Ok(Some(status)),
                Err(error) => handed_over(waited_for.as_ref(), error).await.map(Some),
            },
            () = flooded => Ok(None),
            () = complaining => Ok(None),
        }
    }

    /// Ends the process group, and what has left it while the program itself lives. Nothing of that outlives it.
    fn kill(&mut self) {
        // The id is its own as long as it was not waited for.
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            descendants::kill(Pid::from_raw(id));
        }
        if let Some(group) = self.group.take() {
            // It may be empty already.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// What is still in the pipes, of a command that was ended.
    async fn rest(&mut self) {
        let RunningCommand { child, stdout, stderr, .. } = self;
        let _ = child.wait().await;
        while !stdout.is_over() && !stdout.read().await {}
        while !stderr.read().await {
            stderr.keep_the_end();
        }
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How it has ended, where a thread that collects all processes was first: it tells a moment later.
async fn handed_over(waited_for: Option<&WaitedFor>, error: io::Error) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + LAST_WORDS;
    loop {
        match waited_for.and_then(WaitedFor::handed_over) {
            Some(status) => return Ok(status),
            None if Instant::now() < deadline => sleep(HANDING_OVER).await,
            None => return Err(error),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended with {status}"),
    }
}
