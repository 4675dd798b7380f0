//! What the gateway does: orders, refunds, undo, reversal, query (protocol sections 5, 6 and 8).

use std::sync::Arc;

use domain::Timestamp;

use super::{
    NAME, UnionPay,
    fields::{Fields, moment, settle_day, time},
    ledger::{State, Txn},
    notice,
    refusal::Refusal,
};

/// A payer's card, masked.
const CARD: &str = "621626******0018";

/// Reads a new transaction. The amount may not be more than twelve digits.
fn new(me: &UnionPay, fields: &Fields) -> Result<Txn, Refusal> {
    let required = ["orderId", "txnAmt", "currencyCode", "channelType"];
    if let Some(missing) = required.iter().find(|name| fields.get(name).is_empty()) {
        return Err(Refusal::missing(missing));
    }
    let no = fields.get("orderId");
    if !(8..=40).contains(&no.len()) || !no.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Refusal::format("orderId"));
    }
    let amount = fields.get("txnAmt");
    let digits = (1..=12).contains(&amount.len()) && amount.bytes().all(|c| c.is_ascii_digit());
    let amount: i64 =
        amount.parse().ok().filter(|fen| digits && *fen > 0).ok_or_else(|| Refusal::format("txnAmt"))?;
    if fields.get("currencyCode") != "156" {
        return Err(Refusal::format("currencyCode"));
    }
    if !matches!(fields.get("channelType"), "07" | "08") {
        return Err(Refusal::format("channelType"));
    }
    let pay_until = match fields.get("payTimeout") {
        "" => None,
        text => Some(moment(text).ok_or_else(|| Refusal::format("payTimeout"))?),
    };
    let serial = me.world.next_serial();
    Ok(Txn {
        asked: fields.clone(),
        amount,
        query_id: format!("{}{:07}", fields.get("txnTime"), serial % 10_000_000),
        trace_no: format!("{:06}", serial % 1_000_000),
        credential: String::new(),
        pay_until,
        state: State::Waits,
        original: None,
    })
}

fn duplicate() -> Refusal {
    Refusal::new("12", "重复交易")
}

fn payment(me: &UnionPay, fields: &Fields, credential: impl FnOnce(u64) -> String) -> Result<Txn, Refusal> {
    let mut txn = new(me, fields)?;
    if fields.get("backUrl").is_empty() {
        return Err(Refusal::missing("backUrl"));
    }
    if txn.pay_until.is_some_and(|until| until <= me.world.clock.now()) {
        return Err(Refusal::format("payTimeout"));
    }
    txn.credential = credential(me.world.next_serial());
    if me.ledger.lock().put(txn.clone()) { Ok(txn) } else { Err(duplicate()) }
}

/// App control and cashier: a `tn` for the client or the page.
pub(crate) fn order(me: &Arc<UnionPay>, fields: &Fields, app: bool) -> Result<Fields, Refusal> {
    if !app && fields.get("frontUrl").is_empty() {
        return Err(Refusal::missing("frontUrl"));
    }
    let txn = payment(me, fields, |n| format!("{}{n:07}", fields.get("txnTime")))?;
    Ok(Fields::from([("tn", txn.credential.as_str())]))
}

/// A code that the payer scans.
pub(crate) fn code(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let txn = payment(me, fields, |n| format!("https://qr.95516.com/00010000/{n:062}"))?;
    let mut said = Fields::from([("qrCode", txn.credential.as_str())]);
    said.set("txnAmt", txn.amount.to_string());
    Ok(said)
}

/// The merchant scanned the payer's code: accepted, and paid at once.
pub(crate) fn scanned(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let code = fields.get("qrNo");
    if code.is_empty() {
        return Err(Refusal::missing("qrNo"));
    }
    if !code.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Refusal::format("qrNo"));
    }
    let txn = payment(me, fields, |_| String::new())?;
    take(me, txn.no(), fields.get("txnTime"));
    Ok(Fields::from([("queryId", txn.query_id.as_str())]))
}

/// Moves the money of a payment that waits; false if it does not wait any more.
pub(crate) fn take(me: &Arc<UnionPay>, no: &str, txn_time: &str) -> Option<Timestamp> {
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let txn = ledger.get(no, txn_time, now).filter(|txn| txn.state == State::Waits)?;
    txn.state = State::Done { at: now };
    me.world.books.capture(NAME, txn.no(), txn.amount, &txn.query_id, now);
    let told = txn.clone();
    drop(ledger);
    notice::done(me, told);
    Some(now)
}

/// The payment that a refund or an undo is about.
fn original(me: &UnionPay, fields: &Fields, now: Timestamp) -> Result<Txn, Refusal> {
    let mut ledger = me.ledger.lock();
    let found = match (fields.get("origQryId"), fields.get("origOrderId")) {
        ("", "") => return Err(Refusal::missing("origQryId")),
        ("", no) => ledger.get(no, fields.get("origTxnTime"), now),
        (id, _) => ledger.by_query_id(id, now),
    };
    let paid = found.filter(|txn| txn.is_payment() && matches!(txn.state, State::Done { .. }));
    paid.cloned().ok_or_else(|| Refusal::new("35", "原交易不存在或状态不正确"))
}

fn take_back(me: &Arc<UnionPay>, mut txn: Txn, original: &Txn, left: i64) -> Result<Fields, Refusal> {
    let now = me.world.clock.now();
    txn.original = Some(original.query_id.clone());
    txn.state = State::Done { at: now };
    let mut ledger = me.ledger.lock();
    if ledger.get(txn.no(), txn.asked.get("txnTime"), now).is_some() {
        return Err(duplicate());
    }
    if txn.amount > left {
        return Err(Refusal::new("36", "退货金额超过原交易余额"));
    }
    if !ledger.put(txn.clone()) {
        return Err(duplicate());
    }
    drop(ledger);
    me.world.books.refund(NAME, original.no(), txn.no(), txn.amount, &txn.query_id, now);
    let query_id = txn.query_id.clone();
    notice::done(me, txn);
    Ok(Fields::from([("queryId", query_id.as_str()), ("origQryId", &original.query_id)]))
}

/// Part of a payment, or all of it, several times.
pub(crate) fn refund(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let txn = new(me, fields)?;
    let original = original(me, fields, me.world.clock.now())?;
    let left = original.amount - me.ledger.lock().taken_back(&original.query_id);
    take_back(me, txn, &original, left)
}

/// All of a payment, on its own settlement day, before any refund.
pub(crate) fn undo(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let now = me.world.clock.now();
    let txn = new(me, fields)?;
    let original = original(me, fields, now)?;
    if txn.amount != original.amount {
        return Err(Refusal::new("36", "与原交易金额不符"));
    }
    if let State::Done { at } = original.state
        && settle_day(at) != settle_day(now)
    {
        return Err(Refusal::new("39", "交易不在受理时间范围内"));
    }
    let taken = me.ledger.lock().taken_back(&original.query_id);
    if taken > 0 {
        return Err(Refusal::new("45", "原交易已被成功退货或已被成功撤销"));
    }
    take_back(me, txn, &original, original.amount)
}

/// The merchant does not know what became of a payment and wants it not to be: under its own number and time.
pub(crate) fn reversal(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let now = me.world.clock.now();
    let (no, txn_time) = (fields.get("orderId"), fields.get("txnTime"));
    let mut ledger = me.ledger.lock();
    let Some(txn) = ledger.get(no, txn_time, now).filter(|t| t.is_payment()) else {
        return Err(Refusal::new("34", "查无此交易"));
    };
    if let State::Done { .. } = txn.state {
        let (amount, id) = (txn.amount, txn.query_id.clone());
        me.world.books.reversal(NAME, no, amount, &id, now);
    }
    txn.state = State::Failed;
    Ok(Fields::default())
}

/// What became of a transaction: its own code is `origRespCode`.
pub(crate) fn query(me: &Arc<UnionPay>, fields: &Fields) -> Result<Fields, Refusal> {
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let found = if fields.get("txnSubType") == "02" {
        ledger.by_query_id(fields.get("queryId"), now)
    } else {
        if fields.get("orderId").is_empty() {
            return Err(Refusal::missing("orderId"));
        }
        ledger.get(fields.get("orderId"), fields.get("txnTime"), now)
    };
    let txn = found.ok_or_else(|| Refusal::new("34", "查无此交易"))?;
    Ok(view(txn))
}

fn view(txn: &Txn) -> Fields {
    let (code, message) = match txn.state {
        State::Done { .. } => ("00", "成功[0000000]"),
        State::Waits => ("05", "交易已受理，请稍后查询交易结果"),
        State::Failed => ("01", "交易失败：订单已超时"),
    };
    let mut said = Fields::from([("origRespCode", code), ("origRespMsg", message), ("currencyCode", "156")]);
    said.set("queryId", txn.query_id.clone());
    said.set("traceNo", txn.trace_no.clone());
    said.set("txnAmt", txn.amount.to_string());
    said.set("reqReserved", txn.asked.get("reqReserved"));
    said.set("origQryId", txn.original.clone().unwrap_or_default());
    for name in ["orderId", "txnTime"] {
        said.set(name, txn.asked.get(name));
    }
    settled(&mut said, txn);
    said
}

/// What only a finished transaction has.
pub(crate) fn settled(said: &mut Fields, txn: &Txn) {
    if let State::Done { at } = txn.state {
        said.set("traceTime", time(at).chars().skip(4).collect::<String>());
        said.set("settleAmt", txn.amount.to_string());
        said.set("settleCurrencyCode", "156");
        said.set("settleDate", settle_day(at).chars().skip(4).collect::<String>());
        said.set("accNo", CARD);
        said.set("payCardType", "01");
        said.set("payType", "0001");
    }
}
