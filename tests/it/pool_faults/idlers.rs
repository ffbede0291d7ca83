//! Clients that stay connected and do nothing more: silent in the middle of their login or of a message, never reading,
//! or at rest after a pipeline that ended in a Flush.

use std::collections::VecDeque;

use super::wire::Wire;
use crate::wire::{execute, message, parse};

/// So many stay that may keep a session: fewer than the smallest pool has.
const STALLED: usize = 2;
/// So many stay that must not keep any: more than the largest pool has.
const RESTING: usize = super::SIZE + 2;
/// So many stay that have not logged in.
const SILENT: usize = 20;

/// The clients; of each kind the one that came first goes when there are too many.
#[derive(Default)]
pub struct Idlers {
    silent: VecDeque<Wire>,
    stalled: VecDeque<Wire>,
    resting: VecDeque<Wire>,
}

impl Idlers {
    /// Half a login, half a message, or a long answer that is not read. After the login only where clients share
    /// sessions: elsewhere each keeps one by right.
    pub async fn stall(&mut self, urls: &[String], dice: &mut fastrand::Rng) -> Result<(), String> {
        let kind = dice.u32(0..4);
        if kind < 2 {
            let mut wire = Wire::silent(dice.choice(urls).unwrap()).await?;
            wire.send(&[0, 0, 0, 80, 0, 3, 0, 0, b'u', b's'][..if kind == 0 { 0 } else { 10 }]).await?;
            add(&mut self.silent, wire, SILENT);
            return Ok(());
        }
        let mut wire = Wire::open(&urls[0], &[]).await?;
        let mut words = match kind {
            2 => message(b'Q', b"SELECT 'half a question'\0"),
            _ => message(b'Q', b"SELECT repeat('x', 1000000) FROM generate_series(1, 20)\0"),
        };
        if kind == 2 {
            words.truncate(words.len() - 3);
        }
        wire.send(&words).await?;
        add(&mut self.stalled, wire, STALLED);
        Ok(())
    }

    /// They rest after their pipelines. More of them than there are sessions: if each kept its session, the last ones would
    /// get none.
    pub async fn flush_and_stay(&mut self, urls: &[String], dice: &mut fastrand::Rng) -> Result<(), String> {
        self.resting.clear();
        for _ in 0..RESTING {
            let mut wire = Wire::open(&urls[0], &[]).await?;
            let flushes = message(b'H', &[]).repeat(dice.usize(1..3));
            let mut words = [parse("", "SELECT $1"), execute("", "a pipeline")].concat();
            // Behind its Sync, where the session still is the client's, or once it is idle.
            let is_late = dice.bool();
            if !is_late {
                words.extend(&flushes);
            }
            wire.send(&words).await?;
            wire.until_ready().await?;
            if is_late {
                wire.send(&flushes).await?;
            }
            self.resting.push_back(wire);
        }
        Ok(())
    }
}

fn add(idlers: &mut VecDeque<Wire>, wire: Wire, at_most: usize) {
    idlers.push_back(wire);
    if idlers.len() > at_most {
        idlers.pop_front();
    }
}
