//! What a process has started and has not left behind: also what is no longer in its process group.

use std::fs;

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// More is a fork bomb, which nobody catches up with.
const MOST: usize = 500;

/// Kills all descendants of a child of ours that was not waited for yet. Where the kernel does not list them, none.
///
/// Each is stopped before its children are looked up: what is stopped neither starts others nor waits for those that it has,
/// so that their ids stay theirs.
pub fn kill(root: Pid) {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let _ = send(parent, Signal::SIGSTOP);
        found.extend(children(parent).into_iter().take(MOST.saturating_sub(found.len())));
    }
    for process in found.into_iter().rev() {
        // It may be gone already.
        let _ = send(process, Signal::SIGKILL);
    }
}

/// By `CONFIG_PROC_CHILDREN`, which all distributions have.
fn children(parent: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let ids: Vec<i32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect();
    ids.into_iter().filter(|id| *id > 1).map(Pid::from_raw).collect()
}
