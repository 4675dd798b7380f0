//! The bound at the door: how many orders may be accepted and not yet on their way to a channel.
//!
//! Beyond it new orders are turned away with a clear word; nothing accepted is dropped. The bound may be
//! changed while it runs, which is why this is a counter and not a semaphore.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The counter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intake(Arc<AtomicU64>);

/// One order's place; dropping it makes room.
#[derive(Debug)]
pub(crate) struct IntakeSlot(Arc<AtomicU64>);

impl Intake {
    /// A place, if fewer than `max` are taken.
    pub(crate) fn enter(&self, max: u64) -> Option<IntakeSlot> {
        let taken = self.0.fetch_add(1, Ordering::AcqRel);
        let slot = IntakeSlot(self.0.clone());
        (taken < max).then_some(slot) // a slot that is not handed out gives its place back at once
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for IntakeSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_turns_away_and_a_leaving_order_makes_room() {
        let intake = Intake::default();
        let first = intake.enter(1).unwrap();
        assert!(intake.enter(1).is_none());
        assert_eq!(intake.taken(), 1);
        drop(first);
        assert!(intake.enter(1).is_some());
    }
}
