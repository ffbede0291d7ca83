//! Passwords that a command prints: asked for when a login needs one, kept for a while, and shared by all who log in.
//!
//! [`runs`] decides when to run it, [`command`] runs it, here one run at a time is made for each target.

mod command;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::command::CommandCall;
pub use self::command::find_program;
use self::runs::{CommandRuns, Plan};
use crate::blocking::BlockingCalls;
use crate::reason::Cause;
use crate::target::{Endpoint, PasswordSource, Secret, Target};

/// Commands that run at the same time, over all targets: each may be an interpreter that takes a second of a processor.
const AT_ONCE: usize = 4;

/// What the commands of all targets have printed.
#[derive(Debug)]
pub struct CommandPasswords {
    /// By the target's name.
    of_targets: Mutex<HashMap<String, Arc<OneCommand>>>,
    room: Semaphore,
}

#[derive(Debug)]
struct OneCommand {
    call: CommandCall,
    /// Held by who runs it: all others wait for what comes of that.
    runs: tokio::sync::Mutex<CommandRuns>,
}

/// A password, and the number of the run that printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedPassword {
    pub run: u64,
    pub secret: Secret,
}

impl Default for CommandPasswords {
    fn default() -> Self {
        CommandPasswords { of_targets: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }
}

impl CommandPasswords {
    /// Whether the command would have to run now, or is running.
    pub fn lack(&self, target: &Target, endpoint: &Endpoint) -> bool {
        self.of(target, endpoint).is_some_and(|one| {
            let ttl = target.tuning.password_command_ttl;
            one.runs.try_lock().map_or(true, |runs| runs.plan(now(), ttl) == Plan::Run)
        })
    }

    /// The password; `None` where the target has no command.
    pub async fn get(
        &self,
        target: &Target,
        endpoint: &Endpoint,
        calls: &BlockingCalls,
    ) -> Result<Option<PrintedPassword>, Cause> {
        let Some(one) = self.of(target, endpoint) else {
            return Ok(None);
        };
        let (ttl, limit) = (target.tuning.password_command_ttl, target.tuning.password_command_timeout);
        let mut runs = one.runs.lock().await;
        if runs.plan(now(), ttl) == Plan::Run {
            let _room = self.room.acquire().await;
            let began = now();
            let outcome = one.call.run(limit, calls).await;
            runs.ended(began, now(), outcome);
        }
        match runs.plan(now(), ttl) {
            Plan::Use(run, secret) => Ok(Some(PrintedPassword { run, secret })),
            Plan::Fail(message) => Err(Cause::Command { message }),
            // It has just ended.
            Plan::Run => Err(Cause::Internal),
        }
    }

    /// The server has rejected what that run printed. Whether another one may be had by asking again now.
    pub fn rejected(&self, target: &Target, endpoint: &Endpoint, run: u64) -> bool {
        self.of(target, endpoint).is_some_and(|one| {
            // Who holds it makes another one.
            one.runs.try_lock().map_or(true, |mut runs| runs.rejected(run, now()))
        })
    }

    fn of(&self, target: &Target, endpoint: &Endpoint) -> Option<Arc<OneCommand>> {
        let PasswordSource::Command(command) = &target.password else {
            return None;
        };
        let call = CommandCall::new(command, target, endpoint);
        let mut of_targets = self.of_targets.lock().unwrap_or_else(PoisonError::into_inner);
        match of_targets.get(target.name.as_str()) {
            Some(one) if one.call == call => Some(Arc::clone(one)),
            // Another command, or for another server: what was printed before is not for it.
            _ => {
                let one = Arc::new(OneCommand { call, runs: tokio::sync::Mutex::default() });
                of_targets.insert(target.name.to_string(), Arc::clone(&one));
                Some(one)
            }
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
