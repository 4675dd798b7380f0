//! The rules: an order, an event and the time in; facts out.
//!
//! [`decide`] names every pair of state and event, so that a new one asks its question at compile time.
//! The rules below it say what each event means. They work on a draft (a copy of the order that facts are
//! applied to as they are found), so a later rule sees what an earlier one concluded. What must be *done*
//! is not decided here: [`resume`](super::resume::resume) reads it from the resulting state.

mod capture;
mod collect;
mod end;
mod parts;
mod refunds;

use std::{sync::Arc, time::Duration};

use super::{
    Announcement, Attempt, Certificate, Event, Fact, NeverExposed, Order, OrderRequest, OrderState, Owed,
    PartPlan, TakenOver, Wish, announcements, resume, taken_over::in_words,
};
use crate::{AttemptNo, ChannelKind, Money, OrderId, Timestamp, planted};

/// Numbers the rules depend on; they change at runtime and so are an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a close may stay unanswered before the payer is let on under a pre-booked refund.
    pub close_patience: Duration,
    /// How long after expiry an attempt may stay without a certificate before the order is suspicious.
    pub certify_grace: Duration,
    /// How many attempts an order may have.
    pub attempts_max: u8,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            close_patience: Duration::from_secs(3),
            certify_grace: Duration::from_secs(60),
            attempts_max: 20,
        }
    }
}

/// What an event led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to append, in one commit. Empty: the event changed nothing (a repeat, or overtaken).
    pub facts: Vec<Fact>,
    /// The order as it will be once the facts are committed.
    pub next: Order,
}

impl Decision {
    /// What is owed after the commit.
    #[must_use]
    pub fn effects(&self, now: Timestamp) -> Vec<Owed> {
        resume(&self.next, now)
    }

    /// What the backend is to be told, in the same commit.
    #[must_use]
    pub fn announcements(&self) -> Vec<Announcement> {
        announcements(&self.facts)
    }
}

/// An event that the rules decline; the order stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The order has no such attempt.
    #[error("the order has no attempt {0}")]
    UnknownAttempt(AttemptNo),
    /// The order has no such refund.
    #[error("the order has no refund {0}")]
    UnknownRefund(crate::RefundNo),
    /// A notification names another amount than the order's.
    #[error("the amount differs: the order is {expected} yuan, the notification says {got} yuan")]
    AmountDiffers {
        /// The order's.
        expected: Money,
        /// The notification's.
        got: Money,
    },
    /// The order is over and cannot be paid another way.
    #[error("the order is {}", .0.as_str())]
    OrderFinal(OrderState),
    /// The order is paid; only a refund gives it back.
    #[error("the order is paid already; ask for a refund instead")]
    AlreadyPaid,
    /// Only a paid order has something to refund.
    #[error("the order is {}, so there is nothing to refund", .0.as_str())]
    NotPaid(OrderState),
    /// More than what is left.
    #[error("the refund exceeds what is left: {left} yuan")]
    RefundExceeds {
        /// What may still be refunded.
        left: Money,
    },
    /// A refund needs an amount.
    #[error("a refund is above zero")]
    RefundOfNothing,
    /// The backend's refund number was used with another amount.
    #[error("the refund number was used with another amount: {amount} yuan")]
    RefundNoReused {
        /// The amount of the first use.
        amount: Money,
    },
    /// Of the amount asked for, under a number that the order does not know: it may be a repeat of what was taken over
    /// from a bill, and booking it would give the money back twice.
    #[error("taken over from the channel's bill, which does not say your number for it: {}", in_words(.0))]
    RefundTakenOver(Vec<TakenOver>),
    /// The order has no such part.
    #[error("the order has no part {0}")]
    UnknownPart(u8),
    /// The order is paid in parts; this can only be asked of one of them.
    #[error("the order is paid in parts; ask it of the part whose turn it is")]
    IsSplit,
    /// A browser's payment needs the payer's network address.
    #[error("client_ip is needed in the h5 scene, and the order came without one")]
    AddressNeeded,
    /// The attempt holds nothing that could go back.
    #[error("attempt {0} holds no money that is not on its way already")]
    NothingHeld(AttemptNo),
    /// The late money is on its way back; what was sent cannot be called back.
    #[error("the late payment is already going back to the payer")]
    GoingBack,
    /// Two digits are all a refund number has.
    #[error("an order has at most 99 refunds")]
    TooManyRefunds,
    /// Only a number that this service gave out for this very order can be taken over from a bill.
    #[error("{0} is no refund number of this order")]
    ForeignRefund(crate::RefundNo),
    /// The attempt holds no capture (yet) that anything could have gone back of.
    #[error("attempt {0} took no money as far as is known; its payment comes first")]
    NothingCaptured(AttemptNo),
    /// The number is known, and says something else.
    #[error("refund {refund_no} is known as {amount} yuan of attempt {attempt}")]
    RefundDiffers {
        /// Which.
        refund_no: crate::RefundNo,
        /// Its attempt here.
        attempt: AttemptNo,
        /// Its amount here.
        amount: Money,
    },
}

/// The facts that make an order; the first transition of every history.
#[must_use]
pub fn accept(id: OrderId, request: Arc<OrderRequest>, now: Timestamp) -> Decision {
    let mut next = Order::begin(id, request.clone(), now);
    next.version = 1;
    Decision { facts: vec![Fact::Accepted { request, at: now }], next }
}

/// The facts that make an order which is paid in parts; the first transition of its history.
#[must_use]
pub fn accept_split(
    id: OrderId,
    request: Arc<OrderRequest>,
    parts: Vec<PartPlan>,
    now: Timestamp,
) -> Decision {
    let Decision { mut facts, mut next } = accept(id, request, now);
    let split = Fact::Split { parts };
    let applied = next.apply(&split);
    debug_assert!(applied.is_ok(), "{applied:?}");
    facts.push(split);
    Decision { facts, next }
}

/// Judges one event. Repeating an event is safe: the second time leads to no facts or the same refusal.
///
/// # Errors
/// [`Rejected`] says why the event has no effect; nothing is to be stored but the refusal itself.
pub fn decide(order: &Order, event: &Event, now: Timestamp, rules: &Rules) -> Result<Decision, Rejected> {
    use {Event as E, OrderState as S};
    let mut draft = Draft { order: order.clone(), facts: Vec::new(), now, rules: *rules };
    let d = &mut draft;
    match (order.state, event) {
        // An order in parts has rules of its own; its parts are ordinary orders.
        (S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious, event) if order.is_split() => {
            d.split(event)?;
        }
        (S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious, E::PartSeen { no, .. }) => {
            return Err(Rejected::UnknownPart(*no));
        }
        // Collecting: only an open order starts attempts; a choice that comes too late is dropped.
        (S::Pending | S::Processing, E::Routed(choice)) => d.routed(choice),
        (S::Success | S::Failed | S::Suspicious, E::Routed(_)) => {}
        (S::Pending, E::HedgeDue { no, choice }) => d.hedge_due(*no, choice)?,
        // An exposed attempt forbids a hedge; `hedge_due` checks it, since a switch may have started anew.
        (S::Processing, E::HedgeDue { no, choice }) => d.hedge_due(*no, choice)?,
        (S::Success | S::Failed | S::Suspicious, E::HedgeDue { .. }) => {}
        // A prepay's answer is news in every state: on a direct channel it is about money.
        (
            S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious,
            E::Prepaid { no, answer, only_call },
        ) => d.prepaid(*no, answer, *only_call)?,
        // So is evidence, whenever and how often it comes.
        (S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious, E::Found { no, evidence }) => {
            d.found(*no, evidence)?
        }
        // A silent close only ever helps a waiting switch along; it certifies nothing.
        (S::Pending | S::Processing, E::CloseUnanswered { no }) => d.close_unanswered(*no)?,
        (S::Success | S::Failed | S::Suspicious, E::CloseUnanswered { no }) => d.known(*no).map(|_| ())?,
        (S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious, E::TidyDone { no }) => {
            d.tidy_done(*no)?
        }
        // Wishes.
        (S::Pending | S::Processing, E::SwitchAsked { to, consent }) => d.switch_asked(to.as_ref(), *consent),
        (S::Success | S::Failed | S::Suspicious, E::SwitchAsked { .. }) => {
            return Err(Rejected::OrderFinal(order.state));
        }
        (S::Pending | S::Processing, E::ElsewhereAsked(elsewhere)) => d.elsewhere_asked(elsewhere)?,
        (S::Success | S::Failed | S::Suspicious, E::ElsewhereAsked(_)) => {
            return Err(Rejected::OrderFinal(order.state));
        }
        (S::Pending | S::Processing, E::CancelAsked) => d.cancel_asked(),
        (S::Success, E::CancelAsked) => return Err(Rejected::AlreadyPaid),
        (S::Failed, E::CancelAsked) => {} // a repeat: it will not be collected
        (S::Suspicious, E::CancelAsked) => return Err(Rejected::OrderFinal(order.state)),
        // A wish about money that may come late; once it is going back it is too late for the wish.
        (S::Pending | S::Processing | S::Failed, E::LateWanted) => d.late_wanted(),
        (S::Success, E::LateWanted) => {}
        (S::Suspicious, E::LateWanted) if order.refunds.is_empty() => d.late_wanted(),
        (S::Suspicious, E::LateWanted) => return Err(Rejected::GoingBack),
        // Only money that pays nothing can be held.
        (S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious, E::HeldReturned { no }) => {
            d.held_returned(*no)?;
        }
        // Refunds live beside the state: they are asked for when paid, and end whenever they end.
        (S::Success, E::RefundAsked { backend_no, amount, reason, besides_taken_over }) => {
            d.refund_asked(backend_no, *amount, reason, *besides_taken_over)?;
        }
        (S::Pending | S::Processing | S::Failed | S::Suspicious, E::RefundAsked { .. }) => {
            return Err(Rejected::NotPaid(order.state));
        }
        (
            S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious,
            E::RefundAnswered { refund_no, answer },
        ) => d.refund_answered(refund_no, answer)?,
        // What a channel gave back before the copy was restored is given back, whatever became of the order since.
        (
            S::Pending | S::Processing | S::Success | S::Failed | S::Suspicious,
            E::RefundAdopted { refund_no, no, amount, channel_refund_id, at },
        ) => d.refund_adopted(refund_no, *no, *amount, (channel_refund_id, *at))?,
        // Deadlines concern open orders; an order that is over or under suspicion waits for evidence.
        (S::Pending | S::Processing, E::Tick) => d.tick(),
        (S::Success | S::Failed | S::Suspicious, E::Tick) => {}
    }
    let Draft { mut order, facts, .. } = draft;
    if !facts.is_empty() {
        order.version += 1;
    }
    Ok(Decision { facts, next: order })
}

/// The order as it would be, and the facts that make it so.
struct Draft {
    order: Order,
    facts: Vec<Fact>,
    now: Timestamp,
    rules: Rules,
}

impl Draft {
    /// Adds a fact and lets the draft feel it.
    fn push(&mut self, fact: Fact) {
        // The rules only name attempts and refunds that they looked up, so the fold cannot refuse.
        let applied = self.order.apply(&fact);
        debug_assert!(applied.is_ok(), "{applied:?}: {fact:?}");
        self.facts.push(fact);
    }

    fn known(&self, no: AttemptNo) -> Result<&Attempt, Rejected> {
        self.order.attempt(no).ok_or(Rejected::UnknownAttempt(no))
    }

    fn certify(&mut self, no: AttemptNo, certificate: Certificate) {
        self.push(Fact::Certified { no, certificate });
    }

    /// Certifies every attempt whose credential nobody holds.
    fn drop_calling(&mut self, why: &NeverExposed) {
        let calling: Vec<AttemptNo> =
            self.order.attempts.iter().filter(|a| a.is_calling()).map(|a| a.no).collect();
        for no in calling {
            self.certify(no, Certificate::NeverExposed(why.clone()));
        }
    }

    /// Asks for the close of every attempt on which money can still move.
    fn close_live(&mut self) {
        let live: Vec<AttemptNo> = self
            .order
            .attempts
            .iter()
            .filter(|a| a.is_live() && a.close_asked_at.is_none())
            .map(|a| a.no)
            .collect();
        for no in live {
            self.push(Fact::CloseAsked { no, at: self.now });
        }
    }

    fn enter(&mut self, to: OrderState) {
        if self.order.state != to {
            self.push(Fact::StateChanged { to, failure: None });
        }
    }

    fn wish(&mut self, wish: Wish) {
        if self.order.wish != wish {
            self.push(Fact::Wished { wish });
        }
    }

    fn late_wanted(&mut self) {
        if !self.order.keeps_late() {
            self.push(Fact::LateWanted);
        }
    }

    fn expired(&self) -> bool {
        self.now >= self.order.request.expires_at
    }
}

/// True when a direct channel may be used: nothing of the order can still move money elsewhere.
fn nothing_live(order: &Order) -> bool {
    order.uncertified().all(Attempt::is_calling)
}

/// True when an order should have one more attempt now. Shared with `resume`, which owes the routing.
pub(super) fn wants_attempt(order: &Order, now: Timestamp) -> bool {
    let open = matches!(order.state, OrderState::Pending | OrderState::Processing);
    let blocked = match order.wish {
        Wish::Cancel => true,
        Wish::Collect => order.uncertified().next().is_some(),
        // Under a pre-booked refund the payer may go on while the old credential is still being closed.
        Wish::Switch { .. } => order.uncertified().any(|a| {
            !((a.refund_prebooked || planted::EXPOSE_EARLY)
                && a.is_live()
                && a.kind == ChannelKind::Credential)
        }),
    };
    open && !blocked && order.kept.is_none() && now < order.request.expires_at
}
