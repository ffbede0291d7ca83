//! The clients that wait for a session: first come, first served.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::ClientId;

/// A client in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingClient {
    pub client: ClientId,
    pub since: Instant,
    pub deadline: Instant,
}

/// In the order in which they are served.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    waiting: VecDeque<WaitingClient>,
    /// The earliest deadline, or earlier: who had it may be gone.
    deadline: Option<Instant>,
}

impl Queue {
    /// By the time since when it waits: who got a session that turned out to be dead goes back to where it was.
    pub fn insert(&mut self, waiting: WaitingClient) {
        let later = self.waiting.iter().rev().take_while(|other| other.since > waiting.since).count();
        self.waiting.insert(self.waiting.len() - later, waiting);
        self.deadline = Some(self.deadline.map_or(waiting.deadline, |at| at.min(waiting.deadline)));
    }

    /// The first.
    pub fn pop(&mut self) -> Option<ClientId> {
        let first = self.waiting.pop_front().map(|waiting| waiting.client);
        if self.waiting.is_empty() {
            self.deadline = None;
        }
        first
    }

    /// Takes out those that fit, by their position.
    pub fn take_where(
        &mut self,
        mut fits: impl FnMut(usize, &WaitingClient) -> bool,
        mut taken: impl FnMut(WaitingClient),
    ) {
        let mut at = 0;
        self.waiting.retain(|waiting| {
            let goes = fits(at, waiting);
            at += 1;
            if goes {
                taken(*waiting);
            }
            !goes
        });
        self.deadline = self.waiting.iter().map(|waiting| waiting.deadline).min();
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when the one waits that came last, and its deadline: with its position.
    pub fn find(&self, client: ClientId) -> Option<(usize, WaitingClient)> {
        // Mostly the last one.
        let at = self.waiting.iter().rposition(|waiting| waiting.client == client)?;
        Some((at, *self.waiting.get(at)?))
    }

    pub fn remove(&mut self, client: ClientId) {
        if let Some((at, _)) = self.find(client) {
            self.waiting.remove(at);
        }
        if self.waiting.is_empty() {
            self.deadline = None;
        }
    }

    /// When somebody's time is over, at the earliest.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    #[cfg(test)]
    pub fn clients(&self) -> Vec<ClientId> {
        self.waiting.iter().map(|waiting| waiting.client).collect()
    }
}
