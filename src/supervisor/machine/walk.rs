//! Walks the machine's reachable states: every event that the driver could deliver in each of them.
//!
//! A model of the driver's slots carries out the actions and rejects any that it could not. States are told apart by
//! an abstract key, small enough to be exhausted, fine enough to keep every decision apart.

mod model;

use std::collections::{HashMap, VecDeque};

use self::model::{Model, StateKey};
use super::*;
use crate::policy::breaker;
use crate::status::State;
use crate::target::{Refresh, Role};

/// Visits every state within reach, checks each, and finds a way back from each.
fn walk(tuning: Tuning, dice: f64) -> HashMap<StateKey, State> {
    walk_from(Model::new(tuning, dice))
}

fn walk_from(start: Model) -> HashMap<StateKey, State> {
    let mut seen = HashMap::from([(start.key(), start.status.state())]);
    let mut queue = VecDeque::from([start]);
    while let Some(model) = queue.pop_front() {
        if model.machine.mode != MachineMode::Stopping {
            model.clone().heal();
            model.clone().end();
        }
        for event in model.possible() {
            let mut next = model.clone();
            next.happen(event);
            let key = next.key();
            if !next.stopped && !seen.contains_key(&key) {
                seen.insert(key, next.status.state());
                queue.push_back(next);
            }
            assert!(seen.len() < 200_000, "the key is too fine to be exhausted");
        }
    }
    seen
}

fn small() -> Tuning {
    let seconds = Duration::from_secs;
    Tuning {
        role: Role::Primary,
        ping: crate::target::Ping { interval: seconds(10), timeout: seconds(2) },
        refresh: Refresh { every: Some(seconds(35)), jitter: 0.1, overlap: true },
        breaker: breaker::BreakerLimits { consecutive_failures: 2, ..Tuning::default().breaker },
        ..Tuning::default()
    }
}

fn visits_every_state(seen: &HashMap<StateKey, State>, expected: &[State]) {
    for state in expected {
        assert!(
            seen.values().any(|found| found == state),
            "{state:?} is never reached in {} states",
            seen.len()
        );
    }
}

const AWAKE: [State; 4] = [State::Starting, State::Up, State::Degraded, State::Down];

#[test]
fn every_state_under_keep_awake_is_sound_and_has_a_way_back() {
    for dice in [0.0, 0.5, 0.999] {
        visits_every_state(&walk(small(), dice), &AWAKE);
    }
}

#[test]
fn every_state_without_overlap_is_sound_and_has_a_way_back() {
    let tuning = small();
    let refresh = Refresh { overlap: false, ..tuning.refresh };
    visits_every_state(&walk(Tuning { refresh, ..tuning }, 0.5), &AWAKE);
}

#[test]
fn every_state_under_let_sleep_is_sound_and_has_a_way_back() {
    let seconds = |n| Some(Duration::from_secs(n));
    for close_idle_after in [None, seconds(40)] {
        let idle_policy = IdlePolicy::LetSleep;
        let tuning = Tuning { idle_policy, wake_every: seconds(50), close_idle_after, ..small() };
        visits_every_state(&walk(tuning, 0.5), &[State::Starting, State::Up, State::Sleeping, State::Down]);
    }
}

#[test]
fn every_state_of_a_target_whose_settings_change_is_sound_and_has_a_way_back() {
    let idle_policy = IdlePolicy::LetSleep;
    let close_idle_after = Some(Duration::from_secs(40));
    let other = Tuning { idle_policy, role: Role::Any, close_idle_after, ..small() };
    let mut start = Model::new(small(), 0.5);
    start.other = Some(Arc::new(other));
    visits_every_state(&walk_from(start), &State::ALL);
}
