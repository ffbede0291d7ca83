use proptest::prelude::*;

use super::*;
use crate::status::sample;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A memory, and the time.
struct World {
    memory: Memory,
    now: Moment,
}

fn seen(state: State, reason: Option<Reason>, since: Moment) -> Observation<'static> {
    let detail = reason.map(|_| "what was seen");
    Observation { state, reason, detail, since, gap: None, stalled_at: None }
}

fn observe(
    memory: &mut Memory,
    name: &TargetName,
    seen: &Observation<'_>,
    now: Moment,
    cost: Option<PoolCost>,
) -> Vec<Arc<StateChange>> {
    memory.observe(name, seen, now, cost).into_iter().map(|(_, change)| change).collect()
}

fn name(name: &str) -> TargetName {
    TargetName::new(name).unwrap()
}

impl World {
    fn new() -> Self {
        World { memory: Memory::default(), now: Moment::now() }
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn sees(&mut self, target: &str, state: State, reason: Option<Reason>) -> Vec<Arc<StateChange>> {
        observe(&mut self.memory, &name(target), &seen(state, reason, self.now), self.now, None)
    }

    fn changes(&self) -> Vec<(String, State, State)> {
        let all = self.memory.changes(|_, _| true, self.now);
        all.into_iter().map(|(name, change)| (name.to_string(), change.from, change.to)).collect()
    }

    /// Seconds that were up, down and unknown in the last hour.
    fn hour(&self, target: &str) -> [u32; 3] {
        let [hour, ..] = self.memory.uptime(target, self.now, self.now.mono);
        [hour.up, hour.down, hour.unknown].map(|millis| millis / 1_000)
    }
}

#[test]
fn a_change_says_how_long_the_state_before_lasted_why_and_what_it_cost() {
    let mut world = World::new();
    let db = name("db");
    let cost = |waited| Some(PoolCost { waited, refused: 2 * waited, disconnected: 1 });
    let first = seen(State::Starting, None, world.now);
    assert_eq!(observe(&mut world.memory, &db, &first, world.now, cost(0)), []);
    world.passes(Duration::from_millis(1_500));
    let down =
        Observation { detail: Some("no server"), ..seen(State::Down, Some(Reason::Refused), world.now) };
    let down_at = world.now;
    let told = observe(&mut world.memory, &db, &down, world.now, cost(1));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].from, told[0].to, told[0].at), (State::Starting, State::Down, world.now.wall));
    assert_eq!((told[0].reason, told[0].detail.as_deref()), (Some(Reason::Refused), Some("no server")));
    assert_eq!(told[0].lasted, Duration::from_millis(1_500));
    assert_eq!(told[0].counted, UptimeSpan { unknown: 1_500, ..UptimeSpan::default() });
    world.passes(MINUTE);
    let other = seen(State::Down, Some(Reason::StartingUp), down_at);
    assert_eq!(observe(&mut world.memory, &db, &other, world.now, cost(3)), [], "the state is the same");
    world.passes(MINUTE);
    let told = observe(&mut world.memory, &db, &seen(State::Up, None, world.now), world.now, cost(11));
    assert_eq!((told[0].reason, told[0].detail.as_deref()), (None, None));
    assert_eq!(told[0].lasted, 2 * MINUTE);
    let reasons: Vec<_> = told[0].reasons.iter().collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.contains(&Reason::Refused) && reasons.contains(&Reason::StartingUp));
    assert_eq!(told[0].cost, Some(PoolCost { waited: 10, refused: 20, disconnected: 0 }));
    let expected = [("db", State::Down, State::Up), ("db", State::Starting, State::Down)];
    assert_eq!(world.changes(), expected.map(|(name, from, to)| (name.to_owned(), from, to)));
}

#[test]
fn gaps_that_are_planned_are_neither_changes_nor_downtime_and_an_outage_that_begins_as_one_is_whole() {
    let mut world = World::new();
    world.sees("db", State::Up, None);
    for ends_well in [true, false] {
        world.passes(MINUTE);
        let since = world.now;
        let gap = seen(State::Down, Some(Reason::Closed), since);
        let gap = Observation { gap: Some(Gap::Planned), ..gap };
        assert_eq!(observe(&mut world.memory, &name("db"), &gap, since, None), []);
        world.passes(MINUTE);
        if ends_well {
            assert_eq!(world.sees("db", State::Up, None), []);
            assert_eq!(world.hour("db"), [120, 0, 3_480]);
        } else {
            let down = seen(State::Down, Some(Reason::Refused), since);
            let told = observe(&mut world.memory, &name("db"), &down, world.now, None);
            assert_eq!((told[0].to, told[0].at, told[0].lasted), (State::Down, since.wall, 3 * MINUTE));
            assert_eq!(world.hour("db"), [180, 60, 3_360]);
        }
    }
}

#[test]
fn a_target_that_flaps_is_one_state_and_yet_its_gaps_are_down() {
    let mut world = World::new();
    world.sees("db", State::Degraded, Some(Reason::Flapping));
    for _ in 0..10 {
        world.passes(MINUTE);
        let gap =
            Observation { gap: Some(Gap::Flapping), ..seen(State::Down, Some(Reason::Reset), world.now) };
        assert_eq!(observe(&mut world.memory, &name("db"), &gap, world.now, None), []);
        world.passes(MINUTE / 2);
        assert_eq!(world.sees("db", State::Degraded, Some(Reason::Flapping)), []);
    }
    assert_eq!(world.hour("db"), [600, 300, 2_700]);
    let told = world.sees("db", State::Up, None);
    assert_eq!((told[0].from, told[0].lasted), (State::Degraded, 15 * MINUTE));
    assert_eq!(told[0].counted, UptimeSpan { up: 600_000, down: 300_000, unknown: 0 });
}

#[test]
fn while_a_task_does_not_run_nobody_knows_anything() {
    let mut world = World::new();
    let mut status = sample::up("db", world.now);
    status.since = world.now;
    let was_due = world.now.after(MINUTE).mono;
    let step = |world: &mut World, status: &TargetStatus, was_due| {
        let observation = Observation::of(status, was_due, world.now);
        observe(&mut world.memory, &status.name, &observation, world.now, None)
    };
    let first_due = world.now.mono;
    step(&mut world, &status, first_due);
    world.passes(MINUTE + View::GRACE);
    assert_eq!(step(&mut world, &status, was_due), [], "that is in time");
    world.passes(10 * MINUTE);
    let [hour, ..] = world.memory.uptime("db", world.now, was_due);
    assert_eq!((hour.up / 1_000, hour.down, hour.unknown / 1_000), (65, 0, 3_535), "seen from outside");
    let told = step(&mut world, &status, was_due);
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].to, told[0].reason), (State::Down, Some(Reason::Stalled)));
    assert_eq!(told[0].lasted, MINUTE + View::GRACE);
    assert_eq!((told[1].to, told[1].lasted), (State::Up, 10 * MINUTE));
    assert_eq!(told[1].counted, UptimeSpan { unknown: 600_000, ..UptimeSpan::default() });
    world.passes(MINUTE);
    assert_eq!(world.hour("db"), [125, 0, 3_475]);
}

#[test]
fn a_wall_clock_that_is_set_makes_no_time_and_takes_none() {
    let mut world = World::new();
    world.sees("db", State::Up, None);
    for (hours, later) in [(30 * 24, true), (400 * 24, false), (5, true)] {
        world.passes(MINUTE);
        let jump = hours * HOUR;
        world.now.wall = if later { world.now.wall + jump } else { world.now.wall - jump };
        assert_eq!(world.sees("db", State::Down, Some(Reason::Refused))[0].lasted, MINUTE);
        world.passes(MINUTE);
        assert_eq!(world.sees("db", State::Up, None)[0].lasted, MINUTE);
    }
    assert_eq!(world.hour("db"), [180, 180, 3_240]);
}

#[test]
fn who_is_removed_is_remembered_for_a_day_and_who_comes_back_meanwhile_goes_on() {
    let mut world = World::new();
    world.sees("gone", State::Up, None);
    world.sees("back", State::Up, None);
    world.passes(MINUTE);
    world.sees("gone", State::Down, Some(Reason::Refused));
    world.sees("back", State::Down, Some(Reason::Refused));
    world.passes(MINUTE);
    let ended = world.memory.keep(|_| false, world.now);
    assert_eq!(ended.len(), 2);
    assert_eq!(world.memory.keep(|_| false, world.now), [], "once");
    world.passes(2 * MINUTE);
    assert_eq!(world.sees("back", State::Up, None), [], "it is not known what was meanwhile");
    world.passes(MINUTE);
    assert_eq!(world.hour("back"), [120, 60, 3_420]);
    assert_eq!(world.hour("gone"), [60, 60, 3_480]);
    assert!(world.memory.knows("gone", world.now) && world.changes().len() == 2);
    world.passes(AFTER_REMOVAL);
    assert!(!world.memory.knows("gone", world.now) && world.memory.knows("back", world.now));
    assert_eq!(world.changes().len(), 1);
    world.memory.keep(|_| true, world.now);
    assert_eq!((world.memory.targets.len(), world.memory.total), (1, 1));
}

#[test]
fn of_many_that_are_removed_the_oldest_are_forgotten_first() {
    let mut world = World::new();
    for number in 0..REMOVED + 3 {
        world.sees(&format!("t{number}"), State::Up, None);
    }
    for number in 0..REMOVED + 3 {
        world.passes(Duration::from_millis(1));
        world.memory.keep(|name| name.as_str()[1..].parse::<usize>().unwrap() > number, world.now);
    }
    assert_eq!(world.memory.targets.len(), REMOVED);
    assert!(!world.memory.knows("t2", world.now) && world.memory.knows("t3", world.now));
}

/// Turns it up or down.
fn turn(world: &mut World, target: &str) {
    world.passes(Duration::from_secs(1));
    let is_up = world
        .memory
        .targets
        .get(target)
        .is_some_and(|target| matches!(&target.tenure, Tenure::Runs(open) if open.state == State::Up));
    if is_up {
        world.sees(target, State::Down, Some(Reason::Refused));
    } else {
        world.sees(target, State::Up, None);
    }
}

#[test]
fn one_target_keeps_its_last_changes_and_no_more() {
    let mut world = World::new();
    (0..PER_TARGET + 50).for_each(|_| turn(&mut world, "db"));
    assert_eq!((world.changes().len(), world.memory.total), (PER_TARGET, PER_TARGET));
    let latest = world.memory.changes(|_, _| true, world.now)[0].1.at;
    assert_eq!(latest, world.now.wall);
}

#[test]
fn many_that_change_leave_those_alone_that_have_little() {
    let mut world = World::new();
    turn(&mut world, "quiet");
    turn(&mut world, "quiet");
    let loud = IN_ALL / PER_TARGET + 20;
    for _ in 0..PER_TARGET + 1 {
        (0..loud).for_each(|number| turn(&mut world, &format!("t{number}")));
    }
    assert_eq!(world.memory.total, IN_ALL);
    assert_eq!(world.memory.targets["quiet"].changes.len(), 1);
    // One more, of a target that has less than its share: somebody else gives up one.
    (0..3).for_each(|_| turn(&mut world, "quiet"));
    assert_eq!((world.memory.total, world.memory.targets["quiet"].changes.len()), (IN_ALL, 4));
}

#[test]
fn a_day_is_shown_in_parts_the_last_of_which_ends_now() {
    let mut world = World::new();
    world.sees("db", State::Up, None);
    world.passes(HOUR);
    world.sees("db", State::Down, Some(Reason::Refused));
    world.passes(15 * MINUTE);
    let day = world.memory.day("db", world.now, world.now.mono);
    let minutes = day.map(|slot| [slot.up, slot.down, slot.unknown].map(|millis| millis / 60_000));
    assert_eq!(minutes[SLOTS - 3..], [[15, 0, 15], [30, 0, 0], [15, 15, 0]]);
    assert!(minutes[..SLOTS - 3].iter().all(|slot| *slot == [0, 0, 30]));
}

#[derive(Debug, Clone)]
enum Act {
    Passes(u32),
    /// The wall clock is set: by so many seconds.
    ClockSet(i32),
    Sees(u8, State, Option<Gap>),
    Stalls(u8, u16),
    Keeps(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let state = prop::sample::select(&State::ALL[..]);
    let gap = prop::sample::select(&[None, None, Some(Gap::Planned), Some(Gap::Flapping)][..]);
    let act = prop_oneof![
        4 => (0_u32..5_000_000).prop_map(Act::Passes),
        1 => (-100_000_000..100_000_000).prop_map(Act::ClockSet),
        6 => (0_u8..4, state, gap).prop_map(|(target, state, gap)| Act::Sees(target, state, gap)),
        1 => (0_u8..4, 1_u16..9_000).prop_map(|(target, late)| Act::Stalls(target, late)),
        1 => (0_u8..16).prop_map(Act::Keeps),
    ];
    prop::collection::vec(act, 0..400)
}

proptest! {
    /// Whatever happens: each window is as long as it is, lengths add up to the time that has passed, no length is
    /// negative, and a target's changes are a chain.
    #[test]
    fn time_adds_up_whatever_happens(acts in acts()) {
        let mut world = World::new();
        let began = world.now.mono;
        let reason = |state| (state == State::Down).then_some(Reason::Refused);
        let mut states = [None; 4];
        let mut has_ended = false;
        for act in acts {
            match act {
                Act::Passes(millis) => world.passes(Duration::from_millis(millis.into())),
                Act::ClockSet(seconds) => {
                    let jump = Duration::from_secs(seconds.unsigned_abs().into());
                    let wall = world.now.wall;
                    world.now.wall = if seconds < 0 { wall - jump } else { wall + jump };
                }
                Act::Sees(target, state, gap) => {
                    let (known, since) = states[usize::from(target)].unwrap_or((state, world.now));
                    let since = if known == state { since } else { world.now };
                    states[usize::from(target)] = Some((state, since));
                    let observation = Observation { gap, ..seen(state, reason(state), since) };
                    observe(&mut world.memory, &name(&format!("t{target}")), &observation, world.now, None);
                }
                Act::Stalls(target, late) => {
                    let stalled = world.now.mono;
                    world.passes(Duration::from_secs(late.into()));
                    if let Some((state, since)) = states[usize::from(target)] {
                        let observation =
                            Observation { stalled_at: Some(stalled), ..seen(state, reason(state), since) };
                        observe(&mut world.memory, &name(&format!("t{target}")), &observation, world.now, None);
                    }
                }
                Act::Keeps(which) => {
                    let kept = |name: &TargetName| {
                        which & (1 << name.as_str()[1..].parse::<u8>().unwrap()) != 0
                    };
                    has_ended |= !world.memory.keep(kept, world.now).is_empty();
                    // A target that is added again is a new one.
                    for (target, state) in states.iter_mut().enumerate() {
                        *state = state.filter(|_| which & (1 << target) != 0);
                    }
                }
            }
            let passed = world.now.mono - began;
            let mut total = 0;
            for (name, target) in &world.memory.targets {
                total += target.changes.len();
                for (window, (_, length)) in
                    world.memory.uptime(name.as_str(), world.now, world.now.mono).into_iter().zip(WINDOWS)
                {
                    prop_assert_eq!(u128::from(window.length()), length.as_millis());
                    let known = u128::from(window.up) + u128::from(window.down);
                    prop_assert!(known <= passed.as_millis(), "{known} ms of {passed:?}");
                }
                let changes: Vec<_> = target.changes.iter().collect();
                let is_chain = changes.windows(2).all(|pair| pair[0].to == pair[1].from);
                prop_assert!(is_chain || has_ended, "{changes:?}");
                prop_assert!(changes.iter().all(|change| change.from != change.to && change.lasted <= passed));
                let counted: u64 = changes.iter().map(|change| change.counted.length()).sum();
                prop_assert!(u128::from(counted) <= passed.as_millis());
            }
            prop_assert_eq!(total, world.memory.total);
        }
    }
}
