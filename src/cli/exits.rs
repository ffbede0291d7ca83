//! The exit codes of each command, declared once: for the program, and for its manual pages.

use crate::check::Verdict;

/// The start failed: a port is taken, a signal handler refused. Or what was asked is not well.
pub const FAILED: u8 = 1;
/// Arguments or a configuration that cannot be used; as sysexits.h has it.
pub const EX_USAGE: u8 = 64;
/// `exec` cannot start its command, as env(1) has it.
pub const CANNOT_START: u8 = 125;
/// There is such a command, and it cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub const NOT_FOUND: u8 = 127;

/// Each exit code of a command, and what it means; `command` is its first word, empty for the program without one.
pub fn exit_codes(command: &str) -> Vec<(u8, &'static str)> {
    match command {
        "" | "run" => vec![
            (0, "It was told to end, and has ended in its time."),
            (FAILED, "It cannot start, for example because a port is in use."),
            (EX_USAGE, "Flags or configuration are invalid; every mistake is listed."),
        ],
        "check" => vec![
            (Verdict::Ok.exit_code(), "All targets are well."),
            (Verdict::Warning.exit_code(), "Something works, but not as it should."),
            (Verdict::Critical.exit_code(), "A target cannot be used."),
            (Verdict::Unknown.exit_code(), "Flags or configuration are invalid."),
        ],
        "exec" => vec![
            (CANNOT_START, "Flags are unusable, or there is no DATABASE_URL."),
            (NOT_EXECUTABLE, "The command cannot be executed."),
            (NOT_FOUND, "There is no such command."),
        ],
        "healthcheck" => vec![
            (0, "The answer was a success (2xx)."),
            (FAILED, "There was another answer, or none in time."),
            (EX_USAGE, "Flags or the web config file are invalid."),
        ],
        _ => vec![
            (0, "It has done what was asked."),
            (FAILED, "It could not be done."),
            (EX_USAGE, "Flags or configuration are invalid."),
        ],
    }
}
