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
    /// The order it tells of, if it is one's.
    pub order: Option<OrderId>,
    /// Host and port of its address.
    pub backend: String,
    /// Where it goes.
    pub url: String,
    /// Its body.
    pub payload: String,
    /// Tries made on this schedule.
    pub tries: u32,
    /// When its schedule began: it was written, or resent.
    pub since: Timestamp,
}

/// A backend with webhooks that are due, now or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookBackend {
    /// Host and port.
    pub backend: String,
    /// When the first of them is due.
    pub first_at: Timestamp,
    /// When the last of them is due.
    pub last_at: Timestamp,
}

/// How many of a backend's webhooks are not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTotals {
    /// Host and port.
    pub backend: String,
    /// Due, now or later.
    pub due: u64,
    /// Given up.
    pub dead: u64,
    /// Since when the longest due of them waits; in the future if none waits.
    pub due_since: Option<Timestamp>,
}

/// Which webhooks to list.
#[derive(Debug, Clone, Default)]
pub struct WebhookFilter {
    /// Only this one.
    pub id: Option<String>,
    /// Only in this state: `none`, `due`, `delivered`, `dead`.
    pub state: Option<String>,
    /// Only to this backend.
    pub backend: Option<String>,
    /// Only of this order.
    pub order: Option<OrderId>,
    /// Only those before this `seq`.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// A webhook in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookLine {
    /// Its place: the cursor of `/v1/events`.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The order it tells of.
    pub order_id: String,
    /// Its type.
    pub kind: String,
    /// Host and port; none if no address was given.
    pub backend: Option<String>,
    /// Where it goes.
    pub url: Option<String>,
    /// `none`, `due`, `delivered` or `dead`.
    pub state: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its present schedule began.
    pub since: Timestamp,
    /// Tries made on that schedule.
    pub tries: u32,
    /// When the next one is due.
    pub next_at: Option<Timestamp>,
    /// The latest calls, of all schedules, oldest first.
    pub calls: Vec<WebhookCall>,
}

/// One call of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCall {
    /// When it began.
    pub at: Timestamp,
    /// What the backend answered.
    pub status: Option<i32>,
    /// Why it does not count.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
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

/// Which orders an audit reads, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditRange {
    /// Only ids after this one; empty for all.
    pub after: String,
    /// Only ids up to this one, which is included.
    pub upto: Option<String>,
}

/// A page of an audit's reading: orders by id, or one that cannot be read.
pub type AuditPage = Result<Vec<domain::audit::OrderAccount>, Unreadable>;

/// Rows that the database cannot give out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The order they belong to; without one, reading ended there.
    pub order: Option<String>,
    /// What the database says.
    pub what: String,
}
