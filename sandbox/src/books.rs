//! The channels' own books: what they took and gave back, append only. The audit compares them with ours.

use domain::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// Whose.
    pub channel: &'static str,
    /// The merchant's number of the trade.
    pub channel_order_no: String,
    /// `capture` or `refund`.
    pub kind: &'static str,
    /// How much.
    pub amount_fen: i64,
    /// The merchant's number of the refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund_no: Option<String>,
    /// The channel's own number.
    pub trade_no: String,
    /// When, in microseconds since the epoch.
    pub at_us: i64,
}

/// The books of all channels.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Vec<Line>>);

impl Books {
    /// Money was taken.
    pub(crate) fn capture(
        &self,
        channel: &'static str,
        order_no: &str,
        amount_fen: i64,
        trade_no: &str,
        at: Timestamp,
    ) {
        self.add(channel, order_no, "capture", amount_fen, None, trade_no, at);
    }

    /// Money was given back.
    pub(crate) fn refund(
        &self,
        channel: &'static str,
        order_no: &str,
        refund_no: &str,
        amount_fen: i64,
        refund_id: &str,
        at: Timestamp,
    ) {
        self.add(channel, order_no, "refund", amount_fen, Some(refund_no.to_owned()), refund_id, at);
    }

    /// A capture was taken back by a close, which has no number of its own.
    pub(crate) fn reversal(
        &self,
        channel: &'static str,
        order_no: &str,
        amount_fen: i64,
        id: &str,
        at: Timestamp,
    ) {
        self.add(channel, order_no, "refund", amount_fen, None, id, at);
    }

    #[expect(clippy::too_many_arguments, reason = "one line, column by column")]
    fn add(
        &self,
        channel: &'static str,
        order_no: &str,
        kind: &'static str,
        amount_fen: i64,
        refund_no: Option<String>,
        trade_no: &str,
        at: Timestamp,
    ) {
        let mut lines = self.0.lock();
        let n = u64::try_from(lines.len()).unwrap_or(u64::MAX) + 1;
        lines.push(Line {
            n,
            channel,
            channel_order_no: order_no.to_owned(),
            kind,
            amount_fen,
            refund_no,
            trade_no: trade_no.to_owned(),
            at_us: at.micros(),
        });
    }

    /// At most `limit` lines after number `after`.
    pub(crate) fn after(&self, after: u64, limit: usize) -> Vec<Line> {
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        self.0.lock().iter().skip(skip).take(limit).cloned().collect()
    }
}
