//! Which of the orders that wait for a channel go on now: the oldest first, within an allowance.
//!
//! A channel that is back meets a crowd; it gets the oldest orders first and no more than it can take. An order
//! whose own channels are still out does not stand in the way of a younger one that could go on. While nothing but a
//! channel on probation is there, one order at a look finds out. Pure; the queue itself is the caller's.

use super::{ChannelState, ChannelView, Choice, RouteNeed, choose};
use crate::{OrderId, tuning::Tuning};

/// The orders to be released, oldest first: at most `allowance` of them, looking at no more than `look_max`.
///
/// `waiting` is sorted by id, which is by age. An order that no channel can ever take is released, too: its own rules end it.
#[must_use]
pub fn make_up<'w>(
    waiting: impl Iterator<Item = (&'w OrderId, &'w RouteNeed)>,
    channels: &[ChannelView],
    tuning: &Tuning,
    (allowance, look_max): (usize, usize),
) -> Vec<OrderId> {
    let probing = |channel: &crate::ChannelId| {
        channels.iter().any(|v| v.profile.id == *channel && v.state == ChannelState::Probing)
    };
    // A draw of one never makes an order a probe by chance.
    const NO_PROBE: f64 = 1.0;
    let mut released = Vec::new();
    let mut probes = 0;
    for (id, need) in waiting.take(look_max) {
        if released.len() >= allowance {
            break;
        }
        match choose(need, channels, NO_PROBE, tuning) {
            Choice::Use { channel, .. } if probing(&channel) => {
                if probes == 0 {
                    released.push(*id);
                }
                probes += 1;
            }
            Choice::Use { .. } | Choice::Exhausted { .. } => released.push(*id),
            Choice::Wait { .. } => {}
        }
    }
    released
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelId, ChannelKind, Money, Scene, channel::ChannelProfile};

    fn view(name: &str, state: ChannelState) -> ChannelView {
        ChannelView {
            profile: ChannelProfile {
                id: ChannelId::new(name).unwrap(),
                kind: ChannelKind::Credential,
                scenes: vec![Scene::Native],
                limit: Money::from_fen(100_000).unwrap(),
                limits: Vec::new(),
            },
            state,
            probe_due: false,
            reason: String::new(),
        }
    }

    fn crowd(n: u128, only: &str) -> Vec<(OrderId, RouteNeed)> {
        let mut need = RouteNeed::new(Scene::Native, Money::from_fen(100).unwrap());
        need.allowed = vec![ChannelId::new(only).unwrap()];
        (1..=n).map(|i| (OrderId::from_u128(i), need.clone())).collect()
    }

    fn released(crowd: &[(OrderId, RouteNeed)], views: &[ChannelView], allowance: usize) -> Vec<u128> {
        let waiting = crowd.iter().map(|(id, need)| (id, need));
        let ids = make_up(waiting, views, &Tuning::default(), (allowance, 1_000));
        ids.into_iter().map(OrderId::as_u128).collect()
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_allowed() {
        let views = [view("wechat", ChannelState::Healthy)];
        assert_eq!(released(&crowd(10, "wechat"), &views, 3), [1, 2, 3]);
    }

    #[test]
    fn who_waits_for_another_channel_stands_in_nobodys_way() {
        let mut both = crowd(3, "alipay");
        both.extend(crowd(6, "wechat").split_off(3));
        let views = [view("wechat", ChannelState::Healthy), view("alipay", ChannelState::Open)];
        assert_eq!(released(&both, &views, 2), [4, 5]);
    }

    #[test]
    fn a_channel_on_probation_meets_one_at_a_time_and_an_open_one_nobody() {
        let crowd = crowd(5, "wechat");
        assert_eq!(released(&crowd, &[view("wechat", ChannelState::Probing)], 5), [1]);
        assert!(released(&crowd, &[view("wechat", ChannelState::Open)], 5).is_empty());
    }

    #[test]
    fn an_order_that_nothing_can_take_any_more_is_let_go_to_its_end() {
        assert_eq!(released(&crowd(1, "gone"), &[view("wechat", ChannelState::Open)], 5), [1]);
    }
}
