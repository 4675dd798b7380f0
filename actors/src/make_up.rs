//! Orders that wait for a channel, oldest first: the queue between them and the router.
//!
//! An order joins when the table has no channel for it, and again now and then, so that a lost poke or a restarted
//! process costs a moment and never an order. The router releases the oldest within its allowance; a released order
//! chooses for itself. The lock is held for a few map operations and never across an await.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    OrderId, Timestamp,
    routing::{ChannelState, ChannelView, RouteNeed, make_up},
    tuning::Tuning,
};
use parking_lot::Mutex;

/// Orders looked at in one look: enough for a lunch, and a bound on its cost.
const LOOK_MAX: usize = 10_000;
/// However long the last look is ago, no more than so many are released at once.
const BURST_S: f64 = 1.0;

/// The queue. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct MakeUp(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    waiting: BTreeMap<OrderId, RouteNeed>,
    allowance: f64,
    looked_at: Option<Timestamp>,
}

impl MakeUp {
    /// The order waits, with this need; joining again replaces the need.
    pub(crate) fn join(&self, id: OrderId, need: RouteNeed) {
        self.0.lock().waiting.insert(id, need);
    }

    /// The order does not wait any more.
    pub(crate) fn leave(&self, id: OrderId) {
        self.0.lock().waiting.remove(&id);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// Takes out the orders that go on now, oldest first. Asked by the router at every look.
    pub(crate) fn release(&self, channels: &[ChannelView], tuning: &Tuning, now: Timestamp) -> Vec<OrderId> {
        let mut inner = self.0.lock();
        let per_s = f64::from(u32::try_from(tuning.make_up_per_s).unwrap_or(u32::MAX));
        let since = inner.looked_at.replace(now).map_or(0.0, |before| now.since(before).as_secs_f64());
        inner.allowance = (inner.allowance + per_s * since).min((per_s * BURST_S).max(1.0));
        let usable = |v: &ChannelView| {
            matches!(v.state, ChannelState::Healthy | ChannelState::Probing | ChannelState::Slow)
        };
        if inner.waiting.is_empty() || inner.allowance < 1.0 || !channels.iter().any(usable) {
            return Vec::new();
        }
        #[expect(clippy::as_conversions, reason = "a count between 1 and the burst")]
        let most = inner.allowance as usize;
        let released = make_up(inner.waiting.iter(), channels, tuning, (most, LOOK_MAX));
        for id in &released {
            inner.waiting.remove(id);
            inner.allowance -= 1.0;
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use domain::{ChannelId, ChannelKind, Money, Scene, channel::ChannelProfile};

    use super::*;

    #[test]
    fn a_crowd_is_released_oldest_first_at_the_pace_of_the_threshold() {
        let queue = MakeUp::default();
        for n in (1..=100).rev() {
            queue.join(OrderId::from_u128(n), RouteNeed::new(Scene::Native, Money::from_fen(100).unwrap()));
        }
        let channel = ChannelView {
            profile: ChannelProfile {
                id: ChannelId::new("wechat").unwrap(),
                kind: ChannelKind::Credential,
                scenes: vec![Scene::Native],
                limit: Money::from_fen(1_000).unwrap(),
                limits: Vec::new(),
            },
            state: ChannelState::Open,
            probe_due: false,
            reason: String::new(),
        };
        let tuning = Tuning { make_up_per_s: 20, ..Tuning::default() };
        let at = |ms: i64| Timestamp::from_millis(1_767_225_600_000 + ms);
        assert!(queue.release(std::slice::from_ref(&channel), &tuning, at(0)).is_empty(), "nothing is up");
        let up = [ChannelView { state: ChannelState::Healthy, ..channel }];
        let ids = |ms| -> Vec<u128> {
            queue.release(&up, &tuning, at(ms)).into_iter().map(OrderId::as_u128).collect()
        };
        assert_eq!(ids(100), [1, 2]);
        assert_eq!(ids(200), [3, 4]);
        assert_eq!(ids(60_000).len(), 20, "a long pause allows a second's worth, not a flood");
        assert_eq!(queue.len(), 76);
    }
}
