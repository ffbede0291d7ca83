//! Clients that all call their statement `shared`, each meaning another one: what a pool that mixes names up would
//! answer with somebody else's text.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::sleep;

use super::client::{Shared, Tally};
use super::ledger::Breach;
use super::wire::Wire;
use crate::wire::{Message, execute, message, parse};

const STATEMENT: &str = "shared";

/// One of them.
pub struct Namesake {
    pub name: String,
    pub url: String,
    pub dice: fastrand::Rng,
    pub shared: Arc<Shared>,
}

impl Namesake {
    pub async fn live(mut self) -> Tally {
        let mut tally = Tally::default();
        while !self.shared.closing.load(Relaxed) {
            let ended = match Wire::open(&self.url, &[]).await {
                Ok(wire) => self.session(wire, &mut tally).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                if error == "hung" {
                    let doing = "executing a statement by name".to_owned();
                    self.shared.ledger.breach(Breach::Hung { client: self.name.clone(), doing });
                }
                *tally.errors.entry(error).or_default() += 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
        tally
    }

    async fn session(&mut self, mut wire: Wire, tally: &mut Tally) -> Result<(), String> {
        tally.sessions += 1;
        let text = format!("SELECT '{}, ' || $1", self.name);
        let mut parsed = false;
        for _ in 0..self.dice.u32(1..60) {
            let token = format!("{:016x}", self.dice.u64(..));
            let mut ask = if parsed { Vec::new() } else { parse(STATEMENT, &text) };
            ask.extend(execute(STATEMENT, &token));
            // Two questions at once, every now and then.
            let twice = self.dice.bool();
            if twice {
                ask.extend(execute(STATEMENT, &token));
            }
            // Drivers end their pipelines so; nothing is left to be answered by then.
            if self.dice.bool() {
                ask.extend(message(b'H', &[]));
            }
            wire.send(&ask).await?;
            for _ in 0..=u32::from(twice) {
                let messages = wire.until_ready().await?;
                parsed |= messages.iter().any(|(kind, _)| *kind == b'1');
                self.check(&messages, &format!("{}, {token}", self.name))?;
                tally.done += 1;
            }
            sleep(Duration::from_millis(self.dice.u64(0..15))).await;
        }
        wire.send(&[b'X', 0, 0, 0, 4]).await
    }

    fn check(&self, messages: &[Message], wanted: &str) -> Result<(), String> {
        if let Some((_, error)) = messages.iter().find(|(kind, _)| *kind == b'E') {
            let kinds: String = messages.iter().map(|(kind, _)| char::from(*kind)).collect();
            let error = format!("{} in {kinds}", String::from_utf8_lossy(error).replace('\0', " "));
            // An error that leaves the session alive says that the statement is not what it was.
            let (client, doing) = (self.name.clone(), "executing a statement by name".to_owned());
            self.shared.ledger.breach(Breach::Unexpected { client, doing, error: error.clone() });
            return Err(error);
        }
        // One column: the count, its length, its text.
        let text = |row: &[u8]| String::from_utf8_lossy(row.get(6..).unwrap_or_default()).into_owned();
        let rows = messages.iter().filter(|(kind, _)| *kind == b'D').map(|(_, row)| text(row));
        self.shared.ledger.echoed(&self.name, wanted, &rows.collect::<Vec<_>>());
        Ok(())
    }
}
