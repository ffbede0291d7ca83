//! The command: started, sent the signals that come, waited for, with all others that this process is the parent of.

use std::ffi::OsString;
use std::io;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tracing::{debug, info, warn};

use super::{Ending, Environment};

/// What is passed on: all that a program may be told and that can be caught, but what means this process alone.
const PASSED_ON: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGALRM];

/// Those that ask a program to end.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// The signals of this process. Whatever comes before the command has started waits for it.
#[derive(Debug)]
pub struct ChildSignals(SignalsInfo<WithOrigin>);

impl ChildSignals {
    pub fn take() -> io::Result<ChildSignals> {
        SignalsInfo::new(PASSED_ON.iter().chain([&SIGCHLD])).map(ChildSignals)
    }

    /// Whether one of those that came asks the process to end.
    pub fn asked_to_end(&mut self) -> bool {
        self.0.pending().any(|origin| ENDING.contains(&origin.signal))
    }
}

/// Whether the kernel has sent a signal to the whole group of the terminal: the command has it already.
fn has_it_already(signal: i32, cause: Cause) -> bool {
    cause == Cause::Kernel && [SIGINT, SIGQUIT, SIGWINCH].contains(&signal)
}

/// The command, running.
#[derive(Debug)]
pub struct Child(Pid);

impl Child {
    /// Starts it in this process's group and terminal.
    pub fn start(words: &[OsString], environment: &Environment) -> io::Result<Child> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.changes());
        // Waited for as one of all children, below.
        let pid = command.spawn()?.id();
        i32::try_from(pid).map(|pid| Child(Pid::from_raw(pid))).map_err(io::Error::other)
    }

    pub fn pid(&self) -> i32 {
        self.0.as_raw()
    }

    /// Until it has ended.
    pub fn wait(&self, signals: &mut ChildSignals) -> Ending {
        loop {
            for Origin { signal, cause, .. } in signals.0.wait() {
                if signal == SIGCHLD {
                    if let Some(ending) = self.reap() {
                        return ending;
                    }
                } else if !has_it_already(signal, cause) {
                    self.pass_on(signal);
                }
            }
        }
    }

    fn pass_on(&self, signal: i32) {
        let Ok(signal) = Signal::try_from(signal) else {
            return;
        };
        if ENDING.contains(&(signal as i32)) {
            info!(signal = signal.as_str(), "passed on to the command");
        }
        match kill(self.0, signal) {
            // It has just ended.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => warn!(signal = signal.as_str(), %error, "the signal cannot be passed on"),
        }
    }

    /// Takes every child that has ended off the kernel's list: those of ended children become process 1's.
    fn reap(&self) -> Option<Ending> {
        let mut ended = None;
        loop {
            let (pid, ending) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ending::Exited { code }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ending::Killed { signal: signal as i32 }),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
                Ok(_) | Err(Errno::EINTR) => continue,
                // One that a real-time signal has killed, which has no name here. Whose end it was is not told.
                Err(Errno::EINVAL) => match kill(self.0, None) {
                    Err(Errno::ESRCH) => (self.0, Ending::Killed { signal: 0 }),
                    Ok(()) | Err(_) => continue,
                },
                Err(error) => {
                    warn!(%error, "children cannot be waited for");
                    return ended;
                }
            };
            if pid == self.0 {
                ended = Some(ending);
            } else {
                debug!(%pid, %ending, "reaped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::siginfo::Sent;

    use super::*;

    #[test]
    fn what_the_terminal_sends_to_its_group_is_not_sent_twice() {
        for (signal, cause, already) in [
            (SIGINT, Cause::Kernel, true),
            (SIGQUIT, Cause::Kernel, true),
            (SIGWINCH, Cause::Kernel, true),
            // The end of a terminal is told to its session's leader alone.
            (SIGHUP, Cause::Kernel, false),
            (SIGINT, Cause::Sent(Sent::User), false),
            (SIGTERM, Cause::Sent(Sent::User), false),
            (SIGTERM, Cause::Unknown, false),
        ] {
            assert_eq!(has_it_already(signal, cause), already, "{signal} {cause:?}");
        }
    }
}
