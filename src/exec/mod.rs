//! One process for one container: pgtether's monitoring and pool, and the command that connects to that pool.
//!
//! Whatever becomes of pgtether, the command runs. So the process's first thread does nothing but start it, pass signals
//! on, reap children and wait for its end; pgtether runs on a thread of its own. This may be process 1 of a container:
//! it is its init.
//!
//! ```text
//! mod      the order of things            environment what the command finds in its environment (pure)
//! prepare  the configuration of pgtether  ending      exit codes (pure)
//! daemon   what that runs                 child       the command, its signals, its end
//! beside   the thread that runs it           relay       which signals go to the command (pure)
//! ```

mod beside;
mod child;
mod daemon;
mod ending;
mod environment;
mod prepare;
mod relay;

use std::ffi::OsString;
use std::time::Duration;

use prometheus::IntCounter;
use tracing::{error, info, warn};

use self::beside::{Announcement, Beside, Reached};
use self::child::{Child, ChildSignals};
use self::ending::Ending;
use self::environment::Environment;
pub use self::environment::VARIABLES;
use self::prepare::{DaemonSetup, Unprepared, prepare};
use crate::cli::{CANNOT_START, ExecArgs};
use crate::config::DATABASE_URL;
use crate::http::web::RulesFile;

/// How long pgtether may take until its pool listens. It waits for no database.
const STARTING: Duration = Duration::from_secs(20);
/// How long the drain may take: somewhat more than its parts may.
const DRAINING: Duration = Duration::from_secs(15);
/// How often a second signal is looked for during the drain.
const LOOK: Duration = Duration::from_millis(20);

/// Why no command has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecFailure {
    /// As env(1) has it.
    pub code: u8,
    pub text: String,
}

/// Runs the command to its end, and pgtether beside it, if there is a way to run it. Returns the exit code.
pub fn run(args: &ExecArgs, log_lines_dropped: IntCounter) -> Result<u8, ExecFailure> {
    let cannot_start = |text| ExecFailure { code: CANNOT_START, text };
    let url = database_url(std::env::var_os(DATABASE_URL)).map_err(cannot_start)?;
    let rules_file = args.web.port.config_file.clone().map(RulesFile::open).transpose();
    let rules_file = rules_file.map_err(|problems| cannot_start(problems.to_string()))?;
    let prepared = match prepare(&url, args.pool.flags()) {
        Err(Unprepared::Flags(problems)) => return Err(cannot_start(problems)),
        Err(Unprepared::Url(problems)) => Err(problems),
        Ok(prepared) => Ok(prepared),
    };
    // Before there is a child to miss the end of.
    let mut signals = ChildSignals::take()
        .map_err(|error| cannot_start(format!("pgtether: signals cannot be handled: {error}")))?;
    let beside = prepared.and_then(|prepared| {
        let DaemonSetup { config, flags, folder } = prepared;
        let run = daemon::serving(&url, config, flags, &args.web, rules_file, log_lines_dropped);
        let beside = Beside::start(run).map_err(|error| error.to_string())?;
        let (beside, environment) = open(beside, &url)?;
        Ok((beside, environment, folder))
    });
    let (beside, environment) = match beside {
        Ok((beside, environment, folder)) => (Some((beside, folder)), environment),
        Err(problems) => {
            for problem in problems.lines() {
                error!(problem, "pgtether cannot run: the command connects to the database itself");
            }
            (None, Environment::alone(&url))
        }
    };
    let ended = Child::start(&args.command, &environment).map(|child| {
        info!(pid = child.pid(), "the command has started");
        let ending = child.wait(&mut signals);
        info!(%ending, "the command has ended");
        ending.exit_code()
    });
    if let Some((beside, _folder)) = beside {
        drain(beside, &mut signals);
    }
    ended.map_err(|error| {
        let program = args.command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
        ExecFailure { code: ending::code_of(&error), text: ending::not_started(&program, &error) }
    })
}

/// What the environment must have.
fn database_url(value: Option<OsString>) -> Result<String, String> {
    let missing = "pgtether: DATABASE_URL is not set: set it to a connection string such as \
                   postgresql://user:password@host:5432/database";
    match value.map(OsString::into_string) {
        Some(Ok(url)) if !url.trim().is_empty() => Ok(url),
        Some(Ok(_)) | None => Err(missing.to_owned()),
        Some(Err(_)) => Err("pgtether: DATABASE_URL is not UTF-8".to_owned()),
    }
}

/// Waits until the pool listens, and says what the command is given.
fn open(mut beside: Beside, url: &str) -> Result<(Beside, Environment), String> {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let environment = beside.reached(STARTING).and_then(|at| Environment::beside(url, &at, &is_set));
    match environment {
        Ok(environment) => Ok((beside, environment)),
        Err(problems) => {
            beside.stop();
            Err(problems)
        }
    }
}

/// Ends pgtether. A signal that asks to end does not wait for it.
fn drain(mut beside: Beside, signals: &mut ChildSignals) {
    beside.stop();
    let looks = DRAINING.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        if beside.has_ended(LOOK) {
            return;
        }
        if signals.asked_to_end() {
            return warn!("ended at once: a signal came during the drain");
        }
    }
    warn!(within_seconds = DRAINING.as_secs_f64(), "the drain took too long");
}
