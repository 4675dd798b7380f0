//! Refunds (protocol section 3.3): the refund number is the idempotency key within the trade.

use domain::{
    Answer, ChannelOrderNo, Money, RefundNo,
    channel::{RefundAnswer, RefundAsk, RefundFound, RefundProgress},
};
use serde_json::json;

use super::{
    Alipay,
    client::{Heard, Meaning, Word, silent},
    text::{moment, money, subject, yuan},
};

impl Alipay {
    /// `fund_change = N` is a repeat or a refund on its way, never a failure: the query tells.
    pub(super) async fn ask_refund(&self, ask: &RefundAsk) -> RefundAnswer {
        let biz = json!({
            "out_trade_no": ask.channel_order_no, "out_request_no": ask.refund_no,
            "refund_amount": yuan(ask.amount), "refund_reason": subject(&ask.reason, 80),
        });
        match self.client.call("alipay.trade.refund", &biz, None).await {
            Ok(Heard::Done(word)) if word.text("fund_change") == Some("Y") => {
                Answer::Settled(succeeded(&word, &ask.refund_no, ask.amount))
            }
            Ok(Heard::Done(_)) => Answer::Accepted(RefundProgress::Processing),
            Ok(Heard::Refused(Meaning::Refused(_) | Meaning::NotThere, refusal)) => Answer::Declined(refusal),
            Ok(Heard::Refused(Meaning::Unknown, refusal)) => silent(&refusal),
            Err(lost) => lost.into(),
        }
    }

    /// Without `refund_status` the refund did not arrive, or not yet: the same refund again, under the same number.
    pub(super) async fn ask_refund_query(
        &self,
        refund_no: &RefundNo,
        order: &ChannelOrderNo,
    ) -> RefundAnswer {
        let biz = json!({ "out_trade_no": order, "out_request_no": refund_no });
        match self.client.call("alipay.trade.fastpay.refund.query", &biz, None).await {
            Ok(Heard::Done(word)) => {
                match (word.text("refund_status"), word.text("refund_amount").map(money)) {
                    (Some("REFUND_SUCCESS"), Some(Ok(amount))) => {
                        Answer::Settled(succeeded(&word, refund_no, amount))
                    }
                    (Some("REFUND_SUCCESS"), _) => {
                        Answer::Silent("a refund without refund_amount".to_owned())
                    }
                    (Some(_), _) => Answer::Accepted(RefundProgress::Processing),
                    (None, _) => Answer::Accepted(RefundProgress::NotFound),
                }
            }
            Ok(Heard::Refused(Meaning::NotThere, _)) => Answer::Accepted(RefundProgress::NotFound),
            Ok(Heard::Refused(Meaning::Refused(_), refusal)) => Answer::Declined(refusal),
            Ok(Heard::Refused(Meaning::Unknown, refusal)) => silent(&refusal),
            Err(lost) => lost.into(),
        }
    }
}

/// Alipay gives a refund no number of its own; the trade's and ours together name it.
fn succeeded(word: &Word, refund_no: &RefundNo, amount: Money) -> RefundFound {
    RefundFound::Succeeded {
        channel_refund_id: format!("{}-{refund_no}", word.text("trade_no").unwrap_or_default()),
        amount,
        at: word.text("gmt_refund_pay").and_then(moment).unwrap_or(word.at),
    }
}
