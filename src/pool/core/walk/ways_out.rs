//! What leads out of every state: being left alone, healed, asked by an operator, drained.

use super::*;

impl World {
    /// Nothing happens any more but that time passes.
    pub(super) fn leave_alone(&mut self) {
        let until = self.now + s(16);
        while self.waiting() > 0 {
            assert!(self.now < until, "somebody waits for ever in {}", self.key());
            self.happen(PoolEvent::Timer);
        }
    }

    /// All is well from now on: a client that comes gets a session soon.
    pub(super) fn heal(&mut self) {
        if !matches!(self.core.phase, PoolPhase::Running | PoolPhase::Paused) {
            return;
        }
        self.happen(PoolEvent::Requested(PoolRequest::Resume));
        self.happen(PoolEvent::Target(live()));
        let client = ClientId(CLIENTS);
        self.happen(PoolEvent::Waits { client, since: self.now });
        for _ in 0..200 {
            if matches!(self.clients[&CLIENTS], Doing::Holding(_)) {
                return;
            }
            if self.clients[&CLIENTS] == Doing::Nothing {
                // Rejected by what is known from before: it comes again.
                self.happen(PoolEvent::Timer);
                self.happen(PoolEvent::Waits { client, since: self.now });
                continue;
            }
            let event = self.well().unwrap_or(PoolEvent::Timer);
            self.happen(event);
        }
        panic!("no way back from {}", self.key());
    }

    /// A pause takes nothing from a client, and ends with every session closed; so does a reconnect with every one that
    /// was there.
    pub(super) fn request(&mut self, request: PoolRequest) {
        if !matches!(self.core.phase, PoolPhase::Running | PoolPhase::Paused) {
            return;
        }
        let held = |world: &Self| world.sessions.values().filter(|kept| kept.with == With::Client).count();
        let before = (held(self), self.waiting());
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        self.happen(PoolEvent::Requested(request));
        // A reconnect may serve who waits.
        let after = (held(self), self.waiting());
        assert!(after.0 >= before.0 && after.0 + after.1 == before.0 + before.1, "{before:?} {after:?}");
        if request == PoolRequest::Pause {
            assert_eq!(self.core.paused(), Some(self.sessions.len()));
        }
        for _ in 0..50 {
            let left = sessions.iter().filter(|session| self.sessions.contains_key(session)).count();
            match request {
                PoolRequest::Pause if self.core.paused() == Some(0) => return,
                PoolRequest::Reconnect if left == 0 => return,
                _ => {}
            }
            let event = self.well().unwrap_or(PoolEvent::Timer);
            self.happen(event);
        }
        panic!("{request:?} has no end from {}", self.key());
    }

    /// Something that goes well now.
    fn well(&self) -> Option<PoolEvent> {
        let held = self.clients.values().find_map(|doing| match doing {
            Doing::Holding(session) => Some(*session),
            _ => None,
        });
        let back = |session| PoolEvent::Returned { session, heard: self.now, condition: Condition::Clean };
        held.map(back).or_else(|| {
            self.sessions.iter().find_map(|(id, kept)| {
                let session = *id;
                let generation = self.core.generation - u64::from(kept.outdated);
                match kept.with {
                    With::Opening => Some(PoolEvent::Opened { session, generation, due: None }),
                    With::Test => Some(PoolEvent::Tested { session, outcome: TestOutcome::Answered }),
                    With::Reset => Some(back(session)),
                    With::Close => Some(PoolEvent::Closed(session)),
                    With::PoolDriver | With::Client => None,
                }
            })
        })
    }

    pub(super) fn drain(&mut self) {
        self.happen(PoolEvent::Drain);
        assert_eq!(self.waiting(), 0, "who waits is told");
        for _ in 0..50 {
            if self.core.phase == PoolPhase::Ended {
                assert_eq!(self.sessions.len(), 0, "everything is closed");
                return;
            }
            let held = self.clients.values().any(|doing| *doing != Doing::Nothing);
            let event = match self.well() {
                Some(event) => event,
                None if !held => PoolEvent::ClientsGone,
                None => PoolEvent::Timer,
            };
            self.happen(event);
        }
        panic!("no end from {}", self.key());
    }
}
