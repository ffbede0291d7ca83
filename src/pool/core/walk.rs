//! Walks the core's reachable states with two sessions and three clients: everything that the driver could report in
//! each of them.
//!
//! A model of the driver carries out the actions and rejects any that breaks a promise; from each state the pool is left
//! alone, healed and drained.

mod ways_out;

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::tests::{live, lost, ms, s, spec};
use super::*;

const CLIENTS: i32 = 3;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Waiting(Instant),
    Holding(SessionId),
}

/// Who has a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum With {
    Opening,
    PoolDriver,
    Test,
    Client,
    Reset,
    Close,
}

#[derive(Debug, Clone)]
struct Kept {
    with: With,
    /// Opened where sessions led before.
    outdated: bool,
    heard: Instant,
}

/// What happens in a walk, so that it can be exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    /// The target comes and goes, sessions lead elsewhere, openings fail in every way.
    Outages,
    /// Sessions grow old, the size changes, an operator pauses and reconnects.
    Changes,
}

#[derive(Debug, Clone)]
struct World {
    theme: Theme,
    core: Core,
    now: Instant,
    size: usize,
    clients: BTreeMap<i32, Doing>,
    sessions: BTreeMap<SessionId, Kept>,
    lost_at: Option<Instant>,
}

impl World {
    fn new(theme: Theme) -> Self {
        let now = Instant::now() + s(1_000);
        let clients = (0..CLIENTS).map(|number| (number, Doing::Nothing)).collect();
        let core = Core::new(spec(|_, _| {}));
        World { theme, core, now, size: 2, clients, sessions: BTreeMap::new(), lost_at: None }
    }

    /// Everything that can be reported now.
    fn possible(&self) -> Vec<PoolEvent> {
        let mut events = vec![PoolEvent::Timer, PoolEvent::Drain];
        match self.theme {
            Theme::Outages => {
                events.push(PoolEvent::Moved);
                events.extend(self.healths().map(PoolEvent::Target));
            }
            Theme::Changes => {
                events.push(PoolEvent::Target(live()));
                events.extend(
                    [PoolRequest::Pause, PoolRequest::Resume, PoolRequest::Reconnect]
                        .map(PoolEvent::Requested),
                );
                events.extend([1, 2].map(|size| PoolEvent::Configured(spec(|pool, _| pool.size = size))));
            }
        }
        for (number, doing) in &self.clients {
            let client = ClientId(*number);
            match *doing {
                Doing::Nothing => events.push(PoolEvent::Waits { client, since: self.now }),
                Doing::Waiting(_) => events.push(PoolEvent::Leaves(client)),
                Doing::Holding(session) => {
                    let back = |condition| PoolEvent::Returned { session, heard: self.now, condition };
                    events.extend([Condition::Clean, Condition::NeedsReset, Condition::Broken].map(back));
                    events.push(PoolEvent::Closed(session));
                }
            }
        }
        for (session, kept) in &self.sessions {
            events.extend(self.of_session(*session, kept));
        }
        if self.clients.values().all(|doing| *doing == Doing::Nothing)
            && self.core.phase == PoolPhase::Draining
        {
            events.push(PoolEvent::ClientsGone);
        }
        events
    }

    fn healths(&self) -> [Health; 6] {
        let missing = lost(Availability::Permanent(self.now + s(30)), Reason::DatabaseMissing);
        [
            live(),
            lost(Availability::Trying, Reason::Reset),
            lost(Availability::NotBefore(self.now + s(1)), Reason::Refused),
            lost(Availability::NotBefore(self.now + s(60)), Reason::Refused),
            Health { failed_at: Some(self.now), ..missing },
            Health { availability: Availability::Asleep, ..Health::UNKNOWN },
        ]
    }

    fn of_session(&self, session: SessionId, kept: &Kept) -> Vec<PoolEvent> {
        let generation = self.core.generation - u64::from(kept.outdated);
        match kept.with {
            With::Opening => {
                let fails = |(reason, class)| {
                    let diagnosis = Diagnosis { reason, class, at_least: Duration::ZERO };
                    PoolEvent::Failed { session, generation, diagnosis }
                };
                let failures = [
                    (Reason::Reset, Class::Transient),
                    (Reason::Auth, Class::Permanent),
                    (Reason::DatabaseMissing, Class::Permanent),
                ];
                let changes = self.theme == Theme::Changes;
                let mut events: Vec<_> =
                    failures.into_iter().take(if changes { 1 } else { 3 }).map(fails).collect();
                let due = changes.then(|| self.now + s(2));
                events.push(PoolEvent::Opened { session, generation, due });
                events.push(PoolEvent::Closed(session));
                events
            }
            With::PoolDriver => vec![PoolEvent::Ended(session)],
            With::Test => [TestOutcome::Answered, TestOutcome::Ended, TestOutcome::Silent]
                .map(|outcome| PoolEvent::Tested { session, outcome })
                .into_iter()
                .chain([PoolEvent::Ended(session)])
                .collect(),
            With::Reset => [Condition::Clean, Condition::Broken]
                .map(|condition| PoolEvent::Returned { session, heard: self.now, condition })
                .into(),
            With::Close => vec![PoolEvent::Closed(session)],
            With::Client => vec![PoolEvent::Ended(session)],
        }
    }

    fn happen(&mut self, event: PoolEvent) {
        match &event {
            PoolEvent::Timer => self.now = self.core.due(self.now).max(self.now + ms(1)),
            _ => self.now += ms(10),
        }
        let event = self.prepare(event);
        self.core.on(event, self.now, 0.5);
        while let Some(action) = self.core.next_action() {
            self.act(action);
        }
        self.check();
    }

    /// What the driver knows of the event, and its right time.
    fn prepare(&mut self, mut event: PoolEvent) -> PoolEvent {
        let now = self.now;
        match &mut event {
            PoolEvent::Waits { client, since } => {
                *since = now;
                self.clients.insert(client.0, Doing::Waiting(now));
            }
            PoolEvent::Leaves(client) => _ = self.clients.insert(client.0, Doing::Nothing),
            PoolEvent::Returned { session, heard, .. } => {
                *heard = now;
                self.let_go(*session);
                self.keep(*session, With::PoolDriver);
            }
            PoolEvent::Opened { session, .. } => self.keep(*session, With::PoolDriver),
            PoolEvent::Tested { session, outcome } => {
                let heard = self.sessions[session].heard;
                self.keep(*session, With::PoolDriver);
                if *outcome != TestOutcome::Answered {
                    self.sessions.get_mut(session).expect("it is there").heard = heard;
                }
            }
            PoolEvent::Failed { session, .. } => _ = self.sessions.remove(session),
            PoolEvent::Closed(session) => {
                self.let_go(*session);
                self.sessions.remove(session);
            }
            PoolEvent::Moved | PoolEvent::Requested(PoolRequest::Reconnect) => self.outdate(),
            PoolEvent::Target(health) => {
                let was_live = self.core.health.availability == Availability::Live;
                if was_live && health.availability != Availability::Live {
                    self.lost_at = Some(now);
                }
            }
            PoolEvent::Configured(spec) => self.size = spec.pool.size as usize,
            _ => {}
        }
        event
    }

    fn outdate(&mut self) {
        // A pool that ends does not reconnect; whatever is closed anyway may count as outdated.
        self.sessions.values_mut().for_each(|kept| kept.outdated = true);
    }

    fn let_go(&mut self, session: SessionId) {
        for doing in self.clients.values_mut().filter(|doing| **doing == Doing::Holding(session)) {
            *doing = Doing::Nothing;
        }
    }

    fn keep(&mut self, session: SessionId, with: With) {
        let kept = self.sessions.get_mut(&session).expect("the session is known");
        (kept.with, kept.heard) = (with, self.now);
    }

    /// From the driver's hands into others'.
    fn hand_on(&mut self, session: SessionId, with: With) {
        let kept = self.sessions.get_mut(&session).expect("the session is known");
        assert_eq!(kept.with, With::PoolDriver, "only what the driver has can be handed on");
        kept.with = with;
    }

    fn act(&mut self, action: PoolAction) {
        match action {
            PoolAction::HandOver { client, session } => {
                assert_eq!(
                    self.core.phase,
                    PoolPhase::Running,
                    "a paused pool, or one that ends, serves nobody"
                );
                let waiting = |doing: &Doing| match doing {
                    Doing::Waiting(since) => Some(*since),
                    _ => None,
                };
                let mine = waiting(&self.clients[&client.0]).expect("only who waits is served");
                let first = self.clients.values().filter_map(waiting).min();
                assert_eq!(first, Some(mine), "nobody overtakes");
                let kept = &self.sessions[&session];
                assert!(!kept.outdated, "nobody is given a session of another place");
                assert!(
                    self.lost_at.is_none_or(|lost| kept.heard > lost),
                    "nobody is given a session from before a loss that was not tested"
                );
                self.hand_on(session, With::Client);
                self.clients.insert(client.0, Doing::Holding(session));
            }
            PoolAction::Reject { client, .. } => {
                let before = self.clients.insert(client.0, Doing::Nothing);
                assert!(matches!(before, Some(Doing::Waiting(_))), "only who waits is rejected");
            }
            PoolAction::Open { session, .. } => {
                assert!(self.sessions.len() < self.size, "no more than size are opened");
                assert_eq!(self.core.phase, PoolPhase::Running, "nobody needs it");
                let kept = Kept { with: With::Opening, outdated: false, heard: self.now };
                assert!(self.sessions.insert(session, kept).is_none(), "no session twice");
            }
            PoolAction::Test(session) => self.hand_on(session, With::Test),
            PoolAction::Reset(session) => self.hand_on(session, With::Reset),
            PoolAction::Close(session) => self.hand_on(session, With::Close),
            PoolAction::CutSilent(_) | PoolAction::Wake => {}
        }
    }

    /// What holds in every state.
    fn check(&self) {
        let waiting = self.clients.values().filter(|doing| matches!(doing, Doing::Waiting(_))).count();
        assert_eq!(waiting, self.core.queue.len(), "the queue is who waits");
        assert_eq!(self.sessions.len(), self.core.sessions.len(), "every session is known");
        let with = |with: &[With]| self.sessions.values().filter(|kept| with.contains(&kept.with)).count();
        let between = with(&[With::Test, With::Reset, With::Close]);
        let counts = [with(&[With::Opening]), with(&[With::PoolDriver]), between, with(&[With::Client])];
        assert_eq!(self.core.counts(), counts, "the counts are those of the driver");
        let idle: HashSet<_> = self.core.idle().iter().collect();
        assert_eq!(idle.len(), with(&[With::PoolDriver]), "what the driver has is idle");
        assert!(self.core.due(self.now) > self.now, "the driver would spin");
        let served =
            self.core.phase != PoolPhase::Running || waiting <= with(&[With::Test]) || idle.is_empty();
        assert!(served, "a client waits beside an idle session");
    }

    /// Fine enough to keep decisions apart. Clients are told apart by their order alone.
    fn key(&self) -> String {
        let core = &self.core;
        let mut sessions: Vec<_> = core
            .sessions
            .iter()
            .map(|(id, session)| {
                let kept = &self.sessions[&id];
                let suspect = self.lost_at.is_some_and(|lost| kept.heard <= lost);
                let due = (session.due == Renewal::WhenFree, session.is_old(self.now));
                let replaces = matches!(session.state, SessionState::Opening { replaces: true });
                (kept.with, kept.outdated, suspect, due, replaces)
            })
            .collect();
        sessions.sort_unstable();
        let failure = core.openings.failure().map(|failure| failure.reason.as_str());
        let waits = core.openings.next(false).is_some_and(|next| next > self.now);
        let health = match core.health.availability {
            Availability::NotBefore(at) => format!("not before {}", at > self.now + s(15)),
            Availability::Permanent(_) => "permanent".into(),
            other => format!("{other:?}"),
        };
        let phase = match core.phase {
            PoolPhase::Closing(_) => "closing".into(),
            other => format!("{other:?}"),
        };
        let width = core.openings.width().min(2);
        format!("{phase}|{health}|{failure:?} {waits} {width}|{sessions:?}|{}|{}", self.waiting(), self.size)
    }

    fn waiting(&self) -> usize {
        self.core.queue.len()
    }
}

/// Visits every state within reach.
fn walk(theme: Theme) -> usize {
    let start = World::new(theme);
    let mut seen = HashSet::from([start.key()]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        if world.core.phase != PoolPhase::Ended {
            world.clone().leave_alone();
            world.clone().heal();
            world.clone().drain();
            world.clone().request(PoolRequest::Pause);
            world.clone().request(PoolRequest::Reconnect);
        }
        for event in world.possible() {
            let mut next = world.clone();
            next.happen(event);
            if next.core.phase != PoolPhase::Ended && seen.insert(next.key()) {
                queue.push_back(next);
            }
            assert!(seen.len() < 400_000, "the key is too fine to be exhausted");
        }
    }
    seen.len()
}

#[test]
fn every_state_of_outages_keeps_the_promises_and_has_a_way_back_and_an_end() {
    let states = walk(Theme::Outages);
    assert!(states > 1_000, "{states}");
}

#[test]
fn every_state_of_changes_keeps_the_promises_and_has_a_way_back_and_an_end() {
    let states = walk(Theme::Changes);
    assert!(states > 1_000, "{states}");
}
