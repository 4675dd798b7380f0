//! Debits: asking, querying, closing, and what the codes mean (protocol B3 to B5).
//!
//! The debit is the call: a signed refusal of a stored order is final evidence, an unsigned anything is silence.
//! The state of the payment object outranks the code where both are there and disagree.

use domain::{
    Answer, ChannelOrderNo, Found, Money, Refusal, Timestamp,
    channel::{Capture, CloseAnswer, Fault, PrepayAnswer, PrepayAsk, QueryAnswer, StillOpen},
};
use serde::{Deserialize, Serialize};

use super::{CampusCard, client::Word};

#[derive(Serialize)]
struct Request<'a> {
    order_no: &'a ChannelOrderNo,
    account_type: &'static str,
    account_no: &'a str,
    amount: i64,
    currency: &'static str,
    subject: String,
    notify_url: &'a str,
}

#[derive(Serialize)]
struct CloseRequest {
    if_paid: &'static str,
    reason: &'static str,
}

/// The members of a payment object that matter.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Payment {
    pub(super) order_no: String,
    #[serde(default)]
    vendor_no: String,
    amount: i64,
    pub(super) state: String,
    #[serde(default)]
    fail_code: String,
    #[serde(default)]
    finished_at: Option<String>,
}

/// Codes by which the gateway says that the order is refused for good and stored so.
const REFUSED: [&str; 9] = [
    "INSUFFICIENT_BALANCE",
    "CARD_UNKNOWN",
    "CARD_FROZEN",
    "CARD_LOST",
    "CARD_CLOSED",
    "NAME_MISMATCH",
    "SINGLE_LIMIT",
    "DAILY_LIMIT",
    "PAY_CODE_INVALID",
];

impl Payment {
    /// The final word, or `None` while it is open. `signed_at` stands in for a missing time.
    ///
    /// An error means that a paid order lacks what makes it evidence.
    pub(super) fn found(&self, message: &str, signed_at: Timestamp) -> Result<Option<Found>, String> {
        Ok(match self.state.as_str() {
            "SUCCEEDED" if self.vendor_no.is_empty() => {
                return Err("a paid order without vendor_no".to_owned());
            }
            "SUCCEEDED" => Some(Found::Captured(Capture {
                amount: Money::from_fen(self.amount).map_err(|e| e.to_string())?,
                trade_no: self.vendor_no.clone(),
                at: self.finished_at.as_deref().and_then(Timestamp::parse).unwrap_or(signed_at),
            })),
            "FAILED" => Some(Found::Declined(Refusal {
                code: self.fail_code.clone(),
                message: message.to_owned(),
                fault: Fault::Payer,
            })),
            "CLOSED" | "REVERSED" => Some(Found::Closed),
            "PROCESSING" => None,
            new => {
                tracing::warn!(state = new, order = self.order_no, "a new card payment state, taken as open");
                None
            }
        })
    }
}

impl CampusCard {
    pub(super) async fn ask_payment(&self, ask: &PrepayAsk) -> PrepayAnswer {
        let account_no = ask.payer_id.as_str();
        if !(1..=64).contains(&account_no.len()) || !account_no.bytes().all(|c| c.is_ascii_graphic()) {
            let message = "the payer's number is not 1 to 64 printable characters".to_owned();
            return Answer::Declined(Refusal {
                code: "INCOMPLETE_ASK".to_owned(),
                message,
                fault: Fault::Ours,
            });
        }
        let request = Request {
            order_no: &ask.channel_order_no,
            account_type: "STUDENT_NO",
            account_no,
            amount: ask.amount.fen(),
            currency: "CNY",
            subject: ask.description.chars().take(128).collect(),
            notify_url: &self.notify_url,
        };
        let word = match self.client.post("/v1/payments", &request).await {
            Ok(word) => word,
            Err(lost) => return lost.into(),
        };
        match self.read_payment(word, &ask.channel_order_no) {
            Answer::Accepted(StillOpen::Pending) => Answer::Accepted(None),
            // No answer to a debit can mean "not found"; whatever it was, it proves nothing.
            Answer::Accepted(StillOpen::NotFound) => {
                Answer::Silent("ORDER_NOT_FOUND in answer to a debit".to_owned())
            }
            Answer::Settled(found) => Answer::Settled(found),
            Answer::Declined(refusal) => Answer::Declined(refusal),
            Answer::NeverSent(why) => Answer::NeverSent(why),
            Answer::Silent(why) => Answer::Silent(why),
        }
    }

    pub(super) async fn ask_payment_query(&self, number: &ChannelOrderNo) -> QueryAnswer {
        match self.client.get(&format!("/v1/payments/{number}")).await {
            Ok(word) => self.read_payment(word, number),
            Err(lost) => lost.into(),
        }
    }

    /// Closes and keeps what was paid: giving back is the refunds' business. A number that the gateway never
    /// saw becomes a tombstone there, so that a late debit under it is refused.
    pub(super) async fn ask_close(&self, number: &ChannelOrderNo) -> CloseAnswer {
        let request = CloseRequest { if_paid: "KEEP", reason: "order ended" };
        match self.client.post(&format!("/v1/payments/{number}/close"), &request).await {
            Ok(word) => self.read_payment(word, number),
            Err(lost) => lost.into(),
        }
    }

    fn read_payment(&self, word: Word, number: &ChannelOrderNo) -> QueryAnswer {
        if let Some(other) = word.payment.as_ref().filter(|payment| payment.order_no != number.as_str()) {
            tracing::error!(asked = %number, got = other.order_no, "the card gateway answered for another order");
            return Answer::Silent(format!("the answer is about order {:?}", other.order_no));
        }
        match word.code.as_str() {
            "OK" | "ALREADY_PAID" => by_state(&word),
            code if REFUSED.contains(&code) => match &word.payment {
                Some(_) => by_state(&word),
                None => Answer::Settled(Found::Declined(word.refusal(Fault::Payer))),
            },
            "ORDER_CLOSED" => match &word.payment {
                Some(_) => by_state(&word),
                None => Answer::Settled(Found::Closed),
            },
            "ORDER_NOT_FOUND" => Answer::Accepted(StillOpen::NotFound),
            "UNKNOWN_RESULT" => Answer::Accepted(StillOpen::Pending),
            "SYSTEM_BUSY" | "SERVICE_CLOSED" => Answer::NeverSent(word.label()),
            // The number stands there with other content, which may even be paid: our bug, and only a query tells.
            "DUPLICATE_ORDER" => {
                tracing::error!(order = %number, answer = word.label(), "an order number was used with other content");
                Answer::Declined(word.refusal(Fault::State))
            }
            "BAD_REQUEST" | "STALE_TIMESTAMP" => Answer::Declined(word.refusal(Fault::Ours)),
            // A proxy that doubles our request makes the second one a replay while the first one was taken.
            "REPLAYED" | "BAD_SIGNATURE" => Answer::Silent(word.label()),
            _ => {
                tracing::warn!(
                    code = word.code,
                    request_id = word.request_id,
                    "a new card code, taken as unknown"
                );
                Answer::Accepted(StillOpen::Pending)
            }
        }
    }
}

fn by_state(word: &Word) -> QueryAnswer {
    let Some(payment) = &word.payment else {
        tracing::error!(answer = word.label(), "a signed card answer lacks its payment");
        return Answer::Silent(format!("{} without a payment", word.label()));
    };
    match payment.found(&word.message, word.at) {
        Ok(Some(found)) => Answer::Settled(found),
        Ok(None) => Answer::Accepted(StillOpen::Pending),
        Err(problem) => {
            tracing::error!(answer = word.label(), problem, "a signed card answer is no evidence");
            Answer::Silent(problem)
        }
    }
}
