//! The processes that this one has started and waits for itself. Where another thread collects all that have ended, as process
//! 1 of a container does, it hands over how these ended.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By their ids, and how they have ended if somebody else has collected them.
static WAITED_FOR: Mutex<BTreeMap<i32, Option<i32>>> = Mutex::new(BTreeMap::new());

/// A process that is waited for by whoever holds this.
#[derive(Debug)]
pub struct WaitedFor(i32);

impl WaitedFor {
    /// Starts a process whose id `pid` tells. Nobody collects it unseen, however soon it ends.
    pub fn start<T>(
        start: impl FnOnce() -> io::Result<T>,
        pid: impl FnOnce(&T) -> Option<u32>,
    ) -> io::Result<(T, Option<WaitedFor>)> {
        let mut waited_for = known();
        let started = start()?;
        let pid = pid(&started).and_then(|pid| i32::try_from(pid).ok());
        waited_for.extend(pid.map(|pid| (pid, None)));
        Ok((started, pid.map(WaitedFor)))
    }

    /// How it has ended, where another thread has collected it.
    pub fn handed_over(&self) -> Option<ExitStatus> {
        known().get(&self.0).copied().flatten().map(ExitStatus::from_raw)
    }
}

impl Drop for WaitedFor {
    fn drop(&mut self) {
        known().remove(&self.0);
    }
}

fn known() -> MutexGuard<'static, BTreeMap<i32, Option<i32>>> {
    WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process has ended, and this thread has collected it: whoever waits for it hears how. Waits while one is being started,
/// for it may be that one.
pub fn hand_over(pid: i32, status: i32) {
    if let Some(slot) = known().get_mut(&pid) {
        *slot = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_waits_for_a_process_hears_of_its_end_also_from_another_thread() {
        let start = || Command::new("true").spawn();
        let (mut child, guard) = WaitedFor::start(start, |child| Some(child.id())).unwrap();
        let (pid, guard) = (i32::try_from(child.id()).unwrap(), guard.unwrap());
        assert!(child.wait().unwrap().success());
        assert_eq!(guard.handed_over(), None, "nobody has collected it");
        let (exited_3, killed_9) = (3 << 8, 9);
        hand_over(pid, exited_3);
        assert_eq!(guard.handed_over().and_then(|status| status.code()), Some(3));
        hand_over(pid, killed_9);
        assert_eq!(guard.handed_over().and_then(|status| status.signal()), Some(9));
        drop(guard);
        hand_over(pid, exited_3);
        assert!(!known().contains_key(&pid), "it is somebody else's by now");
    }
}
