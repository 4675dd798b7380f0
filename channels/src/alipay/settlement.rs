//! Royalty (protocol section 3.5): receivers, the settling of frozen money, what is left.
//!
//! A settlement is accepted, and its query tells of each line: each can fail alone. Receivers are persons and merchants
//! alike, by user id (`2088…`) or login name. A part comes back with a refund only, never by a call of its own.

use async_trait::async_trait;
use domain::{
    Answer, Refusal,
    channel::Fault,
    settlement::{
        PartFound, PartOutcome, Receiver, ReceiverAnswer, RemainingAnswer, Rest, ReturnAnswer, ReturnAsk,
        SettlementLimits, SplitAnswer, SplitAsk, SplitFound, SplitKey, SplitProgress,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Alipay,
    client::{Heard, Meaning, Word, silent},
    text::{moment, money, subject, yuan},
};
use crate::Settlement;

const LIMITS: SettlementLimits = SettlementLimits {
    parts: 20,
    splits: 50,
    share_percent: 30,
    not_before: std::time::Duration::ZERO,
    within: std::time::Duration::from_secs(365 * 86_400),
};

#[derive(Deserialize)]
struct Line {
    state: String,
    #[serde(default)]
    trans_in: String,
    amount: Value,
    #[serde(default)]
    execute_dt: Option<String>,
    #[serde(default)]
    error_code: Option<String>,
}

fn kind(receiver: &Receiver) -> &'static str {
    let user_id = receiver.account.len() == 16 && receiver.account.starts_with("2088");
    if user_id { "userId" } else { "loginName" }
}

/// A sum that is refused speaks of the trade here: less is frozen than we thought.
fn refused<A, S>(meaning: Meaning, mut refusal: Refusal) -> Answer<A, S> {
    if meaning == Meaning::NotThere || refusal.code == "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR" {
        refusal.fault = Fault::State;
        return Answer::Declined(refusal);
    }
    match meaning {
        Meaning::Refused(_) | Meaning::NotThere => Answer::Declined(refusal),
        Meaning::Unknown => silent(&refusal),
    }
}

impl Alipay {
    /// Binding has no number that matters: the list is the key, so that a repeat is the same request.
    async fn relation(&self, method: &str, receiver: &Receiver) -> ReceiverAnswer {
        let (kind, account) = (kind(receiver), &receiver.account);
        let number = keys::sha256_hex(format!("{method} {kind} {account}").as_bytes());
        let mut one = json!({ "type": kind, "account": account });
        if let (Some(name), Some(members)) = (&receiver.name, one.as_object_mut()) {
            members.insert("name".to_owned(), name.clone().into());
        }
        let biz = json!({ "receiver_list": [one], "out_request_no": number.get(..32) });
        match self.client.call(method, &biz, None).await {
            Ok(Heard::Done(word)) if word.text("result_code") == Some("SUCCESS") => Answer::Settled(()),
            Ok(Heard::Done(_)) => Answer::Silent("10000 without result_code SUCCESS".to_owned()),
            Ok(Heard::Refused(meaning, refusal)) => refused(meaning, refusal),
            Err(lost) => lost.into(),
        }
    }

    async fn settle(&self, biz: &Value) -> SplitAnswer {
        match self.client.call("alipay.trade.order.settle", biz, None).await {
            Ok(Heard::Done(_)) => Answer::Accepted(SplitProgress::Processing),
            Ok(Heard::Refused(meaning, refusal)) => refused(meaning, refusal),
            Err(lost) => lost.into(),
        }
    }
}

fn read_split(word: &Word, key: &SplitKey) -> SplitAnswer {
    if word.text("out_request_no") != Some(key.split_no.as_str()) {
        return Answer::Silent(format!("the answer is about settlement {:?}", word.text("out_request_no")));
    }
    let lines: Vec<Line> = match word.list("royalty_detail_list") {
        Ok(lines) => lines,
        Err(problem) => return Answer::Silent(problem),
    };
    if lines.iter().any(|line| line.state == "PROCESSING") {
        return Answer::Accepted(SplitProgress::Processing);
    }
    let part = |line: Line| {
        let outcome = match line.state.as_str() {
            "SUCCESS" => {
                let at = line.execute_dt.as_deref().and_then(moment).unwrap_or(word.at);
                PartOutcome::Paid { at }
            }
            "FAIL" => PartOutcome::Failed { code: line.error_code.unwrap_or_default() },
            new => return Err(format!("a line in the new state {new:?}")),
        };
        let amount = line.amount.as_str().map_or_else(|| line.amount.to_string(), str::to_owned);
        Ok(PartFound { account: line.trans_in, amount: money(&amount)?, outcome })
    };
    match lines.into_iter().map(part).collect::<Result<Vec<_>, String>>() {
        Ok(parts) => {
            let id = word.text("settle_no").unwrap_or_default().to_owned();
            Answer::Settled(SplitFound { channel_split_id: id, parts })
        }
        Err(problem) => {
            tracing::error!(problem, "a signed Alipay answer about royalty is no evidence");
            Answer::Silent(problem)
        }
    }
}

#[async_trait]
impl Settlement for Alipay {
    fn settlement_limits(&self) -> SettlementLimits {
        LIMITS
    }

    async fn receiver_add(&self, receiver: &Receiver) -> ReceiverAnswer {
        self.relation("alipay.trade.royalty.relation.bind", receiver).await
    }

    async fn receiver_delete(&self, receiver: &Receiver) -> ReceiverAnswer {
        self.relation("alipay.trade.royalty.relation.unbind", receiver).await
    }

    async fn split(&self, ask: &SplitAsk) -> SplitAnswer {
        if let Some(fault) = ask.fault(&LIMITS) {
            let code = "INCOMPLETE_ASK".to_owned();
            return Answer::Declined(Refusal { code, message: fault.to_owned(), fault: Fault::Ours });
        }
        let part = |part: &domain::settlement::Part| {
            json!({ "royalty_type": "transfer", "trans_in_type": kind(&part.receiver),
                "trans_in": part.receiver.account, "amount": yuan(part.amount), "desc": subject(&part.description, 64) })
        };
        let mut biz = json!({ "out_request_no": ask.split_no, "trade_no": ask.trade_no,
            "royalty_parameters": ask.parts.iter().map(part).collect::<Vec<_>>(), "royalty_mode": "async" });
        if let (Rest::Released, Some(members)) = (ask.rest, biz.as_object_mut()) {
            members.insert("extend_params".to_owned(), json!({ "royalty_finish": "true" }));
        }
        self.settle(&biz).await
    }

    async fn split_query(&self, key: &SplitKey) -> SplitAnswer {
        let biz = json!({ "out_request_no": key.split_no, "trade_no": key.trade_no });
        match self.client.call("alipay.trade.order.settle.query", &biz, None).await {
            Ok(Heard::Done(word)) => read_split(&word, key),
            Ok(Heard::Refused(Meaning::NotThere, _)) => Answer::Accepted(SplitProgress::NotFound),
            Ok(Heard::Refused(meaning, refusal)) => refused(meaning, refusal),
            Err(lost) => lost.into(),
        }
    }

    async fn release(&self, key: &SplitKey) -> SplitAnswer {
        let biz = json!({ "out_request_no": key.split_no, "trade_no": key.trade_no,
            "extend_params": { "royalty_finish": "true" }, "royalty_mode": "async" });
        self.settle(&biz).await
    }

    async fn give_back(&self, _: &ReturnAsk) -> ReturnAnswer {
        let message = "Alipay takes a part back with a refund only".to_owned();
        Answer::Declined(Refusal { code: "NOT_OFFERED".to_owned(), message, fault: Fault::Ours })
    }

    async fn give_back_query(&self, ask: &ReturnAsk) -> ReturnAnswer {
        self.give_back(ask).await
    }

    async fn remaining(&self, trade_no: &str) -> RemainingAnswer {
        let biz = json!({ "trade_no": trade_no });
        match self.client.call("alipay.trade.order.onsettle.query", &biz, None).await {
            Ok(Heard::Done(word)) => match word.need("unsettled_amount").map(money) {
                Ok(Ok(left)) => Answer::Settled(left),
                Ok(Err(problem)) => Answer::Silent(problem),
                Err(lost) => lost.into(),
            },
            Ok(Heard::Refused(Meaning::NotThere, _)) => Answer::Accepted(()),
            Ok(Heard::Refused(meaning, refusal)) => refused(meaning, refusal),
            Err(lost) => lost.into(),
        }
    }
}
