//! The checklist: flags, log, configuration, listeners, run; and the exit code of each way out.

use std::process::ExitCode;

use pgtether::cli;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => pgtether::start(cli),
        Err(exit) => exit,
    }
}
