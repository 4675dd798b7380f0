//! Who waits for an order to change: long polls and event streams.
//!
//! Waiting is in memory only: a lost waiter asks again. A std mutex is right here: the sections are a map
//! look-up long and never await. Sharded, because a lunch rush has thousands of waiters.

use std::collections::HashMap;

use domain::OrderId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

const SHARDS: usize = 16;

/// The waiting room.
#[derive(Debug, Default)]
pub(crate) struct Board {
    shards: [Mutex<HashMap<OrderId, Vec<oneshot::Sender<()>>>>; SHARDS],
}

impl Board {
    /// Resolves at the next change of the order. Subscribe first, then read, then wait: no change is missed.
    pub(crate) fn subscribe(&self, id: OrderId) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        let mut shard = self.shard(id).lock();
        let waiting = shard.entry(id).or_default();
        waiting.retain(|w| !w.is_closed());
        waiting.push(tx);
        rx
    }

    /// Wakes everybody who waits for the order.
    pub(crate) fn announce(&self, id: OrderId) {
        for waiting in self.shard(id).lock().remove(&id).unwrap_or_default() {
            // A waiter that hung up meanwhile is nobody's loss.
            let _hung_up = waiting.send(());
        }
    }

    /// How many waiters there are, dead ones included until their order changes.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.shards.iter().map(|s| s.lock().values().map(Vec::len).sum::<usize>()).sum()
    }

    fn shard(&self, id: OrderId) -> &Mutex<HashMap<OrderId, Vec<oneshot::Sender<()>>>> {
        let n = usize::try_from(id.as_u128() % 16).unwrap_or_default();
        self.shards.get(n).unwrap_or(&self.shards[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_wakes_every_waiter_of_that_order_and_no_other() {
        let board = Board::default();
        let (a, b) = (OrderId::from_u128(1), OrderId::from_u128(17));
        let (mut a1, mut a2, mut b1) = (board.subscribe(a), board.subscribe(a), board.subscribe(b));
        board.announce(a);
        assert!(a1.try_recv().is_ok() && a2.try_recv().is_ok());
        assert!(b1.try_recv().is_err());
        assert_eq!(board.waiting(), 1);
    }
}
