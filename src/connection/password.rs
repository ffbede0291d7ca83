//! Passwords that a command prints: asked for when a login needs one, kept for a while, and shared by all who log in.
//!
//! [`runs`] decides when to run it, [`command`] runs it, here one run at a time is made for each target. [`complaint`] is what
//! is shown of a failed run, [`descendants`] are ended with it.

mod command;
mod complaint;
mod descendants;
mod pipe;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use self::command::CommandCall;
pub use self::command::find_program;
use self::runs::{CommandRuns, Look, Plan};
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
    /// Held by the one that runs a command only to see whether it prints something else.
    looking: Semaphore,
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
    /// Why the command gives none any more: this one is used for the rest of its time.
    pub failed_renewal: Option<String>,
}

impl Default for CommandPasswords {
    fn default() -> Self {
        CommandPasswords {
            of_targets: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
            looking: Semaphore::new(1),
        }
    }
}

impl CommandPasswords {
    /// Whether the command would have to run now, or is running.
    pub fn lack(&self, target: &Target, endpoint: &Endpoint) -> bool {
        self.of(target, endpoint).is_some_and(|one| {
            let ttl = target.tuning.password_command_ttl;
            one.runs.try_lock().map_or(true, |runs| matches!(runs.plan(now(), ttl), Plan::Run | Plan::Renew))
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
        match runs.plan(now(), ttl) {
            Plan::Run => self.run(&one.call, &mut runs, limit, calls, CommandRuns::ended).await,
            Plan::Renew => self.run(&one.call, &mut runs, limit, calls, CommandRuns::renewed).await,
            Plan::Use(..) | Plan::Fail(_) => {}
        }
        match runs.plan(now(), ttl) {
            Plan::Use(run, secret) => {
                let failed_renewal = runs.failed_renewal().map(str::to_owned);
                Ok(Some(PrintedPassword { run, secret, failed_renewal }))
            }
            Plan::Fail(message) => Err(Cause::Command { message }),
            // It has just ended.
            Plan::Run | Plan::Renew => Err(Cause::Internal),
        }
    }

    /// The server has rejected what that run printed. Whether another one may be had by asking again now.
    pub fn rejected(&self, target: &Target, endpoint: &Endpoint, run: u64) -> bool {
        self.of(target, endpoint).is_some_and(|one| {
            // Who holds it makes another one.
            one.runs.try_lock().map_or(true, |mut runs| runs.rejected(run, now()))
        })
    }

    /// The server did not reject what was printed for that endpoint, whatever became of the login.
    pub fn accepted(&self, target: &Target, endpoint: &Endpoint) {
        if let Some(one) = self.of(target, endpoint)
            && let Ok(mut runs) = one.runs.try_lock()
        {
            runs.forget_rejected();
        }
    }

    /// Ends once the command prints another password than the one that the server rejected. It is run for that again and
    /// again, of all targets one at a time.
    pub async fn changed(&self, target: &Target, calls: &BlockingCalls) {
        let Some(one) = self.known(target) else { return pending().await };
        loop {
            let look = one.runs.lock().await.look();
            match look {
                Look::Pointless => return pending().await,
                Look::Changed => {
                    one.runs.lock().await.forget_rejected();
                    return;
                }
                Look::At(at) => {
                    sleep_until(at.into()).await;
                    let _looking = self.looking.acquire().await;
                    let mut runs = one.runs.lock().await;
                    // Somebody else may have run it meanwhile.
                    if runs.look() == look {
                        let limit = target.tuning.password_command_timeout;
                        self.run(&one.call, &mut runs, limit, calls, CommandRuns::ended).await;
                    }
                }
            }
        }
    }

    /// Forgets what was printed for targets that are gone, or have another command.
    pub fn keep(&self, targets: &[Arc<Target>]) {
        let is_kept = |name: &String, one: &mut Arc<OneCommand>| {
            let of_name = targets.iter().find(|target| target.name.as_str() == name);
            of_name.is_some_and(|target| one.call.is_of(&target.password))
        };
        self.of_targets.lock().unwrap_or_else(PoisonError::into_inner).retain(is_kept);
    }

    async fn run(
        &self,
        call: &CommandCall,
        runs: &mut CommandRuns,
        limit: Duration,
        calls: &BlockingCalls,
        note: fn(&mut CommandRuns, std::time::Instant, std::time::Instant, Result<Secret, String>),
    ) {
        let _room = self.room.acquire().await;
        let began = now();
        let outcome = call.run(limit, calls).await;
        note(runs, began, now(), outcome);
    }

    /// What has been run for the target already.
    fn known(&self, target: &Target) -> Option<Arc<OneCommand>> {
        let of_targets = self.of_targets.lock().unwrap_or_else(PoisonError::into_inner);
        let one = of_targets.get(target.name.as_str())?;
        one.call.is_of(&target.password).then(|| Arc::clone(one))
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
