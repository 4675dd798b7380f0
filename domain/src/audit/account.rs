//! What the audit is given: an order's rows as they are stored, in plain words and fen, and a channel's own lines.
//!
//! Nothing here is checked; checking is the audit's work. An account may lack the order's own row, and its texts
//! may be anything: that is what a damaged store looks like.

use serde::{Deserialize, Serialize};

/// Everything that is stored under one order id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderAccount {
    /// The id.
    pub id: String,
    /// The order's own row; without it the others belong to nobody.
    pub row: Option<OrderRow>,
    /// Its history by version.
    pub events: Vec<EventRow>,
    /// Its attempts by number.
    pub attempts: Vec<AttemptRow>,
    /// Its refunds by number.
    pub refunds: Vec<RefundRow>,
    /// Its lines in the books by version and line.
    pub books: Vec<BookLine>,
    /// What its backend is told, by `seq`.
    pub webhooks: Vec<WebhookRow>,
}

/// A row of `orders`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderRow {
    /// The stall.
    pub merchant_id: String,
    /// The backend's number.
    pub order_no: String,
    /// What identifies the accepted body.
    pub body_hash: String,
    /// Where it stands.
    pub state: String,
    /// 1 if nothing is owed any more.
    pub settled: i64,
    /// Committed transitions.
    pub version: i64,
    /// Ordered, in fen.
    pub amount_fen: i64,
    /// Held by channels, in fen.
    pub net_fen: i64,
    /// Who pays.
    pub payer_id: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was accepted, in microseconds.
    pub created_at: i64,
    /// The last moment to pay, in microseconds.
    pub expires_at: i64,
    /// The orders that pay it, if it is paid in parts; else 0.
    pub parts: i64,
    /// The order whose part this is.
    pub part_of: Option<String>,
}

/// A row of `order_events`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventRow {
    /// Its number.
    pub version: i64,
    /// When, in microseconds.
    pub at: i64,
    /// The event's word.
    pub event: String,
    /// Where it came from.
    pub source: String,
    /// What to look up there.
    pub reference: String,
    /// The facts in JSON.
    pub facts: String,
    /// Its link in the chain.
    pub hash: Vec<u8>,
}

/// A row of `attempts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its number within the order.
    pub no: i64,
    /// Its channel.
    pub channel: String,
    /// Its number there.
    pub channel_order_no: String,
    /// Where it stands; a certificate, or `calling`, `exposed`, `closing`.
    pub state: String,
    /// When its credential was released, in microseconds.
    pub exposed_at: Option<i64>,
    /// What it took, in fen.
    pub capture_fen: Option<i64>,
    /// The channel's number for that.
    pub trade_no: Option<String>,
    /// When it took it, by its own clock, in microseconds.
    pub captured_at: Option<i64>,
    /// From where we know: `notification`, `query`, `bill`, …
    pub captured_by: Option<String>,
}

/// A row of `refunds`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefundRow {
    /// Its number at the channel.
    pub refund_no: String,
    /// The attempt whose money goes back.
    pub attempt_no: i64,
    /// How much, in fen.
    pub amount_fen: i64,
    /// Why.
    pub cause: String,
    /// Where it stands.
    pub state: String,
    /// The backend's number.
    pub backend_no: Option<String>,
    /// The channel's number.
    pub channel_refund_id: Option<String>,
    /// When it was decided, in microseconds.
    pub booked_at: i64,
    /// When the money was back, by the channel's clock, in microseconds.
    pub done_at: Option<i64>,
}

/// A row of `books`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookLine {
    /// The transition it belongs to.
    pub version: i64,
    /// Its place within.
    pub line: i64,
    /// Whose account.
    pub account: String,
    /// Signed fen.
    pub amount_fen: i64,
}

/// A row of `webhooks_out`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookRow {
    /// The cursor of `/v1/events`.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The transition it belongs to.
    pub version: i64,
    /// Its type.
    pub kind: String,
    /// Its body.
    pub payload: String,
    /// Where it goes.
    pub url: Option<String>,
    /// Whose address that is.
    pub backend: Option<String>,
    /// When it was written, in microseconds.
    pub created_at: i64,
    /// Where its delivery stands.
    pub state: String,
    /// When the schedule of tries began, in microseconds.
    pub since: i64,
    /// Tries made.
    pub tries: i64,
    /// When the next one is due, in microseconds.
    pub next_at: Option<i64>,
    /// The seal over the delivery's columns.
    pub seal: i64,
}

/// One line of a channel's own books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelLine {
    /// Whose.
    pub channel: String,
    /// Our number.
    pub channel_order_no: String,
    /// `capture` or `refund`.
    pub kind: String,
    /// How much.
    pub amount_fen: i64,
    /// Our refund number, on a refund.
    #[serde(default)]
    pub refund_no: Option<String>,
}
