//! Refunds (protocol 4.3): the refund number is the idempotency key, and 200 means accepted, not refunded.

use domain::{
    Answer, ChannelOrderNo, Money, RefundNo, Timestamp,
    channel::{Fault, RefundAnswer, RefundAsk, RefundFound, RefundProgress},
};
use serde::{Deserialize, Serialize};

use super::{
    WeChat,
    client::{Heard, Signed},
    errors::{Meaning, meaning, refusal, silent},
    prepay::wechat_text,
};

#[derive(Serialize)]
struct Request<'a> {
    out_trade_no: &'a ChannelOrderNo,
    out_refund_no: &'a RefundNo,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    notify_url: &'a str,
    amount: RequestAmount,
}

#[derive(Serialize)]
struct RequestAmount {
    refund: i64,
    total: i64,
    currency: &'static str,
}

/// A refund in answers (`status`) and in callbacks (`refund_status`).
#[derive(Debug, Deserialize)]
pub(super) struct RefundWord {
    #[serde(default)]
    pub(super) mchid: Option<String>,
    pub(super) out_refund_no: String,
    #[serde(alias = "refund_status")]
    pub(super) status: String,
    #[serde(default)]
    refund_id: Option<String>,
    #[serde(default)]
    success_time: Option<String>,
    #[serde(default)]
    amount: Option<RefundAmount>,
}

#[derive(Debug, Deserialize)]
struct RefundAmount {
    #[serde(default)]
    refund: Option<i64>,
}

impl RefundWord {
    /// The final word, or `None` while WeChat works on it. `signed_at` stands in for a missing time.
    ///
    /// An error means that a refund said to have succeeded lacks what makes it evidence.
    pub(super) fn found(&self, signed_at: Timestamp) -> Result<Option<RefundFound>, String> {
        Ok(match self.status.as_str() {
            "SUCCESS" => {
                let fen =
                    self.amount.as_ref().and_then(|a| a.refund).ok_or("a refund without amount.refund")?;
                let id = self.refund_id.clone().filter(|id| !id.is_empty());
                Some(RefundFound::Succeeded {
                    channel_refund_id: id.ok_or("a refund without refund_id")?,
                    amount: Money::from_fen(fen).map_err(|e| e.to_string())?,
                    at: self.success_time.as_deref().and_then(Timestamp::parse).unwrap_or(signed_at),
                })
            }
            // Closed: failed for good. Abnormal: the payer's card and wallet are gone and a person must act.
            "CLOSED" | "ABNORMAL" => Some(RefundFound::Failed { code: self.status.clone() }),
            "PROCESSING" => None,
            new => {
                tracing::warn!(
                    status = new,
                    refund = self.out_refund_no,
                    "a new WeChat refund status, taken as open"
                );
                None
            }
        })
    }
}

impl WeChat {
    pub(super) async fn ask_refund(&self, ask: &RefundAsk) -> RefundAnswer {
        let request = Request {
            out_trade_no: &ask.channel_order_no,
            out_refund_no: &ask.refund_no,
            reason: wechat_text(&ask.reason, 80),
            notify_url: &self.notify_url,
            amount: RequestAmount { refund: ask.amount.fen(), total: ask.captured.fen(), currency: "CNY" },
        };
        match self.client.post("/v3/refund/domestic/refunds", &request).await {
            Ok(Heard::Signed(signed)) => read_refund(&signed, &ask.refund_no),
            Ok(Heard::Error(word)) => match meaning(&word) {
                Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
                // Here it is the order that is missing or unpaid, whatever the code's name.
                Meaning::NotThere => Answer::Declined(refusal(word, Fault::State)),
                Meaning::InProgress => Answer::Accepted(RefundProgress::Processing),
                // A refund answered 429 may have been taken: ask for it, never take another number.
                Meaning::TooFast | Meaning::Unknown => silent(&word),
            },
            Err(lost) => lost.into(),
        }
    }

    pub(super) async fn ask_refund_query(&self, refund_no: &RefundNo) -> RefundAnswer {
        match self.client.get(&format!("/v3/refund/domestic/refunds/{refund_no}")).await {
            Ok(Heard::Signed(signed)) => read_refund(&signed, refund_no),
            Ok(Heard::Error(word)) => match meaning(&word) {
                Meaning::NotThere => Answer::Accepted(RefundProgress::NotFound),
                Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
                Meaning::TooFast => Answer::Declined(refusal(word, Fault::Channel)),
                Meaning::InProgress => Answer::Accepted(RefundProgress::Processing),
                Meaning::Unknown => silent(&word),
            },
            Err(lost) => lost.into(),
        }
    }
}

fn read_refund(signed: &Signed, refund_no: &RefundNo) -> RefundAnswer {
    if signed.status != 200 {
        return Answer::Accepted(RefundProgress::Processing);
    }
    let word: RefundWord = match signed.json() {
        Ok(word) => word,
        Err(lost) => return lost.into(),
    };
    if word.out_refund_no != refund_no.as_str() {
        tracing::error!(asked = %refund_no, got = word.out_refund_no, "WeChat answered for another refund");
        return Answer::Silent(format!("the answer is about refund {:?}", word.out_refund_no));
    }
    match word.found(signed.at) {
        Ok(Some(found)) => Answer::Settled(found),
        Ok(None) => Answer::Accepted(RefundProgress::Processing),
        Err(problem) => {
            tracing::error!(refund = %refund_no, problem, "a signed WeChat refund is no evidence");
            Answer::Silent(problem)
        }
    }
}
