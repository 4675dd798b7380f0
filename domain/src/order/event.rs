//! What can happen to an order from outside.

use super::{Elsewhere, PartSeen};
use crate::{
    AttemptNo, ChannelId, Evidence, Money, RefundNo, Timestamp,
    channel::{PrepayAnswer, RefundAnswer},
    routing::Choice,
};

/// An event. It is judged by [`decide`](super::decide::decide) and may leave no trace at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The router answered which channel comes next.
    Routed(Choice),
    /// The prepay of attempt `no` has been silent for long enough; the router named another channel.
    HedgeDue {
        /// The silent attempt.
        no: AttemptNo,
        /// The router's answer.
        choice: Choice,
    },
    /// A prepay came back.
    Prepaid {
        /// Which attempt.
        no: AttemptNo,
        /// What the channel said.
        answer: PrepayAnswer,
        /// True if no other call for this attempt was ever made, in this life or an earlier one.
        only_call: bool,
    },
    /// A verified word of the channel, from wherever.
    Found {
        /// Which attempt.
        no: AttemptNo,
        /// The word.
        evidence: Evidence,
    },
    /// A close came back without a final word.
    CloseUnanswered {
        /// Which attempt.
        no: AttemptNo,
    },
    /// The leisurely close of an attempt that nobody could pay came to an end, whatever it was.
    TidyDone {
        /// Which attempt.
        no: AttemptNo,
    },
    /// The payer asks for another way to pay.
    SwitchAsked {
        /// Which, or any other.
        to: Option<ChannelId>,
        /// True if the payer agrees to be debited there at once.
        consent: bool,
    },
    /// The backend or the payer calls the order off.
    CancelAsked,
    /// The payer's client cannot pay in place: the payer asks to pay in another scene, such as a browser.
    ElsewhereAsked(Elsewhere),
    /// A part of a split order was looked at.
    PartSeen {
        /// Which.
        no: u8,
        /// What was seen.
        seen: PartSeen,
    },
    /// The backend still wants the order if the money comes after it failed.
    LateWanted,
    /// An operator sends back what an attempt holds and what does not pay the order.
    HeldReturned {
        /// Which attempt.
        no: AttemptNo,
    },
    /// The backend asks for money back.
    RefundAsked {
        /// The backend's own number: the idempotency key within the order.
        backend_no: String,
        /// How much.
        amount: Money,
        /// Text for the payer.
        reason: String,
        /// The backend has looked: it means another refund than any that was taken over from a bill, whatever the amount.
        besides_taken_over: bool,
    },
    /// The channel answered to a refund or a refund query, or notified of one.
    RefundAnswered {
        /// Which refund.
        refund_no: RefundNo,
        /// What it said.
        answer: RefundAnswer,
    },
    /// A channel's bill has a refund of this order that no row of ours knows: the store was restored from a copy that was
    /// taken before it. It is done, and is booked as it was done.
    RefundAdopted {
        /// Its number, which this service gave out in its lost life.
        refund_no: RefundNo,
        /// The attempt whose money went back.
        no: AttemptNo,
        /// How much.
        amount: Money,
        /// The channel's own number for it.
        channel_refund_id: String,
        /// When, by the channel's clock.
        at: Timestamp,
    },
    /// Time has passed: look at the deadlines.
    Tick,
}

impl Event {
    /// The word used in logs, causes and tests.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Event::Routed(_) => "routed",
            Event::HedgeDue { .. } => "hedge_due",
            Event::Prepaid { .. } => "prepaid",
            Event::Found { .. } => "found",
            Event::CloseUnanswered { .. } => "close_unanswered",
            Event::TidyDone { .. } => "tidy_done",
            Event::SwitchAsked { .. } => "switch_asked",
            Event::CancelAsked => "cancel_asked",
            Event::ElsewhereAsked(_) => "elsewhere_asked",
            Event::PartSeen { .. } => "part_seen",
            Event::LateWanted => "late_wanted",
            Event::HeldReturned { .. } => "held_returned",
            Event::RefundAsked { .. } => "refund_asked",
            Event::RefundAnswered { .. } => "refund_answered",
            Event::RefundAdopted { .. } => "refund_adopted",
            Event::Tick => "tick",
        }
    }
}
