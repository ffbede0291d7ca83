//! What a step of a target's task leaves in its history: nothing, unless something has changed.

use std::time::Instant;

use crate::reason::Reason;
use crate::status::board::Board;
use crate::status::history::Observation;
use crate::status::{Gap, Moment, State, TargetStatus};

/// What was seen of the target last, so that a step that changes nothing costs nothing.
#[derive(Debug)]
pub struct Recorder {
    board: Board,
    seen: Option<(State, Option<Reason>, Option<Gap>)>,
}

impl Recorder {
    /// For the history of that board.
    pub fn new(board: Board) -> Self {
        Recorder { board, seen: None }
    }

    /// A step is over that was due at `was_due` at the latest.
    pub fn after(&mut self, status: &TargetStatus, was_due: Instant, now: Moment) {
        let observation = Observation::of(status, was_due, now);
        if self.seen.is_some_and(|seen| observation.adds_nothing_to(seen)) {
            return;
        }
        self.seen = Some(observation.key());
        self.board.observe(&status.name, &observation, now);
    }
}
