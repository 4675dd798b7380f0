//! The waiting room of one channel's poller: who is asked about first.
//!
//! An entry is waiting (it has a due time) or out (its query is in flight). What is due leaves by urgency,
//! then by due time, then by key, as far as the budget goes; what is out comes back by
//! [`DueQueue::finish`] or is gone by [`DueQueue::remove`], and until then is not handed out again.
//! Every operation is O(log n). Nothing here fails or forgets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{AttemptNo, OrderId, Timestamp};

/// An attempt of an order.
pub type PollKey = (OrderId, AttemptNo);

/// Who goes first when the budget is short; the least is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Somebody waits for the answer: a hint that the payer came back, a long poll.
    Awaited,
    /// The notification should have been here by now.
    Late,
    /// Everything else.
    Routine,
}

impl Urgency {
    const ALL: [Urgency; 3] = [Urgency::Awaited, Urgency::Late, Urgency::Routine];
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Waiting {
        urgency: Urgency,
        due: Timestamp,
    },
    /// `again` holds what was asked for while the query was in flight.
    Out {
        again: Option<(Urgency, Timestamp)>,
    },
}

/// Attempts to ask about, by urgency and due time.
#[derive(Debug, Clone, Default)]
pub struct DueQueue {
    places: BTreeMap<PollKey, Place>,
    /// The waiting ones in the order in which they leave.
    line: BTreeSet<(Urgency, Timestamp, PollKey)>,
    out: usize,
}

impl DueQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> DueQueue {
        DueQueue::default()
    }

    /// Registers an attempt, or changes its due time and urgency. While its query is in flight this is
    /// kept and weighed against what [`DueQueue::finish`] brings. Repeating is harmless.
    pub fn push(&mut self, key: PollKey, due: Timestamp, urgency: Urgency) {
        match self.places.get_mut(&key) {
            Some(Place::Out { again }) => *again = Some((urgency, due)),
            Some(Place::Waiting { .. }) | None => self.wait(key, due, urgency),
        }
    }

    /// Moves a registered attempt to the front: due now, awaited. While its query is in flight another one
    /// follows at once, for the first may have been answered before the payer paid. False if unknown.
    pub fn hint(&mut self, key: PollKey, now: Timestamp) -> bool {
        let known = self.places.contains_key(&key);
        if known {
            let due = match self.places.get(&key) {
                Some(Place::Waiting { due, .. }) => now.min(*due),
                Some(Place::Out { .. }) | None => now,
            };
            self.push(key, due, Urgency::Awaited);
        }
        known
    }

    /// Lets a waiting attempt go before less urgent ones, without asking about it any sooner. False if unknown; while
    /// its query is in flight nothing changes, since [`DueQueue::finish`] brings its urgency.
    pub fn raise(&mut self, key: PollKey, urgency: Urgency) -> bool {
        if let Some(Place::Waiting { urgency: before, due }) = self.places.get(&key).copied() {
            self.wait(key, due, urgency.min(before));
        }
        self.places.contains_key(&key)
    }

    /// Forgets an attempt: it is certified, or its notification came. A query in flight is not waited for;
    /// its `finish` is ignored. False if unknown.
    pub fn remove(&mut self, key: PollKey) -> bool {
        match self.places.remove(&key) {
            Some(Place::Waiting { urgency, due }) => self.line.remove(&(urgency, due, key)),
            Some(Place::Out { .. }) => {
                self.out = self.out.saturating_sub(1);
                true
            }
            None => false,
        }
    }

    /// Hands out at most `budget` attempts that are due at `now`, the most urgent first, then the longest
    /// due. Each is out until it is finished.
    pub fn pop_due(&mut self, now: Timestamp, budget: usize) -> Vec<PollKey> {
        let mut popped = Vec::new();
        for urgency in Urgency::ALL {
            while popped.len() < budget {
                let Some(key) = self.first_of(urgency).filter(|(due, _)| *due <= now).map(|(_, key)| key)
                else {
                    break;
                };
                self.take_out(key);
                popped.push(key);
            }
        }
        popped
    }

    /// Ends the query of an attempt that is out and lets it wait for `next`, or for what was asked for
    /// meanwhile if that is earlier or more urgent. Ignored if the attempt is not out (it was removed).
    pub fn finish(&mut self, key: PollKey, next: Timestamp, urgency: Urgency) {
        let Some(Place::Out { again }) = self.places.get(&key).copied() else {
            return;
        };
        self.out = self.out.saturating_sub(1);
        let (asked_urgency, asked_due) = again.unwrap_or((urgency, next));
        self.wait(key, next.min(asked_due), urgency.min(asked_urgency));
    }

    /// How late the longest-due waiting attempt is; zero when nothing is due.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        self.next_due().map_or(Duration::ZERO, |due| now.since(due))
    }

    /// The earliest due time of all that wait.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        Urgency::ALL.iter().filter_map(|u| self.first_of(*u)).map(|(due, _)| due).min()
    }

    /// How many attempts are registered, waiting or out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if none is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many are out.
    #[must_use]
    pub const fn out(&self) -> usize {
        self.out
    }

    /// True if the attempt is registered, waiting or out.
    #[must_use]
    pub fn contains(&self, key: PollKey) -> bool {
        self.places.contains_key(&key)
    }

    fn first_of(&self, urgency: Urgency) -> Option<(Timestamp, PollKey)> {
        let least = (OrderId::from_u128(0), AttemptNo::new(1)?);
        let first = (urgency, Timestamp::from_micros(i64::MIN), least);
        self.line.range(first..).next().filter(|(u, _, _)| *u == urgency).map(|(_, due, key)| (*due, *key))
    }

    fn take_out(&mut self, key: PollKey) {
        if let Some(Place::Waiting { urgency, due }) = self.places.insert(key, Place::Out { again: None }) {
            self.line.remove(&(urgency, due, key));
            self.out = self.out.saturating_add(1);
        }
    }

    fn wait(&mut self, key: PollKey, due: Timestamp, urgency: Urgency) {
        let before = self.places.insert(key, Place::Waiting { urgency, due });
        if let Some(Place::Waiting { urgency, due }) = before {
            self.line.remove(&(urgency, due, key));
        }
        self.line.insert((urgency, due, key));
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
