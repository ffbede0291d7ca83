//! Which statements a session has, as its answers have told, when each was last used, and what it takes and returns.

use std::collections::HashMap;

use super::Described;

/// So many statements one session keeps; the longest unused goes first. PgBouncer's default as well.
pub const PER_SERVER: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub struct ServerStatements {
    known: HashMap<u64, OnServer>,
    clock: u64,
}

#[derive(Debug)]
struct OnServer {
    used: u64,
    under: Under,
    /// Where the session was asked since it has the statement.
    described: Option<Described>,
}

/// Under which settings a session has got a statement: by default under those that its client is known to have, by which
/// statements are told apart. Others, which it may have set in a transaction, nobody else knows: each such period has a
/// number, and each step of it may meet others again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Under(u64);

/// So many bits tell steps apart.
const STEP: u32 = 20;

impl Under {
    /// A period with that number, which is not 0.
    pub fn unknown(period: u64) -> Self {
        Under(period << STEP)
    }

    fn period(self) -> u64 {
        self.0 >> STEP
    }

    pub fn next_step(self) -> Self {
        match self.period() {
            0 => self,
            period => Under(period << STEP | (self.0 + 1) & ((1 << STEP) - 1)),
        }
    }

    /// Whether a client can use what was sent so: what it has prepared before it has changed its settings, a server fits
    /// to them.
    pub fn serves(self, now: Under) -> bool {
        self.period() == 0 || self.period() == now.period()
    }
}

impl ServerStatements {
    /// Where the session has it, what it has told of it, and under which settings it has got it; that counts as a use.
    pub fn touch(&mut self, id: u64) -> Option<(Option<Described>, Under)> {
        self.clock += 1;
        let known = self.known.get_mut(&id)?;
        known.used = self.clock;
        Some((known.described, known.under))
    }

    /// The session has it.
    pub fn insert(&mut self, id: u64, under: Under) {
        self.clock += 1;
        self.known.insert(id, OnServer { used: self.clock, under, described: None });
    }

    /// The session has told what the statement takes and returns.
    pub fn describe(&mut self, id: u64, described: Described) {
        if let Some(known) = self.known.get_mut(&id) {
            known.described = Some(described);
        }
    }

    /// It is prepared anew: what was told of it does not count any more.
    pub fn forget_description(&mut self, id: u64) {
        if let Some(known) = self.known.get_mut(&id) {
            known.described = None;
        }
    }

    /// What it has told of it; `None` where it was not asked.
    pub fn described(&self, id: u64) -> Option<Described> {
        self.known.get(&id)?.described
    }

    /// Which one is to go for the next, if one must; not one of those that are on their way already.
    pub fn to_evict(&self, leaving: impl Fn(u64) -> bool) -> Option<u64> {
        let candidates = || self.known.iter().filter(|(id, _)| !leaving(**id));
        let full = self.known.len() >= PER_SERVER && candidates().nth(PER_SERVER - 1).is_some();
        full.then(|| candidates().min_by_key(|(_, known)| known.used).map(|(id, _)| *id)).flatten()
    }

    pub fn remove(&mut self, id: u64) {
        self.known.remove(&id);
    }

    pub fn clear(&mut self) {
        self.known.clear();
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
            server.insert(id, Under::default());
        }
        assert!(server.touch(1).is_some());
        assert_eq!(server.to_evict(|_| false), Some(2));
        // One that leaves already makes room.
        assert_eq!(server.to_evict(|id| id == 2), None);
    }

    #[test]
    fn what_was_told_of_a_statement_goes_with_it() {
        let (mut server, described) = (ServerStatements::default(), Described::new(b"\0\0", None));
        server.describe(1, described);
        assert_eq!(server.described(1), None, "it has none");
        server.insert(1, Under::default());
        assert_eq!(server.described(1), None);
        server.describe(1, described);
        let touched = Some((Some(described), Under::default()));
        assert_eq!((server.described(1), server.touch(1)), (Some(described), touched));
        server.insert(1, Under::default());
        assert_eq!(server.described(1), None, "it was prepared anew");
        server.describe(1, described);
        server.forget_description(1);
        assert_eq!((server.described(1), server.touch(1)), (None, Some((None, Under::default()))));
    }

    #[test]
    fn what_was_sent_under_settings_that_nobody_knows_serves_as_long_as_they_may_last() {
        let known = Under::default();
        let (one, other) = (Under::unknown(1), Under::unknown(2));
        let next = one.next_step();
        assert_ne!(one, next);
        for (sent, now, serves) in [
            (known, known, true),
            (known.next_step(), known, true),
            (known, one, true),
            (one, next, true),
            (one, other, false),
            (one, known, false),
        ] {
            assert_eq!(sent.serves(now), serves, "{sent:?} {now:?}");
        }
        let last = (0..1 << STEP).fold(one, |under, _| under.next_step());
        assert!(last.serves(one) && !last.serves(other));
    }
}
