//! Which signals are caught, which of them go to the command, and when this process stops with it. Pure.

use nix::libc::{SIGRTMAX, SIGRTMIN};
use signal_hook::consts::{
    SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV,
    SIGSTOP, SIGSYS, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
};
use signal_hook::low_level::siginfo::Cause;

/// The last one with a name; between it and `SIGRTMIN` are the C library's own.
const LAST_NAMED: i32 = 31;
/// A fault of this process, which cannot go on.
const FAULTS: [i32; 7] = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS];
/// What stops a process if it does nothing about it.
const STOPPING: [i32; 3] = [SIGTSTP, SIGTTIN, SIGTTOU];

/// The signals that whoever started this process has told it to ignore, as nohup(1) does with SIGHUP. They stay ignored,
/// by this process and by the command, which inherits that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IgnoredSignals(u64);

impl IgnoredSignals {
    /// As `/proc/self/status` tells them, before anything here has changed them.
    pub fn of(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        IgnoredSignals(line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    fn has(self, signal: i32) -> bool {
        // Rust's runtime ignores it itself, and does not for the programs that it starts.
        signal != SIGPIPE && (self.0 >> (signal - 1)) & 1 == 1
    }
}

/// The signals to catch: all that can be, but those of faults, and those that are to be ignored.
pub fn caught(ignored: IgnoredSignals) -> Vec<i32> {
    let all = (1..=LAST_NAMED).chain(SIGRTMIN()..=SIGRTMAX());
    let cannot = [SIGKILL, SIGSTOP];
    all.filter(|signal| *signal == SIGCHLD || !ignored.has(*signal))
        .filter(|signal| !cannot.contains(signal) && !FAULTS.contains(signal))
        .collect()
}

/// What decides whom a signal has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    pub own_pid: i32,
    /// The command is in this process's group, as it was started, and not in one of its own.
    pub command_in_group: bool,
    pub leads_session: bool,
}

/// Whether the command is to get a signal that has come, from this process if so told.
pub fn is_passed_on(signal: i32, cause: Cause, sender: Option<i32>, at: Surroundings) -> bool {
    match (cause, signal) {
        // The terminal tells its whole foreground group: the command has it already, unless it has left.
        (Cause::Kernel, SIGINT | SIGQUIT | SIGTSTP | SIGTTIN | SIGTTOU | SIGWINCH) => !at.command_in_group,
        // Of the terminal's end the session's leader hears alone, the group when that leader ends.
        (Cause::Kernel, SIGHUP) => at.leads_session || !at.command_in_group,
        (Cause::Kernel, SIGCONT) => true,
        // A limit or a timer of this process.
        (Cause::Kernel, _) => false,
        // So does a pipe that nobody reads.
        _ => sender != Some(at.own_pid),
    }
}

/// Stops this process when it was told to stop and the command has stopped, in whichever order; so a shell sees the job
/// stop once the command has put the terminal in order. A command that does not stop goes on, and so does this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobControl {
    #[default]
    Running,
    ToldToStop,
    CommandStopped,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    Signal(i32),
    CommandStopped,
    CommandContinued,
}

impl JobControl {
    /// True where this process is to stop now.
    pub fn on(&mut self, event: JobEvent) -> bool {
        let (next, stops) = match (*self, event) {
            (JobControl::CommandStopped, JobEvent::Signal(signal)) if STOPPING.contains(&signal) => {
                (JobControl::Running, true)
            }
            (JobControl::ToldToStop, JobEvent::CommandStopped) => (JobControl::Running, true),
            (_, JobEvent::Signal(signal)) if STOPPING.contains(&signal) => (JobControl::ToldToStop, false),
            (_, JobEvent::CommandStopped) => (JobControl::CommandStopped, false),
            (_, JobEvent::Signal(SIGCONT) | JobEvent::CommandContinued) => (JobControl::Running, false),
            (same, JobEvent::Signal(_)) => (same, false),
        };
        *self = next;
        stops
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGPROF, SIGTERM, SIGUSR1, SIGXFSZ};
    use signal_hook::low_level::siginfo::Sent;

    use super::*;

    const SELF: i32 = 7;

    #[test]
    fn all_signals_are_caught_but_faults_the_c_librarys_and_what_is_to_be_ignored() {
        let all = caught(IgnoredSignals::default());
        let missing: Vec<_> = (1..=SIGRTMAX()).filter(|signal| !all.contains(signal)).collect();
        let mut expected = vec![4, 5, 6, 7, 8, 9, 11, 19, 31];
        expected.extend(32..SIGRTMIN());
        assert_eq!(missing, expected);
        // SIGHUP, SIGINT, SIGPIPE, SIGCHLD and signal 64.
        let status = "Name:\tpgtether\nSigBlk:\tffffffffffffffff\nSigIgn:\t8000000000011003\nSigCgt:\t0\n";
        let without = caught(IgnoredSignals::of(status));
        let missing: Vec<_> = all.iter().filter(|signal| !without.contains(signal)).copied().collect();
        assert_eq!(missing, [1, 2, 64]);
        for unknown in ["", "SigIgn:", "SigIgn: xyz", "Name:\tpgtether\n"] {
            assert_eq!(IgnoredSignals::of(unknown), IgnoredSignals::default(), "{unknown}");
        }
    }

    #[test]
    fn the_command_gets_each_signal_once() {
        let plain = Surroundings { own_pid: SELF, command_in_group: true, leads_session: false };
        let leading = Surroundings { leads_session: true, ..plain };
        let apart = Surroundings { command_in_group: false, ..plain };
        let user = Cause::Sent(Sent::User);
        for (signal, cause, sender, at, passed_on) in [
            (SIGINT, Cause::Kernel, None, plain, false),
            (SIGQUIT, Cause::Kernel, None, leading, false),
            (SIGTSTP, Cause::Kernel, None, plain, false),
            (SIGTTIN, Cause::Kernel, None, plain, false),
            (SIGTTOU, Cause::Kernel, None, plain, false),
            (SIGWINCH, Cause::Kernel, None, plain, false),
            (SIGINT, Cause::Kernel, None, apart, true),
            (SIGTSTP, Cause::Kernel, None, apart, true),
            (SIGWINCH, Cause::Kernel, None, apart, true),
            (SIGHUP, Cause::Kernel, None, plain, false),
            (SIGHUP, Cause::Kernel, None, leading, true),
            (SIGHUP, Cause::Kernel, None, apart, true),
            (SIGCONT, Cause::Kernel, None, plain, true),
            (SIGPROF, Cause::Kernel, None, apart, false),
            (SIGINT, user, Some(1), plain, true),
            (SIGTSTP, user, Some(0), plain, true),
            (SIGUSR1, Cause::Sent(Sent::Queue), Some(1), plain, true),
            (SIGTERM, Cause::Unknown, None, plain, true),
            (SIGPIPE, user, Some(SELF), plain, false),
            (SIGXFSZ, user, Some(SELF), apart, false),
            (SIGPIPE, user, Some(SELF + 1), plain, true),
        ] {
            assert_eq!(is_passed_on(signal, cause, sender, at), passed_on, "{signal} {cause:?} {at:?}");
        }
    }

    #[test]
    fn it_stops_with_the_command_where_it_was_told_to_and_not_alone() {
        use JobEvent::{CommandContinued, CommandStopped, Signal};
        for (events, stops) in [
            (&[Signal(SIGTSTP), CommandStopped][..], true),
            (&[CommandStopped, Signal(SIGTSTP)], true),
            (&[Signal(SIGTTOU), Signal(SIGTERM), CommandStopped], true),
            // Somebody has stopped the command alone; or it did not stop.
            (&[CommandStopped], false),
            (&[Signal(SIGTSTP)], false),
            (&[CommandStopped, Signal(SIGTERM)], false),
            // Long ago.
            (&[Signal(SIGTSTP), Signal(SIGCONT), CommandStopped], false),
            (&[CommandStopped, CommandContinued, Signal(SIGTSTP)], false),
            (&[Signal(SIGTSTP), CommandStopped, Signal(SIGCONT), CommandContinued, CommandStopped], false),
        ] {
            let mut job = JobControl::default();
            let last = events.iter().fold(false, |_, event| job.on(*event));
            assert_eq!(last, stops, "{events:?}");
        }
    }
}
