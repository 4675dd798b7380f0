//! One backend's lane: what is under way to it, whether it rests, and whether it has a backlog in the store.

use domain::{Timestamp, webhook::Rest};
use serde::Serialize;
use utoipa::ToSchema;

/// The lane of one backend.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) rest: Rest,
    pub(super) in_flight: usize,
    /// The store has webhooks for it that are not under way. Then new ones wait for a look, too, which keeps the order.
    pub(super) behind: bool,
    /// Something was left to the store since the look under way began, which may not have seen it.
    pub(super) missed: bool,
}

impl Lane {
    /// How many more calls may begin. Beside its own bound a backend never gets more calls than there are slots left,
    /// so that backends that hang cannot take them all.
    pub(super) fn room(&self, now: Timestamp, full: usize, free: usize) -> usize {
        self.rest.allows(now, full).min(free).saturating_sub(self.in_flight)
    }

    /// Leaves something to the next look.
    pub(super) fn leave(&mut self) {
        (self.behind, self.missed) = (true, true);
    }

    /// True if nothing would be forgotten with it.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.in_flight == 0 && !self.behind && self.rest.resting_until(now).is_none()
    }

    pub(super) fn status(&self, backend: &str, now: Timestamp) -> LaneStatus {
        LaneStatus {
            backend: backend.to_owned(),
            in_flight: self.in_flight,
            failures_in_a_row: self.rest.failures_in_a_row(),
            resting_until: self.rest.resting_until(now).map(|until| until.to_string()),
        }
    }
}

/// How a backend does, for operators. Backends without anything under way or due are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneStatus {
    /// Host and port.
    pub backend: String,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that failed since the last one that was taken.
    pub failures_in_a_row: u64,
    /// The end of its rest, RFC 3339; none if it does not rest.
    pub resting_until: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_backends_hang_there_is_a_slot_for_the_next_one() {
        let (now, slots, full) = (Timestamp::from_secs(0), 64, 1_000);
        let mut free = slots;
        for hanging in 0..6 {
            let mut lane = Lane::default();
            while lane.room(now, full, free) > 0 {
                lane.in_flight += 1;
                free -= 1;
            }
            assert!(lane.in_flight > 0, "backend {hanging} found no slot");
        }
        assert!(free > 0);
    }
}
