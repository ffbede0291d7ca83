//! What a process takes, as the kernel counts it.

use std::fs::read_to_string;
use std::time::Duration;

/// The processor time that a process has had.
pub fn cpu(pid: i32) -> Duration {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may contain anything.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).unwrap().unwrap();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// Resident memory in MiB.
pub fn resident(pid: i32) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
