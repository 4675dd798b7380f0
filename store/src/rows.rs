//! What readers get. Row types stay here; a row that is not what it must be is a loud error.

use domain::{OrderId, Timestamp, order::Fact};

use crate::entry::Cause;

/// One committed transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub version: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What happened.
    pub facts: Vec<Fact>,
}

/// A webhook that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookDue {
    /// Its id.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// Its body.
    pub payload: String,
    /// Tries made.
    pub tries: u32,
    /// When it was written.
    pub created_at: Timestamp,
}

/// One line of `/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLine {
    /// The cursor after it.
    pub cursor: i64,
    /// The webhook's id.
    pub id: String,
    /// The webhook's body.
    pub payload: String,
}

/// A threshold that was changed at runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuningRow {
    /// Which.
    pub key: String,
    /// To what.
    pub value: String,
    /// When.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}

/// Which orders to list.
#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    /// Only this state.
    pub state: Option<String>,
    /// Only those that people should look at: suspicious, or with a refund that the channel gave up on.
    pub attention: bool,
    /// Only ids before this one.
    pub before: Option<OrderId>,
    /// At most so many.
    pub limit: usize,
}

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// Its id.
    pub id: OrderId,
    /// The stall.
    pub merchant_id: String,
    /// The backend's number.
    pub order_no: String,
    /// Its state.
    pub state: String,
    /// Ordered, in fen.
    pub amount_fen: i64,
    /// Held by channels, in fen.
    pub net_fen: i64,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// Which calls of channels to list.
#[derive(Debug, Clone, Default)]
pub struct NotificationFilter {
    /// Only of this order.
    pub order: Option<OrderId>,
    /// Only of this channel.
    pub channel: Option<String>,
    /// Only with this verdict.
    pub verdict: Option<String>,
    /// At most so many.
    pub limit: usize,
}
