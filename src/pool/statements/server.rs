//! Which statements a session has, as its answers have told, and when each was last used.

use std::collections::HashMap;

/// So many statements one session keeps; the longest unused goes first. PgBouncer's default as well.
pub const PER_SERVER: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct ServerStatements {
    used: HashMap<u64, u64>,
    clock: u64,
}

impl ServerStatements {
    /// Whether the session has it; that counts as a use.
    pub fn touch(&mut self, id: u64) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.used.get_mut(&id).map(|used| *used = clock).is_some()
    }

    /// The session has it.
    pub fn insert(&mut self, id: u64) {
        self.clock += 1;
        self.used.insert(id, self.clock);
    }

    /// Which one is to go for the next, if one must; not one of those that are on their way already.
    pub fn to_evict(&self, leaving: impl Fn(u64) -> bool) -> Option<u64> {
        let candidates = || self.used.iter().filter(|(id, _)| !leaving(**id));
        let full = self.used.len() >= PER_SERVER && candidates().nth(PER_SERVER - 1).is_some();
        full.then(|| candidates().min_by_key(|(_, used)| **used).map(|(id, _)| *id)).flatten()
    }

    pub fn remove(&mut self, id: u64) {
        self.used.remove(&id);
    }

    pub fn clear(&mut self) {
        self.used.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_session_gives_up_the_statement_that_was_not_used_for_longest() {
        let mut server = ServerStatements::default();
        for id in 1..=PER_SERVER as u64 {
            assert_eq!(server.to_evict(|_| false), None);
            server.insert(id);
        }
        assert!(server.touch(1));
        assert_eq!(server.to_evict(|_| false), Some(2));
        // One that leaves already makes room.
        assert_eq!(server.to_evict(|id| id == 2), None);
    }
}
