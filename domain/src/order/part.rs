//! An order above every channel's limit is paid in parts: each part is an order of its own, one after another.
//!
//! The whole knows its parts by what was seen of them; it has no attempts and moves no money. All or nothing: if one part
//! fails for good, or the order is called off, the paid parts go back and the whole fails. The refund of a split
//! order is spread over its parts. Pure; carrying it out is the actor's business, and every step is safe to repeat.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Event, Failure, Order, OrderRequest, OrderState, RefundState, TakenOver, Wish};
use crate::{Money, OrderId, RefundNo, Timestamp, planted};

/// Whose part an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOf {
    /// The whole.
    pub order: OrderId,
    /// Which part, from 1.
    pub no: u8,
    /// How many there are.
    pub of: u8,
}

/// A part as it was cut: its order exists once its turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlan {
    /// The id that its order will have.
    pub id: OrderId,
    /// How much it is.
    pub amount: Money,
}

/// Where a part stands, as far as the whole has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Its turn has not come, or nothing is exposed yet.
    Waiting,
    /// The payer can pay it.
    Payable,
    /// Its evidence is missing or contradicts.
    Suspicious,
    /// Paid.
    Paid,
    /// It will not be paid; nothing is held.
    Failed,
    /// It was paid, and all of it went back because the whole failed.
    Returned,
}

impl PartState {
    /// The word used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            PartState::Waiting => "waiting",
            PartState::Payable => "payable",
            PartState::Suspicious => "suspicious",
            PartState::Paid => "paid",
            PartState::Failed => "failed",
            PartState::Returned => "returned",
        }
    }
}

/// A part of a split order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which, from 1.
    pub no: u8,
    /// Its order.
    pub id: OrderId,
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub state: PartState,
}

/// A refund of a split order: what the backend asked for, spread over the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Our number for it; each part's refund has its own at the channel.
    pub no: RefundNo,
    /// The backend's number, within the order and within each part.
    pub backend_no: String,
    /// How much in all.
    pub amount: Money,
    /// Text for the payer.
    pub reason: String,
    /// How much of which part.
    pub shares: Vec<Share>,
    /// Where it stands: booked until every share is final.
    pub state: RefundState,
    /// When it was decided.
    pub booked_at: Timestamp,
    /// When the money was back, by the channel's clock, if it was taken over from a bill.
    pub done_at: Option<Timestamp>,
}

/// What one part gives back of a spread refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which part.
    pub part: u8,
    /// How much.
    pub amount: Money,
    /// Booked until the part's refund is final.
    pub state: RefundState,
}

/// What the whole wants to know of a part; read from the part's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSeen {
    /// Where the part's order stands.
    pub state: OrderState,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Nothing is owed any more.
    pub settled: bool,
    /// What its channels hold for it.
    pub net: Money,
    /// What may still be refunded of the payment that is kept.
    pub refundable: Money,
    /// Its refunds, by the backend's number.
    pub refunds: Vec<(String, RefundState)>,
    /// Its refunds that were taken over from a bill, whose backend's number is not known.
    pub adopted: Vec<TakenOver>,
}

impl PartSeen {
    /// Looks at a part's order.
    #[must_use]
    pub fn of(part: &Order) -> PartSeen {
        let asked = part.refunds.iter().filter_map(|r| Some((r.backend_no.clone()?, r.state)));
        PartSeen {
            state: part.state,
            failure: part.failure,
            settled: part.is_settled(),
            net: part.net_captured(),
            refundable: part.kept.map_or(Money::ZERO, |no| part.refundable(no)),
            refunds: asked.collect(),
            adopted: part.adopted_refunds().map(TakenOver::from).collect(),
        }
    }
}

/// The number under which a paid part goes back when the whole fails. A backend's own refund numbers have no dot.
pub(super) const RECALL: &str = "all.or.nothing";
/// Before the part's refund number: what the whole calls a refund that its part took over from a bill.
const ADOPTED: &str = "adopted.";

impl Spread {
    /// What a whole calls a refund that its part took over from a bill. A backend's own refund numbers have no dot.
    pub(super) fn adopted(part_refund: &RefundNo) -> String {
        format!("{ADOPTED}{part_refund}")
    }

    /// The backend's number for it; none if it was taken over from a bill, which does not say it.
    #[must_use]
    pub fn asked_as(&self) -> Option<&str> {
        Some(self.backend_no.as_str()).filter(|no| !no.starts_with(ADOPTED))
    }
}

impl Order {
    /// True for an order that is paid in parts.
    #[must_use]
    pub fn is_split(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The part with this number.
    #[must_use]
    pub fn part(&self, no: u8) -> Option<&Part> {
        self.parts.iter().find(|p| p.no == no)
    }

    /// The spread refund with this number.
    #[must_use]
    pub fn spread(&self, no: &RefundNo) -> Option<&Spread> {
        self.spreads.iter().find(|s| s.no == *no)
    }

    /// The part whose turn it is: the first that has not ended; none once the order has, or its parts are recalled.
    #[must_use]
    pub fn current_part(&self) -> Option<&Part> {
        if self.state.is_terminal() || self.recalled.is_some() {
            return None;
        }
        self.parts
            .iter()
            .find(|p| matches!(p.state, PartState::Waiting | PartState::Payable | PartState::Suspicious))
    }

    /// What goes back, or went, of a part for spread refunds.
    pub(super) fn going_of_part(&self, no: u8) -> i64 {
        let shares = self.spreads.iter().flat_map(|s| &s.shares);
        let going = shares.filter(|s| s.part == no && s.state != RefundState::Failed);
        going.map(|s| s.amount.fen()).sum()
    }

    /// Paid and not sent back.
    #[must_use]
    pub fn paid_parts(&self) -> (usize, Money) {
        let paid = || self.parts.iter().filter(|p| p.state == PartState::Paid);
        (paid().count(), Money::sum(paid().map(|p| p.amount)).unwrap_or(Money::ZERO))
    }

    /// What the parts hold, as far as the whole has seen: paid, less what went back of spread refunds.
    #[must_use]
    pub fn paid_parts_net(&self) -> Money {
        let shares = self.spreads.iter().flat_map(|s| &s.shares);
        let back: i64 = shares.filter(|s| s.state == RefundState::Succeeded).map(|s| s.amount.fen()).sum();
        Money::from_fen(self.paid_parts().1.fen().saturating_sub(back)).unwrap_or(Money::ZERO)
    }

    /// The parts that something is to be done about, each with [`Order::part_duty`].
    pub(super) fn parts_owed(&self) -> Vec<u8> {
        let mut owed = Vec::new();
        if !self.state.is_terminal() {
            if self.recalled.is_some() {
                let back = |p: &&Part| p.state == PartState::Paid;
                owed.extend(self.parts.iter().filter(back).map(|p| p.no));
            } else {
                owed.extend(self.current_part().map(|p| p.no));
            }
        }
        let shares = self.spreads.iter().flat_map(|s| &s.shares);
        owed.extend(shares.filter(|s| !s.state.is_final()).map(|s| s.part));
        owed.sort_unstable();
        owed.dedup();
        owed
    }

    /// What a part is to be told, in this order; each of them is safe to repeat. Looking at it comes after.
    #[must_use]
    pub fn part_duty(&self, no: u8) -> Vec<Event> {
        let Some(part) = self.part(no) else { return Vec::new() };
        let mut duty = Vec::new();
        if !self.state.is_terminal() && self.wish == Wish::Cancel && part.state != PartState::Paid {
            duty.push(Event::CancelAsked);
        }
        let refund = |backend_no: &str, amount, reason: &str| Event::RefundAsked {
            backend_no: backend_no.to_owned(),
            amount,
            reason: reason.to_owned(),
            // The whole has judged what the backend asked for; its part is to do it.
            besides_taken_over: true,
        };
        if !self.state.is_terminal()
            && self.recalled.is_some()
            && part.state == PartState::Paid
            && !planted::KEPT_PART
        {
            // All that is still there: a refund that was taken over from a bill is back already.
            let left = part.amount.fen().saturating_sub(self.going_of_part(no));
            if let Some(left) = Money::from_fen(left).ok().filter(|left| !left.is_zero()) {
                duty.push(refund(RECALL, left, "another part of the payment failed"));
            }
        }
        for spread in self.spreads.iter().filter(|s| !s.state.is_final()) {
            let share = spread.shares.iter().find(|s| s.part == no);
            duty.extend(share.map(|s| refund(&spread.backend_no, s.amount, &spread.reason)));
        }
        duty
    }

    /// What a part's order asks for: as the whole, with its own number, amount and place.
    #[must_use]
    pub fn part_request(&self, no: u8) -> Option<Arc<OrderRequest>> {
        let part = self.part(no)?;
        let of = u8::try_from(self.parts.len()).unwrap_or(u8::MAX);
        Some(Arc::new(OrderRequest {
            // A backend's own numbers have no dot, so this is never one of them.
            order_no: format!("{}.{no}", self.request.order_no),
            amount: part.amount,
            notify_url: None,
            keep_late: false,
            part_of: Some(PartOf { order: self.id, no, of }),
            ..OrderRequest::clone(&self.request)
        }))
    }
}
