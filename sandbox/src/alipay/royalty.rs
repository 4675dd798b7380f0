//! Royalty: receivers, and the settling of frozen money (protocol section 3.5).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use domain::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Alipay,
    refusal::Refusal,
    text,
    trade::{State, Trade},
    wire::Call,
};

const RATIO_PERCENT: i64 = 30;
const RECEIVERS_MAX: usize = 20;

/// One line of a settlement.
#[derive(Debug, Clone)]
struct Part {
    operation: &'static str,
    to: String,
    amount: i64,
    detail_id: String,
}

/// One settlement.
#[derive(Debug, Clone)]
struct Settlement {
    no: String,
    request_no: String,
    trade_no: String,
    asked: Map<String, Value>,
    parts: Vec<Part>,
    at: Timestamp,
}

/// Receivers and settlements.
#[derive(Default)]
pub(crate) struct Royalty {
    receivers: BTreeMap<Key, Value>,
    by_no: HashMap<String, Settlement>,
    finished: HashSet<String>,
}

impl Royalty {
    fn settled(&self, trade_no: &str) -> i64 {
        self.by_no.values().filter(|s| s.trade_no == trade_no).flat_map(|s| &s.parts).map(|p| p.amount).sum()
    }

    fn by_request(&self, request_no: &str, trade_no: &str) -> Option<&Settlement> {
        self.by_no.values().find(|s| s.request_no == request_no && s.trade_no == trade_no)
    }
}

fn member<'a>(biz: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    let text = biz.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    text.ok_or_else(|| Refusal::parameter(name, "不能为空"))
}

/// Kind and account.
type Key = (String, String);

fn receivers(call: &Call) -> Result<Vec<(Key, Value)>, Refusal> {
    member(&call.biz, "out_request_no")?;
    let list = call.biz.get("receiver_list").and_then(Value::as_array);
    let list = list
        .filter(|l| !l.is_empty())
        .ok_or_else(|| Refusal::business("ACQ.RECEIVER_LIST_EMPTY", "分账方列表为空"))?;
    if list.len() > RECEIVERS_MAX {
        return Err(Refusal::business("ACQ.RELATION_QUANTITY_LIMIT", "分账方数量超限"));
    }
    let one = |receiver: &Value| {
        let text = |name: &str| receiver.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("type"), text("account"));
        if !matches!(key.0.as_str(), "userId" | "loginName" | "openId") || key.1.is_empty() {
            return Err(Refusal::business("ACQ.ROYALTY_RECEIVER_INVALID", "分账收入方无效"));
        }
        Ok((key, receiver.clone()))
    };
    list.iter().map(one).collect()
}

pub(crate) fn bind(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let new = receivers(call)?;
    me.ledger.lock().royalty.receivers.extend(new);
    Ok(json!({ "result_code": "SUCCESS" }))
}

pub(crate) fn unbind(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let gone = receivers(call)?;
    let mut ledger = me.ledger.lock();
    for (key, _) in gone {
        ledger.royalty.receivers.remove(&key);
    }
    Ok(json!({ "result_code": "SUCCESS" }))
}

pub(crate) fn list(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    member(&call.biz, "out_request_no")?;
    let whole = |name: &str, default: usize| {
        let number = call.biz.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        number.filter(|n| *n > 0).unwrap_or(default)
    };
    let (page, size) = (whole("page_num", 1), whole("page_size", 20).min(100));
    let ledger = me.ledger.lock();
    let all = &ledger.royalty.receivers;
    let shown: Vec<&Value> = all.values().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(json!({
        "result_code": "SUCCESS", "receiver_list": shown, "total_page_num": all.len().div_ceil(size),
        "total_record_num": all.len(), "current_page_num": page, "current_page_size": size,
    }))
}

pub(crate) fn rate(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    member(&call.biz, "out_request_no")?;
    Ok(json!({ "user_id": me.keys.seller_id, "max_ratio": RATIO_PERCENT }))
}

/// What is frozen and not settled.
fn left(trade: &Trade, royalty: &Royalty) -> i64 {
    let asked = trade.asked.get("extend_params").and_then(|p| p.get("royalty_freeze"));
    let frozen = asked.is_some_and(|v| v == "true" || v == &Value::Bool(true));
    if !frozen || royalty.finished.contains(&trade.trade_no) {
        return 0;
    }
    (trade.total - trade.refunded() - royalty.settled(&trade.trade_no)).max(0)
}

/// The trade must be named by Alipay's own number.
fn trade_no(call: &Call) -> Result<String, Refusal> {
    Ok(member(&call.biz, "trade_no")?.to_owned())
}

pub(crate) fn settle(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let (request_no, id) = (member(&call.biz, "out_request_no")?.to_owned(), trade_no(call)?);
    if request_no.len() > 64 {
        return Err(Refusal::parameter("out_request_no", "过长"));
    }
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let trade = ledger.by_credential(&id, now).cloned().ok_or_else(Refusal::no_trade)?;
    if let Some(known) = ledger.royalty.by_request(&request_no, &id) {
        if known.asked != call.biz {
            return Err(Refusal::business("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致"));
        }
        return Ok(json!({ "trade_no": id, "settle_no": known.no }));
    }
    if !matches!(trade.state, State::Paid(_)) || trade.refunded() >= trade.total {
        return Err(Refusal::business("ACQ.ILLEGAL_SETTLE_STATE", "交易状态不允许结算"));
    }
    let mut parts = Vec::new();
    let listed = call.biz.get("royalty_parameters").and_then(Value::as_array).cloned().unwrap_or_default();
    for part in &listed {
        let text = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or_default();
        let key = (text("trans_in_type").to_owned(), text("trans_in").to_owned());
        if !ledger.royalty.receivers.contains_key(&key) {
            return Err(Refusal::business("ACQ.ROYALTY_RECEIVER_INVALID", "分账收入方与商户没有分账关系"));
        }
        let amount = part.get("amount").map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        let amount = amount.as_deref().and_then(text::fen);
        let amount = amount.ok_or_else(|| Refusal::parameter("royalty_parameters.amount", "应大于0"))?;
        let operation = if text("royalty_type") == "replenish" { "replenish" } else { "transfer" };
        let detail_id = format!("{:020}", me.world.next_serial());
        parts.push(Part { operation, to: key.1, amount, detail_id });
    }
    let wanted: i64 = parts.iter().map(|p| p.amount).sum();
    let settled = ledger.royalty.settled(&id);
    let too_much =
        (settled + wanted) * 100 > trade.total * RATIO_PERCENT || wanted > left(&trade, &ledger.royalty);
    if wanted > 0 && too_much {
        return Err(Refusal::business("ACQ.ALLOC_AMOUNT_VALIDATE_ERROR", "分账金额校验错误"));
    }
    let finish = call.biz.get("extend_params").and_then(|p| p.get("royalty_finish"));
    if finish.is_some_and(|v| v == "true" || v == &Value::Bool(true)) {
        ledger.royalty.finished.insert(id.clone());
    } else if parts.is_empty() {
        return Err(Refusal::parameter("royalty_parameters", "不能为空"));
    }
    let no = format!(
        "{}{:014}",
        text::time(now).chars().filter(char::is_ascii_digit).collect::<String>(),
        me.world.next_serial()
    );
    let made = Settlement {
        no: no.clone(),
        request_no,
        trade_no: id.clone(),
        asked: call.biz.clone(),
        parts,
        at: now,
    };
    ledger.royalty.by_no.insert(no.clone(), made);
    Ok(json!({ "trade_no": id, "settle_no": no }))
}

pub(crate) fn settle_query(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let ledger = me.ledger.lock();
    let found = match call.biz.get("settle_no").and_then(Value::as_str) {
        Some(no) => ledger.royalty.by_no.get(no),
        None => ledger.royalty.by_request(member(&call.biz, "out_request_no")?, &trade_no(call)?),
    };
    let found = found.ok_or_else(Refusal::no_trade)?;
    let at = text::time(found.at);
    let line = |part: &Part| {
        json!({ "operation_type": part.operation, "state": "SUCCESS", "trans_in": part.to,
            "trans_out": me.keys.seller_id, "amount": text::yuan(part.amount), "detail_id": part.detail_id,
            "execute_dt": at })
    };
    Ok(json!({
        "out_request_no": found.request_no, "operation_dt": at,
        "royalty_detail_list": found.parts.iter().map(line).collect::<Vec<_>>(),
    }))
}

pub(crate) fn unsettled(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let id = trade_no(call)?;
    let mut ledger = me.ledger.lock();
    let trade = ledger.by_credential(&id, me.world.clock.now()).cloned().ok_or_else(Refusal::no_trade)?;
    Ok(json!({ "unsettled_amount": text::yuan(left(&trade, &ledger.royalty)) }))
}
