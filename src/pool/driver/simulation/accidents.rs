//! Everything that goes wrong, or is changed by an operator.

use std::sync::Arc;
use std::time::Duration;

use super::fleet::{Stage, configured};
use super::hosts::Mood;
use super::{Happening, Simulation, ms, s};
use crate::pool::core::{CoreConfig, PoolPhase, PoolRequest};
use crate::supervisor::machine::Event;
use crate::target::pool::Pool;

impl Simulation {
    pub fn accident(&mut self) {
        if !self.is_troubled {
            return;
        }
        let next = ms(self.dice.u64(20..1_200));
        self.agenda.put(next, Happening::Accident);
        let host = self.dice.usize(0..self.hosts.len());
        let open = |pool: &usize| self.pools[*pool].stage == Stage::Open;
        let pools: Vec<_> = (0..self.pools.len()).filter(open).collect();
        let pool = pools[self.dice.usize(0..pools.len())];
        match self.dice.u32(0..20) {
            0 => self.outage(host, &[Mood::Refuses, Mood::Starting]),
            1 => self.outage(host, &[Mood::Hung]),
            2 => self.outage(host, &[Mood::BlackHole]),
            3 => {
                let mood = if self.dice.bool() { Mood::RejectsPassword } else { Mood::LacksDatabase };
                self.outage(host, &[mood]);
            }
            4 => (0..self.targets.len()).for_each(|target| self.tell(target, Event::SecretChanged)),
            5 => self.outage(host, &[Mood::Hung, Mood::Refuses]),
            6 | 7 => self.end_wires(host, |dice| dice.bool()),
            8 => self.hosts[host].slots = self.dice.usize(2..15),
            9 => {
                let limit = [None, Some(s(2)), Some(s(6))];
                self.hosts[host].idle_limit = limit[self.dice.usize(0..limit.len())];
                let wires = self.hosts[host].wires.clone();
                wires.iter().for_each(|wire| self.watch_quiet(wire));
            }
            10 | 11 => self.resize(pool),
            12 => self.retune(pool),
            13 => self.change_mode(pool),
            14 => self.targets[self.pools[pool].target].host = host,
            15 => self.move_pool(pool, host),
            16 => self.request(pool, PoolRequest::Pause),
            17 | 18 => pools.into_iter().for_each(|pool| self.request(pool, PoolRequest::Resume)),
            _ => self.request(pool, PoolRequest::Reconnect),
        }
    }

    /// These moods one after the other, and then it is up again.
    fn outage(&mut self, host: usize, moods: &[Mood]) {
        if self.hosts[host].mood != Mood::Up {
            return;
        }
        let mut wait = Duration::ZERO;
        for mood in moods {
            self.agenda.put(wait, Happening::HostIs(host, *mood));
            wait += ms(self.dice.u64(10..6_000));
        }
        self.agenda.put(wait, Happening::HostIs(host, Mood::Up));
    }

    fn reload(&mut self, pool: usize, config: Pool) {
        let found = &mut self.pools[pool];
        let size = config.size as usize;
        if found.slots.len() > size {
            self.tally.count("outgrown");
        }
        let tuning = Arc::clone(&found.configured.tuning);
        found.spec = CoreConfig { pool: Arc::new(config), tuning };
        found.driver.configure(found.spec.clone(), &found.configured);
        self.settle(pool);
    }

    fn resize(&mut self, pool: usize) {
        let found = &self.pools[pool];
        let (idle_policy, mode) = (found.spec.tuning.idle_policy, found.spec.pool.mode);
        let config = Pool { mode, ..self.pool_config(idle_policy) };
        self.reload(pool, config);
    }

    fn retune(&mut self, pool: usize) {
        let (target, tuning) = (self.pools[pool].target, Arc::new(self.tuning()));
        let found = &mut self.pools[pool];
        let changed =
            crate::target::Target { tuning: Arc::clone(&tuning), ..found.configured.as_ref().clone() };
        found.configured = Arc::new(changed);
        let config = found.spec.pool.as_ref().clone();
        self.reload(pool, config);
        self.tell(target, Event::Tuned(tuning));
    }

    /// Another pool in its place, while the clients of this one finish.
    fn change_mode(&mut self, pool: usize) {
        let (target, configured) = (self.pools[pool].target, Arc::clone(&self.pools[pool].configured));
        self.drain_pool(pool);
        self.add_pool(target, configured);
    }

    /// By the configuration: another target, as far as sessions are concerned.
    fn move_pool(&mut self, pool: usize, host: usize) {
        let target = self.pools[pool].target;
        self.targets[target].host = host;
        let version = self.dice.u64(1..);
        let tuning = Arc::clone(&self.pools[pool].configured.tuning);
        let found = &mut self.pools[pool];
        found.configured = configured(target, host, version, tuning);
        found.located = None;
        found.place += 1;
        self.tally.count("moved");
        let config = found.spec.pool.as_ref().clone();
        self.reload(pool, config);
        self.supervise_anew(target, host);
    }

    fn request(&mut self, pool: usize, request: PoolRequest) {
        let found = &mut self.pools[pool];
        let outdates = matches!(found.driver.phase(), PoolPhase::Running | PoolPhase::Paused);
        if request == PoolRequest::Reconnect && outdates {
            found.place += 1;
        }
        found.driver.request(request);
        self.settle(pool);
    }
}
