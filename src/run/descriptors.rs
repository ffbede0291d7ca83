//! File descriptors: sessions need them more than those who ask about sessions.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::http::ConnectionLimits;

/// Enough for a scrape, a probe and a person, whatever the limit.
const FEWEST_CLIENTS: usize = 8;

/// Raises the limit to what the system allows: the usual 1024 is for programs that call select(2), and would not
/// do for 500 targets under a refresh. Returns the limit that holds.
pub fn raise() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(error) => {
            warn!(%error, "the limit of open files is not known");
            u64::MAX
        }
    }
}

/// How many connections of clients may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Over HTTP: half of all descriptors at the most.
    pub http: usize,
    /// Of all pools: what HTTP leaves, and a quarter of all descriptors, at the least, for sessions.
    pub pools: usize,
}

/// What there is for whom where there are so many descriptors, so that no flood of clients keeps a session from being
/// opened.
pub fn shares(descriptors: u64) -> Shares {
    let all = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let http = ConnectionLimits::default().connections.min(all / 2).max(FEWEST_CLIENTS);
    let pools = all.saturating_sub(http).saturating_sub(all / 4).max(FEWEST_CLIENTS);
    Shares { http, pools }
}

/// What is wrong where the pools of the configuration may have more clients than there are descriptors for.
pub fn too_many_clients(pools: impl Iterator<Item = u32>, descriptors: u64) -> Option<String> {
    let wanted = pools.map(u64::from).sum::<u64>();
    let share = shares(descriptors).pools;
    (wanted > share as u64).then(|| {
        format!(
            "max_clients of all pools is {wanted} together, but only {share} connections of their clients fit into \
             this process's limit of {descriptors} open files: raise it (ulimit -n, LimitNOFILE=), or lower max_clients"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_descriptors_is_never_taken_by_clients() {
        let http = ConnectionLimits::default().connections;
        assert_eq!(shares(u64::MAX).http, http);
        assert_eq!(shares(20_000), Shares { http, pools: 20_000 - http - 5000 });
        assert_eq!(shares(1024), Shares { http: 512, pools: 256 });
        assert_eq!(shares(64), Shares { http: 32, pools: 16 });
        assert_eq!(shares(0), Shares { http: FEWEST_CLIENTS, pools: FEWEST_CLIENTS });
    }

    #[test]
    fn pools_that_may_have_more_clients_than_fit_are_told_of() {
        assert_eq!(too_many_clients([200, 56].into_iter(), 1024), None);
        let told = too_many_clients([200, 57].into_iter(), 1024).unwrap();
        for word in ["257", "256", "1024", "max_clients", "LimitNOFILE"] {
            assert!(told.contains(word), "{told}");
        }
        assert_eq!(too_many_clients([].into_iter(), 0), None);
        assert!(too_many_clients([u32::MAX, u32::MAX].into_iter(), 1024).is_some());
    }

    #[test]
    fn the_limit_is_as_high_as_the_system_allows() {
        let raised = raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, raised), (hard, hard));
    }
}
