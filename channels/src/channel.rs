//! What every channel can do, and the words for calls that come from a channel.
//!
//! Each call is one HTTP exchange (two at most, when a signing certificate must be fetched first): no repeats
//! inside, no deadline but the one for connecting. The caller owns one deadline around the call; dropping the
//! future at any point is safe and means "silent".
//! The answer says what may be done next; see [`Answer`](domain::Answer). `Declined` and `NeverSent` speak of the
//! call at hand alone: an earlier call under the same number may have been taken, so after a silent call only a
//! query or a close certifies the number.

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    ChannelOrderNo, Found, RefundNo, Timestamp,
    channel::{
        ChannelProfile, CloseAnswer, PrepayAnswer, PrepayAsk, QueryAnswer, RefundAnswer, RefundAsk,
        RefundFound, TradeKey,
    },
};
use jiff::civil::Date;

use crate::{BillError, BillFile, BillRefused, EachLine, Error, Settlement};

/// One payment channel.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name, kind, scenes and limit.
    fn profile(&self) -> &ChannelProfile;

    /// Asks for a credential, or on a direct channel for the money itself. Repeating the same ask is safe: the
    /// order number is the channel's idempotency key.
    async fn prepay(&self, ask: &PrepayAsk) -> PrepayAnswer;

    /// Asks what became of a trade. Harmless.
    async fn query(&self, trade: &TradeKey) -> QueryAnswer;

    /// Asks that the trade never be paid; a paid one stays paid. Repeating is safe.
    async fn close(&self, trade: &TradeKey) -> CloseAnswer;

    /// Asks for a refund. Repeating with the same refund number is safe, with another it is a second refund.
    async fn refund(&self, ask: &RefundAsk) -> RefundAnswer;

    /// Asks what became of a refund that was asked for in these words. Harmless.
    async fn refund_query(&self, ask: &RefundAsk) -> RefundAnswer;

    /// The channel's bill of a day (in the channel's own format, checked against its signature or hash).
    ///
    /// # Errors
    /// By what to do next: see [`BillError`].
    async fn bill(&self, day: Date) -> Result<Bytes, BillError>;

    /// The first moment of a bill's day and the first one after it: midnight to midnight at Beijing, where the channel
    /// has no other cut.
    fn bill_span(&self, day: Date) -> (Timestamp, Timestamp) {
        (crate::clock::midnight(day), crate::clock::midnight(day.tomorrow().unwrap_or(day)))
    }

    /// Reads a file that [`Channel::bill`] gave for `day`, from its start, line by line, in memory that does not grow
    /// with the file. Harmless and repeatable.
    ///
    /// # Errors
    /// - [`BillRefused`]: truncated, in another encoding, with an unknown column or kind of line, another merchant's, or
    ///   its own sums disagree; names the line. Lines may have been handed out before: undo them.
    fn read_bill(&self, day: Date, file: BillFile<'_>, each: EachLine<'_>) -> Result<(), BillRefused>;

    /// Checks and reads a call of the channel. Nothing is stored; the same call may be parsed again, except
    /// where the protocol forbids a repeated nonce (then it is refused as [`RefusedBecause::Replayed`]).
    /// The amount is not compared with the order here.
    ///
    /// # Errors
    /// - [`NotificationRefused`]: the call proves nothing; answer it with [`Verdict::Refused`].
    fn parse_notification(
        &self,
        call: &NotificationCall,
        now: Timestamp,
    ) -> Result<Notification, NotificationRefused>;

    /// How this channel wants its call answered.
    fn notification_answer(&self, verdict: &Verdict) -> HttpReply;

    /// The cheapest harmless signed call: a query for a number that does not exist. A healthy channel answers
    /// `Accepted(NotFound)`.
    async fn probe(&self) -> QueryAnswer;

    /// Fetches what the first call would otherwise wait for. Call it once before taking orders.
    ///
    /// # Errors
    /// - [`Error::WarmUp`]: the channel could not be reached or its keys not be verified; trying again may help.
    async fn warm_up(&self) -> Result<(), Error>;

    /// Profit sharing, where the channel has it.
    fn settlement(&self) -> Option<&dyn Settlement> {
        None
    }
}

/// A call of a channel to us, as it came in.
#[derive(Debug, Clone)]
pub struct NotificationCall {
    /// HTTP method, upper case.
    pub method: String,
    /// Path and query exactly as on the request line at our public address.
    pub target: String,
    /// Header names and values in the order they came; names in any case.
    pub headers: Vec<(String, String)>,
    /// The raw body bytes.
    pub body: Bytes,
    /// Who called, for the log.
    pub remote: Option<String>,
}

impl NotificationCall {
    /// The value of a header, by name in any case; of several, the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A verified call of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The channel's id of the event; resends carry the same.
    pub event_id: String,
    /// What it says.
    pub kind: NotificationKind,
}

/// What a verified call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationKind {
    /// The final word on a trade.
    Payment {
        /// The number we gave it.
        number: ChannelOrderNo,
        /// The final word.
        found: Found,
    },
    /// The final word on a refund.
    Refund {
        /// The number we gave it.
        refund_no: RefundNo,
        /// The final word.
        found: RefundFound,
    },
    /// Genuine, but nothing final or nothing we know: acknowledge and keep it, change nothing.
    Other {
        /// The channel's word for the event.
        event_type: String,
    },
}

/// A call that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct NotificationRefused {
    /// Which check failed.
    pub reason: RefusedBecause,
    /// For the log; no secrets.
    pub detail: String,
}

impl NotificationRefused {
    /// A refusal with its detail.
    #[must_use]
    pub fn new(reason: RefusedBecause, detail: impl Into<String>) -> NotificationRefused {
        NotificationRefused { reason, detail: detail.into() }
    }
}

/// Which check of a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBecause {
    /// The signature does not belong to the call (probes included).
    BadSignature,
    /// Signed too long ago, or in the future.
    StaleTimestamp,
    /// Signed with a key we do not know (yet).
    UnknownSerial,
    /// Sealed under another key than ours.
    Undecryptable,
    /// A header or member is missing or is not what the protocol says.
    Malformed,
    /// Seen before, nonce and all.
    Replayed,
    /// Genuine, but for another merchant or app.
    WrongMerchant,
    /// From an address that is not among the channel's configured networks.
    ForeignAddress,
}

impl RefusedBecause {
    /// The word used in logs, metrics and the notification log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RefusedBecause::BadSignature => "bad_signature",
            RefusedBecause::StaleTimestamp => "stale_timestamp",
            RefusedBecause::UnknownSerial => "unknown_serial",
            RefusedBecause::Undecryptable => "undecryptable",
            RefusedBecause::Malformed => "malformed",
            RefusedBecause::Replayed => "replayed",
            RefusedBecause::WrongMerchant => "wrong_merchant",
            RefusedBecause::ForeignAddress => "foreign_address",
        }
    }
}

/// What became of a call, as far as the channel is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored: the channel need not call again.
    Taken,
    /// It proves nothing, or contradicts our books (unknown order, wrong amount); kept in the log with this reason.
    Refused(String),
    /// We could not store it now: the channel shall call again.
    NotNow,
}

/// What to write back to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; `None` without a body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}
