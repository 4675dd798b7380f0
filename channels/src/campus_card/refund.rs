//! Refunds of debits (protocol B6): idempotent by refund number, final only in a signed object.

use domain::{
    Answer, ChannelOrderNo, Money, RefundNo, Timestamp,
    channel::{Fault, RefundAnswer, RefundAsk, RefundFound, RefundProgress},
};
use serde::{Deserialize, Serialize};

use super::{CampusCard, client::Word};

#[derive(Serialize)]
struct Request<'a> {
    refund_no: &'a RefundNo,
    order_no: &'a ChannelOrderNo,
    amount: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    notify_url: &'a str,
}

/// The members of a refund object that matter.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Refund {
    pub(super) refund_no: String,
    #[serde(default)]
    vendor_no: String,
    amount: i64,
    pub(super) state: String,
    #[serde(default)]
    fail_code: String,
    #[serde(default)]
    finished_at: Option<String>,
}

impl Refund {
    /// The final word, or `None` while it is open. `signed_at` stands in for a missing time.
    ///
    /// An error means that a refund said to have succeeded lacks what makes it evidence.
    pub(super) fn found(&self, signed_at: Timestamp) -> Result<Option<RefundFound>, String> {
        Ok(match self.state.as_str() {
            "SUCCEEDED" if self.vendor_no.is_empty() => return Err("a refund without vendor_no".to_owned()),
            "SUCCEEDED" => Some(RefundFound::Succeeded {
                channel_refund_id: self.vendor_no.clone(),
                amount: Money::from_fen(self.amount).map_err(|e| e.to_string())?,
                at: self.finished_at.as_deref().and_then(Timestamp::parse).unwrap_or(signed_at),
            }),
            "FAILED" => Some(RefundFound::Failed { code: self.fail_code.clone() }),
            "PROCESSING" => None,
            new => {
                tracing::warn!(
                    state = new,
                    refund = self.refund_no,
                    "a new card refund state, taken as open"
                );
                None
            }
        })
    }
}

impl CampusCard {
    pub(super) async fn ask_refund(&self, ask: &RefundAsk) -> RefundAnswer {
        let request = Request {
            refund_no: &ask.refund_no,
            order_no: &ask.channel_order_no,
            amount: ask.amount.fen(),
            reason: ask.reason.chars().take(128).collect(),
            notify_url: &self.notify_url,
        };
        match self.client.post("/v1/refunds", &request).await {
            // Here it is the order that the gateway does not know.
            Ok(word) if word.code == "ORDER_NOT_FOUND" => Answer::Declined(word.refusal(Fault::State)),
            Ok(word) => read_refund(word, &ask.refund_no),
            Err(lost) => lost.into(),
        }
    }

    pub(super) async fn ask_refund_query(&self, refund_no: &RefundNo) -> RefundAnswer {
        match self.client.get(&format!("/v1/refunds/{refund_no}")).await {
            Ok(word) if word.code == "ORDER_NOT_FOUND" => Answer::Accepted(RefundProgress::NotFound),
            Ok(word) => read_refund(word, refund_no),
            Err(lost) => lost.into(),
        }
    }
}

fn read_refund(word: Word, refund_no: &RefundNo) -> RefundAnswer {
    if let Some(other) = word.refund.as_ref().filter(|refund| refund.refund_no != refund_no.as_str()) {
        tracing::error!(asked = %refund_no, got = other.refund_no, "the card gateway answered for another refund");
        return Answer::Silent(format!("the answer is about refund {:?}", other.refund_no));
    }
    match word.code.as_str() {
        "OK" => match word.refund.as_ref().map(|refund| refund.found(word.at)) {
            Some(Ok(Some(found))) => Answer::Settled(found),
            Some(Ok(None)) => Answer::Accepted(RefundProgress::Processing),
            Some(Err(problem)) => {
                tracing::error!(answer = word.label(), problem, "a signed card refund is no evidence");
                Answer::Silent(problem)
            }
            None => Answer::Silent(format!("{} without a refund", word.label())),
        },
        // Stored as failed: the card is gone, and the money goes back by hand.
        "CARD_CLOSED" => Answer::Settled(RefundFound::Failed { code: word.code }),
        "UNKNOWN_RESULT" => Answer::Accepted(RefundProgress::Processing),
        "SYSTEM_BUSY" | "SERVICE_CLOSED" => Answer::NeverSent(word.label()),
        // The card is full or the merchant short: the same refund, same number, works later.
        "BALANCE_CAP" | "MERCHANT_BALANCE" => Answer::Declined(word.refusal(Fault::Channel)),
        "ORDER_NOT_PAID" | "ORDER_CLOSED" => Answer::Declined(word.refusal(Fault::State)),
        "DUPLICATE_ORDER" | "REFUND_EXCEEDS" | "REFUND_EXPIRED" | "BAD_REQUEST" | "STALE_TIMESTAMP" => {
            Answer::Declined(word.refusal(Fault::Ours))
        }
        "REPLAYED" | "BAD_SIGNATURE" => Answer::Silent(word.label()),
        _ => {
            tracing::warn!(
                code = word.code,
                request_id = word.request_id,
                "a new card code, taken as unknown"
            );
            Answer::Accepted(RefundProgress::Processing)
        }
    }
}
