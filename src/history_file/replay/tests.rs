use proptest::prelude::*;

use super::*;
use crate::history_file::{all_lines, lines};
use crate::reason::Reason;
use crate::status::history::{History, Observation, WINDOWS};
use crate::status::{Failure, TargetStatus, sample};

const MINUTE: Duration = Duration::from_secs(60);

/// A process: its history, when it began, and what it has written.
struct World {
    history: History,
    started: Moment,
    now: Moment,
    written: Vec<u8>,
}

impl World {
    /// Starts at `now`, with what was written before.
    fn start(now: Moment, mut written: Vec<u8>) -> Self {
        let history = History::default();
        history.follow();
        if !written.is_empty() {
            history.prepend(read(&written).finish(now), now);
        }
        FileLine::Started { at: now.wall.try_into().unwrap() }.write(&mut written);
        World { history, started: now, now, written }
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn sees(&mut self, is_up: bool) {
        let mut status: TargetStatus =
            if is_up { sample::up("db", self.now) } else { sample::lost("db", self.now, 0.0) };
        status.last_failure = Some(Failure::new(self.now, Reason::Shutdown, "shut down".to_owned()));
        status.since = self.now;
        self.history.observe(
            &status.name,
            &Observation::of(&status, self.now.mono, self.now),
            self.now,
            None,
        );
    }

    /// Writes what is new.
    fn writes(&mut self, is_alive: bool) {
        let news = self.history.news(Duration::ZERO);
        self.written.extend(lines(&news, is_alive.then_some(self.now), self.started));
    }

    /// Writes all of it.
    fn writes_anew(&mut self) {
        self.written = all_lines(&self.history.copy(), self.now, self.started);
    }

    fn windows(&self) -> [UptimeSpan; WINDOWS.len()] {
        self.history.look(|memory| memory.uptime("db", self.now, self.now.mono))
    }

    /// Seconds that were up, down and unknown in the last hour.
    fn hour(&self) -> [u32; 3] {
        let [hour, ..] = self.windows();
        [hour.up, hour.down, hour.unknown].map(|millis| millis / 1_000)
    }

    fn changes(&self) -> Vec<StateChange> {
        let read = |memory: &Memory| {
            memory.changes(|_, _| true, self.now).into_iter().map(|(_, change)| (**change).clone()).collect()
        };
        self.history.look(read)
    }
}

fn read(text: &[u8]) -> Replay {
    let mut replay = Replay::default();
    text.split_inclusive(|byte| *byte == b'\n').for_each(|line| replay.line(line));
    replay
}

/// A history with an outage of a minute, two minutes ago.
fn with_an_outage() -> World {
    let mut world = World::start(sample::moment(), Vec::new());
    world.sees(true);
    world.passes(MINUTE);
    world.sees(false);
    world.passes(MINUTE);
    world.sees(true);
    world.passes(2 * MINUTE);
    world
}

#[test]
fn the_next_process_knows_what_was_and_not_what_was_while_none_ran() {
    for is_anew in [false, true] {
        let mut world = with_an_outage();
        if is_anew {
            world.writes_anew();
        } else {
            world.writes(true);
        }
        let before = world.changes();
        assert_eq!(before.len(), 2);
        let mut next = World::start(world.now.after(10 * MINUTE), world.written);
        assert_eq!(next.hour(), [180, 60, 3_360], "anew: {is_anew}");
        next.passes(MINUTE);
        next.sees(true);
        next.passes(MINUTE);
        assert_eq!(next.hour(), [240, 60, 3_300], "anew: {is_anew}");
        let shown = |change: &StateChange| StateChange {
            // The file has milliseconds.
            at: jiff::Timestamp::try_from(change.at).unwrap().into(),
            ..change.clone()
        };
        assert_eq!(next.changes(), before.iter().map(shown).collect::<Vec<_>>());
        let detail = before.iter().find_map(|change| change.detail.clone());
        assert_eq!(detail.as_deref(), Some("shut down"));
    }
}

#[test]
fn what_a_killed_process_did_not_tell_is_unknown() {
    let mut world = World::start(sample::moment(), Vec::new());
    world.sees(false);
    world.passes(MINUTE);
    world.sees(true);
    world.passes(MINUTE);
    world.writes(true);
    world.passes(30 * MINUTE);
    let next = World::start(world.now, world.written);
    assert_eq!(next.hour(), [60, 60, 3_480]);
}

#[test]
fn time_that_was_written_is_not_counted_again_by_the_change_that_ends_it() {
    let mut world = with_an_outage();
    world.writes_anew();
    world.passes(MINUTE);
    world.sees(false);
    world.passes(MINUTE);
    world.writes(true);
    let next = World::start(world.now, world.written.clone());
    assert_eq!(next.hour(), world.hour());
    assert_eq!(next.hour(), [240, 120, 3_240]);
    assert_eq!(next.changes().len(), 3);
}

#[test]
fn a_target_that_was_removed_ended_then() {
    let mut world = with_an_outage();
    world.history.keep(|_| false, world.now);
    world.passes(10 * MINUTE);
    world.writes(true);
    assert_eq!(World::start(world.now, world.written.clone()).hour(), [180, 60, 3_360]);
    world.writes_anew();
    assert_eq!(World::start(world.now, world.written).hour(), [180, 60, 3_360]);
}

#[test]
fn a_wall_clock_that_is_set_back_or_forth_makes_no_time() {
    for jump in [-400_000_000_i64, 400_000_000] {
        let mut world = with_an_outage();
        let away = Duration::from_secs(jump.unsigned_abs());
        let wall = world.now.wall;
        world.now.wall = if jump < 0 { wall - away } else { wall + away };
        world.passes(MINUTE);
        world.sees(false);
        world.writes(true);
        let hour = World::start(world.now, world.written).hour();
        assert_eq!(hour, [240, 60, 3_300], "{jump}");
    }
}

#[test]
fn a_torn_line_and_what_is_no_record_are_left_out_and_a_file_of_others_is_left_alone() {
    let mut world = with_an_outage();
    world.writes(true);
    let whole = world.written.clone();
    for cut in 0..whole.len() {
        let replay = read(&whole[..cut]);
        assert!(replay.bad <= 1 && (cut < 60 || !replay.is_foreign()), "cut at {cut}");
        let hour = World::start(world.now, whole[..cut].to_vec()).hour();
        assert!((3_597..=3_600).contains(&hour.iter().sum::<u32>()), "cut at {cut}: {hour:?}");
    }
    let mut dirty = whole.clone();
    dirty.extend_from_slice(b"\n\0\xff\x80\n{\"record\":\"changed\"}\n{}\n[[[[\n");
    let replay = read(&dirty);
    assert_eq!((replay.bad, replay.is_foreign()), (4, false));
    for foreign in ["root:x:0:0:root:/root:/bin/bash\n", "{\"record\":\"pgtether_history\",\"format\":2}\n"] {
        assert!(read(foreign.as_bytes()).is_foreign(), "{foreign}");
    }
    assert!(!read(b"").is_foreign() && !read(b"\n\n").is_foreign());
}

#[test]
fn words_that_this_version_does_not_know_cost_a_line_at_most() {
    let mut world = with_an_outage();
    world.writes(true);
    let text = String::from_utf8(world.written).unwrap();
    let other = text.replace("\"reason\":\"shutdown\"", "\"reason\":\"sunspots\"");
    let replay = read(other.as_bytes());
    assert_eq!(replay.bad, 0);
    let changes = World::start(world.now, other.into_bytes()).changes();
    assert!(changes.len() == 2 && changes.iter().all(|change| change.reason.is_none()));
    assert_eq!(read(text.replace("\"to\":\"down\"", "\"to\":\"upside_down\"").as_bytes()).bad, 1);
    assert_eq!(read(text.replace("\"target\":\"db\"", "\"target\":\"../db\"").as_bytes()).bad, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens, and however the file is written: the next process counts as the one before did.
    #[test]
    fn a_restart_changes_no_number(acts in prop::collection::vec((0_u8..6, 1_u32..400_000), 0..80)) {
        let mut world = World::start(sample::moment(), Vec::new());
        world.sees(true);
        for (act, millis) in acts {
            world.passes(Duration::from_millis(millis.into()));
            match act {
                0 | 1 => world.sees(true),
                2 | 3 => world.sees(false),
                4 => world.writes(true),
                _ => world.writes_anew(),
            }
        }
        world.writes(true);
        let next = World::start(world.now, world.written.clone());
        if !world.changes().is_empty() {
            for (before, after) in world.windows().into_iter().zip(next.windows()) {
                let off = |a: u32, b: u32| a.abs_diff(b);
                prop_assert!(off(before.up, after.up) <= 200, "{before:?} {after:?}");
                prop_assert!(off(before.down, after.down) <= 200, "{before:?} {after:?}");
            }
        }
        prop_assert_eq!(next.changes().len(), world.changes().len());
    }
}
