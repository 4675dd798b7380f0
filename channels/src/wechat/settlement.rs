//! Profit sharing (protocol 4.6): receivers, splits of frozen money, releases, returns, what is left.
//!
//! `FINISHED` means executed, not successful: each part has a result of its own. Names are sealed for WeChat's public key.

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    Answer, Money, Refusal, Timestamp,
    channel::{Fault, RefundFound, RefundProgress},
    settlement::{
        Part, PartFound, PartOutcome, Receiver, ReceiverAnswer, ReceiverKind, RemainingAnswer, Rest,
        ReturnAnswer, ReturnAsk, SettlementLimits, SplitAnswer, SplitAsk, SplitFound, SplitKey,
        SplitProgress,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    WeChat,
    client::{ErrorWord, Heard, Signed},
    errors::{Meaning, meaning, refusal, silent},
    prepay::wechat_text,
};
use crate::{Settlement, wire::Lost};

const LIMITS: SettlementLimits = SettlementLimits {
    parts: 50,
    splits: 50,
    share_percent: 30,
    not_before: std::time::Duration::from_secs(60),
    within: std::time::Duration::from_secs(30 * 86_400),
};

/// A split in answers.
#[derive(Deserialize)]
struct SplitWord {
    transaction_id: String,
    out_order_no: String,
    #[serde(default)]
    order_id: String,
    state: String,
    #[serde(default)]
    receivers: Vec<PartWord>,
}

#[derive(Deserialize)]
struct PartWord {
    account: String,
    amount: i64,
    result: String,
    #[serde(default)]
    fail_reason: Option<String>,
    #[serde(default)]
    finish_time: Option<String>,
}

/// A return in answers.
#[derive(Deserialize)]
struct ReturnWord {
    out_return_no: String,
    out_order_no: String,
    #[serde(default)]
    return_id: String,
    amount: i64,
    result: String,
    #[serde(default)]
    fail_reason: Option<String>,
    #[serde(default)]
    finish_time: Option<String>,
}

#[derive(Deserialize)]
struct RemainingWord {
    transaction_id: String,
    unsplit_amount: i64,
}

fn ours(message: &str) -> Refusal {
    Refusal { code: "INCOMPLETE_ASK".to_owned(), message: message.to_owned(), fault: Fault::Ours }
}

const fn kind(receiver: &Receiver) -> &'static str {
    match receiver.kind {
        ReceiverKind::Merchant => "MERCHANT_ID",
        ReceiverKind::Person => "PERSONAL_OPENID",
    }
}

/// An error about something that was to be done. Limits of time, share and number are WeChat's `RULE_LIMIT`, and short funds
/// are the trade's here: both say that the trade is not as we thought.
fn refused<A, S>(word: ErrorWord) -> Answer<A, S> {
    let code: String = word.code.chars().filter(|c| *c != '_').collect();
    match meaning(&word) {
        Meaning::Refused(_) if ["RULELIMIT", "NOTENOUGH"].contains(&code.as_str()) => {
            Answer::Declined(refusal(word, Fault::State))
        }
        Meaning::Refused(fault) => Answer::Declined(refusal(word, fault)),
        Meaning::NotThere => Answer::Declined(refusal(word, Fault::State)),
        // It may have been taken: ask for it, never take another number.
        Meaning::TooFast | Meaning::InProgress | Meaning::Unknown => silent(&word),
    }
}

/// An error in answer to a question; `missing` is what "no such thing" means.
fn unanswered<A, S>(word: ErrorWord, missing: A) -> Answer<A, S> {
    match meaning(&word) {
        Meaning::NotThere => Answer::Accepted(missing),
        Meaning::TooFast => Answer::Declined(refusal(word, Fault::Channel)),
        _ => refused(word),
    }
}

fn moment(text: Option<&str>, signed_at: Timestamp) -> Timestamp {
    text.and_then(Timestamp::parse).unwrap_or(signed_at)
}

impl WeChat {
    /// A name as WeChat wants it: sealed for the key whose id goes with every request.
    fn sealed_name(&self, receiver: &Receiver) -> Result<Option<String>, Refusal> {
        let Some(name) = receiver.name.as_deref() else {
            return match receiver.kind {
                ReceiverKind::Merchant => Err(ours("a merchant's registered name is needed")),
                ReceiverKind::Person => Ok(None),
            };
        };
        let key = self.sealing_key.as_deref();
        let key = key.ok_or_else(|| ours("names are sealed for WeChat's public key: set public_key"))?;
        let sealed = keys::oaep_seal(key, name.as_bytes()).map_err(|e| ours(&e.to_string()))?;
        Ok(Some(STANDARD.encode(sealed)))
    }

    fn split_request(&self, ask: &SplitAsk) -> Result<Value, Refusal> {
        if let Some(fault) = ask.fault(&LIMITS) {
            return Err(ours(fault));
        }
        // Without names: they were checked when the receivers were added, sealing is random, and a repeat must be the same
        // request.
        let receiver = |part: &Part| {
            json!({ "type": kind(&part.receiver), "account": part.receiver.account, "amount": part.amount.fen(),
                "description": wechat_text(&part.description, 80) })
        };
        let receivers: Vec<Value> = ask.parts.iter().map(receiver).collect();
        Ok(json!({
            "appid": self.client.appid, "transaction_id": ask.trade_no, "out_order_no": ask.split_no,
            "receivers": receivers, "unfreeze_unsplit": ask.rest == Rest::Released,
        }))
    }

    async fn split_call(&self, path: &str, body: &Value, key: &SplitKey) -> SplitAnswer {
        match self.client.post(path, body).await {
            Ok(Heard::Signed(signed)) => read_split(&signed, key),
            Ok(Heard::Error(word)) => refused(word),
            Err(lost) => lost.into(),
        }
    }

    async fn receiver_call(&self, path: &str, body: Value) -> ReceiverAnswer {
        match self.client.post(path, &body).await {
            Ok(Heard::Signed(_)) => Answer::Settled(()),
            Ok(Heard::Error(word)) => refused(word),
            Err(lost) => lost.into(),
        }
    }
}

fn no_evidence<A, S>(problem: String) -> Answer<A, S> {
    tracing::error!(problem, "a signed WeChat answer about profit sharing is no evidence");
    Answer::Silent(problem)
}

fn read_split(signed: &Signed, key: &SplitKey) -> SplitAnswer {
    let word: SplitWord = match signed.json() {
        Ok(word) => word,
        Err(lost) => return lost.into(),
    };
    if word.out_order_no != key.split_no.as_str() || word.transaction_id != key.trade_no {
        return no_evidence(format!("the answer is about split {:?}", word.out_order_no));
    }
    let open = word.state != "FINISHED" || word.receivers.iter().any(|part| part.result == "PENDING");
    if open {
        return Answer::Accepted(SplitProgress::Processing);
    }
    let part = |part: PartWord| {
        let outcome = match part.result.as_str() {
            "SUCCESS" => PartOutcome::Paid { at: moment(part.finish_time.as_deref(), signed.at) },
            "CLOSED" => PartOutcome::Failed { code: part.fail_reason.unwrap_or_default() },
            new => return Err(format!("a part with the new result {new:?}")),
        };
        let amount = Money::from_fen(part.amount).map_err(|e| e.to_string())?;
        Ok(PartFound { account: part.account, amount, outcome })
    };
    match word.receivers.into_iter().map(part).collect::<Result<Vec<_>, String>>() {
        Ok(parts) => Answer::Settled(SplitFound { channel_split_id: word.order_id, parts }),
        Err(problem) => no_evidence(problem),
    }
}

fn read_return(signed: &Signed, ask: &ReturnAsk) -> ReturnAnswer {
    let word: ReturnWord = match signed.json() {
        Ok(word) => word,
        Err(lost) => return lost.into(),
    };
    if word.out_return_no != ask.return_no.as_str() || word.out_order_no != ask.split_no.as_str() {
        return no_evidence(format!("the answer is about return {:?}", word.out_return_no));
    }
    match word.result.as_str() {
        "PROCESSING" => Answer::Accepted(RefundProgress::Processing),
        "FAILED" => Answer::Settled(RefundFound::Failed { code: word.fail_reason.unwrap_or_default() }),
        "SUCCESS" => match Money::from_fen(word.amount) {
            Ok(amount) => Answer::Settled(RefundFound::Succeeded {
                channel_refund_id: word.return_id,
                amount,
                at: moment(word.finish_time.as_deref(), signed.at),
            }),
            Err(problem) => no_evidence(problem.to_string()),
        },
        new => no_evidence(format!("a return with the new result {new:?}")),
    }
}

#[async_trait]
impl Settlement for WeChat {
    fn settlement_limits(&self) -> SettlementLimits {
        LIMITS
    }

    async fn receiver_add(&self, receiver: &Receiver) -> ReceiverAnswer {
        let name = match self.sealed_name(receiver) {
            Ok(name) => name,
            Err(refusal) => return Answer::Declined(refusal),
        };
        let relation = match receiver.kind {
            ReceiverKind::Merchant => "STORE",
            ReceiverKind::Person => "STORE_OWNER",
        };
        let mut body = json!({ "appid": self.client.appid, "type": kind(receiver), "account": receiver.account,
            "relation_type": relation });
        if let (Some(name), Some(members)) = (name, body.as_object_mut()) {
            members.insert("name".to_owned(), name.into());
        }
        self.receiver_call("/v3/profitsharing/receivers/add", body).await
    }

    async fn receiver_delete(&self, receiver: &Receiver) -> ReceiverAnswer {
        let body = json!({ "appid": self.client.appid, "type": kind(receiver), "account": receiver.account });
        self.receiver_call("/v3/profitsharing/receivers/delete", body).await
    }

    async fn split(&self, ask: &SplitAsk) -> SplitAnswer {
        let body = match self.split_request(ask) {
            Ok(body) => body,
            Err(refusal) => return Answer::Declined(refusal),
        };
        let key = SplitKey { split_no: ask.split_no.clone(), trade_no: ask.trade_no.clone() };
        self.split_call("/v3/profitsharing/orders", &body, &key).await
    }

    async fn split_query(&self, key: &SplitKey) -> SplitAnswer {
        let path = format!("/v3/profitsharing/orders/{}?transaction_id={}", key.split_no, key.trade_no);
        match self.client.get(&path).await {
            Ok(Heard::Signed(signed)) => read_split(&signed, key),
            Ok(Heard::Error(word)) => unanswered(word, SplitProgress::NotFound),
            Err(lost) => lost.into(),
        }
    }

    async fn release(&self, key: &SplitKey) -> SplitAnswer {
        let body =
            json!({ "transaction_id": key.trade_no, "out_order_no": key.split_no, "description": "解冻" });
        self.split_call("/v3/profitsharing/orders/unfreeze", &body, key).await
    }

    async fn give_back(&self, ask: &ReturnAsk) -> ReturnAnswer {
        let body = json!({ "out_order_no": ask.split_no, "out_return_no": ask.return_no, "return_mchid": ask.account,
            "amount": ask.amount.fen(), "description": wechat_text(&ask.description, 80) });
        match self.client.post("/v3/profitsharing/return-orders", &body).await {
            Ok(Heard::Signed(signed)) => read_return(&signed, ask),
            Ok(Heard::Error(word)) => refused(word),
            Err(lost) => lost.into(),
        }
    }

    async fn give_back_query(&self, ask: &ReturnAsk) -> ReturnAnswer {
        let path = format!("/v3/profitsharing/return-orders/{}?out_order_no={}", ask.return_no, ask.split_no);
        match self.client.get(&path).await {
            Ok(Heard::Signed(signed)) => read_return(&signed, ask),
            Ok(Heard::Error(word)) => unanswered(word, RefundProgress::NotFound),
            Err(lost) => lost.into(),
        }
    }

    async fn remaining(&self, trade_no: &str) -> RemainingAnswer {
        match self.client.get(&format!("/v3/profitsharing/transactions/{trade_no}/amounts")).await {
            Ok(Heard::Signed(signed)) => match signed.json::<RemainingWord>() {
                Ok(word) if word.transaction_id != trade_no => {
                    no_evidence(format!("the answer is about trade {:?}", word.transaction_id))
                }
                Ok(word) => match Money::from_fen(word.unsplit_amount) {
                    Ok(left) => Answer::Settled(left),
                    Err(problem) => no_evidence(problem.to_string()),
                },
                Err(lost) => Lost::into(lost),
            },
            Ok(Heard::Error(word)) => unanswered(word, ()),
            Err(lost) => lost.into(),
        }
    }
}
