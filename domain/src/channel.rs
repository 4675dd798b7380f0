//! What a channel can be, can be asked, and can say, in words that all channels share.
//!
//! An [`Answer`] is sorted by what the caller may do next, never by transport detail. Silence is an answer
//! of its own: it proves nothing. Only [`Evidence`] (a signed word of the channel, however it arrived)
//! moves an order.

use serde::{Deserialize, Serialize};

use crate::{ChannelId, Money, Timestamp};

/// How money moves on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// The payer acts on a credential; calling the channel moves nothing.
    Credential,
    /// The call itself moves the money: calling is exposing, and silence there is unknown.
    Direct,
}

/// How the payer meets the payment. A direct channel serves every scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// A QR code on a screen.
    Native,
    /// Inside the mini program or a page in the channel's own client.
    Jsapi,
    /// A browser outside the channel's client.
    H5,
}

impl Scene {
    /// The word used in the API and in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scene::Native => "native",
            Scene::Jsapi => "jsapi",
            Scene::H5 => "h5",
        }
    }
}

/// What the rules need to know about a configured channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelProfile {
    /// Its name.
    pub id: ChannelId,
    /// How money moves on it.
    pub kind: ChannelKind,
    /// Scenes in which it can be used (a direct channel lists all of them).
    pub scenes: Vec<Scene>,
    /// The largest amount of one attempt.
    pub limit: Money,
    /// Lower limits for some payers or scenes; the lowest that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

/// A limit of one attempt for some payers or scenes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Only for this type of account, such as `student`; without one for all.
    pub account_type: Option<String>,
    /// Only in this scene; without one in all.
    pub scene: Option<Scene>,
    /// The largest amount.
    pub amount: Money,
}

impl ChannelProfile {
    /// The largest amount that one attempt may have for this payer in this scene.
    #[must_use]
    pub fn limit_for(&self, account_type: &str, scene: Scene) -> Money {
        let fits = |limit: &&Limit| {
            limit.account_type.as_deref().is_none_or(|wanted| wanted == account_type)
                && limit.scene.is_none_or(|wanted| wanted == scene)
        };
        self.limits.iter().filter(fits).map(|limit| limit.amount).fold(self.limit, Money::min)
    }
}

/// What the payer needs to pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Credential {
    /// Text to draw as a QR code.
    Qr {
        /// The opaque text.
        code_url: String,
    },
    /// Parameters for the client's own payment call (`wx.requestPayment`).
    Jsapi {
        /// The parameters, as the client wants them.
        params: std::collections::BTreeMap<String, String>,
    },
    /// A form that the payer's browser must post as it is: a page submits it at once.
    Form {
        /// Where it goes.
        action: String,
        /// Its fields, all of them signed.
        fields: std::collections::BTreeMap<String, String>,
    },
    /// An address to send the browser to.
    H5 {
        /// The address.
        h5_url: String,
    },
}

/// A channel's reply, sorted by what may be done next. `A`: taken, not finished. `S`: finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<A, S> {
    /// The channel took the call; the outcome comes later.
    Accepted(A),
    /// The channel gave its final word, signed and verified.
    Settled(S),
    /// The channel refused the call, and nothing was done.
    Declined(Refusal),
    /// The call certainly did nothing: it never left, or the channel said so ("busy, nothing stored").
    NeverSent(String),
    /// No answer that proves anything: timeout, lost connection, 5xx, bad signature. Ask, don't repeat blindly.
    Silent(String),
}

impl<A, S> Answer<A, S> {
    /// The word used in logs and metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Answer::Accepted(_) => "accepted",
            Answer::Settled(_) => "settled",
            Answer::Declined(_) => "declined",
            Answer::NeverSent(_) => "never_sent",
            Answer::Silent(_) => "silent",
        }
    }
}

/// A refusal in the channel's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The channel's code, such as `PARAM_ERROR` or `INSUFFICIENT_BALANCE`.
    pub code: String,
    /// The channel's text, for people.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
}

/// Whose fault a refusal is: the payer's are not held against a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// No balance, wrong card, limit of the account.
    Payer,
    /// Our request or configuration.
    Ours,
    /// The channel is over its quota or out of order; the same call may succeed later.
    Channel,
    /// The order is in another state than we thought (paid, closed): ask.
    State,
}

/// Prepay: a credential (or, on a direct channel, "working on it"), or the final word at once.
pub type PrepayAnswer = Answer<Option<Credential>, Found>;
/// Query: still open, or the final word.
pub type QueryAnswer = Answer<StillOpen, Found>;
/// Close: still open, or the final word (closed, or captured after all).
pub type CloseAnswer = Answer<StillOpen, Found>;
/// Refund and refund query: in progress, or the final word.
pub type RefundAnswer = Answer<RefundProgress, RefundFound>;

/// Why a trade is not finished yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StillOpen {
    /// Waiting for the payer, or being worked on.
    Pending,
    /// The channel does not know the number (yet).
    NotFound,
}

/// Why a refund is not finished yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundProgress {
    /// The channel works on it.
    Processing,
    /// The channel does not know the refund number: send the same request again.
    NotFound,
}

/// The channel's final word on a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RefundFound {
    /// The money is on its way back to the payer for good.
    Succeeded {
        /// The channel's own refund id.
        channel_refund_id: String,
        /// How much was given back.
        amount: Money,
        /// When, by the channel's clock.
        at: Timestamp,
    },
    /// The channel gave up on it; people must act.
    Failed {
        /// The channel's code.
        code: String,
    },
}

/// Money taken by a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// How much.
    pub amount: Money,
    /// The channel's own trade number.
    pub trade_no: String,
    /// When, by the channel's clock.
    pub at: Timestamp,
}

/// The channel's final word on a trade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// Paid.
    Captured(Capture),
    /// Closed unpaid (or reversed in full); it will never be paid.
    Closed,
    /// Refused for good; it will never be paid.
    Declined(Refusal),
}

/// How a piece of evidence arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// The channel called us.
    Notification,
    /// We asked.
    Query,
    /// The answer to a prepay (direct channels).
    Prepay,
    /// The answer to a close.
    Close,
    /// A line of the channel's bill.
    Bill,
    /// A person with the right scope.
    Operator,
}

impl EvidenceSource {
    /// The word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            EvidenceSource::Notification => "notification",
            EvidenceSource::Query => "query",
            EvidenceSource::Prepay => "prepay",
            EvidenceSource::Close => "close",
            EvidenceSource::Bill => "bill",
            EvidenceSource::Operator => "operator",
        }
    }
}

/// A verified, final word of a channel about one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// How it arrived.
    pub source: EvidenceSource,
    /// What to look up: notification log id, the channel's request id, bill line.
    pub reference: String,
    /// What it says.
    pub found: Found,
}

/// A trade at a channel, as much of it as is needed to ask about it.
///
/// The number alone does not name a trade everywhere: UnionPay wants the moment that was sent with it, and no word
/// about an unpaid trade is final there before its last moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeKey {
    /// The number we gave it.
    pub number: crate::ChannelOrderNo,
    /// When the attempt was planned; the same in every call about it.
    pub planned_at: Timestamp,
    /// The last moment at which the payer may pay.
    pub expires_at: Timestamp,
}

/// What the channel is asked to collect: one attempt, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepayAsk {
    /// The number it keeps at the channel.
    pub channel_order_no: crate::ChannelOrderNo,
    /// When the attempt was planned; a repeat carries the same moment.
    pub planned_at: Timestamp,
    /// How much.
    pub amount: Money,
    /// Shown to the payer.
    pub description: String,
    /// How the payer meets the payment.
    pub scene: Scene,
    /// The payer's number at the campus (student or staff number).
    pub payer_id: String,
    /// The payer's type of account, such as `student`.
    pub account_type: String,
    /// The payer's id at the channel, where the scene needs one.
    pub openid: Option<String>,
    /// The payer's network address, where the scene needs one.
    pub client_ip: Option<String>,
    /// The last moment at which the payer may pay.
    pub expires_at: Timestamp,
}

/// What the channel is asked to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    /// The refund's own number: the channel's idempotency key.
    pub refund_no: crate::RefundNo,
    /// When it was booked; a repeat carries the same moment.
    pub booked_at: Timestamp,
    /// The attempt that captured the money.
    pub channel_order_no: crate::ChannelOrderNo,
    /// The channel's own number of that trade.
    pub trade_no: String,
    /// How much to give back.
    pub amount: Money,
    /// How much was captured.
    pub captured: Money,
    /// Shown to the payer.
    pub reason: String,
}
