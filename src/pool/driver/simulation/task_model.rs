//! What the pool's task does: begins work, reports what came of it, watches the target and the time.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::dials::Opens;
use super::fleet::{SlotUse, Stage, endpoint};
use super::{Happening, SimSession, Simulation, ms, s};
use crate::policy::guard::Lane;
use crate::pool::core::{Availability, Health, PoolEvent, PoolPhase, TestOutcome};
use crate::pool::driver::Work;
use crate::pool::session_slot::SessionSlot;
use crate::reason::{Facts, table};
use crate::supervisor::machine::Event;
use crate::target::{IdlePolicy, Target};

/// What the pool asks of a session that no client has.
pub enum Question {
    Test { session: Box<SimSession>, until: Instant },
    Reset { session: Box<SimSession>, until: Instant },
    Close(Box<SimSession>),
}

impl Simulation {
    pub fn wake_task(&mut self, pool: usize, wait: Duration) {
        let at = self.agenda.now() + wait;
        let found = &mut self.pools[pool];
        if found.stage != Stage::Ended && found.task_at.is_none_or(|known| at < known) {
            found.task_at = Some(at);
            self.agenda.put_at(at, Happening::Task(pool));
        }
    }

    pub fn run_task(&mut self, pool: usize) {
        let now = self.agenda.now();
        if self.pools[pool].task_at != Some(now) {
            return;
        }
        self.pools[pool].task_at = None;
        self.look_at_target(pool);
        loop {
            for work in std::mem::take(&mut self.pools[pool].queue) {
                self.begin(pool, work);
            }
            while let Ok(session) = self.pools[pool].closings.try_recv() {
                let found = &mut self.pools[pool];
                if let Some(used) = found.slots.remove(&session) {
                    let opened = used != SlotUse::Opening;
                    found.books.closed += u64::from(opened);
                    found.books.crashed += u64::from(!opened);
                    if !opened {
                        self.tally.count("crashed");
                    }
                }
                let found = &mut self.pools[pool];
                found.driver.tell(PoolEvent::Closed(session));
                self.settle(pool);
            }
            let found = &mut self.pools[pool];
            let waker = Waker::from(Arc::clone(&found.woken));
            found.woken.take();
            if found.driver.poll_ended(&mut Context::from_waker(&waker)).is_ready() {
                self.settle(pool);
                continue;
            }
            let is_timer = now >= self.pools[pool].due;
            if is_timer {
                self.pools[pool].driver.tell(PoolEvent::Timer);
                self.settle(pool);
            }
            if self.pools[pool].driver.phase() == PoolPhase::Ended {
                return self.task_ends(pool);
            }
            let found = &mut self.pools[pool];
            found.due = found.driver.sleeps();
            // It may be the time of a client that is gone: once.
            assert!(found.due > now || !is_timer, "the task would spin");
            let earlier = found.driver.is_earlier().now_or_never().is_some();
            if found.due > now && !earlier && found.queue.is_empty() && found.closings.is_empty() {
                let wait = found.due - now;
                return self.wake_task(pool, wait);
            }
        }
    }

    fn task_ends(&mut self, pool: usize) {
        let found = &mut self.pools[pool];
        if let Stage::Gone(at) = found.stage {
            assert!(self.agenda.now() <= at + ms(1_600), "the end takes too long");
        }
        found.stage = Stage::Ended;
        found.queue.clear();
        found.driver.clear();
    }

    fn look_at_target(&mut self, pool: usize) {
        let found = &mut self.pools[pool];
        let health = Health::of(&self.targets[found.target].status);
        if found.told == Some(health) {
            return;
        }
        let is_live = |health: Health| health.availability == Availability::Live;
        if found.told.is_some_and(is_live) && !is_live(health) {
            found.lost_at = Some(self.agenda.now());
        }
        found.told = Some(health);
        found.driver.tell(PoolEvent::Target(health));
        self.settle(pool);
    }

    fn begin(&mut self, pool: usize, work: Work<SimSession>) {
        let (now, trip) = (self.agenda.now(), self.trip());
        let found = &self.pools[pool];
        let until = now + found.spec.tuning.ping.timeout;
        let question = match work {
            Work::Open { slot, urgent } => {
                let configured = Arc::clone(&found.configured);
                let wait = self.latency();
                return self.agenda.put(wait, Happening::Prepared { pool, slot, urgent, configured });
            }
            Work::Test(session) => {
                if self.is_troubled && self.dice.u8(0..10) == 0 {
                    session.wire.end(self.agenda.now());
                }
                Question::Test { session, until }
            }
            Work::Reset { server, .. } => Question::Reset { session: server, until: now + s(10) },
            Work::Close { server, .. } => Question::Close(server),
            Work::Wake => {
                self.tally.count("woken");
                return self.tell(self.pools[pool].target, Event::Wanted);
            }
            Work::CutSilent(limit) => return self.cut_silent(pool, limit),
            Work::Cancel { .. } => unreachable!("nobody asks for it here"),
        };
        self.agenda.put(trip, Happening::Answer { pool, question });
    }

    /// The files are read: the dial begins.
    pub fn prepared(&mut self, pool: usize, slot: SessionSlot, urgent: bool, configured: &Arc<Target>) {
        let found = &mut self.pools[pool];
        if found.stage == Stage::Ended || self.dice.u32(0..200) == 0 {
            // The task has crashed, or was aborted.
            return drop(slot);
        }
        let host = self.targets[found.target].host;
        let current = found.configured.is_same_location(configured);
        if current && found.located.as_ref().is_some_and(|before| !before.is_same_location(&endpoint(host))) {
            found.place += 1;
            self.tally.count("moved");
        }
        if current {
            found.located = Some(endpoint(host));
        }
        let generation = found.driver.locate(configured, &endpoint(host));
        let place = if current { found.place } else { 0 };
        let lane = if urgent { Lane::Reconnect } else { Lane::Refresh };
        let budget = found.spec.tuning.connect_timeout;
        self.settle(pool);
        self.log_in(host, Opens::Session { pool, slot, generation, place }, lane, budget);
    }

    pub fn session_opened(&mut self, pool: usize, session: Box<SimSession>, generation: u64) {
        self.tally.count("opened");
        let (now, jitter) = (self.agenda.now(), self.dice.f64());
        let found = &mut self.pools[pool];
        if found.stage == Stage::Ended {
            return;
        }
        if session.place != found.place {
            self.tally.count("opened elsewhere");
        }
        let refresh = found.spec.tuning.refresh;
        let every = refresh.every.filter(|_| found.spec.tuning.idle_policy == IdlePolicy::KeepAwake);
        let due = every.map(|every| now + every.mul_f64(1.0 - refresh.jitter * jitter));
        found.books.opened += 1;
        found.slots.insert(session.slot.id(), SlotUse::Driver);
        found.driver.opened(session, generation, due);
        self.settle(pool);
        // It is the task that reports it, and then looks at all that is idle.
        self.wake_task(pool, Duration::ZERO);
    }

    pub fn session_failed(&mut self, pool: usize, slot: SessionSlot, generation: u64, facts: &Facts) {
        self.tally.count("failed");
        let found = &mut self.pools[pool];
        if found.stage == Stage::Ended {
            return;
        }
        found.books.failed += 1;
        found.slots.remove(&slot.id());
        found.driver.failed(slot.id(), generation, table::diagnose(facts));
        drop(slot);
        self.settle(pool);
    }

    pub fn answer(&mut self, pool: usize, question: Question) {
        if self.pools[pool].stage == Stage::Ended {
            return;
        }
        match question {
            Question::Test { session, until } => self.test_answered(pool, session, until),
            Question::Reset { session, until } => self.reset_answered(pool, session, until),
            Question::Close(session) => drop(session),
        }
        self.settle(pool);
    }

    fn test_answered(&mut self, pool: usize, mut session: Box<SimSession>, until: Instant) {
        let now = self.agenda.now();
        let outcome = match session.wire.ended() {
            Some(_) => TestOutcome::Ended,
            None if self.hosts[session.wire.host].mood.answers() => TestOutcome::Answered,
            None if now < until => {
                let at = (now + ms(50)).min(until);
                let question = Question::Test { session, until };
                return self.agenda.put_at(at, Happening::Answer { pool, question });
            }
            None => TestOutcome::Silent,
        };
        if outcome == TestOutcome::Answered {
            session.heard = now;
            session.wire.is_used(now);
        }
        self.tally.count(match outcome {
            TestOutcome::Answered => "tested: Answered",
            TestOutcome::Ended => "tested: Ended",
            TestOutcome::Silent => "tested: Silent",
        });
        let found = &mut self.pools[pool];
        found.slots.insert(session.slot.id(), SlotUse::Driver);
        found.driver.tested(session, outcome);
        self.wake_task(pool, Duration::ZERO);
    }

    fn reset_answered(&mut self, pool: usize, mut session: Box<SimSession>, until: Instant) {
        let now = self.agenda.now();
        if session.wire.ended().is_some() || now >= until || self.dice.u32(0..20) == 0 {
            return;
        }
        if !self.hosts[session.wire.host].mood.answers() || session.backend.cancels() > 0 {
            let at = (now + ms(20)).min(until);
            let question = Question::Reset { session, until };
            return self.agenda.put_at(at, Happening::Answer { pool, question });
        }
        self.tally.count("reset");
        (session.is_dirty, session.heard) = (false, now);
        session.wire.is_used(now);
        let found = &mut self.pools[pool];
        found.slots.insert(session.slot.id(), SlotUse::Driver);
        found.driver.give_back(session);
    }
}
