//! What an order still owes the world, read from its state alone.
//!
//! The actor reconciles its running work with this list after every commit and after every start, so there
//! is no list of pending work to lose. Each item is safe to carry out again under the same number.

use super::{
    Attempt, Certificate, NeverExposed, Order, OrderState, PartState, RefundState, Wish,
    decide::wants_attempt,
};
use crate::{AttemptNo, ChannelId, ChannelKind, RefundNo, Timestamp};

/// One thing to be done. Equal items are the same work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owed {
    /// Ask the router for a channel.
    Route,
    /// Call prepay, again under the same number if it was called before.
    Prepay(AttemptNo),
    /// If its prepay stays silent, ask the router for a rival.
    Hedge(AttemptNo),
    /// Ask the channel for the result, on the polling schedule.
    Poll(AttemptNo),
    /// Ask the channel to close it, until it is certified.
    Close(AttemptNo),
    /// Close at leisure what nobody can pay; any answer will do.
    Tidy(AttemptNo),
    /// Carry the refund to its final word: send it, then query it.
    Refund(RefundNo),
    /// Carry a part of a split order forward: begin it, tell it what it is to be told, look at it.
    Part {
        /// Which.
        no: u8,
        /// Where it stands: a step further is another piece of work.
        state: PartState,
        /// How much it is to be told.
        duty: u8,
    },
    /// Look at the deadlines at this moment.
    Wake(Timestamp),
}

/// Everything owed at `now`. Empty for a settled order.
#[must_use]
pub fn resume(order: &Order, now: Timestamp) -> Vec<Owed> {
    if order.is_split() {
        let item = |no| {
            let duty = u8::try_from(order.part_duty(no).len()).unwrap_or(u8::MAX);
            Some(Owed::Part { no, state: order.part(no)?.state, duty })
        };
        return order.parts_owed().into_iter().filter_map(item).collect();
    }
    let mut owed = Vec::new();
    let open = matches!(order.state, OrderState::Pending | OrderState::Processing);
    if wants_attempt(order, now) {
        owed.push(Owed::Route);
    }
    for attempt in &order.attempts {
        match (&attempt.certificate, attempt.is_exposed()) {
            (None, false) => {
                owed.push(Owed::Prepay(attempt.no));
                if order.wish == Wish::Collect && order.uncertified().count() == 1 {
                    owed.push(Owed::Hedge(attempt.no));
                }
            }
            (None, true) => {
                // A direct call is idempotent under its number; once a close was decided it must not run again.
                if attempt.kind == ChannelKind::Direct && attempt.close_asked_at.is_none() {
                    owed.push(Owed::Prepay(attempt.no));
                }
                owed.push(Owed::Poll(attempt.no));
                if attempt.close_asked_at.is_some() {
                    owed.push(Owed::Close(attempt.no));
                }
            }
            (Some(Certificate::NeverExposed(_)), _) if !attempt.is_tidy() => {
                owed.push(Owed::Tidy(attempt.no))
            }
            (Some(_), _) => {}
        }
    }
    for refund in &order.refunds {
        match refund.state {
            RefundState::Booked | RefundState::Processing => owed.push(Owed::Refund(refund.no.clone())),
            RefundState::Succeeded | RefundState::Failed => {}
        }
    }
    if open {
        owed.push(Owed::Wake(order.request.expires_at));
    }
    owed
}

/// Channels that refused this order for good; the router leaves them out.
#[must_use]
pub fn refused_channels(order: &Order) -> Vec<ChannelId> {
    let refused = |a: &&Attempt| {
        matches!(
            a.certificate,
            Some(Certificate::Declined { .. } | Certificate::NeverExposed(NeverExposed::Refused { .. }))
        )
    };
    order.attempts.iter().filter(refused).map(|a| a.channel.clone()).collect()
}
