//! How a command ends, and the exit codes that say so: env(1)'s and the shell's.

use std::fmt;
use std::io;

use crate::cli::{NOT_EXECUTABLE, NOT_FOUND};

/// A signal's number is added to it.
const SIGNALED: i32 = 128;

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited { code: i32 },
    Killed { signal: i32 },
}

impl Ending {
    /// The exit code that passes it on.
    pub fn exit_code(self) -> u8 {
        let code = match self {
            Ending::Exited { code } => code,
            Ending::Killed { signal } => SIGNALED + signal,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited { code } => write!(f, "exit code {code}"),
            Ending::Killed { signal } => write!(f, "killed by signal {signal}"),
        }
    }
}

/// The exit code of a command that could not be started.
pub fn code_of(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// What happened and what to do.
pub fn not_started(program: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "not found: check its name and PATH, and the first line of a script",
        io::ErrorKind::PermissionDenied => "permission denied: is it a file, and executable (chmod +x)?",
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
            "not a program of this machine; a script needs a first line such as #!/bin/sh"
        }
        _ => return format!("the command {program:?} cannot be started: {error}"),
    };
    format!("the command {program:?} cannot be started: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_exit_code_is_passed_on_and_a_signal_is_added_to_128() {
        for (ending, code) in [
            (Ending::Exited { code: 0 }, 0),
            (Ending::Exited { code: 255 }, 255),
            (Ending::Killed { signal: 9 }, 137),
            (Ending::Killed { signal: 15 }, 143),
            (Ending::Killed { signal: 64 }, 192),
        ] {
            assert_eq!(ending.exit_code(), code, "{ending}");
        }
    }

    #[test]
    fn a_command_that_cannot_be_started_ends_as_with_env() {
        for (errno, code, words) in [
            (nix::libc::ENOENT, 127, "not found"),
            (nix::libc::EACCES, 126, "chmod +x"),
            (nix::libc::ENOEXEC, 126, "#!/bin/sh"),
            (nix::libc::E2BIG, 126, "Argument list too long"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(code_of(&error), code, "{error}");
            let told = not_started("x y", &error);
            assert!(
                told.starts_with("the command \"x y\" cannot be started: ") && told.contains(words),
                "{told}"
            );
        }
    }
}
