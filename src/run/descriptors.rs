//! File descriptors: sessions need them more than those who ask about sessions.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::http::Limits;

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

/// How many HTTP connections may be open where there are so many descriptors: half of them at the most, so that no
/// flood of clients keeps a session from being opened.
pub fn for_clients(descriptors: u64) -> usize {
    let half = usize::try_from(descriptors / 2).unwrap_or(usize::MAX);
    Limits::default().connections.min(half).max(FEWEST_CLIENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_take_more_than_half_of_the_descriptors() {
        assert_eq!(for_clients(u64::MAX), Limits::default().connections);
        assert_eq!(for_clients(1024), 512);
        assert_eq!(for_clients(64), 32);
        assert_eq!(for_clients(0), FEWEST_CLIENTS);
    }

    #[test]
    fn the_limit_is_as_high_as_the_system_allows() {
        let raised = raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, raised), (hard, hard));
    }
}
