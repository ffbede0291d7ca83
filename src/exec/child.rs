//! The command: started, sent the signals that come, waited for, with all others that this process is the parent of.

use std::ffi::OsString;
use std::io;
use std::process::Command;

use nix::unistd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};
use rustix_libc_wrappers::process::SignalExt;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Origin;
use signal_hook::low_level::signal_name;
use tracing::{debug, info, warn};

use super::relay::{IgnoredSignals, JobControl, JobEvent, Surroundings, caught, is_passed_on};
use super::{Ending, Environment};
use crate::children;

/// Those that ask a program to end.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// The signals of this process. Whatever comes before the command has started waits for it.
#[derive(Debug)]
pub struct ChildSignals(SignalsInfo<WithOrigin>);

impl ChildSignals {
    pub fn take() -> io::Result<ChildSignals> {
        // Where there is no such file, nothing is known to be ignored.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        SignalsInfo::new(caught(IgnoredSignals::of(&status))).map(ChildSignals)
    }

    /// Whether one of those that came asks the process to end.
    pub fn asked_to_end(&mut self) -> bool {
        self.0.pending().any(|origin| ENDING.contains(&origin.signal))
    }
}

/// The command, running.
#[derive(Debug)]
pub struct Child(Pid);

/// What became of children.
#[derive(Debug, Default)]
struct ChildNews {
    ending: Option<Ending>,
    jobs: Vec<JobEvent>,
}

impl Child {
    /// Starts it in this process's group and terminal.
    pub fn start(words: &[OsString], environment: &Environment) -> io::Result<Child> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.changes());
        // Waited for as one of all children, below.
        Ok(Child(Pid::from_child(&command.spawn()?)))
    }

    pub fn pid(&self) -> i32 {
        self.0.as_raw_pid()
    }

    /// Until it has ended.
    pub fn wait(&self, signals: &mut ChildSignals) -> Ending {
        let mut job = JobControl::default();
        loop {
            for Origin { signal, cause, process, .. } in signals.0.wait() {
                let mut events = vec![JobEvent::Signal(signal)];
                if signal == SIGCHLD {
                    let news = self.reap();
                    if let Some(ending) = news.ending {
                        return ending;
                    }
                    events = news.jobs;
                } else if is_passed_on(signal, cause, process.map(|sender| sender.pid), self.surroundings()) {
                    self.pass_on(signal);
                }
                for event in events {
                    if job.on(event) {
                        stop();
                    }
                }
            }
        }
    }

    fn surroundings(&self) -> Surroundings {
        // With nix: process 1 of a container may be in a group and session that have no number there, but 0.
        let own = unistd::getpid();
        let command = unistd::Pid::from_raw(self.pid());
        Surroundings {
            own_pid: own.as_raw(),
            command_in_group: unistd::getpgid(Some(command)) == Ok(unistd::getpgrp()),
            leads_session: unistd::getsid(None) == Ok(own),
        }
    }

    fn pass_on(&self, number: i32) {
        let Some(signal) = Signal::from_raw(number) else {
            return;
        };
        let name = signal_name(number).map_or_else(|| number.to_string(), str::to_owned);
        if ENDING.contains(&number) {
            info!(signal = name, "passed on to the command");
        }
        match kill_process(self.0, signal) {
            // It has just ended.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => warn!(signal = name, %error, "the signal cannot be passed on"),
        }
    }

    /// Takes every child that has ended off the kernel's list: those of ended children become process 1's.
    fn reap(&self) -> ChildNews {
        let mut news = ChildNews::default();
        loop {
            let (pid, status) =
                match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED) {
                    Ok(Some(changed)) => changed,
                    Ok(None) | Err(Errno::CHILD) => return news,
                    Err(Errno::INTR) => continue,
                    Err(error) => {
                        warn!(%error, "children cannot be waited for");
                        return news;
                    }
                };
            match (pid == self.0, ending(status)) {
                (true, Some(ending)) => news.ending = Some(ending),
                (true, None) if status.stopped() => news.jobs.push(JobEvent::CommandStopped),
                (true, None) => news.jobs.push(JobEvent::CommandContinued),
                (false, Some(ending)) => {
                    children::hand_over(pid.as_raw_pid(), status.as_raw());
                    debug!(pid = pid.as_raw_pid(), %ending, "reaped");
                }
                (false, None) => {}
            }
        }
    }
}

/// `None` where it is only stopped, or goes on.
fn ending(status: WaitStatus) -> Option<Ending> {
    let exited = status.exit_status().map(|code| Ending::Exited { code });
    exited.or_else(|| status.terminating_signal().map(|signal| Ending::Killed { signal }))
}

/// Stops this process, all its threads, until somebody lets it go on. Process 1 cannot be stopped, and goes on at once.
fn stop() {
    debug!("stopping with the command");
    if let Err(error) = kill_process(getpid(), Signal::STOP) {
        warn!(%error, "this process cannot be stopped");
    }
}
