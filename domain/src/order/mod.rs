//! The life of one order, from accepted to certain.
//!
//! [`decide`](decide::decide) takes an order, an event and the time and returns the facts to append; nothing
//! else changes an order. [`resume`](resume::resume) reads from the state alone what is still owed, so the
//! ordinary path and the recovery after a crash are the same path. Both are pure.
//! Nothing here ends an attempt without a [`Certificate`]; silence has no event that could.

pub mod announce;
pub mod attempt;
pub mod decide;
pub mod event;
pub mod fact;
mod gone;
pub mod part;
#[cfg(test)]
mod proofs;
pub mod refund;
pub mod resume;
pub mod taken_over;
pub mod truth;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

pub use announce::{Announcement, announcements};
pub use attempt::{Attempt, AttemptCause, Certificate, NeverExposed};
pub use decide::{Decision, Rejected, Rules, accept, accept_split, decide};
pub use event::Event;
pub use fact::Fact;
pub use part::{Part, PartOf, PartPlan, PartSeen, PartState, Share, Spread};
pub use refund::{Refund, RefundCause, RefundState};
pub use resume::{Owed, resume};
pub use taken_over::TakenOver;
pub use truth::{Truth, TruthCode, truth};

use crate::{
    AttemptNo, ChannelId, ChannelKind, MerchantId, Money, OrderId, RefundNo, Scene, Timestamp,
    channel::ChannelProfile,
};

/// The five states of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// 待支付: accepted and durable; nothing exposed.
    Pending,
    /// 处理中: the payer can pay.
    Processing,
    /// 成功: captured exactly once, net.
    Success,
    /// 失败: every attempt certified, nothing kept.
    Failed,
    /// 可疑: evidence is missing or contradicts.
    Suspicious,
}

impl OrderState {
    /// Every state, in the order of the table in the documentation.
    pub const ALL: [OrderState; 5] = [
        OrderState::Pending,
        OrderState::Processing,
        OrderState::Success,
        OrderState::Failed,
        OrderState::Suspicious,
    ];

    /// The word used in the API, the store and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OrderState::Pending => "pending",
            OrderState::Processing => "processing",
            OrderState::Success => "success",
            OrderState::Failed => "failed",
            OrderState::Suspicious => "suspicious",
        }
    }

    /// True for success and failed: the backend may act on it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, OrderState::Success | OrderState::Failed)
    }
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// The campus's number for the person; the campus card is debited under it.
    pub id: String,
    /// `student`, `staff`, …: limits and channels depend on it.
    pub account_type: String,
    /// The person's id at WeChat, where the scene needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// The person's ids at other channels, by channel: an Alipay user id is not a WeChat openid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<ChannelId, String>,
    /// The person's network address, where the scene needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
}

impl Payer {
    /// The person's id at a channel: the one bound to it, or else the openid of the client the person uses.
    #[must_use]
    pub fn id_at(&self, channel: &ChannelId) -> Option<&str> {
        self.accounts.get(channel).or(self.openid.as_ref()).map(String::as_str)
    }
}

/// What a backend asked to be paid; never changes after acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// The backend's own number: the idempotency key within the merchant.
    pub order_no: String,
    /// The stall.
    pub merchant_id: MerchantId,
    /// How much, above zero.
    pub amount: Money,
    /// Shown to the payer.
    pub description: String,
    /// Who pays.
    pub payer: Payer,
    /// How the payer meets the payment.
    pub scene: Scene,
    /// Channels that may be used, best first; empty means every configured one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelId>,
    /// Direct channels the payer agreed to be debited on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<ChannelId>,
    /// Where webhooks go; none means the backend reads `/v1/events` or polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
    /// The backend still wants the order if the money comes after it failed; without it such money goes back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_late: bool,
    /// Set if this order is a part of a larger one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// The last moment at which the payer may pay.
    pub expires_at: Timestamp,
}

impl OrderRequest {
    /// Whether a channel could serve this order, whatever its state and limits are: it is allowed, has the scene, and
    /// where it moves money by itself the payer has agreed.
    #[must_use]
    pub fn may_use(&self, channel: &ChannelProfile) -> bool {
        let allowed = self.channels.is_empty() || self.channels.contains(&channel.id);
        let agreed = channel.kind == ChannelKind::Credential || self.consents.contains(&channel.id);
        allowed && agreed && channel.scenes.contains(&self.scene)
    }
}

/// What the payer or the backend asked for while the order was open.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "wish", rename_all = "snake_case")]
pub enum Wish {
    /// Nothing: collect the order.
    #[default]
    Collect,
    /// Do not collect it any more.
    Cancel,
    /// Collect it another way; `None` leaves the choice to the router.
    Switch {
        /// The channel asked for.
        to: Option<ChannelId>,
    },
}

/// Another way for the payer to meet the payment than the one the order came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// How.
    pub scene: Scene,
    /// The payer's network address, where that scene needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
}

/// Why an order failed, for the backend and the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The payer did not pay in time.
    Expired,
    /// The backend or the payer called it off.
    Cancelled,
    /// Every channel that could be used refused.
    Declined,
    /// The channel closed the trade unasked.
    ClosedByChannel,
    /// Money came after failure, or not as ordered, and went back.
    Returned,
}

impl Failure {
    /// The word used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Failure::Expired => "expired",
            Failure::Cancelled => "cancelled",
            Failure::Declined => "declined",
            Failure::ClosedByChannel => "closed_by_channel",
            Failure::Returned => "returned",
        }
    }
}

/// One order: the fold of its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// What was asked.
    pub request: Arc<OrderRequest>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Where it stands.
    pub state: OrderState,
    /// How many transitions were committed: the key of the last row in `order_events`.
    pub version: u64,
    /// Tries to collect it, by number.
    pub attempts: Vec<Attempt>,
    /// Money going back, by number.
    pub refunds: Vec<Refund>,
    /// What was asked for meanwhile.
    pub wish: Wish,
    /// Direct channels the payer agreed to after acceptance.
    pub consents: Vec<ChannelId>,
    /// The attempt whose capture pays the order.
    pub kept: Option<AttemptNo>,
    /// Set when the order failed, also if it is suspicious again since: a backend was told "failed".
    pub failure: Option<Failure>,
    /// Said after acceptance: the order is still wanted if the money comes late.
    pub keep_late: bool,
    /// The orders that pay it, one after another, if it is above every channel's limit; else none.
    pub parts: Vec<Part>,
    /// A part failed or the order was called off: since when, and why, what was paid goes back.
    pub recalled: Option<(Failure, Timestamp)>,
    /// Refunds of an order that was paid in parts.
    pub spreads: Vec<Spread>,
    /// The payer's client cannot pay in place: how and from where the payer pays instead.
    pub elsewhere: Option<Elsewhere>,
    /// Since when no channel that the order could use can be used; none once an attempt was planned.
    pub waiting_since: Option<Timestamp>,
}

impl Order {
    /// The attempt with this number.
    #[must_use]
    pub fn attempt(&self, no: AttemptNo) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.no == no)
    }

    /// The refund with this number.
    #[must_use]
    pub fn refund(&self, no: &RefundNo) -> Option<&Refund> {
        self.refunds.iter().find(|r| r.no == *no)
    }

    /// The highest place that a refund number of the order has taken; the next refund goes after it. Numbers of refunds
    /// that were taken over from a bill may leave gaps, and what stood in a gap may be known to the channel.
    #[must_use]
    pub fn refund_places(&self) -> u8 {
        self.refunds.iter().filter_map(|r| r.no.place()).max().unwrap_or(0)
    }

    /// Refunds of the payment that is kept, taken over from a bill: the backend asked for them under numbers that are
    /// not known here.
    pub fn adopted_refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.iter().filter(|r| r.cause == RefundCause::Asked && r.backend_no.is_none())
    }

    /// Attempts that nothing has ended yet.
    pub fn uncertified(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|a| a.certificate.is_none())
    }

    /// The one attempt whose credential the payer should see now, if any.
    #[must_use]
    pub fn shown(&self) -> Option<&Attempt> {
        self.uncertified().filter(|a| a.is_exposed() && a.close_asked_at.is_none()).max_by_key(|a| a.no)
    }

    /// How the payer meets the payment: as ordered, unless the payer's client could not.
    #[must_use]
    pub fn scene(&self) -> Scene {
        self.elsewhere.as_ref().map_or(self.request.scene, |e| e.scene)
    }

    /// The payer's network address, as far as it is known.
    #[must_use]
    pub fn client_ip(&self) -> Option<&str> {
        let elsewhere = self.elsewhere.as_ref().and_then(|e| e.client_ip.as_deref());
        elsewhere.or(self.request.payer.client_ip.as_deref())
    }

    /// True if a payment that comes after the order failed pays it after all.
    #[must_use]
    pub fn keeps_late(&self) -> bool {
        self.keep_late || self.request.keep_late
    }

    /// True for a capture that neither pays the order nor is on its way back: its amount is not the order's, and
    /// a bill or a person has the next word.
    #[must_use]
    pub fn is_held(&self, attempt: &Attempt) -> bool {
        attempt.capture.is_some() && self.kept != Some(attempt.no) && !self.refundable(attempt.no).is_zero()
    }

    /// All direct channels the payer agreed to.
    pub fn all_consents(&self) -> impl Iterator<Item = &ChannelId> {
        self.request.consents.iter().chain(&self.consents)
    }

    /// Captured and not on its way back: what the order holds, over all channels.
    #[must_use]
    pub fn net_captured(&self) -> Money {
        let fen = self.captured().fen().saturating_sub(self.refunded().fen());
        Money::from_fen(fen).unwrap_or(Money::ZERO)
    }

    /// Everything that was captured, over all attempts.
    #[must_use]
    pub fn captured(&self) -> Money {
        Money::sum(self.attempts.iter().filter_map(|a| a.capture.as_ref()).map(|c| c.amount))
            .unwrap_or(Money::ZERO)
    }

    /// Everything that was given back for good.
    #[must_use]
    pub fn refunded(&self) -> Money {
        Money::sum(self.refunds.iter().filter(|r| r.state == RefundState::Succeeded).map(|r| r.amount))
            .unwrap_or(Money::ZERO)
    }

    /// What may still be refunded of attempt `no`: its capture less every refund that did not fail.
    #[must_use]
    pub fn refundable(&self, no: AttemptNo) -> Money {
        let captured = self.attempt(no).and_then(|a| a.capture.as_ref()).map_or(0, |c| c.amount.fen());
        let going: i64 = self
            .refunds
            .iter()
            .filter(|r| r.attempt == no && r.state != RefundState::Failed)
            .map(|r| r.amount.fen())
            .sum();
        Money::from_fen(captured.saturating_sub(going)).unwrap_or(Money::ZERO)
    }

    /// True when captures that do not pay the order have not all gone back yet.
    #[must_use]
    pub fn surplus_outstanding(&self) -> bool {
        self.attempts.iter().filter(|a| a.capture.is_some() && Some(a.no) != self.kept).any(|a| {
            let back: i64 = self
                .refunds
                .iter()
                .filter(|r| r.attempt == a.no && r.state == RefundState::Succeeded)
                .map(|r| r.amount.fen())
                .sum();
            a.capture.as_ref().is_some_and(|c| c.amount.fen() > back)
        })
    }

    /// True when nothing is owed any more: terminal, every attempt certified and tidy, every refund final, and no
    /// money left that pays nothing (a refund that a channel gave up on waits for people).
    /// The actor of a settled order stops; a late message revives it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state.is_terminal()
            && self.attempts.iter().all(Attempt::is_tidy)
            && self.refunds.iter().all(|r| r.state.is_final())
            && !self.surplus_outstanding()
            && self.spreads.iter().all(|s| s.state.is_final())
    }
}
