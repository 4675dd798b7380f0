//! Refunds, their query, and `cancel`, which gives back what was paid (protocol section 3.3).

use std::sync::Arc;

use domain::Timestamp;
use serde_json::{Value, json};

use super::{
    Alipay, NAME, notice,
    refusal::Refusal,
    text,
    trade::{State, Trade, amount},
    wire::Call,
};

/// One refund. Its number is the merchant's, unique within the trade.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refund {
    pub(crate) no: String,
    pub(crate) amount: i64,
    pub(crate) reason: String,
    pub(crate) at: Timestamp,
}

/// Gives money back and writes it into the books.
fn give_back(me: &Alipay, trade: &mut Trade, refund: Refund) {
    let (no, at) = (refund.no.clone(), refund.at);
    me.world.books.refund(NAME, &trade.no, &no, refund.amount, &format!("{}-{no}", trade.trade_no), at);
    trade.refunds.push(refund);
}

pub(crate) fn refund(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let wanted = amount(&call.biz, "refund_amount")?;
    let member = |name: &str| call.biz.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let trade = ledger.named(&call.biz, now)?;
    let no = match member("out_request_no") {
        Some(no) if no.len() <= 64 => no.to_owned(),
        Some(_) => return Err(Refusal::parameter("out_request_no", "过长")),
        None if wanted == trade.total => trade.no.clone(),
        None => return Err(Refusal::parameter("out_request_no", "部分退款时不能为空")),
    };
    if let Some(known) = trade.refunds.iter().find(|r| r.no == no) {
        if known.amount != wanted {
            return Err(Refusal::business("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致"));
        }
        return Ok(done(trade, known.at, "N"));
    }
    match trade.state {
        State::Paid(_) if trade.refunded() >= trade.total => {
            return Err(Refusal::business("ACQ.TRADE_HAS_FINISHED", "交易已完结"));
        }
        State::Paid(_) => {}
        State::Closed => return Err(Refusal::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")),
        State::Waits => return Err(Refusal::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")),
    }
    if trade.refunded() + wanted > trade.total {
        return Err(Refusal::business("ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效"));
    }
    let reason = member("refund_reason").unwrap_or_default().to_owned();
    give_back(me, trade, Refund { no: no.clone(), amount: wanted, reason, at: now });
    let (answer, told) = (done(trade, now, "Y"), trade.clone());
    drop(ledger);
    notice::refunded(me, told, &no);
    Ok(answer)
}

fn done(trade: &Trade, at: Timestamp, fund_change: &str) -> Value {
    json!({
        "out_trade_no": trade.no, "trade_no": trade.trade_no, "buyer_logon_id": "stu***@sandbox",
        "fund_change": fund_change, "refund_fee": text::yuan(trade.refunded()),
        "gmt_refund_pay": text::time(at), "send_back_fee": text::yuan(trade.refunded()),
    })
}

/// An unknown refund is answered with success and without `refund_status`: that is how the gateway says "not here".
pub(crate) fn query(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let no = call.biz.get("out_request_no").and_then(Value::as_str).filter(|t| !t.is_empty());
    let no = no.ok_or_else(|| Refusal::parameter("out_request_no", "不能为空"))?;
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    let trade = ledger.named(&call.biz, now)?;
    let mut view = json!({ "out_trade_no": trade.no, "trade_no": trade.trade_no, "out_request_no": no });
    if let (Some(refund), Some(members)) = (trade.refunds.iter().find(|r| r.no == no), view.as_object_mut()) {
        let more = [
            ("refund_status", "REFUND_SUCCESS".to_owned()),
            ("total_amount", text::yuan(trade.total)),
            ("refund_amount", text::yuan(refund.amount)),
            ("refund_reason", refund.reason.clone()),
            ("gmt_refund_pay", text::time(refund.at)),
        ];
        members.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
    }
    Ok(view)
}

/// Closes what waits, gives back what was paid; an unscanned code dies. No such trade is a success without an action.
pub(crate) fn cancel(me: &Arc<Alipay>, call: &Call) -> Result<Value, Refusal> {
    let now = me.world.clock.now();
    let mut ledger = me.ledger.lock();
    if let Some(no) = call.biz.get("out_trade_no").and_then(Value::as_str)
        && let Some(unscanned) = ledger.get(no, now).filter(|t| !t.exists)
    {
        unscanned.code_until = Timestamp::from_secs(0);
        return Ok(json!({ "out_trade_no": no, "trade_no": "", "retry_flag": "N" }));
    }
    let trade = match ledger.named(&call.biz, now) {
        Ok(trade) => trade,
        Err(refusal) if refusal == Refusal::no_trade() => {
            let no = call.biz.get("out_trade_no").cloned().unwrap_or_default();
            return Ok(json!({ "out_trade_no": no, "retry_flag": "N" }));
        }
        Err(refusal) => return Err(refusal),
    };
    let left = trade.total - trade.refunded();
    let mut told = None;
    let action = match trade.state {
        State::Waits | State::Closed => {
            trade.state = State::Closed;
            "close"
        }
        State::Paid(_) => {
            if left > 0 {
                let no = format!("{}-cancel", trade.no);
                give_back(me, trade, Refund { no: no.clone(), amount: left, reason: String::new(), at: now });
                told = Some((trade.clone(), no));
            }
            "refund"
        }
    };
    let mut answer = json!({
        "out_trade_no": trade.no, "trade_no": trade.trade_no, "retry_flag": "N", "action": action,
    });
    if let (Some(last), Some(members)) = (trade.refunds.last(), answer.as_object_mut()) {
        members.insert("gmt_refund_pay".to_owned(), text::time(last.at).into());
    }
    drop(ledger);
    if let Some((trade, no)) = told {
        notice::refunded(me, trade, &no);
    }
    Ok(answer)
}
